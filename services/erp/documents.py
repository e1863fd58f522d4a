"""What the back office is asked, as a list and as a spreadsheet."""

from collections.abc import AsyncIterator, Iterable

from domain.people import Person
from services.context import ServiceContext, authorise
from services.imports.records import BOM, csv_of, spreadsheet_safe
from storage.orders import orders
from storage.orders.orders import ErpDocument


class Documents:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def list_page(
        self, person: Person, status: str | None, after: tuple[str, int] | None, limit: int
    ) -> list[ErpDocument]:
        """What the back office is asked to take over."""
        authorise(person, "erp.read")
        async with self._context.database.reading() as session:
            return await orders.documents(session, status, after, limit)

    def as_csv(self, person: Person, status: str | None) -> AsyncIterator[str]:
        """Every document, a row for each line, some hundreds at a time."""
        authorise(person, "erp.read")
        return self._rows(status)

    async def _rows(self, status: str | None) -> AsyncIterator[str]:
        after: tuple[str, int] | None = None
        yield BOM + csv_of([COLUMNS])
        while True:
            async with self._context.database.reading() as session:
                page = await orders.documents(session, status, after, EXPORTED_AT_ONCE)
            yield csv_of(row for document in page for row in _lines(document))
            if len(page) < EXPORTED_AT_ONCE:
                return
            after = page[-1].order, page[-1].version


EXPORTED_AT_ONCE = 500
IN_LINE = ("line", "product", "name", "quantity", "net_total")
COLUMNS = ["order", "version", "kind", "status", "reference", "customer", "currency", "city", "country", *IN_LINE]


def _lines(document: ErpDocument) -> Iterable[list[str]]:
    body = document.body
    place = body.get("ship_to") or {}
    head = [
        document.order,
        document.version,
        document.kind,
        document.status,
        document.reference,
        body.get("customer"),
        body.get("currency"),
        place.get("city"),
        place.get("country"),
    ]
    for line in body["lines"] or [{}]:
        values = [*head, *(line.get(name) for name in IN_LINE)]
        yield [spreadsheet_safe("" if value is None else str(value)) for value in values]
