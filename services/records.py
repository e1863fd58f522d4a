"""Any CSV export as subjects of a policy: streamed, so that its length costs no memory."""

import csv
import io
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from domain.approvals.operators import alike
from domain.approvals.policy import Aggregate, Policy
from domain.approvals.subject import KNOWN_FIELDS, KNOWN_LINE_FIELDS, FieldType, Subject
from domain.errors import Invalid
from domain.values import Testable
from services.csv_files import NOTHING, open_csv

IDS = ("Id", "Guid", "id")
PARENTS = ("record", "quote", "SBQQ__Quote__c", "OpportunityId", "Opportunity")
STATUS = ("sbaa__ApprovalStatus__c", "SBQQ__ApprovalStatus__c", "status")
COLUMNS = (*IDS, *PARENTS, *STATUS)
Cells = dict[str, str]


def records(policy: Policy, file: Path, lines: Path | None = None) -> Iterator[tuple[Subject, str]]:
    """Each record as the policy sees it, with its own status, in the file's order.

    Raises Invalid naming the file and the line."""
    read = _Types(policy)
    with _lines_of(lines) as find:
        for n, row in _rows(file):
            id = _first(row, IDS)
            if not id:
                raise Invalid.field(f"{file.name} line {n}", f"needs an id in one of the columns {', '.join(IDS)}")
            yield read.subject(id, row, find(id)), (_first(row, STATUS) or "draft").lower()


class _Types:
    """How cells are read: what the kind or the policy's variables know as numbers, dates and lists; texts stay texts.

    A number among the texts is compared as one where a condition names a number."""

    def __init__(self, policy: Policy) -> None:
        self._kind = policy.kind
        self._fields = KNOWN_FIELDS.get(policy.kind, {})
        gathered = {name: FieldType.NUMBER for v in policy.variables if v.aggregate is not Aggregate.COUNT
                    for name in (v.field, v.list, v.net) if name}  # fmt: skip
        self._line_fields = {**KNOWN_LINE_FIELDS.get(policy.kind, {}), **gathered}

    def subject(self, id: str, row: Cells, lines: list[Cells]) -> Subject:
        return Subject(
            kind=self._kind, id=id, version=1, digest="", title=row.get("Name") or id,
            customer=row.get("AccountId", ""), owner=row.get("OwnerId", ""),
            fields={name: _typed(text, self._fields.get(name)) for name, text in row.items()},
            lines=[{name: _typed(text, self._line_fields.get(name)) for name, text in line.items()} for line in lines],
        )  # fmt: skip


def _typed(text: str, type: FieldType | None) -> Testable:
    if text in NOTHING:
        return None
    if text in ("true", "false"):
        return text == "true"
    if type is FieldType.TEXTS:
        return tuple(text.split(";"))
    if type in (FieldType.NUMBER, FieldType.DATE):
        return alike(text, Decimal(0) if type is FieldType.NUMBER else date.min)[0]
    return text


def _first(row: Cells, names: tuple[str, ...]) -> str:
    return next((row[name] for name in names if row.get(name) not in (None, *NOTHING)), "")


def _rows(file: Path) -> Iterator[tuple[int, Cells]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        try:
            yield from open_csv(file.name, stream, COLUMNS)[1]
        except UnicodeDecodeError:
            raise Invalid.field(file.name, "is not UTF-8 text; export it as CSV in UTF-8") from None


@contextmanager
def _lines_of(file: Path | None) -> Iterator[Any]:
    """Finds the lines of a record, whatever order the file has them in: they are sorted on disk, not in memory."""
    if file is None:
        yield lambda id: []
        return
    store = sqlite3.connect("")  # an empty name is a private file that SQLite deletes
    try:
        store.execute("create table line (parent text, n integer, cells text)")
        for n, row in _rows(file):
            parent = _first(row, PARENTS)
            if not parent:
                where = f"{file.name} line {n}"
                raise Invalid.field(where, f"needs its record's id in one of the columns {', '.join(PARENTS)}")
            store.execute("insert into line values (?, ?, ?)", (parent, n, json.dumps(row)))
        store.execute("create index by_parent on line (parent, n)")
        query = "select cells from line where parent = ? order by n"
        yield lambda id: [json.loads(cells) for (cells,) in store.execute(query, (id,))]
    finally:
        store.close()


def csv_of(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


BOM = "\ufeff"
"""At the beginning of a CSV file it tells spreadsheets that the text is UTF-8."""


def spreadsheet_safe(text: str) -> str:
    """A cell that a spreadsheet will not run as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
