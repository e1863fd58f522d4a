"""Connections. Writers take turns on SQLite (BEGIN IMMEDIATE); readers never see what is not committed."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import URL, AsyncAdaptedQueuePool, Connection, CursorResult, Executable, Pool, event, make_url
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import Clash

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02


class Database:
    """One database, by URL: `sqlite:///file` or `postgresql+psycopg://…`."""

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
    if isinstance(values, list) and len(values) == 1:
        values = values[0]  # drivers take a list of one the long way

    def run(within: Session) -> CursorResult[Any]:
        return within.connection().execute(statement, values)

    return await session.run_sync(run)


async def _begin(session: AsyncSession) -> None:
    """Wait for SQLite's writer lock in small pauses of our own.

    A time limit can cancel these, and not a wait inside SQLite, whose pauses also grow so long that two busy
    processes leave the lock idle most of the time. Each try is SQLite's alone: through the mapper a failed one
    costs as much as a small transaction."""
    connection = await session.connection()
    driver = (await connection.get_raw_connection()).driver_connection
    pause = FIRST_PAUSE
    while not _began(driver):  # type: ignore[arg-type]
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _began(connection: sqlite3.Connection) -> bool:
    """Start a writing transaction; False while somebody else has one."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    return True


class SqliteHere(SQLiteDialect_pysqlite):
    """SQLite behind SQLAlchemy's asynchronous face, on the thread of its caller.

    A statement of ours takes microseconds; handing it to another thread and back took longer than it, and every
    transaction has a dozen. Nothing waits inside SQLite: waiting for the writer is done outside (see `_begin`)."""

    driver = "here"
    is_async = True
    supports_statement_cache = True

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:
        return AsyncAdaptedQueuePool


class _Cursor(sqlite3.Cursor):
    async def _async_soft_close(self) -> None:
        """SQLAlchemy asks this of cursors whose rows came over a network; these are read as they are needed."""


class _Connection(sqlite3.Connection):
    def cursor(self, factory: type[sqlite3.Cursor] = _Cursor) -> sqlite3.Cursor:  # type: ignore[override]
        return super().cursor(factory)


registry.register("sqlite.here", __name__, SqliteHere.__name__)


def _sqlite(url: str, size: int, busy_seconds: float) -> AsyncEngine:
    options = {
        "timeout": busy_seconds, "isolation_level": None, "check_same_thread": False, "factory": _Connection,
    }  # fmt: skip
    engine = create_async_engine(
        make_url(url).set(drivername="sqlite+here"),
        # With room to spare an idle connection is taken at once; from a pool at its limit it is waited for.
        pool_size=size, max_overflow=size, hide_parameters=True, connect_args=options,
    )  # fmt: skip

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # WAL with synchronous=FULL: an acknowledged command survives a power cut, not only a crash of the process.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
