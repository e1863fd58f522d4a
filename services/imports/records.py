"""Any CSV export as subjects of a policy: streamed, so that its length costs no memory."""

import csv
import io
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from domain.approvals.policy import Aggregate, Policy
from domain.approvals.subject import KNOWN_FIELDS, KNOWN_LINE_FIELDS, FieldType, Subject
from domain.errors import Invalid
from domain.values import Testable
from services.imports.csv_files import NOTHING, Row, locale_of_cells, open_csv, parse_day, parse_number, parse_truth

IDS = ("Id", "Guid", "id")
PARENTS = ("record", "quote", "SBQQ__Quote__c", "OpportunityId", "Opportunity")
STATUS = ("sbaa__ApprovalStatus__c", "SBQQ__ApprovalStatus__c", "status")
COLUMNS = (*IDS, *PARENTS, *STATUS)
PERCENT = "percent"
"""The end of a field's name whose cells may end with a percent sign."""


def records(policy: Policy, file: Path, lines: Path | None = None) -> Iterator[tuple[Subject, str]]:
    """Each record as the policy sees it, with its own status, in the file's order.

    Raises Invalid naming the file and the line."""
    types = _Types(policy)
    header = _File(file, types.fields)
    with _lines_of(_File(lines, types.line_fields) if lines else None) as find:
        for n, row in header.rows():
            id = _first(row, IDS)
            if not id:
                raise Invalid.field(f"{file.name} line {n}", f"needs an id in one of the columns {', '.join(IDS)}")
            subject = Subject(
                kind=policy.kind,
                id=id,
                version=1,
                digest="",
                title=row.get("Name") or id,
                customer=row.get("AccountId", ""),
                owner=row.get("OwnerId", ""),
                fields=header.typed(n, row),
                lines=find(id),
            )
            yield subject, (_first(row, STATUS) or "draft").lower()


class _Types:
    """How cells are read: what the kind or the policy's variables know as numbers, dates and lists; texts stay texts.

    A number among the texts is compared as one where a condition names a number."""

    def __init__(self, policy: Policy) -> None:
        tested: dict[str, FieldType | None] = {
            condition.field: None for rule in policy.rules for condition in rule.conditions if condition.field
        }
        gathered = {
            name: FieldType.NUMBER
            for v in policy.variables
            if v.aggregate is not Aggregate.COUNT
            for name in (v.field, v.list, v.net)
            if name
        }
        filtered: dict[str, FieldType | None] = {kept.field: None for v in policy.variables for kept in v.where}
        self.fields: dict[str, FieldType | None] = {**tested, **KNOWN_FIELDS.get(policy.kind, {})}
        self.line_fields: dict[str, FieldType | None] = {
            **filtered, **KNOWN_LINE_FIELDS.get(policy.kind, {}), **gathered,
        }  # fmt: skip


class _File:
    """One file, whose columns a policy knows; its numbers are all written in one way."""

    def __init__(self, file: Path, types: Mapping[str, FieldType | None]) -> None:
        self._file, self._types = file, types
        self.name = file.name
        numbers = [name for name, type in types.items() if type is FieldType.NUMBER]
        with self._open() as (separator, rows):
            cells = ((name, row[name]) for _, row in rows for name in numbers if row.get(name))
            self._locale = locale_of_cells(file.name, separator, cells)

    def rows(self) -> Iterator[tuple[int, Row]]:
        with self._open() as (_, rows):
            yield from rows

    @contextmanager
    def _open(self) -> Iterator[tuple[str, Iterator[tuple[int, Row]]]]:
        with self._file.open(encoding="utf-8-sig", newline="") as stream:
            try:
                yield open_csv(self.name, stream, (*COLUMNS, *self._types))
            except UnicodeDecodeError:
                raise Invalid.field(self.name, "is not UTF-8 text; export it as CSV in UTF-8") from None

    def typed(self, n: int, row: Row) -> dict[str, Testable]:
        return {name: self._cell(n, name, text) for name, text in row.items()}

    def _cell(self, n: int, name: str, text: str) -> Testable:
        type = self._types.get(name)
        if text in NOTHING:
            return None
        if type is FieldType.NUMBER:
            number = parse_number(text.removesuffix("%") if name.endswith(PERCENT) else text, self._locale)
            if number is None:
                raise Invalid.field(f"{self.name} line {n} {name}", f"{text[:40]!r} is not a number")
            return number
        if type is FieldType.DATE:
            if (day := parse_day(text)) is None:
                raise Invalid.field(f"{self.name} line {n} {name}", f"{text[:40]!r} is not a date")
            return day
        if type is FieldType.TEXTS:
            return tuple(text.split(";"))
        truth = parse_truth(text) if type is FieldType.BOOL or text.lower() in ("true", "false") else None
        return text if truth is None else truth


def _first(row: Row, names: tuple[str, ...]) -> str:
    return next((row[name] for name in names if row.get(name) not in (None, *NOTHING)), "")


@contextmanager
def _lines_of(file: _File | None) -> Iterator[Callable[[str], list[dict[str, Testable]]]]:
    """Finds the lines of a record, whatever order the file has them in: they are sorted on disk, not in memory."""
    if file is None:
        yield lambda id: []
        return
    store = sqlite3.connect("")  # an empty name is a private file that SQLite deletes
    try:
        store.execute("create table line (parent text, n integer, cells text)")
        for n, row in file.rows():
            parent = _first(row, PARENTS)
            if not parent:
                where = f"{file.name} line {n}"
                raise Invalid.field(where, f"needs its record's id in one of the columns {', '.join(PARENTS)}")
            store.execute("insert into line values (?, ?, ?)", (parent, n, json.dumps(row)))
        store.execute("create index by_parent on line (parent, n)")
        query = "select n, cells from line where parent = ? order by n"
        yield lambda id: [file.typed(n, json.loads(cells)) for n, cells in store.execute(query, (id,))]
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
