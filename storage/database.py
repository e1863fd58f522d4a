"""Connections. Writers take turns on SQLite (BEGIN IMMEDIATE); readers never see what is not committed."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, TypeVar

import structlog
from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Executable,
    Insert,
    QueuePool,
    Row,
    Table,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session as MappedSession
from sqlmodel import Session
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import Clash
from storage.pipeline import Line, lined, unanswered

log = structlog.get_logger()
T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02


class Database:
    """One database, by URL: `sqlite:///file` or `postgresql+psycopg://…`."""

    def __init__(self, url: str, pool: int = 10) -> None:
        self.url = url
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
            # Prepared statements are kept on the server by name; a pooler between would lose them, so none are made.
            options = {"prepare_threshold": None}
            half = pool // 2
            self._writer = create_async_engine(
                url, pool_size=pool, max_overflow=half, hide_parameters=True,
                connect_args={**options, "async_creator_fn": Line.open},
            )  # fmt: skip
            # A reader sees what is committed at each statement, in a transaction or not; without one it asks less.
            self._reader = create_async_engine(
                url, pool_size=half, max_overflow=half, hide_parameters=True,
                connect_args=options, isolation_level="AUTOCOMMIT",
            )  # fmt: skip

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
        async with _session(self._reader) as session:
            yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end of the block, or nothing of it."""
        if isinstance(self._writer, AsyncEngine):
            try:
                async with _session(self._writer) as session, lined(session):
                    yield session
                    await session.commit()
            except IntegrityError:
                raise Clash("Somebody did the same at this moment. Read it again, and try again.") from None
            return
        async with self._turn, SessionHere(self._writer) as session:
            await _begin(session.plain)
            yield session
            await session.commit()


async def execute(
    session: AsyncSession, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
) -> CursorResult[Any]:
    """Run a statement over tables, past the mapper: for what runs several times in every click.

    Statements kept as constants are compiled once; the mapper's share of a query is many times SQLite's own."""
    if isinstance(values, list) and len(values) == 1:
        values = values[0]  # drivers take a list of one the long way
    if isinstance(session, SessionHere):
        return session.plain.execute(statement, values)

    def run(within: MappedSession) -> CursorResult[Any]:
        return within.connection().execute(statement, values)

    return await session.run_sync(run)


async def write(
    session: AsyncSession, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
) -> None:
    """Run a statement of a transaction whose answer nobody reads. Should it fail, the next one or the commit does."""
    if isinstance(statement, Insert):
        statement = statement.inline()  # else the database answers with the number it gave the row, where it gives one
    with unanswered(session):
        await execute(session, statement, values)


async def insert_new(session: AsyncSession, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row, unless one of its key stands already; whether it did."""
    insert = _insert_new(table, sqlite.insert if on_sqlite(session) else postgresql.insert)
    return (await execute(session, insert, row)).rowcount == 1


@lru_cache
def _insert_new(table: Table, insert: Callable[[Table], Any]) -> Executable:
    statement: Executable = insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return statement


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


def _session(engine: Engine | AsyncEngine) -> AsyncSession:
    if isinstance(engine, AsyncEngine):
        return AsyncSession(engine, expire_on_commit=False)
    return SessionHere(engine)


def _at_once(method: str) -> Any:
    async def call(self: AsyncSession, *given: Any, **options: Any) -> Any:
        return getattr(self.sync_session, method)(*given, **options)

    return call


class SessionHere(AsyncSession):
    """SQLite behind the asynchronous face of a session, on the thread of its caller.

    A statement of ours takes microseconds. Handing it to another thread and back took longer than it, and so did
    SQLAlchemy's way of waiting in the middle of a call. Nothing waits inside SQLite: waiting for the writer is done
    outside (see `_begin`). The mapper is made for who asks for it: it costs as much as the statement it would serve."""

    exec, execute, flush, get, get_one, merge = map(
        _at_once, ("exec", "execute", "flush", "get", "get_one", "merge")
    )  # fmt: skip
    info: dict[Any, Any] = {}  # each has its own: what is proxied would make the mapper

    def __init__(self, engine: Engine) -> None:
        self.plain = engine.connect()
        self.info = {}
        self._mapped: Session | None = None

    @property
    def sync_session(self) -> Session:  # type: ignore[override]
        if self._mapped is None:
            self._mapped = Session(self.plain, expire_on_commit=False, join_transaction_mode="control_fully")
        return self._mapped

    _proxied = sync_session

    async def commit(self) -> None:
        if self._mapped is not None:
            self._mapped.commit()
        self.plain.commit()

    async def close(self) -> None:
        if self._mapped is not None:
            self._mapped.close()
        self.plain.close()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run_sync(self, fn: Any, *arg: Any, **kw: Any) -> Any:
        return fn(self.sync_session, *arg, **kw)

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


def _sqlite(url: str, busy_seconds: float) -> Engine:
    engine = create_engine(
        make_url(url).set(drivername="sqlite+pysqlite"),
        # A pool at its limit would wait on the thread that everybody shares.
        poolclass=QueuePool, max_overflow=-1, hide_parameters=True,
        connect_args={"timeout": busy_seconds, "isolation_level": None, "check_same_thread": False},
    )  # fmt: skip

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # WAL with synchronous=FULL: an acknowledged command survives a power cut, not only a crash of the process.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
