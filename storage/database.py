"""Connections. Writers take turns on SQLite (BEGIN IMMEDIATE); readers never see what is not committed."""

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import asyncpg
import structlog
from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Executable,
    QueuePool,
    Row,
    Table,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel import Session
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import Clash, Unavailable

log = structlog.get_logger()
T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.003
WRITERS, READERS = 15, 10
DEADLOCK = "40P01"
"""PostgreSQL's word for two transactions that wait for each other, to the one it ended."""
LOCK_SECONDS = 5.0
"""How long a writer waits for others before it gives up, where nobody waits for a click."""
SHARE_OF_LOCK, SHARE_OF_STATEMENT = 0.5, 0.6
"""Of the seconds that somebody waits: until PostgreSQL gives a lock up, and until a statement without an answer means
that it is silent. Letting go of its connection takes as long again."""
LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's word for that."""
SERVER_AWAY = ("08", "53", "57")
"""The classes of its words for a connection that ended, a disk that is full, and a server that stops or starts."""
FILE_AWAY = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""SQLite's words for a disk that is full or broken, and a file that is not there or cannot be written."""
AWAY_FOR = 1.0
"""Seconds for which nobody asks a server again that did not answer in time."""


class Database:
    """One database, by URL: `sqlite:///file` or `postgresql://…`.

    With `seconds`, nobody waits longer for a server that is silent; it is taken for away."""

    def __init__(self, url: str, seconds: float | None = None) -> None:
        self.url = url
        self._seconds = seconds
        self._away_until = 0.0
        self._turn = asyncio.Lock()
        self._writer: Engine | AsyncEngine
        self._reader: Engine | AsyncEngine
        if url.startswith("sqlite"):
            self._writer = _sqlite(url, busy_seconds=0)
            self._reader = _sqlite(url, busy_seconds=5)

            @event.listens_for(self._reader, "begin")
            def begin(connection: Connection) -> None:
                cursor = connection.connection.cursor()
                cursor.execute("BEGIN")
                cursor.close()

        else:
            self._writer = postgresql_engine(url, WRITERS, seconds)
            # A reader sees what is committed at each statement, in a transaction or not; without one it asks less.
            self._reader = postgresql_engine(url, READERS, seconds, isolation_level="AUTOCOMMIT")

    @property
    def questions(self) -> Engine:
        """The engine of the readers, for who listens to what they ask."""
        return self._reader.sync_engine if isinstance(self._reader, AsyncEngine) else self._reader

    async def close(self) -> None:
        for engine in (self._writer, self._reader):
            if isinstance(engine, AsyncEngine):
                await engine.dispose()
            else:
                engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """What is committed. Raises Unavailable."""
        with _named_errors():
            if isinstance(self._reader, AsyncEngine):
                async with self._server_session(self._reader) as there:
                    yield there
            else:
                with self._reader.connect() as here:
                    yield SessionHere(here)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end of the block, or nothing of it. Raises Clash, Unavailable."""
        with _named_errors():
            if isinstance(self._writer, AsyncEngine):
                async with self._server_session(self._writer) as there:
                    yield there
                    await there.commit()
            else:
                async with self._file_session() as ours:
                    yield ours
                    await ours.commit()

    @asynccontextmanager
    async def _server_session(self, engine: AsyncEngine) -> AsyncIterator["SessionThere"]:
        if time.monotonic() < self._away_until:
            raise Unavailable
        try:
            async with asyncio.timeout(self._seconds):
                there = await engine.connect()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, PoolTimeout) as error:
            self._note_away(error)
            raise Unavailable from error  # away, shutting down, or silent
        try:
            yield SessionThere(there)
        except TimeoutError as error:
            self._note_away(error)
            await there.invalidate()  # its server is silent: nothing more is said to it
            raise Unavailable from error
        finally:
            await there.close()

    def _note_away(self, error: Exception) -> None:
        """Whoever comes next is told at once, instead of waiting in a line for a server that is silent."""
        if isinstance(error, TimeoutError):
            self._away_until = time.monotonic() + AWAY_FOR

    @asynccontextmanager
    async def _file_session(self) -> AsyncIterator["SessionHere"]:
        assert isinstance(self._writer, Engine)
        try:
            async with asyncio.timeout(self._seconds or LOCK_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise Unavailable from None
        try:
            with self._writer.connect() as here:
                try:
                    async with asyncio.timeout(self._seconds or LOCK_SECONDS):
                        await _begin(here)
                except TimeoutError:
                    raise Unavailable from None
                yield SessionHere(here)
        finally:
            self._turn.release()


@contextmanager
def _named_errors() -> Iterator[None]:
    """What the database says, as what a caller can do about it: Clash or Unavailable."""
    try:
        yield
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        if isinstance(error, IntegrityError) or state == DEADLOCK:
            raise Clash("Somebody did the same at this moment. Read it again, and try again.") from None
        silent = state == LOCK_NOT_AVAILABLE or str(state)[:2] in SERVER_AWAY
        if error.connection_invalidated or silent or _is_file_away(error.orig):
            raise Unavailable from error
        raise
    except sqlite3.OperationalError as error:  # of a statement that went past SQLAlchemy
        if _is_file_away(error):
            raise Unavailable from error
        raise


def _is_file_away(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in FILE_AWAY


async def execute(
    session: AsyncSession, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
) -> CursorResult[Any]:
    """Run a statement over tables, past the mapper: for what runs several times in every click.

    Statements kept as constants are compiled once; the mapper's share of a query is many times SQLite's own."""
    if isinstance(values, list) and len(values) == 1:
        values = values[0]  # drivers take a list of one the long way
    if isinstance(session, SessionHere):
        return session.plain.execute(statement, values)
    assert isinstance(session, SessionThere)
    return await session.plain.execute(statement, values)


async def insert_new(session: AsyncSession, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row, unless one of its key stands already; whether it did."""
    return (await execute(session, _insert_new(table, own_insert(session)), row)).rowcount == 1


@lru_cache
def _insert_new(table: Table, insert: Callable[[Table], Any]) -> Executable:
    statement: Executable = insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return statement


def own_insert(session: AsyncSession) -> Callable[[Table], Any]:
    """The `insert` of the session's database: each has its own word for a row that stands already."""
    return sqlite.insert if on_sqlite(session) else postgresql.insert


def on_sqlite(session: AsyncSession) -> bool:
    """Whether there is only one writer, as it is."""
    return isinstance(session, SessionHere)


def readable(rows: Iterable[Row[Any]], read: Callable[[Row[Any]], T]) -> dict[str, T]:
    """What can be read of these rows, by id, for who must go on without the rest; that is logged."""
    found = {}
    for row in rows:
        try:
            found[str(row.id)] = read(row)
        except (ValueError, LookupError) as error:
            log.error("unreadable", of=row.id, error=type(error).__name__)
    return found


class PlainSession(AsyncSession):
    """A session on a connection. The mapper is made for who asks: it costs as much as the statement it would serve."""

    info: dict[Any, Any] = {}  # each has its own: what is proxied would make the mapper

    def __init__(self, connection: Connection | None) -> None:
        self.info = {}
        self._connection = connection
        self._mapped: Session | None = None

    @property
    def sync_session(self) -> Session:  # type: ignore[override]
        if self._mapped is None:
            self._mapped = Session(self._connection, expire_on_commit=False, join_transaction_mode="control_fully")
        return self._mapped

    _proxied = sync_session


class SessionThere(PlainSession):
    """On PostgreSQL."""

    def __init__(self, plain: AsyncConnection) -> None:
        super().__init__(plain.sync_connection)
        self.plain = plain

    async def commit(self) -> None:
        if self._mapped is not None:
            await super().commit()
        await self.plain.commit()


def _at_once(method: str) -> Any:
    async def call(self: AsyncSession, *given: Any, **options: Any) -> Any:
        return getattr(self.sync_session, method)(*given, **options)

    return call


class SessionHere(PlainSession):
    """SQLite behind the asynchronous face of a session, on the thread of its caller.

    A statement of ours takes microseconds. Handing it to another thread and back took longer than it, and so did
    SQLAlchemy's way of waiting in the middle of a call. Nothing waits inside SQLite: waiting for the writer is done
    outside (see `_begin`)."""

    exec, execute, flush, get, get_one, merge = map(_at_once, ("exec", "execute", "flush", "get", "get_one", "merge"))

    def __init__(self, plain: Connection) -> None:
        super().__init__(plain)
        self.plain = plain

    async def commit(self) -> None:
        if self._mapped is not None:
            self._mapped.commit()
        self.plain.commit()

    async def stream(self, *given: Any, **options: Any) -> Any:
        rows = self.sync_session.execute(*given, **options)

        async def each() -> AsyncIterator[Any]:
            for row in rows:
                yield row

        return each()


async def _begin(plain: Connection) -> None:
    """Wait for SQLite's writer lock in small pauses of our own.

    A time limit can cancel these, and not a wait inside SQLite, whose pauses also grow so long that two busy
    processes leave the lock idle most of the time. Each try is SQLite's alone: through the mapper a failed one
    costs as much as a small transaction."""
    driver = plain.connection.driver_connection
    pause = FIRST_PAUSE
    while not _began(driver):  # type: ignore[arg-type]
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # in step, two processes would meet for ever
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


def postgresql_engine(url: str, connections: int = 1, seconds: float | None = None, **options: Any) -> AsyncEngine:
    """At most so many connections, by asyncpg, which reads the URL itself: it may say what libpq's may.

    What is opened stays open: opening, and preparing each statement anew, costs more than a decision."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

    lock = seconds * SHARE_OF_LOCK if seconds else LOCK_SECONDS
    command_timeout = seconds * SHARE_OF_STATEMENT if seconds else None
    settings = {"lock_timeout": f"{1_000 * lock:.0f}ms"}

    async def connect() -> Any:
        return await asyncpg.connect(plain, server_settings=settings, command_timeout=command_timeout)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        **options,
    )


def _sqlite(url: str, busy_seconds: float) -> Engine:
    engine = create_engine(
        make_url(url).set(drivername="sqlite+pysqlite"),
        # A pool at its limit would wait on the thread that everybody shares.
        poolclass=QueuePool,
        max_overflow=-1,
        hide_parameters=True,
        connect_args={"timeout": busy_seconds, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # WAL with synchronous=FULL: an acknowledged command survives a power cut, not only a crash of the process.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
