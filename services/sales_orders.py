"""Reads the orders of an AdventureWorks-like database, each as the quote it came from.

Facts of the format: no header; fields separated by `|+|`; prices of four decimals shown with two, so that a line total
of six decimals need not follow from them. It is rounded once per line and kept, flagged where it contradicts."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from domain.approvals.exchange import invalid_fields
from domain.errors import Invalid
from domain.money import minor_unit, rounded
from domain.quotes import Quote
from services.csv_files import Row, lines_of, parse_number, read_text
from services.salesforce import Export, Product, Remark

HEADERS, DETAILS = "SalesOrderHeader.csv", "SalesOrderDetail.csv"
BETWEEN = "|+|"
HEADER = ("SalesOrderID", "RevisionNumber", "OrderDate", "DueDate", "ShipDate", "Status", "OnlineOrderFlag",
          "SalesOrderNumber", "PurchaseOrderNumber", "AccountNumber", "CustomerID", "ShipToAddressID",
          "BillToAddressID", "ShipMethod", "CreditCardApprovalCode", "SubTotal", "TaxAmt", "Freight", "TotalDue",
          "Comment", "rowguid", "ModifiedDate")  # fmt: skip
DETAIL = ("SalesOrderID", "SalesOrderDetailID", "OrderQty", "ProductID", "UnitPrice", "UnitPriceDiscount", "LineTotal",
          "rowguid", "ModifiedDate")  # fmt: skip


def read_sales_orders(folder: Path, owner: str, currency: str) -> Export:
    """Raises Invalid naming the file, the line and the column that is broken."""
    headers = list(_rows(folder, HEADERS, HEADER))
    details = list(_rows(folder, DETAILS, DETAIL))
    lines: dict[str, list[Row]] = {}
    for row in details:
        lines.setdefault(row["SalesOrderID"], []).append(row)
    products = {row["ProductID"]: row for row in details}
    quotes: list[Quote] = []
    remarks: list[Remark] = []
    for row in headers:
        try:
            quote = _quote(row, lines.get(row["SalesOrderID"], []), owner, currency)
        except Invalid as error:  # one bad row stops one quote
            remarks += [Remark(file=HEADERS, record=row["SalesOrderNumber"], field=e["field"], what=e["problem"],
                               kind="refused") for e in error.facts["errors"]]  # fmt: skip
            continue
        quotes.append(quote)
        if differs := _total_differs(row, quote):
            remarks.append(differs)
    read = {"products": len(products), "quotes": len(headers), "lines": len(details)}
    return Export(products=[_product(id) for id in products], quotes=quotes, remarks=remarks, read=read)


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
        yield {"": f"{name} line {number}", **dict(zip(columns, values, strict=True))}


def _product(id: str) -> Product:
    return Product(id=f"P-{id}", code=id, name=f"Product {id}", family=None, active=True, fields={})


def _quote(header: Row, details: list[Row], owner: str, currency: str) -> Quote:
    place = {"name": f"Address {header['ShipToAddressID']}"}
    due = _day(header, "DueDate")
    lines = [
        {
            "id": row["SalesOrderDetailID"], "product": f"P-{row['ProductID']}", "name": f"Product {row['ProductID']}",
            "quantity": _number(row, "OrderQty"), "list_price": _number(row, "UnitPrice"),
            "discount_percent": _number(row, "UnitPriceDiscount") * 100,
            "net_total": rounded(_number(row, "LineTotal"), currency), "ship_to": place, "requested_date": due,
        }
        for row in details
    ]  # fmt: skip
    try:
        return Quote.model_validate(
            {
                "id": header["SalesOrderNumber"], "currency": currency, "owner": owner, "lines": lines,
                "customer": {"id": header["CustomerID"], "name": f"Customer {header['CustomerID']}"},
                "fields": {"purchase_order": header["PurchaseOrderNumber"]},
            }
        ).checked(keep_source_figures=True)  # fmt: skip
    except ValidationError as error:
        raise invalid_fields(f"{header['']} cannot be read", error) from None


def _number(row: Row, column: str) -> Decimal:
    found = parse_number(row[column], "point")
    if found is None:
        raise Invalid.field(f"{row['']} {column}", f"{row[column]!r} is not a number")
    return found


def _day(row: Row, column: str) -> date:
    try:
        return date.fromisoformat(row[column])
    except ValueError:
        raise Invalid.field(f"{row['']} {column}", f"{row[column]!r} is not a day") from None
