"""Reads a Salesforce CPQ export: what it can map, and in words what it could not. It never guesses.

Facts of the format: ids in `Id` or `Guid`; nothing is empty or `#N/A`; numbers are floats such as 33.449999999999996;
a line's price is paid `ProrateMultiplier` times; the parts of a bundle name their parent in `RequiredBy`."""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from domain.errors import Invalid
from domain.money import rounded
from domain.problems import ID_PATTERN, invalid_fields
from domain.quotes import Quote
from domain.values import Value, short_id
from services.imports.csv_files import (
    LARGEST,
    Locale,
    Row,
    Table,
    number_locale,
    parse_checkbox,
    parse_day,
    parse_number,
    parse_truth,
    read_csv,
    read_text,
    repair_float,
)

QUOTES, LINES, PRODUCTS = "SBQQ__Quote__c.csv", "SBQQ__QuoteLine__c.csv", "Product2.csv"
NEEDED = {QUOTES: (), LINES: ("SBQQ__Quote__c", "SBQQ__Quantity__c"), PRODUCTS: ("Name",)}
"""What nothing can be taken over without."""
NUMBERS = (
    "SBQQ__Number__c",
    "SBQQ__Quantity__c",
    "SBQQ__ListPrice__c",
    "SBQQ__NetPrice__c",
    "SBQQ__Discount__c",
    "SBQQ__ProrateMultiplier__c",
    "SBQQ__SubscriptionTerm__c",
    "SBQQ__DefaultSubscriptionTerm__c",
)
SUBSCRIPTIONS = ("renewable", "evergreen")
PRODUCT_NAMES = (
    "SBQQ__ProductName__c",
    "SBQQ__ProductCode__c",
    "SBQQ__PackageProductCode__c",
    "SBQQ__PricebookEntryId__c",
    "SBQQ__Description__c",
)
"""What a line says of its product, where no product is named by id."""


class Remark(Value):
    """Something an import did not take over as it stood."""

    file: str
    record: str
    field: str
    what: str
    kind: Literal["note", "not_mapped", "refused"] = "note"


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
    read: dict[str, int] = {}
    """How many records the files hold."""


def table_of(folder: Path, name: str, columns: Collection[str] = ()) -> Table:
    """The rows of one file, `columns` under our own spelling. Raises Invalid naming the file and the line."""
    table = read_csv(name, read_text(folder, name), columns or COLUMNS, NEEDED.get(name, ()))
    if table.rows and not {"Id", "Guid"} & set(table.rows[0]):
        raise Invalid.field(f"{name} line 1", "needs a column Id or Guid")
    return table


def id_of(row: Row) -> str:
    return row.get("Id") or row.get("Guid") or ""


class _Reader:
    def __init__(self, owner: str, currency: str, locales: dict[str, Locale]) -> None:
        self.owner, self.currency, self.locales = owner, currency, locales
        self.remarks: list[Remark] = []
        self.found: dict[str, Product] = {}
        """Products that only lines speak of."""
        self.twice: set[str] = set()
        """Ids that more than one line has."""

    def remark(self, file: str, row: Row, field: str, what: str, kind: Any = "note") -> None:
        self.remarks.append(Remark(file=file, record=id_of(row), field=field, what=what, kind=kind))

    def number(self, file: str, row: Row, field: str) -> Decimal | None:
        """The number as a person typed it: floats are mended to twelve significant digits, and said so."""
        text = row.get(field, "")
        if not text:
            return None
        given = parse_number(text, self.locales.get(file, "point"))
        if given is None:
            raise Invalid.field(f"{file} {id_of(row)} {field}", f"{text[:40]!r} is not a number")
        if (number := repair_float(given)) != given:
            self.remark(file, row, field, f"float {text} read as {number}")
        return number

    def known_by_id(self, table: Table, kind: Literal["not_mapped", "refused"]) -> list[Row]:
        """The records that have an id of their own; each of the others is listed."""
        seen: set[str] = set()
        found = []
        for n, row in enumerate(table.rows, 1):
            if problem := _id_problem(row, seen):
                what = f"record {n} of the file: {problem}; left out"
                self.remarks.append(
                    Remark(file=table.name, record=id_of(row)[:80] or f"record {n}", field="Id", what=what, kind=kind)
                )
            else:
                found.append(row)
        return found

    def day(self, file: str, row: Row, field: str) -> date | None:
        text = row.get(field, "")
        day = parse_day(text)
        if text and day is None:
            self.remark(file, row, field, f"{text[:40]!r} is not a date and was left out", "not_mapped")
        return day

    def product(self, row: Row) -> Product:
        taken = ("Name", "ProductCode", "Family", "IsActive", "Id", "Guid")
        active = parse_truth(row.get("IsActive") or "true")
        if active is None:
            self.remark(PRODUCTS, row, "IsActive", f"{row['IsActive'][:40]!r} is neither true nor false", "not_mapped")
        return Product(
            id=id_of(row),
            code=row.get("ProductCode", ""),
            name=row["Name"],
            family=row.get("Family") or None,
            active=active is not False,
            fields={k: v for k, v in row.items() if v and k not in taken},
        )

    def line(self, row: Row, quote: Row, products: dict[str, Product], siblings: set[str]) -> dict[str, Any]:
        product = self.product_of(row, products)
        quantity = self.number(LINES, row, "SBQQ__Quantity__c")
        net, full = self.number(LINES, row, "SBQQ__NetPrice__c"), self.number(LINES, row, "SBQQ__ListPrice__c")
        if net is None and full is not None:
            self.remark(LINES, row, "SBQQ__NetPrice__c", "no net price; it follows from list price and discount")
        if full is None and net is not None:
            self.remark(LINES, row, "SBQQ__ListPrice__c", "no list price; the net price was taken")
        requires = row.get("SBQQ__RequiredBy__c") or None
        if requires and requires not in siblings:
            self.remark(LINES, row, "SBQQ__RequiredBy__c", f"names {requires!r}, which is not on the quote; left out")
            requires = None
        kept = {
            "number": row.get("SBQQ__Number__c", ""), "description": row.get("SBQQ__Description__c", "")[:4000],
            "subscription_type": row.get("SBQQ__SubscriptionType__c", ""),
            "existing": parse_truth(row.get("SBQQ__Existing__c", "")),
            "bundle": parse_truth(row.get("SBQQ__Bundle__c", "")),
        }  # fmt: skip
        term, product_term = self.terms(row, quote, product)
        total = self.total(row, quote, net, quantity)
        monthly = (net if full is None else full) if product_term == 1 else _part(full, product_term)
        return {
            "id": id_of(row), "product": product.id, "name": product.name, "family": product.family,
            "quantity": quantity, "list_price": monthly,
            "discount_percent": self.number(LINES, row, "SBQQ__Discount__c"),
            "net_total": total,
            "billing": "recurring" if term else "one_time", "term_months": term,
            "recognition": "ratable" if term else "delivery", "requires": requires,
            "fields": {k: v for k, v in kept.items() if v not in ("", False, None)},
        }  # fmt: skip

    def total(self, row: Row, quote: Row, net: Decimal | None, quantity: Decimal | None) -> Decimal | None:
        """What the line costs: rounded once, half up, to the minor unit, and said so where the source is finer."""
        if net is None or quantity is None:
            return None
        if abs(net * quantity) >= LARGEST:
            raise Invalid.field(f"{LINES} {id_of(row)} SBQQ__NetPrice__c", f"{quantity} × {net} is too large")
        if (total := rounded(net * quantity, self._currency(quote))) != net * quantity:
            self.remark(LINES, row, "SBQQ__NetPrice__c", f"{quantity} × {net} is {net * quantity}, rounded to {total}")
        return total

    def product_of(self, row: Row, products: dict[str, Product]) -> Product:
        """The product that a line names, or as much of it as the line says itself."""
        named = row.get("SBQQ__Product__c", "")
        if named in products:
            return products[named]
        name = next((row[column] for column in PRODUCT_NAMES if row.get(column)), named)
        if not name:
            raise Invalid.field(f"{LINES} {id_of(row)} SBQQ__Product__c", "names no product, by id, code or name")
        what = f"names {named!r}, which no product has" if named else "no product is named by its id"
        self.remark(LINES, row, "SBQQ__Product__c", f"{what}; {name[:40]!r} was taken from the line")
        id = named or name
        id = id if re.match(ID_PATTERN, id) else short_id("P", id)
        code = row.get("SBQQ__ProductCode__c", "")
        return self.found.setdefault(
            id, Product(id=id, code=code, name=" ".join(name.split())[:200], family=None, active=True, fields={})
        )

    def terms(self, row: Row, quote: Row, product: Product) -> tuple[int | None, Decimal]:
        """The months of a subscription line, and how many of them its list price is for.

        The prorate multiplier is the line's term over the product's own: two of the three tell the third. Where they do
        not, the line is listed and kept with its own total: nothing is guessed."""
        kind = row.get("SBQQ__SubscriptionType__c") or row.get("SBQQ__ProductSubscriptionType__c") or ""
        given = self.number(LINES, row, "SBQQ__ProrateMultiplier__c")
        times = Decimal(1) if given is None else given
        if kind.lower() not in SUBSCRIPTIONS:
            if kind and kind.lower() != "one-time":
                self._not_mapped(row, f"{kind[:40]!r} is no kind of subscription that we know")
            elif times != 1 and not kind:
                self._not_mapped(
                    row, f"the prorate multiplier is {times}, and nothing says what kind of subscription it is"
                )
            return None, Decimal(1)
        if kind.lower() == "evergreen":
            self._not_mapped(row, "it is evergreen: it has no term")
            return None, Decimal(1)
        own = self.number(LINES, row, "SBQQ__DefaultSubscriptionTerm__c") or _number(
            product.fields.get("SBQQ__SubscriptionTerm__c", ""), self.locales.get(PRODUCTS, "point")
        )
        said = self.number(LINES, row, "SBQQ__SubscriptionTerm__c")
        asked = said or self.number(QUOTES, quote, "SBQQ__SubscriptionTerm__c")
        term = own * times if own else asked
        if not term or times <= 0:
            self._not_mapped(row, "it is renewable, and neither the product's term nor the line's is known")
            return None, Decimal(1)
        if term != term.to_integral_value() or not 1 <= term <= 1200:
            self._not_mapped(row, f"its term of {repair_float(term)} months is no whole number of months")
            return None, Decimal(1)
        if said and own and said != term:
            self.remark(LINES, row, "SBQQ__SubscriptionTerm__c", f"says {said} months; the price is for {term}")
        return int(term), own or term / times

    def _not_mapped(self, row: Row, why: str) -> None:
        self.remark(LINES, row, "SBQQ__SubscriptionType__c", f"{why}; kept with its own total", "not_mapped")

    def quote(self, row: Row, lines: list[dict[str, Any]]) -> Quote:
        name = row.get("SBQQ__BillingName__c") or row.get("SBQQ__ShippingName__c")
        account = row.get("SBQQ__Account__c") or (short_id("C", name) if name else "")
        if not account:
            raise Invalid.field(f"{QUOTES} {id_of(row)} SBQQ__Account__c", "names no customer, by id or name")
        if not name:
            self.remark(QUOTES, row, "SBQQ__BillingName__c", "no name of the customer; its id is shown instead")
        if "CurrencyIsoCode" in row and not row["CurrencyIsoCode"]:
            self.remark(QUOTES, row, "CurrencyIsoCode", f"names no currency; {self.currency} was taken, as asked")
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
            raise invalid_fields("it cannot be read", error) from None

    def quote_or_refusal(self, row: Row, rows: list[Row], products: dict[str, Product]) -> Quote | None:
        """One bad row stops its own quote, and no other: it is listed with its record id."""
        ordered = rows
        try:
            self.check_ids(rows)
            ordered = self.sold_lines(rows)
            siblings = {id_of(line) for line in ordered}
            return self.quote(row, [self.line(line, row, products, siblings) for line in ordered])
        except Invalid as error:
            for problem in error.facts["errors"]:
                self.remark(QUOTES, row, _record_field(problem["field"], ordered), problem["problem"], "refused")
            return None

    def check_ids(self, rows: list[Row]) -> None:
        """Raises Invalid for a line without an id, or with that of another."""
        for row in rows:
            problem = _id_problem(row, set()) or (
                f"{id_of(row)} stands there twice" if id_of(row) in self.twice else ""
            )
            if problem:
                raise Invalid.field(f"{LINES} {id_of(row)[:80]}".strip(), problem)

    def sold_lines(self, rows: list[Row]) -> list[Row]:
        """In the order of their numbers; optional lines are offered, and not part of the sum. Raises Invalid."""
        kept = []
        for place, row in enumerate(rows):
            if parse_checkbox(row.get("SBQQ__Optional__c", ""), f"{LINES} {id_of(row)} SBQQ__Optional__c"):
                what = "it is optional: offered beside the quote, and not part of it"
                self.remark(LINES, row, "SBQQ__Optional__c", what, "not_mapped")
                continue
            number = parse_number(row.get("SBQQ__Number__c", ""), self.locales[LINES])
            if number is None and row.get("SBQQ__Number__c"):
                what = f"{row['SBQQ__Number__c'][:40]!r} is not a number; the line stands where it stood in the file"
                self.remark(LINES, row, "SBQQ__Number__c", what)
            kept.append((number if number is not None else Decimal(place), place, row))
        return [row for _, _, row in sorted(kept, key=lambda one: one[:2])]

    def _currency(self, row: Row) -> str:
        return row.get("CurrencyIsoCode") or self.currency


PLACE = {
    "name": "Name",
    "street": "Street",
    "city": "City",
    "region": "State",
    "postal_code": "PostalCode",
    "country": "Country",
}
KEPT = {
    "type": "SBQQ__Type__c",
    "primary": "SBQQ__Primary__c",
    "opportunity": "SBQQ__Opportunity2__c",
    "start_date": "SBQQ__StartDate__c",
    "end_date": "SBQQ__EndDate__c",
    "contracting_method": "SBQQ__ContractingMethod__c",
}
MAPPED = {
    *(f"SBQQ__Shipping{theirs}__c" for theirs in PLACE.values()), *KEPT.values(), "Id", "Guid", "SBQQ__Account__c",
    "SBQQ__BillingName__c", "SBQQ__ExpirationDate__c", "SBQQ__SubscriptionTerm__c", "SBQQ__PaymentTerms__c",
    "SBQQ__Status__c", "CurrencyIsoCode",
}  # fmt: skip
LINE_MAPPED = {
    "Id", "Guid", "SBQQ__Quote__c", "SBQQ__Product__c", "SBQQ__Quantity__c", "SBQQ__ListPrice__c", "SBQQ__NetPrice__c",
    "SBQQ__ProrateMultiplier__c", "SBQQ__Discount__c", "SBQQ__Optional__c", "SBQQ__SubscriptionTerm__c",
    "SBQQ__DefaultSubscriptionTerm__c", "SBQQ__ProductSubscriptionType__c", *PRODUCT_NAMES,
    "SBQQ__RequiredBy__c", "SBQQ__Number__c",
    "SBQQ__Description__c", "SBQQ__SubscriptionType__c", "SBQQ__Existing__c", "SBQQ__Bundle__c",
}  # fmt: skip


COLUMNS = {"Id", "Guid", "Name", "ProductCode", "Family", "IsActive", "CurrencyIsoCode", *MAPPED, *LINE_MAPPED}


def read_export(folder: Path, owner: str, currency: str) -> Export:
    """Everything the folder says about products and quotes. Raises Invalid on a file that is broken."""
    quotes, lines = table_of(folder, QUOTES), table_of(folder, LINES)
    products_there = (folder / PRODUCTS).is_file()
    products = table_of(folder, PRODUCTS) if products_there else Table(PRODUCTS, [])
    terms = ("SBQQ__SubscriptionTerm__c",)
    locales = {
        LINES: number_locale(lines, NUMBERS), QUOTES: number_locale(quotes, terms),
        PRODUCTS: number_locale(products, terms),
    }  # fmt: skip
    reader = _Reader(owner, currency, locales)
    known = {product.id: product for product in map(reader.product, reader.known_by_id(products, "not_mapped"))}
    readable = reader.known_by_id(quotes, "refused")
    reader.twice = {id for id, times in Counter(map(id_of, lines.rows)).items() if times > 1}
    by_quote: dict[str, list[Row]] = {id_of(row): [] for row in readable}
    for row in lines.rows:
        if (mine := by_quote.get(row["SBQQ__Quote__c"])) is None:
            what = f"belongs to {row['SBQQ__Quote__c']!r}, which is not here; left out"
            reader.remark(LINES, row, "SBQQ__Quote__c", what, "not_mapped")
        else:
            mine.append(row)
    taken = [q for row in readable if (q := reader.quote_or_refusal(row, by_quote[id_of(row)], known))]
    reader.remarks += _general_remarks(quotes.rows, owner, currency, products_there)
    reader.remarks += _unmapped(QUOTES, quotes.rows, MAPPED)
    reader.remarks += _unmapped(LINES, lines.rows, LINE_MAPPED)
    return Export(
        products=[*known.values(), *reader.found.values()],
        quotes=taken,
        remarks=reader.remarks,
        read={"products": len(products.rows), "quotes": len(quotes.rows), "lines": len(lines.rows)},
    )


def _general_remarks(rows: list[Row], owner: str, currency: str, products: bool) -> Iterator[Remark]:
    if rows and "CurrencyIsoCode" not in rows[0]:
        what = f"the export names no currency; {currency} was taken, as asked"
        yield Remark(file=QUOTES, record="all", field="CurrencyIsoCode", what=what)
    if not products:
        yield Remark(file=PRODUCTS, record="all", field="", what="is not there; products are taken from the lines")
    yield Remark(
        file=QUOTES, record="all", field="OwnerId", what=f"owners are not users here; {owner} was taken, as asked"
    )


def _record_field(field: str, rows: list[Row]) -> str:
    """`lines.1.quantity` as `L2 quantity`: records by their id, not by their place."""
    found = re.match(r"lines[.\[](\d+)\]?\.?(.*)", field)
    if found is None or int(found[1]) >= len(rows):
        return field
    return f"{id_of(rows[int(found[1])])} {found[2]}".strip()


def _part(price: Decimal | None, months: Decimal) -> Decimal | None:
    """The list price of one month, as fine as an amount can be."""
    return None if price is None else (price / months).quantize(Decimal("1e-12"))


def _number(text: str, locale: Locale) -> Decimal | None:
    return parse_number(text, locale) if text else None


def _id_problem(row: Row, seen: set[str]) -> str:
    """What is wrong with the id of a record, if anything is; a good one counts as seen."""
    id = id_of(row)
    if not re.match(ID_PATTERN, id):
        return f"{id[:80]!r} is not an id of up to 64 letters, digits, . _ -"
    if id in seen:
        return f"{id} stands there twice"
    seen.add(id)
    return ""


def _unmapped(file: str, rows: list[Row], mapped: set[str]) -> Iterator[Remark]:
    """Columns that hold something we have no place for."""
    for column in rows[0] if rows else ():
        values = {row[column] for row in rows if row[column]}
        if column not in mapped and {value.lower() for value in values} - {"false", "0.0", "0"}:
            yield Remark(file=file, record="all", field=column, what=f"not taken over ({len(values)} different values)")
