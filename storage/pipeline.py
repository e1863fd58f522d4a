"""PostgreSQL's driver for writers: what is only written goes along with the next question, or with the commit.

The way to the server and back costs more than most statements, and most statements of a transaction have no answer
that anybody reads. Lines stay in the protocol's pipeline mode; whatever else is run waits for its answer as usual."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline, Error
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel.ext.asyncio.session import AsyncSession

LINE = "line"
"""Where a writing session keeps its line."""


class Cursor(AsyncCursor[Any]):
    """Waits for its answer, and so for all before it, unless its line does not wait."""

    async def execute(self, *given: Any, **options: Any) -> "Cursor":
        await super().execute(*given, **options)
        await self._answered()
        return self

    async def executemany(self, *given: Any, **options: Any) -> None:
        await super().executemany(*given, **options)
        await self._answered()

    async def _answered(self) -> None:
        line = self.connection
        if isinstance(line, Line) and line.waits:
            await line.together.sync()


class Line(AsyncConnection[Any]):
    """A connection that can send a statement without waiting for what comes of it."""

    together: AsyncPipeline
    mode: AsyncExitStack
    waits = True

    @classmethod
    async def open(cls, *given: Any, **options: Any) -> "Line":
        line = await cls.connect(*given, cursor_factory=Cursor, **options)
        line.mode = AsyncExitStack()
        line.together = await line.mode.enter_async_context(line.pipeline())
        return line

    async def clear(self) -> bool:
        """Wait for every answer; False if one was an error."""
        try:
            await self.together.sync()
        except Error:
            return False
        return True

    async def rollback(self) -> None:
        if self.info.transaction_status is not TransactionStatus.IDLE:  # else it would ask the server for nothing
            await super().rollback()

    async def close(self) -> None:
        await super().close()
        with suppress(Error):  # leaving the mode asks the server, which closing has taken leave of
            await self.mode.aclose()


@asynccontextmanager
async def lined(session: AsyncSession) -> AsyncIterator[None]:
    """Let a session write without waiting. A line on which something failed, or may stand, is nobody's any more."""
    connection = await session.connection()
    line: Any = (await connection.get_raw_connection()).driver_connection
    session.info[LINE] = line
    try:
        yield
    except BaseException as error:
        ours = isinstance(error, Exception) and not isinstance(error, SQLAlchemyError)
        if not (connection.closed or (ours and await line.clear())):
            await connection.invalidate()
        raise
    finally:
        del session.info[LINE]


@contextmanager
def unanswered(session: AsyncSession) -> Iterator[None]:
    """What is run within goes out at once, and nobody waits for it. Elsewhere than on a line it makes no difference."""
    line = session.info.get(LINE)
    if line:
        line.waits = False
    try:
        yield
    finally:
        if line:
            line.waits = True
