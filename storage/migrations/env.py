"""How alembic reaches the database and knows the tables."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import create_engine
from sqlmodel import SQLModel

import storage.tables  # noqa: F401 - registers the tables


def render(type_: str, value: Any, autogen: Any) -> str | Literal[False]:
    """Our own column types are written by name."""
    if type_ == "type" and type(value).__module__ == "storage.types":
        autogen.imports.add("import storage.types")
        return f"storage.types.{type(value).__name__}()"
    return False


def run() -> None:
    engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "")
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=SQLModel.metadata,
            render_item=render,
            render_as_batch=connection.dialect.name == "sqlite",
            compare_type=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
