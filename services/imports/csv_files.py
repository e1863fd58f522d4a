"""Reads exported CSV files, for every import: comma, semicolon or tab, `sep=` lines, column names in any case.

Nothing is guessed: a column that stands there twice, a line that is cut off and a number that can be read in two ways
are refused by name."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TextIO

from domain.errors import Invalid
from domain.values import plain_number

NOTHING = ("", "#N/A")
MAX_FILE = 200 * 1024 * 1024
MAX_CELL = 1_000_000
LONGEST_NUMBER = 60
SEPARATORS = ",;\t"
Row = dict[str, str]
Locale = Literal["point", "comma"]
POINT = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d*)?(?:[eE][-+]?\d{1,2})?|[-+]?\.\d+", re.ASCII)
AMBIGUOUS = re.compile(r"[-+]?\d{1,3}[.,]\d{3}", re.ASCII)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ].{1,30})?", re.ASCII)
COMMA = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:\.\d{3})+)(?:,\d*)?", re.ASCII)
LARGEST = Decimal(10) ** 15
"""No quantity and no price is larger: a sum of such amounts still is exact."""
TRUTHS = {
    **dict.fromkeys(("true", "1", "yes", "y", "verdadeiro", "sim", "s", "satt", "já"), True),
    **dict.fromkeys(("false", "0", "no", "n", "falso", "não", "nao", "ósatt", "nei"), False),
}  # fmt: skip
"""As exports and spreadsheets write them, in our three languages."""


def read_text(folder: Path, name: str) -> str:
    """One file of an export. Raises Invalid naming it, and the line that is no text."""
    file = folder / name
    if not file.is_file():
        raise Invalid.field(name, f"is missing in {folder.name}/")
    if file.stat().st_size > MAX_FILE:
        raise Invalid.field(name, f"is larger than {MAX_FILE // 1024 // 1024} MiB")
    raw = file.read_bytes()
    if not raw.strip():
        raise Invalid.field(name, "is empty: it needs at least a line of column names")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise Invalid.field(f"{name} line {line}", "is not UTF-8 text; export it as CSV in UTF-8") from None
    if "\x00" in text:
        raise Invalid.field(name, "is a binary file, not CSV")
    return text


@dataclass(frozen=True)
class Table:
    """A file's rows, and what separates their cells."""

    name: str
    rows: list[Row]
    separator: str = ","


def read_csv(name: str, text: str, known: Iterable[str] = (), needed: Sequence[str] = ()) -> Table:
    """All rows of a file. Raises Invalid naming file and line."""
    separator, rows = open_csv(name, io.StringIO(text, newline=""), known, needed)
    return Table(name, [row for _, row in rows], separator)


def open_csv(
    name: str, stream: TextIO, known: Iterable[str] = (), needed: Sequence[str] = ()
) -> tuple[str, Iterator[tuple[int, Row]]]:
    """What separates a file's cells, and its rows one after another, each with its line.

    Columns we know come under our own spelling; `#N/A` is nothing. Raises Invalid naming file and line."""
    csv.field_size_limit(MAX_CELL)
    skipped, first = _first_line(stream, 0)
    separator = _separator(first)
    if first.strip().strip('"').lower().startswith("sep="):
        separator = first.strip().strip('"')[4:5] or ","
        skipped, first = _first_line(stream, skipped + 1)
    spelled = {column.lower(): column for column in (*known, *needed)}
    reader = csv.reader(chain([first], stream), delimiter=separator, strict=True, skipinitialspace=True)
    return separator, _rows(name, reader, spelled, needed, skipped)


def _first_line(stream: TextIO, skipped: int) -> tuple[int, str]:
    """The first line that says something, and how many stand before it."""
    while (line := stream.readline()) and not line.strip():
        skipped += 1
    return skipped, line


def _rows(
    name: str, reader: Any, spelled: dict[str, str], needed: Sequence[str], skipped: int
) -> Iterator[tuple[int, Row]]:
    try:
        cells = next(reader, None)
        if not cells:
            raise Invalid.field(name, "is empty: it needs at least a line of column names")
        header = [spelled.get(cell.strip().lower(), cell.strip()) for cell in cells]
        _check_header(name, header, needed)
        for values in reader:
            if not any(value.strip() for value in values):
                continue  # a row that a spreadsheet left empty
            if len(values) != len(header):
                what = f"has {len(values)} values, the header names {len(header)}: is the file cut off?"
                raise Invalid.field(f"{name} line {reader.line_num + skipped}", what)
            texts = (value.strip() for value in values)
            yield reader.line_num + skipped, {k: "" if v in NOTHING else v for k, v in zip(header, texts, strict=True)}
    except csv.Error as error:
        raise Invalid.field(f"{name} line {reader.line_num + skipped}", f"{error}: is the file cut off?") from None


def _separator(header: str) -> str:
    """What separates the column names: no name of ours holds any of them."""
    return max(SEPARATORS, key=header.count)


def _check_header(name: str, header: list[str], needed: Sequence[str]) -> None:
    lower = [column.lower() for column in header]
    if twice := next((column for column in header if lower.count(column.lower()) > 1), None):
        raise Invalid.field(f"{name} line 1", f"has the column {twice!r} twice: which one counts?")
    if missing := next((column for column in needed if column not in header), None):
        raise Invalid.field(f"{name} line 1", f"lacks the column {missing}")


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its number. Only line breaks break lines: U+2028 and form feeds stand inside of them."""
    for number, line in enumerate(text.split("\n"), 1):
        yield number, line.removesuffix("\r")


def number_locale(table: Table, columns: Iterable[str]) -> Locale:
    """How a file writes numbers: 1,234.5 or 1.234,5. Raises Invalid where both stand in it, or nothing tells."""
    names = tuple(columns)
    cells = ((column, row[column]) for row in table.rows for column in names if row.get(column))
    return locale_of_cells(table.name, table.separator, cells)


def locale_of_cells(name: str, separator: str, cells: Iterable[tuple[str, str]]) -> Locale:
    """The same, of cells with their columns, one after another. Raises Invalid."""
    point: tuple[str, str] | None = None
    comma: tuple[str, str] | None = None
    unclear: tuple[str, str] | None = None
    for cell in cells:
        is_point, is_comma = POINT.fullmatch(cell[1]), COMMA.fullmatch(cell[1])
        point = point or (cell if is_point and not is_comma else None)
        comma = comma or (cell if is_comma and not is_point else None)
        if AMBIGUOUS.fullmatch(cell[1]) and ("," in cell[1] or separator != ","):
            unclear = unclear or cell
    if point and comma:
        raise Invalid.field(f"{name} {comma[0]}", f"writes numbers in two ways, {point[1]!r} and {comma[1]!r}")
    if unclear and not point and not comma:
        what = f"{unclear[1]!r} may be a thousand or a fraction: export numbers without grouping"
        raise Invalid.field(f"{name} {unclear[0]}", what)
    return "comma" if comma else "point"


def parse_number(text: str, locale: Locale) -> Decimal | None:
    """The number a cell holds; None for what is none in the file's way of writing them, or is too large."""
    text = text.strip()
    if len(text) > LONGEST_NUMBER or not (POINT if locale == "point" else COMMA).fullmatch(text):
        return None
    plain = text.replace(",", "") if locale == "point" else text.replace(".", "").replace(",", ".")
    number = Decimal(plain)
    return number if number.is_zero() or -LONGEST_NUMBER < number.adjusted() < LARGEST.adjusted() else None


def parse_day(text: str) -> date | None:
    """The day a cell holds, with or without a time after it; None for what is none."""
    try:
        return date.fromisoformat(text[:10]) if DAY.fullmatch(text) else None
    except ValueError:
        return None


def parse_checkbox(text: str, field: str) -> bool:
    """Whether a checkbox is on; blank is off. Raises Invalid naming the field."""
    on = parse_truth(text) if text else False
    if on is None:
        raise Invalid.field(field, f"{text[:40]!r} is neither true nor false")
    return on


def repair_float(number: Decimal) -> Decimal:
    """A float as a person typed it, to twelve significant digits: 33.449999999999996 is 33.45."""
    return Decimal(plain_number(Decimal(f"{number:.12g}")))


def parse_truth(text: str) -> bool | None:
    return TRUTHS.get(text.strip().lower())
