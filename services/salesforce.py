"""Reads a Salesforce CPQ export: what it can map, and in words what it could not. It never guesses.

Facts of the format: ids in `Id` or `Guid`; nothing is empty or `#N/A`; numbers are floats such as 33.449999999999996;
a line's price is paid `ProrateMultiplier` times; the parts of a bundle name their parent in `RequiredBy`."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from domain.approvals.exchange import invalid_fields
from domain.errors import Invalid
from domain.quotes import Quote
from domain.values import ID_PATTERN, Value, plain_number

QUOTES, LINES, PRODUCTS = "SBQQ__Quote__c.csv", "SBQQ__QuoteLine__c.csv", "Product2.csv"
NEEDED = {
    QUOTES: ("SBQQ__Account__c",),
    LINES: ("SBQQ__Quote__c", "SBQQ__Product__c", "SBQQ__Quantity__c", "SBQQ__ListPrice__c", "SBQQ__NetPrice__c"),
    PRODUCTS: ("Name",),
}
NOTHING = ("", "#N/A")
MAX_FILE = 200 * 1024 * 1024
Row = dict[str, str]


class Remark(Value):
    """Something an import did not take over as it stood."""

    file: str
    record: str
    field: str
    what: str


class Product(Value):
    id: str
    code: str
    name: str
    family: str | None
    active: bool
    fields: dict[str, Any]


class Export(Value):
    """What a folder of CSV files says, in our own terms."""

    products: list[Product]
    quotes: list[Quote]
    remarks: list[Remark]


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


def rows_of(folder: Path, name: str) -> list[Row]:
    """The rows of one file. Raises Invalid naming the file and the line that is broken."""
    return list(_read(name, read_text(folder, name)))


def _read(name: str, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader)
        if not {"Id", "Guid"} & set(header):
            raise Invalid.field(f"{name} line 1", "needs a column Id or Guid")
        missing = [column for column in NEEDED.get(name, ()) if column not in header]
        if missing:
            raise Invalid.field(f"{name} line 1", f"lacks the column {missing[0]}")
        for values in reader:
            if values and len(values) != len(header):
                what = f"has {len(values)} values, the header names {len(header)}: is the file cut off?"
                raise Invalid.field(f"{name} line {reader.line_num}", what)
            if values:
                yield {k: "" if v in NOTHING else v for k, v in zip(header, values, strict=True)}
    except csv.Error as error:
        raise Invalid.field(f"{name} line {reader.line_num}", f"{error}: is the file cut off?") from None


def id_of(row: Row) -> str:
    return row.get("Id") or row.get("Guid") or ""


class _Reader:
    def __init__(self, owner: str, currency: str) -> None:
        self.owner, self.currency = owner, currency
        self.remarks: list[Remark] = []

    def remark(self, file: str, row: Row, field: str, what: str) -> None:
        self.remarks.append(Remark(file=file, record=id_of(row), field=field, what=what))

    def number(self, file: str, row: Row, field: str) -> Decimal | None:
        """The number as a person typed it: floats are mended to twelve significant digits, and said so."""
        text = row.get(field, "")
        if not text:
            return None
        try:
            given = Decimal(text)
            if not given.is_finite():
                raise InvalidOperation
        except InvalidOperation:
            raise Invalid.field(f"{file} {id_of(row)} {field}", f"{text[:40]!r} is not a number") from None
        mended = Decimal(plain_number(Decimal(f"{given:.12g}")))
        if mended != given:
            self.remark(file, row, field, f"float {text} read as {mended}")
        return mended

    def day(self, file: str, row: Row, field: str) -> date | None:
        text = row.get(field, "")
        try:
            return date.fromisoformat(text[:10]) if text else None
        except ValueError:
            self.remark(file, row, field, f"{text[:40]!r} is not a date and was left out")
            return None

    def product(self, row: Row) -> Product:
        taken = ("Name", "ProductCode", "Family", "IsActive", "Id", "Guid")
        return Product(
            id=id_of(row), code=row.get("ProductCode", ""), name=row["Name"], family=row.get("Family") or None,
            active=row.get("IsActive", "true") == "true",
            fields={k: v for k, v in row.items() if v and k not in taken},
        )  # fmt: skip

    def line(self, row: Row, products: dict[str, Product], siblings: set[str]) -> dict[str, Any]:
        product = products.get(row["SBQQ__Product__c"])
        if product is None:
            self.remark(LINES, row, "SBQQ__Product__c", f"names {row['SBQQ__Product__c']!r}, which no product has")
        quantity = self.number(LINES, row, "SBQQ__Quantity__c")
        net, times = self.number(LINES, row, "SBQQ__NetPrice__c"), self.number(LINES, row, "SBQQ__ProrateMultiplier__c")
        requires = row.get("SBQQ__RequiredBy__c") or None
        if requires and requires not in siblings:
            self.remark(LINES, row, "SBQQ__RequiredBy__c", f"names {requires!r}, which is not on the quote; left out")
            requires = None
        kept = {
            "number": row.get("SBQQ__Number__c", ""), "description": row.get("SBQQ__Description__c", "")[:4000],
            "subscription_type": row.get("SBQQ__SubscriptionType__c", ""),
            "existing": row.get("SBQQ__Existing__c", "") == "true", "bundle": row.get("SBQQ__Bundle__c", "") == "true",
        }  # fmt: skip
        term = self._term(row, times)
        return {
            "id": id_of(row), "product": row["SBQQ__Product__c"], "name": product.name if product else "",
            "family": product.family if product else None, "quantity": quantity,
            "list_price": self.number(LINES, row, "SBQQ__ListPrice__c"),
            "discount_percent": self.number(LINES, row, "SBQQ__Discount__c") or Decimal(0),
            "net_total": net * quantity if net is not None and quantity is not None else None,
            "billing": "recurring" if term else "one_time", "term_months": term,
            "recognition": "ratable" if term else "delivery", "requires": requires,
            "fields": {k: v for k, v in kept.items() if v not in ("", False)},
        }  # fmt: skip

    def _term(self, row: Row, times: Decimal | None) -> int | None:
        if times is None or times == 1:
            return None
        if times != times.to_integral_value():
            what = f"{times} is not a whole number of months; the line is kept with its own total"
            self.remark(LINES, row, "SBQQ__ProrateMultiplier__c", what)
            return None
        return int(times)

    def quote(self, row: Row, lines: list[dict[str, Any]]) -> Quote:
        account = row["SBQQ__Account__c"]
        name = row.get("SBQQ__BillingName__c") or row.get("SBQQ__ShippingName__c")
        if not name:
            self.remark(QUOTES, row, "SBQQ__BillingName__c", "no name of the customer; its id is shown instead")
        status = row.get("SBQQ__Status__c", "")
        if status not in ("", "Draft"):
            self.remark(QUOTES, row, "SBQQ__Status__c", f"{status!r} is not taken over: the quote comes in as a draft")
        term = self.number(QUOTES, row, "SBQQ__SubscriptionTerm__c")
        place = {ours: row.get(f"SBQQ__Shipping{theirs}__c", "") for ours, theirs in PLACE.items()}
        if any(place.values()):
            lines = [{**line, "ship_to": place} for line in lines]
        kept = {ours: row.get(theirs, "") for ours, theirs in KEPT.items()}
        data = {
            "id": id_of(row), "customer": {"id": account, "name": name or account}, "currency": self._currency(row),
            "owner": self.owner, "order_by": self.day(QUOTES, row, "SBQQ__ExpirationDate__c"),
            "term_months": int(term) if term is not None and term == term.to_integral_value() else None,
            "payment_terms": row.get("SBQQ__PaymentTerms__c") or None,
            "fields": {k: v for k, v in kept.items() if v}, "lines": lines,
        }  # fmt: skip
        try:
            return Quote.model_validate(data).checked(keep_source_figures=True)
        except ValidationError as error:
            raise invalid_fields(f"{QUOTES} {id_of(row)} cannot be read", error) from None

    def _currency(self, row: Row) -> str:
        return row.get("CurrencyIsoCode") or self.currency


PLACE = {"name": "Name", "street": "Street", "city": "City", "region": "State", "postal_code": "PostalCode",
         "country": "Country"}  # fmt: skip
KEPT = {"type": "SBQQ__Type__c", "primary": "SBQQ__Primary__c", "opportunity": "SBQQ__Opportunity2__c",
        "start_date": "SBQQ__StartDate__c", "end_date": "SBQQ__EndDate__c",
        "contracting_method": "SBQQ__ContractingMethod__c"}  # fmt: skip
MAPPED = {
    *(f"SBQQ__Shipping{theirs}__c" for theirs in PLACE.values()), *KEPT.values(), "Id", "Guid", "SBQQ__Account__c",
    "SBQQ__BillingName__c", "SBQQ__ExpirationDate__c", "SBQQ__SubscriptionTerm__c", "SBQQ__PaymentTerms__c",
    "SBQQ__Status__c", "CurrencyIsoCode",
}  # fmt: skip
LINE_MAPPED = {
    "Id", "Guid", "SBQQ__Quote__c", "SBQQ__Product__c", "SBQQ__Quantity__c", "SBQQ__ListPrice__c", "SBQQ__NetPrice__c",
    "SBQQ__ProrateMultiplier__c", "SBQQ__Discount__c", "SBQQ__RequiredBy__c", "SBQQ__Number__c",
    "SBQQ__Description__c", "SBQQ__SubscriptionType__c", "SBQQ__Existing__c", "SBQQ__Bundle__c",
}  # fmt: skip


def read_export(folder: Path, owner: str, currency: str) -> Export:
    """Everything the folder says about products and quotes. Raises Invalid on a file that is broken."""
    product_rows, quote_rows, line_rows = (rows_of(folder, name) for name in (PRODUCTS, QUOTES, LINES))
    reader = _Reader(owner, currency)
    _check_ids(PRODUCTS, product_rows)
    _check_ids(QUOTES, quote_rows)
    _check_ids(LINES, line_rows)
    products = {product.id: product for product in map(reader.product, product_rows)}
    by_quote: dict[str, list[Row]] = {id_of(row): [] for row in quote_rows}
    for row in line_rows:
        if (mine := by_quote.get(row["SBQQ__Quote__c"])) is None:
            reader.remark(
                LINES, row, "SBQQ__Quote__c", f"belongs to {row['SBQQ__Quote__c']!r}, which is not here; left out"
            )
        else:
            mine.append(row)
    quotes = [reader.quote(row, _lines(reader, by_quote[id_of(row)], products)) for row in quote_rows]
    if quote_rows and "CurrencyIsoCode" not in quote_rows[0]:
        what = f"the export names no currency; {currency} was taken, as asked"
        reader.remarks.append(Remark(file=QUOTES, record="all", field="CurrencyIsoCode", what=what))
    reader.remarks.append(
        Remark(
            file=QUOTES, record="all", field="OwnerId", what=f"owners are not users here; {owner} was taken, as asked"
        )
    )
    reader.remarks.extend(_unmapped(QUOTES, quote_rows, MAPPED))
    reader.remarks.extend(_unmapped(LINES, line_rows, LINE_MAPPED))
    return Export(products=list(products.values()), quotes=quotes, remarks=reader.remarks)


def _lines(reader: _Reader, rows: list[Row], products: dict[str, Product]) -> list[dict[str, Any]]:
    siblings = {id_of(row) for row in rows}
    ordered = sorted(rows, key=lambda row: Decimal(row.get("SBQQ__Number__c") or 0))
    return [reader.line(row, products, siblings) for row in ordered]


def _check_ids(file: str, rows: list[Row]) -> None:
    seen: set[str] = set()
    for n, row in enumerate(rows, 2):
        id = id_of(row)
        if not re.match(ID_PATTERN, id):
            raise Invalid.field(f"{file} row {n} Id", f"{id[:80]!r} is not an id of up to 64 letters, digits, . _ -")
        if id in seen:
            raise Invalid.field(f"{file} row {n} Id", f"{id} stands there twice")
        seen.add(id)


def _unmapped(file: str, rows: list[Row], mapped: set[str]) -> Iterator[Remark]:
    """Columns that hold something we have no place for."""
    for column in rows[0] if rows else ():
        values = {row[column] for row in rows if row[column]}
        if column not in mapped and values - {"false", "0.0", "0"}:
            yield Remark(file=file, record="all", field=column, what=f"not taken over ({len(values)} different values)")
