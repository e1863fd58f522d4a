"""Orders as Tryton's sales. The order's id is the sale's `web_id`, which its web shop holds unique.

The version stands in descriptions: of the sale, which nothing else writes, and of each amendment that changed it. A
line's id is the note of its line. Tryton adds no lines to a sale under way, so neither do changes."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from domain.values import plain_number
from erp.port import Answer, Document, Entry, ErpError, Outcome, Refused, Reports, Unavailable
from erp.tryton.catalogue import Catalogue, described, described_any
from erp.tryton.rpc import Rpc, quantity_of
from erp.tryton.shipments import SHIPPED, UNDER_WAY, Shipments

SALE, AMENDMENT = "sale.sale", "sale.amendment"
TAKEN = ("processing", "done")
THERE = (*TAKEN, "cancelled")
PAGE = 200
ZERO = Decimal(0)
Found = dict[str, Any]
"""A record as Tryton tells it; what belongs to it stands under names that end with a dot."""
Act = Callable[[list[Document]], Awaitable[dict[str, Outcome]]]
WHOLE = [
    "web_id",
    "state",
    "number",
    "description",
    "party",
    "invoice_address",
    "shipment_address",
    "lines.note",
    "lines.type",
    "lines.quantity",
    "lines.product",
    "lines.unit",
    "lines.unit_price",
    "amendments.description",
    "amendments.state",
    "shipments.state",
]


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
        by_kind: defaultdict[str, list[Document]] = defaultdict(list)
        for document in documents:
            by_kind[document.kind].append(document)
        try:
            known = await self._sales([document.order for document in by_kind["restate"]])
        except ErpError as trouble:
            return [trouble] * len(documents)
        for document in by_kind["restate"]:
            there = known.get(document.order, _NOTHING)["state"] in THERE
            by_kind["change" if there else "order"].append(document)
        outcomes = await self._in_halves(by_kind["order"], self._take_over)
        outcomes |= await self._in_halves(by_kind["change"] + by_kind["cancel"], self._alter)
        return [outcomes[document.key] for document in documents]

    async def _in_halves(self, documents: list[Document], act: Act) -> dict[str, Outcome]:
        """All at once; where Tryton refuses, in halves, until it is known which it means."""
        if not documents:
            return {}
        try:
            return await act(documents)
        except Refused as verdict:
            half = len(documents) // 2
            if not half:
                return {documents[0].key: verdict}
            return {**await self._in_halves(documents[:half], act), **await self._in_halves(documents[half:], act)}
        except ErpError as trouble:
            return {document.key: trouble for document in documents}

    async def _take_over(self, documents: Sequence[Document]) -> dict[str, Outcome]:
        sales = await self._placed(documents)
        outcomes: dict[str, Outcome] = {}
        for document in documents:
            sale = sales[document.order]
            known = sale["state"] in TAKEN
            outcomes[document.key] = Answer(reference=sale["number"]) if known else Refused(_CANCELLED)
        return outcomes

    async def _placed(self, documents: Sequence[Document]) -> dict[str, Found]:
        """Sales under way, from wherever an attempt before, or one beside this, has left them.

        Tryton itself refuses an order that it has, so they are made first, and looked up to see what became of it."""
        orders = [document.order for document in documents]
        meant = {document.order: described(document.version) for document in documents}
        sales: dict[str, Found] = {}
        verdict, before = None, None
        while True:
            try:
                await self._go_on(documents, sales)
            except Refused as refused:
                verdict = refused
                self._catalogue.forget()
            sales = await self._sales(orders)
            if await self._forget(sale for sale in sales.values() if sale["description"] != meant[sale["web_id"]]):
                sales = await self._sales(orders)
            if all(sales.get(order, _NOTHING)["state"] in THERE for order in orders):
                return sales
            if before == (stands := _standing(sales)):
                await self._forget(sales.values())
                raise verdict or Unavailable("Tryton takes the order no further")
            before = stands

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

    async def _forget(self, sales: Iterable[Found]) -> bool:
        """What is of no use any more does not stay there as a draft; whether there was any."""
        left = [sale["id"] for sale in sales if sale["state"] in ("draft", "quotation")]
        if left:
            with suppress(Refused):  # done already, by a request that came twice
                await self._rpc.model(SALE, "cancel", left)
            with suppress(Refused):
                await self._rpc.model(SALE, "delete", left)
        return bool(left)

    async def _sales(self, orders: Sequence[str]) -> dict[str, Found]:
        found = await self._look_up(orders, ["web_id", "state", "number", "description"])
        return {sale["web_id"]: sale for sale in found}

    async def _look_up(self, orders: Sequence[str], fields: list[str]) -> list[Found]:
        if not orders:
            return []
        return await self._rpc.search(
            SALE, [["web_shop.name", "=", self._shop], ["web_id", "in", list(orders)]], fields
        )

    # --- changes ----------------------------------------------------------------------------------------------------

    async def _alter(self, documents: Sequence[Document]) -> dict[str, Outcome]:
        """By amendments with absolute quantities, so that each does the same however often it takes effect."""
        sales = {
            sale["web_id"]: sale for sale in await self._look_up([document.order for document in documents], WHOLE)
        }
        outcomes = {document.key: answer for document in documents if (answer := _beforehand(document, sales))}
        to_do = [document for document in documents if document.key not in outcomes]
        locked = await self._moved_of([sales[document.order] for document in to_do], UNDER_WAY)
        told = []
        for document in to_do:
            sale = sales[document.order]
            if not _stands(sale, document):
                try:
                    told.append(await self._amendment(document, sale, locked))
                except Refused as verdict:
                    outcomes[document.key] = verdict
        to_do = [document for document in to_do if document.key not in outcomes]
        if told:
            try:
                await self._validated(told)
            except Refused:  # a request that came twice is refused the second time
                again = {sale["web_id"]: sale for sale in await self._look_up([each.order for each in to_do], WHOLE)}
                if not all(_stands(again[document.order], document) for document in to_do):
                    raise
        if to_do:  # also what an attempt before may not have come to
            await self._rpc.model(SALE, "process", [sales[document.order]["id"] for document in to_do])
        return outcomes | {document.key: Answer(reference=sales[document.order]["number"]) for document in to_do}

    async def _amendment(self, document: Document, sale: Found, locked: Mapping[int, Decimal]) -> Found:
        lines, wanted = _lines(sale), wanted_of(document, sale)
        if unknown := [name for name, quantity in wanted.items() if quantity and name not in lines]:
            raise Refused(f"Tryton adds no line to an order that is under way: {', '.join(sorted(unknown))}")
        acts = []
        for name, line in lines.items():
            quantity, least = wanted.get(name, quantity_of(line["quantity"])), locked.get(line["id"], ZERO)
            if quantity < least:
                raise Refused(f"{plain_number(least)} of line {name} are already picked or sent in Tryton")
            if quantity != quantity_of(line["quantity"]):
                kept = {field: line[field] for field in ("product", "unit", "unit_price")}
                acts.append({"action": "line", "line": line["id"], "quantity": float(quantity), **kept})
        if document.kind != "cancel" and document.body.get("ship_to"):
            address = await self._catalogue.address(sale["party"], document.body["ship_to"])
            if address != sale["shipment_address"]:
                acts.append(
                    {
                        "action": "party",
                        "party": sale["party"],
                        "invoice_address": sale["invoice_address"],
                        "shipment_address": address,
                    }
                )
        return {"sale": sale["id"], "description": described(document.version), "lines": [["create", acts]]}

    async def _validated(self, amendments: Sequence[Found]) -> None:
        """Made and put into effect; drafts that an attempt before left go first, those of doubled requests after."""
        sales = [amendment["sale"] for amendment in amendments]
        await self._drop_drafts(sales)
        ids = await self._rpc.create(AMENDMENT, *amendments)
        await self._rpc.model(AMENDMENT, "validate_amendment", ids)
        await self._drop_drafts(sales)

    async def _drop_drafts(self, sales: Sequence[int]) -> None:
        ours = [["sale", "in", list(sales)], ["description", "like", described_any()], ["state", "=", "draft"]]
        if left := await self._rpc.model(AMENDMENT, "search", ours):
            with suppress(Refused):
                await self._rpc.model(AMENDMENT, "delete", left)

    # --- how it stands ----------------------------------------------------------------------------------------------

    async def find(self, orders: Sequence[str]) -> dict[str, Entry]:
        return {entry.order: entry for entry in await self._entries(await self._look_up(orders, WHOLE))}

    async def list_page(self, after: str) -> tuple[str, list[Entry]]:
        last = int(after or 0)
        here = [["web_shop.name", "=", self._shop], ["id", ">", last]]
        sales = await self._rpc.search(SALE, here, WHOLE, PAGE, order=[["id", "ASC"]])
        return str(sales[-1]["id"]) if sales else after, await self._entries(sales)

    async def _entries(self, sales: list[Found]) -> list[Entry]:
        shipped, delivered = await self._moved_of(sales, SHIPPED), await self._moved_of(sales, ("done",))
        return [_entry(sale, shipped, delivered) for sale in sales]

    async def _moved_of(self, sales: Iterable[Found], states: Sequence[str]) -> dict[int, Decimal]:
        shipments = [one["id"] for sale in sales for one in sale["shipments."] if one["state"] in states]
        return await self._shipments.moved(shipments)

    # --- back -------------------------------------------------------------------------------------------------------

    async def reports(self, cursor: str) -> Reports:
        return await self._shipments.reports(cursor)


_CANCELLED = "The order was cancelled in Tryton"
_NOTHING: Found = {"state": ""}


def _beforehand(document: Document, sales: Mapping[str, Found]) -> Outcome | None:
    """What can be said of a change without making it."""
    sale = sales.get(document.order, _NOTHING)
    if sale["state"] in TAKEN:
        return None
    if sale["state"] in ("", "cancelled"):
        if document.kind == "cancel":
            return Answer()
        return Refused(_CANCELLED if sale["state"] else f"Tryton has no order {document.order}")
    return Unavailable(f"Tryton's sale is still {sale['state']}")


def _stands(sale: Found, document: Document) -> bool:
    """Whether the sale is as the document says. Of a restated order the version alone says too little."""
    if _version(sale) < document.version:
        return False
    lines, wanted = _lines(sale), wanted_of(document, sale)
    return document.kind != "restate" or all(
        quantity_of(line["quantity"]) == wanted[name] for name, line in lines.items()
    )


def _standing(sales: Mapping[str, Found]) -> dict[str, tuple[int, str]]:
    return {order: (sale["id"], sale["state"]) for order, sale in sales.items()}


def _in(sales: Mapping[str, Found], state: str) -> list[int]:
    return [sale["id"] for sale in sales.values() if sale["state"] == state]


def _lines(sale: Found) -> dict[str, Found]:
    return {line["note"]: line for line in sale["lines."] if line["type"] == "line" and line["note"]}


def _version(sale: Found) -> int:
    """The last one that took effect."""
    if sale["state"] not in THERE:
        return 0
    amended = [amendment["description"] for amendment in sale["amendments."] if amendment["state"] == "validated"]
    return max((_version_in(words) for words in (sale["description"], *amended)), default=0)


def _version_in(words: str | None) -> int:
    last = (words or "").rpartition(" ")[2]
    return int(last) if last.isdecimal() and words == described(int(last)) else 0


def wanted_of(document: Document, sale: Found) -> dict[str, Decimal]:
    """The quantity that each line shall have, where the document says so; what says the whole names every line."""
    told = {line["line"]: Decimal(line["quantity"]) for line in document.body["lines"]}
    return dict.fromkeys(_lines(sale), ZERO) | told if document.kind in ("cancel", "restate") else told


def _entry(sale: Found, shipped: Mapping[int, Decimal], delivered: Mapping[int, Decimal]) -> Entry:
    lines = _lines(sale)
    quantities = {name: quantity_of(line["quantity"]) for name, line in lines.items()}
    return Entry(
        order=sale["web_id"],
        reference=sale["number"] or "",
        version=_version(sale),
        cancelled=sale["state"] == "cancelled" or not any(quantities.values()),
        quantities=quantities,
        shipped={name: shipped[line["id"]] for name, line in lines.items() if line["id"] in shipped},
        delivered={name: delivered[line["id"]] for name, line in lines.items() if line["id"] in delivered},
    )
