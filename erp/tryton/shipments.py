"""What Tryton's warehouse did, read by when it did it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.values import Value
from erp.port import Report, Reports
from erp.tryton.rpc import Rpc, quantity_of

SHIPMENT = "stock.shipment.out"
SHIPPED = ("shipped", "done")
UNDER_WAY = ("assigned", "picked", "packed", *SHIPPED)
WAITING = ("draft", "waiting")
OVERLAP = timedelta(seconds=20)
"""Of two transactions the one that began first may be seen last: so far back is read again."""
PAGE = 100
ZERO = Decimal(0)
Found = dict[str, Any]


class Place(Value):
    """How far was read: until when, what of it is known already, and of which sales it was told what is picked."""

    since: datetime | None = None
    seen: dict[int, datetime] = {}
    """Shipments by when they were last written."""
    picked: tuple[int, ...] = ()

    def is_news(self, shipment: int, at: datetime) -> bool:
        return at != self.seen.get(shipment) and (self.since is None or at >= self.since)

    def after(self, new: Mapping[int, datetime], picked: Iterable[int]) -> "Place":
        seen = {**self.seen, **new}
        since = max(seen.values()) - OVERLAP
        return Place(since=since, seen={id: at for id, at in seen.items() if at >= since}, picked=tuple(sorted(picked)))


class Shipments:
    def __init__(self, rpc: Rpc, shop: str) -> None:
        self._rpc = rpc
        self._shop = shop

    async def reports(self, cursor: str) -> Reports:
        place = Place.model_validate_json(cursor) if cursor else Place()
        sales = await self._touched(place.since)
        shipments = await self._read([id for sale in sales for id in _ids(sale)])
        written = {id: one["write_date"] for id, one in shipments.items() if one["write_date"]}
        new = {id: at for id, at in written.items() if place.is_news(id, at)}
        if not new:
            return Reports(cursor=cursor, reports=[])
        sales = [sale for sale in sales if new.keys() & set(_ids(sale))]
        moves = await self._moves([id for sale in sales for id in _ids(sale)])
        picked, reports = set(place.picked), []
        for sale in sales:
            told = _Told(sale, [shipments[id] for id in _ids(sale) if id in shipments], moves, new.keys())
            reports += told.reports(sale["id"] in picked)
            picked = picked | {sale["id"]} if told.locks else picked - {sale["id"]}
        return Reports(cursor=place.after(new, picked).model_dump_json(), reports=reports)

    async def _read(self, shipments: Sequence[int]) -> dict[int, Found]:
        if not shipments:
            return {}
        fields = ["state", "effective_date", "planned_date", "write_date"]
        return {one["id"]: one for one in await self._rpc.search(SHIPMENT, [["id", "in", list(shipments)]], fields)}

    async def moved(self, shipments: Sequence[int]) -> dict[int, Decimal]:
        """How much of each line of a sale is in these shipments."""
        found: defaultdict[int, Decimal] = defaultdict(Decimal)
        for moves in (await self._moves(shipments)).values():
            for line, quantity in moves.items():
                found[line] += quantity
        return dict(found)

    async def _touched(self, since: datetime | None) -> list[Found]:
        """Sales with a shipment that was written since."""
        fields = ["web_id", "lines.note", "shipments.state"]
        here: list[Any] = [["web_shop.name", "=", self._shop]]
        here.append(["shipments.write_date", ">=", since] if since else ["shipments", "!=", None])
        found: list[Found] = []
        while page := await self._rpc.search("sale.sale", here, fields, PAGE, len(found), [["id", "ASC"]]):
            found += page
            if len(page) < PAGE:
                break
        return found

    async def _moves(self, shipments: Sequence[int]) -> dict[int, dict[int, Decimal]]:
        """What each shipment takes out of the container: how much of which line of a sale."""
        found: defaultdict[int, dict[int, Decimal]] = defaultdict(dict)
        if not shipments:
            return {}
        named = [f"{SHIPMENT},{id}" for id in sorted(set(shipments))]
        for move in await self._rpc.search(
            "stock.move", [["shipment", "in", named]], ["origin", "quantity", "shipment", "state"]
        ):
            model, _, id = (move["origin"] or ",").partition(",")
            if model == "sale.line" and move["state"] != "cancelled":
                lines = found[int(move["shipment"].partition(",")[2])]
                lines[int(id)] = lines.get(int(id), ZERO) + quantity_of(move["quantity"])
        return found


def _ids(sale: Found) -> list[int]:
    return [one["id"] for one in sale["shipments."]]


class _Told:
    """What one sale's shipments mean for its order."""

    def __init__(
        self, sale: Found, shipments: Iterable[Found], moves: Mapping[int, Mapping[int, Decimal]], new: Iterable[int]
    ) -> None:
        self._sale = sale
        self._names = {line["id"]: line["note"] for line in sale["lines."] if line["note"]}
        self._shipments = sorted(shipments, key=lambda one: int(one["id"]))
        self._moves = moves
        self._new = set(new)
        self._stamp = max(one["write_date"] for one in self._shipments if one["write_date"])
        self._sent, under_way = self._sum(SHIPPED), self._sum(UNDER_WAY)
        self._locked = {name: under_way.get(name, ZERO) for name in self._lines(self._shipments)}
        self.locks = any(quantity > self._sent.get(name, ZERO) for name, quantity in self._locked.items())
        """Whether something is on its way through the warehouse and not yet out of it."""

    def reports(self, locked_before: bool) -> list[Report]:
        on_the_road = any(one["state"] == "shipped" for one in self._shipments)
        found: list[Report] = []
        for one in self._shipments:
            if one["id"] in self._new and one["state"] in SHIPPED and (lines := self._lines([one])):
                told = {"id": f"S{one['id']}", "lines": lines, "on": one["effective_date"]}
                if on_the_road:  # otherwise its delivery says as much
                    found.append(self._report("shipment", **told))
                if one["state"] == "done":
                    found.append(self._report("delivery", **told))
        if self.locks or locked_before:
            found.append(self._report("picked", id=self._at("P"), lines=self._locked))
        rest = [one for one in self._shipments if one["state"] in WAITING]
        if self._sent and (left := self._lines(rest)):
            expected = max((one["planned_date"] for one in rest if one["planned_date"]), default=None)
            found.append(self._report("backorder", id=self._at("B"), lines=left, expected=expected))
        return found

    def _report(self, kind: str, **told: Any) -> Report:
        return Report.model_validate({"order": self._sale["web_id"], "kind": kind, **told})

    def _at(self, letter: str) -> str:
        """One for each time that it was written there."""
        return f"{letter}{self._sale['id']}.{self._stamp:%Y%m%d%H%M%S%f}"

    def _sum(self, states: Sequence[str]) -> dict[str, Decimal]:
        return self._lines(one for one in self._shipments if one["state"] in states)

    def _lines(self, shipments: Iterable[Found]) -> dict[str, Decimal]:
        found: defaultdict[str, Decimal] = defaultdict(Decimal)
        for one in shipments:
            for line, quantity in self._moves.get(one["id"], {}).items():
                if line in self._names and quantity:
                    found[self._names[line]] += quantity
        return dict(found)
