"""How alembic reaches the database and knows the tables."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, create_engine, make_url
from sqlmodel import SQLModel

import storage.tables  # noqa: F401 - registers the tables
from storage.database import postgresql_engine


def render(type_: str, value: Any, autogen: Any) -> str | Literal[False]:
    """Our own column types are written by name."""
    if type_ == "type" and type(value).__module__ == "storage.types":
        autogen.imports.add("import storage.types")
        return f"storage.types.{type(value).__name__}()"
    return False


def run() -> None:
    url = context.config.get_main_option("sqlalchemy.url") or ""
    if url.startswith("sqlite"):
        engine = create_engine(make_url(url).set(drivername="sqlite"))
        with engine.connect() as connection:
            migrate(connection)
        engine.dispose()
    else:
        with ThreadPoolExecutor(1) as aside:  # the caller may be in a loop of its own
            aside.submit(asyncio.run, on_postgresql(url)).result()


async def on_postgresql(url: str) -> None:
    engine = postgresql_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_item=render,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
