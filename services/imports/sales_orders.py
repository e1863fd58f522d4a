"""Reads the orders of an AdventureWorks-like database, each as the quote it came from.

Facts of the format: no header; fields separated by `|+|`; prices of four decimals shown with two, so that a line total
of six decimals need not follow from them. It is rounded once per line and kept, flagged where it contradicts."""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from domain.errors import Invalid
from domain.money import minor_unit, rounded
from domain.problems import invalid_fields
from domain.quotes import Quote
from services.imports.csv_files import Row, lines_of, parse_day, parse_number, read_text
from services.imports.salesforce import Export, Product, Remark

HEADERS, DETAILS = "SalesOrderHeader.csv", "SalesOrderDetail.csv"
BETWEEN = "|+|"
HEADER = (
    "SalesOrderID",
    "RevisionNumber",
    "OrderDate",
    "DueDate",
    "ShipDate",
    "Status",
    "OnlineOrderFlag",
    "SalesOrderNumber",
    "PurchaseOrderNumber",
    "AccountNumber",
    "CustomerID",
    "ShipToAddressID",
    "BillToAddressID",
    "ShipMethod",
    "CreditCardApprovalCode",
    "SubTotal",
    "TaxAmt",
    "Freight",
    "TotalDue",
    "Comment",
    "rowguid",
    "ModifiedDate",
)
DETAIL = (
    "SalesOrderID",
    "SalesOrderDetailID",
    "OrderQty",
    "ProductID",
    "UnitPrice",
    "UnitPriceDiscount",
    "LineTotal",
    "rowguid",
    "ModifiedDate",
)


def read_sales_orders(folder: Path, owner: str, currency: str) -> Export:
    """Raises Invalid naming the file, the line and the column that is broken."""
    headers = list(_rows(folder, HEADERS, HEADER))
    details = list(_rows(folder, DETAILS, DETAIL))
    lines: dict[str, list[Row]] = {}
    for row in details:
        lines.setdefault(row["SalesOrderID"], []).append(row)
    known = {row["SalesOrderID"] for row in headers}
    remarks = [
        Remark(
            file=DETAILS,
            record=row["SalesOrderDetailID"],
            field="SalesOrderID",
            kind="not_mapped",
            what=f"belongs to {row['SalesOrderID']!r}, which is not here; left out",
        )
        for row in details
        if row["SalesOrderID"] not in known
    ]
    products = {row["ProductID"]: row for row in details}
    quotes: dict[str, Quote] = {}
    for row in headers:
        mine = lines.get(row["SalesOrderID"], [])
        try:
            if row["SalesOrderNumber"] in quotes:
                raise Invalid.field("SalesOrderNumber", f"{row['SalesOrderNumber']} stands there twice")
            quote = _quote(row, mine, owner, currency)
            differs = _total_differs(row, quote)
        except Invalid as error:  # one bad row stops one quote
            remarks += _refusals(row, mine, error)
            continue
        quotes[quote.id] = quote
        remarks += [differs] if differs else []
    read = {"products": len(products), "quotes": len(headers), "lines": len(details)}
    return Export(products=[_product(id) for id in products], quotes=list(quotes.values()), remarks=remarks, read=read)


def _refusals(header: Row, details: list[Row], error: Invalid) -> list[Remark]:
    """What is wrong with an order, each with the id of its record."""
    record = header["SalesOrderNumber"] or header[""]
    return [
        Remark(
            file=HEADERS,
            record=record,
            field=_record_field(each["field"], details),
            what=each["problem"],
            kind="refused",
        )
        for each in error.facts["errors"]
    ]


def _record_field(field: str, details: list[Row]) -> str:
    """`lines.1.product` as `SalesOrderDetail.csv 4711 product`: a record by its id, not by its place."""
    found = re.match(r"lines[.\[](\d+)\]?\.?(.*)", field)
    if found is None or int(found[1]) >= len(details):
        return field
    return f"{DETAILS} {details[int(found[1])]['SalesOrderDetailID']} {found[2]}".strip()


def _total_differs(header: Row, quote: Quote) -> Remark | None:
    """Headers may say something else than their lines: the lines are kept."""
    said = rounded(_number(header, "SubTotal"), quote.currency)
    if abs(said - quote.net_total) <= minor_unit(quote.currency) * len(quote.lines):
        return None
    what = f"the header says {said}, its lines add up to {quote.net_total}: the lines are kept"
    return Remark(file=HEADERS, record=quote.id, field="SubTotal", what=what)


def _rows(folder: Path, name: str, columns: tuple[str, ...]) -> Iterator[Row]:
    for number, line in lines_of(read_text(folder, name)):
        if not line.strip():
            continue
        values = line.split(BETWEEN)
        if len(values) != len(columns):
            what = f"has {len(values)} values instead of {len(columns)}: is the file cut off?"
            raise Invalid.field(f"{name} line {number}", what)
        if tuple(values) == columns:
            continue  # some exports name their columns
        yield {"": f"{name} line {number}", **dict(zip(columns, values, strict=True))}


def _product(id: str) -> Product:
    return Product(id=f"P-{id}", code=id, name=f"Product {id}", family=None, active=True, fields={})


def _quote(header: Row, details: list[Row], owner: str, currency: str) -> Quote:
    place = {"name": f"Address {header['ShipToAddressID']}"}
    due = _day(header, "DueDate")
    lines = [
        {
            "id": row["SalesOrderDetailID"],
            "product": f"P-{row['ProductID']}",
            "name": f"Product {row['ProductID']}",
            "quantity": _number(row, "OrderQty"),
            "list_price": _number(row, "UnitPrice"),
            "discount_percent": _number(row, "UnitPriceDiscount") * 100,
            "net_total": rounded(_number(row, "LineTotal"), currency),
            "ship_to": place,
            "requested_date": due,
        }
        for row in details
    ]
    try:
        return Quote.model_validate(
            {
                "id": header["SalesOrderNumber"],
                "currency": currency,
                "owner": owner,
                "lines": lines,
                "customer": {"id": header["CustomerID"], "name": f"Customer {header['CustomerID']}"},
                "fields": {"purchase_order": header["PurchaseOrderNumber"]},
            }
        ).checked(keep_source_figures=True)
    except ValidationError as error:
        raise invalid_fields(f"{header['']} cannot be read", error) from None


def _number(row: Row, column: str) -> Decimal:
    found = parse_number(row[column], "point")
    if found is None:
        raise Invalid.field(f"{row['']} {column}", f"{row[column]!r} is not a number")
    return found


def _day(row: Row, column: str) -> date:
    if (day := parse_day(row[column])) is None:
        raise Invalid.field(f"{row['']} {column}", f"{row[column]!r} is not a day")
    return day
