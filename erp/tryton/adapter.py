"""Orders as Tryton's sales. The order's id is the sale's `web_id`, which its web shop holds unique.

The version stands in descriptions: of the sale, which nothing else writes, and of each amendment that changed it. A
line's id is the note of its line. Tryton adds no lines to a sale under way, so neither do changes."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from domain.values import plain_number
from erp.port import Answer, Document, Entry, Outcome, Refused, Reports, Trouble, Unavailable
from erp.tryton.catalogue import Catalogue, described
from erp.tryton.rpc import Rpc, quantity_of
from erp.tryton.shipments import SHIPPED, UNDER_WAY, Shipments

SALE, LINE, MOVE, AMENDMENT = "sale.sale", "sale.line", "stock.move", "sale.amendment"
TAKEN = ("processing", "done")
PAGE = 200
ZERO = Decimal(0)
Found = dict[str, Any]
"""A record as Tryton tells it; what belongs to it stands under names that end with a dot."""
WHOLE = ["web_id", "state", "number", "description", "party", "invoice_address", "shipment_address",
         "lines.note", "lines.type", "lines.quantity", "lines.product", "lines.unit", "lines.unit_price",
         "amendments.description", "amendments.state", "shipments.state"]  # fmt: skip


class Tryton:
    compares = True
    batch = 20

    def __init__(self, rpc: Rpc, shop: str) -> None:
        self._rpc = rpc
        self._shop = shop
        self._catalogue = Catalogue(rpc, shop)
        self._shipments = Shipments(rpc, shop)

    # --- out --------------------------------------------------------------------------------------------------------

    async def put(self, documents: Sequence[Document]) -> list[Outcome]:
        outcomes = await self._take_over([document for document in documents if document.kind == "order"])
        for document in documents:
            if document.kind in ("change", "cancel"):
                outcomes[document.key] = await self._alter(document)
            elif document.kind == "restate":
                outcomes[document.key] = await self._restate(document)
        return [outcomes[document.key] for document in documents]

    async def _take_over(self, documents: list[Document]) -> dict[str, Outcome]:
        """All at once; where Tryton refuses, in halves, until it is known which it means."""
        if not documents:
            return {}
        try:
            sales = await self._placed(documents)
        except Refused as verdict:
            half = len(documents) // 2
            if half:
                return {**await self._take_over(documents[:half]), **await self._take_over(documents[half:])}
            return {documents[0].key: verdict}
        except Trouble as trouble:
            return {document.key: trouble for document in documents}
        outcomes: dict[str, Outcome] = {}
        for document in documents:
            sale = sales[document.order]
            known = sale["state"] in TAKEN
            outcomes[document.key] = Answer(reference=sale["number"]) if known else Refused(_CANCELLED)
        return outcomes

    async def _placed(self, documents: Sequence[Document]) -> dict[str, Found]:
        """Sales under way, from wherever an attempt before, or one beside this, has left them."""
        orders = [document.order for document in documents]
        sales = await self._sales(orders)
        if left := [sale["id"] for sale in sales.values() if sale["state"] in ("draft", "quotation")]:
            await self._rpc.model(SALE, "cancel", left)
            await self._rpc.model(SALE, "delete", left)
            sales = await self._sales(orders)
        verdict, before = None, None
        while not all(order in sales and sales[order]["state"] in (*TAKEN, "cancelled") for order in orders):
            if before == (stands := _standing(sales)):
                await self._forget(sales.values())
                raise verdict or Unavailable("Tryton takes the order no further")
            before = stands
            try:
                await self._go_on(documents, sales)
            except Refused as refused:
                verdict = refused
            sales = await self._sales(orders)
        return sales

    async def _go_on(self, documents: Sequence[Document], sales: Mapping[str, Found]) -> None:
        drafts, quotations, confirmed = (_in(sales, state) for state in ("draft", "quotation", "confirmed"))
        if missing := [document for document in documents if document.order not in sales]:
            drafts += await self._rpc.create(SALE, *await self._catalogue.sales(missing))
        if drafts:
            await self._rpc.model(SALE, "quote", drafts)
            quotations += drafts
        if quotations:
            await self._rpc.model(SALE, "confirm", quotations)
        if confirmed:
            await self._rpc.model(SALE, "process", confirmed)

    async def _forget(self, sales: Iterable[Found]) -> None:
        """What Tryton refused does not stay there as a draft."""
        left = [sale["id"] for sale in sales if sale["state"] in ("draft", "quotation")]
        if left:
            await self._rpc.model(SALE, "cancel", left)
            await self._rpc.model(SALE, "delete", left)

    async def _sales(self, orders: Sequence[str]) -> dict[str, Found]:
        return {sale["web_id"]: sale for sale in await self._look_up(orders, ["web_id", "state", "number"])}

    async def _look_up(self, orders: Sequence[str], fields: list[str]) -> list[Found]:
        return await self._rpc.search(
            SALE, [["web_shop.name", "=", self._shop], ["web_id", "in", list(orders)]], fields
        )

    async def _restate(self, document: Document) -> Outcome:
        try:
            known = (await self._sales([document.order])).get(document.order)
        except Trouble as trouble:
            return trouble
        if known and known["state"] in (*TAKEN, "cancelled"):
            return await self._alter(document)
        return (await self._take_over([document]))[document.key]

    # --- changes ----------------------------------------------------------------------------------------------------

    async def _alter(self, document: Document) -> Outcome:
        try:
            return await self._altered(document)
        except Trouble as trouble:
            return trouble

    async def _altered(self, document: Document) -> Answer:
        """An amendment with absolute quantities, so that it does the same however often it takes effect."""
        found = await self._look_up([document.order], WHOLE)
        if not found or found[0]["state"] == "cancelled":
            if document.kind == "cancel":
                return Answer()
            raise Refused(_CANCELLED if found else f"Tryton has no order {document.order}")
        sale = found[0]
        if sale["state"] not in TAKEN:
            raise Unavailable(f"Tryton's sale is still {sale['state']}")
        if _version(sale) < document.version or document.kind == "restate":
            await self._amend(sale, document)
        await self._rpc.model(SALE, "process", [sale["id"]])  # what an attempt before may not have come to
        return Answer(reference=sale["number"])

    async def _amend(self, sale: Found, document: Document) -> None:
        lines, wanted = _lines(sale), wanted_of(document, sale)
        if unknown := [name for name, quantity in wanted.items() if quantity and name not in lines]:
            raise Refused(f"Tryton adds no line to an order that is under way: {', '.join(sorted(unknown))}")
        locked = await self._moved(sale, UNDER_WAY)
        for name, quantity in wanted.items():
            if quantity < locked.get(name, ZERO):
                raise Refused(f"{plain_number(locked[name])} of line {name} are already picked or sent in Tryton")
        acts = [
            {"action": "line", "line": line["id"], "product": line["product"], "unit": line["unit"],
             "unit_price": line["unit_price"], "quantity": float(wanted[name])}
            for name, line in lines.items() if name in wanted and quantity_of(line["quantity"]) != wanted[name]
        ]  # fmt: skip
        if document.kind != "cancel" and document.body.get("ship_to"):
            address = await self._catalogue.address(sale["party"], document.body["ship_to"])
            if address != sale["shipment_address"]:
                acts.append({"action": "party", "party": sale["party"], "invoice_address": sale["invoice_address"],
                             "shipment_address": address})  # fmt: skip
        await self._validated(sale["id"], described(document.version), acts)

    async def _validated(self, sale: int, description: str, acts: list[Found]) -> None:
        ours = [["sale", "=", sale], ["description", "=", description], ["state", "=", "draft"]]
        if left := await self._rpc.model(AMENDMENT, "search", ours):
            await self._rpc.model(AMENDMENT, "delete", left)
        told = {"sale": sale, "description": description, "lines": [["create", acts]]}
        (id,) = await self._rpc.create(AMENDMENT, told)
        await self._rpc.model(AMENDMENT, "validate_amendment", [id])

    # --- how it stands ----------------------------------------------------------------------------------------------

    async def find(self, orders: Sequence[str]) -> dict[str, Entry]:
        return {entry.order: entry for entry in await self._entries(await self._look_up(orders, WHOLE))}

    async def listed(self, after: str) -> tuple[str, list[Entry]]:
        last = int(after or 0)
        here = [["web_shop.name", "=", self._shop], ["id", ">", last]]
        sales = await self._rpc.search(SALE, here, WHOLE, PAGE, order=[["id", "ASC"]])
        return str(sales[-1]["id"]) if sales else after, await self._entries(sales)

    async def _entries(self, sales: list[Found]) -> list[Entry]:
        shipped, delivered = await self._moved_of(sales, SHIPPED), await self._moved_of(sales, ("done",))
        return [_entry(sale, shipped, delivered) for sale in sales]

    async def _moved(self, sale: Found, states: Sequence[str]) -> dict[str, Decimal]:
        """How much of each line is in shipments that came so far."""
        moved = await self._moved_of([sale], states)
        return {name: moved.get(line["id"], ZERO) for name, line in _lines(sale).items()}

    async def _moved_of(self, sales: Iterable[Found], states: Sequence[str]) -> dict[int, Decimal]:
        shipments = [one["id"] for sale in sales for one in sale["shipments."] if one["state"] in states]
        return await self._shipments.moved(shipments)

    # --- back -------------------------------------------------------------------------------------------------------

    async def reports(self, cursor: str) -> Reports:
        return await self._shipments.reports(cursor)


_CANCELLED = "The order was cancelled in Tryton"


def _standing(sales: Mapping[str, Found]) -> dict[str, tuple[int, str]]:
    return {order: (sale["id"], sale["state"]) for order, sale in sales.items()}


def _in(sales: Mapping[str, Found], state: str) -> list[int]:
    return [sale["id"] for sale in sales.values() if sale["state"] == state]


def _lines(sale: Found) -> dict[str, Found]:
    return {line["note"]: line for line in sale["lines."] if line["type"] == "line" and line["note"]}


def _version(sale: Found) -> int:
    """The last one that took effect."""
    if sale["state"] not in (*TAKEN, "cancelled"):
        return 0
    amended = [amendment["description"] for amendment in sale["amendments."] if amendment["state"] == "validated"]
    return max((_version_in(words) for words in (sale["description"], *amended)), default=0)


def _version_in(words: str | None) -> int:
    last = (words or "").rpartition(" ")[2]
    return int(last) if last.isdecimal() and words == described(int(last)) else 0


def wanted_of(document: Document, sale: Found) -> dict[str, Decimal]:
    """The quantity that each line shall have, where the document says so."""
    told = {line["line"]: Decimal(line["quantity"]) for line in document.body["lines"]}
    return dict.fromkeys(_lines(sale), ZERO) | told if document.kind == "cancel" else told


def _entry(sale: Found, shipped: Mapping[int, Decimal], delivered: Mapping[int, Decimal]) -> Entry:
    lines = _lines(sale)
    quantities = {name: quantity_of(line["quantity"]) for name, line in lines.items()}
    return Entry(
        order=sale["web_id"], reference=sale["number"] or "", version=_version(sale),
        cancelled=sale["state"] == "cancelled" or not any(quantities.values()), quantities=quantities,
        shipped={name: shipped[line["id"]] for name, line in lines.items() if line["id"] in shipped},
        delivered={name: delivered[line["id"]] for name, line in lines.items() if line["id"] in delivered},
    )  # fmt: skip
