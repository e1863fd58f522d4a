"""Connections. Writers take turns on SQLite (BEGIN IMMEDIATE); readers never see what is not committed."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
from sqlalchemy import Connection, CursorResult, Executable, event, make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import Clash

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02


class Database:
    """One database, by URL: `sqlite+aiosqlite:///file` or `postgresql+psycopg://…`."""

    def __init__(self, url: str, pool: int = 10) -> None:
        self.url = url
        self._sqlite = url.startswith("sqlite")
        self._turn = asyncio.Lock()
        if self._sqlite:
            self._writer = _sqlite(url, 1, busy_seconds=0)
            self._reader = _sqlite(url, 4, busy_seconds=5)

            @event.listens_for(self._reader.sync_engine, "begin")
            def begin(connection: Connection) -> None:
                cursor = connection.connection.cursor()
                cursor.execute("BEGIN")
                cursor.close()

        else:
            # Prepared statements are kept on the server by name; a pooler between would lose them, so none are made.
            options = {"prepare_threshold": None}
            self._writer = create_async_engine(
                url, pool_size=pool, max_overflow=pool, connect_args=options, hide_parameters=True
            )
            self._reader = self._writer

    async def close(self) -> None:
        await self._writer.dispose()
        await self._reader.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(self._reader, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end of the block, or nothing of it."""
        if not self._sqlite:
            try:
                async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
                    yield session
            except IntegrityError:
                raise Clash("Somebody did the same at this moment. Read it again, and try again.") from None
            return
        async with self._turn, AsyncSession(self._writer, expire_on_commit=False) as session:
            await _begin(session)
            yield session
            await session.commit()


async def execute(
    session: AsyncSession, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
) -> CursorResult[Any]:
    """Run a statement over tables, past the mapper: for what runs several times in every click.

    Statements kept as constants are compiled once; the mapper's share of a query is many times SQLite's own."""
    connection = await session.connection()
    return await connection.execute(statement, values)


async def _begin(session: AsyncSession) -> None:
    """Wait for SQLite's writer lock in small pauses of our own.

    A time limit can cancel these, and not a wait inside SQLite, whose pauses also grow so long that two busy
    processes leave the lock idle most of the time. Each try is SQLite's alone: through the mapper a failed one
    costs as much as a small transaction."""
    connection = await session.connection()
    driver: _Here = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment]
    pause = FIRST_PAUSE
    while not driver.began():
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


class _Here(aiosqlite.Connection):
    """A connection used on the thread of its caller.

    A statement of ours takes microseconds; handing it to another thread and back took longer than it, and every
    transaction has a dozen. Nothing waits inside SQLite: waiting for the writer is done outside (see `_begin`)."""

    def __await__(self) -> Generator[Any, None, aiosqlite.Connection]:
        return self._connect().__await__()

    async def _connect(self) -> aiosqlite.Connection:
        self._connection = self._connector()
        return self

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    def began(self) -> bool:
        """Start a writing transaction; False while somebody else has one."""
        try:
            self._conn.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return False
            raise
        return True

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _sqlite(url: str, size: int, busy_seconds: float) -> AsyncEngine:
    path = make_url(url).database or ":memory:"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)

    async def connection() -> aiosqlite.Connection:
        return await _Here(connect, iter_chunk_size=64)

    engine = create_async_engine(url, pool_size=size, max_overflow=0, hide_parameters=True, async_creator=connection)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # WAL with synchronous=FULL: an acknowledged command survives a power cut, not only a crash of the process.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
