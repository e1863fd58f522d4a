"""Several writes as one statement, for a database that is a way away."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import BindParameter, Executable, Insert, UpdateBase, bindparam, literal_column, select
from sqlalchemy.sql.visitors import cloned_traverse

Write = tuple[UpdateBase, Mapping[str, Any]]
"""An insert with a whole row, or a change that names its values with those."""


def together(writes: list[Write]) -> tuple[Executable, dict[str, Any]]:
    """One statement that does them all, and its values. None sees what another does: they concern different rows."""
    statement = _statement(tuple((write, tuple(row)) for write, row in writes))
    return statement, {_name(n, key): value for n, (_, row) in enumerate(writes) for key, value in row.items()}


@lru_cache(500)
def _statement(shape: tuple[tuple[UpdateBase, tuple[str, ...]], ...]) -> Executable:
    parts = (_numbered(n, write, columns).cte(f"write_{n}") for n, (write, columns) in enumerate(shape))
    statement: Executable = select(literal_column("1")).add_cte(*parts)
    return statement


def _numbered(n: int, write: UpdateBase, columns: tuple[str, ...]) -> UpdateBase:
    """The write with names of its own for its values."""
    if isinstance(write, Insert):
        return write.values({column: bindparam(_name(n, column)) for column in columns})

    def number(value: BindParameter[Any]) -> None:
        if not value.unique:
            value.key = _name(n, value.key)

    return cloned_traverse(write, {}, {"bindparam": number})


def _name(n: int, key: str) -> str:
    return f"{n}_{key}"
