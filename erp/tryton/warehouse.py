"""The people of Tryton's warehouse, for those who have no other window into it: they see sales and send them off."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from domain.values import Value
from erp.port import Refused
from erp.tryton.rpc import Rpc, quantity_of

SHIPMENT = "stock.shipment.out"


class Parcel(Value):
    """A shipment and what is in it, by our line."""

    id: int
    state: str
    lines: dict[str, Decimal]


class Warehouse:
    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def close(self) -> None:
        await self._rpc.close()

    async def sales(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest first."""
        fields = ["web_id", "number", "state", "shipment_state", "party.rec_name", "total_amount", "currency.code"]
        return await self._rpc.search("sale.sale", [["web_id", "!=", None]], fields, limit, order=[["id", "DESC"]])

    async def parcels(self, order: str) -> list[Parcel]:
        """What was and will be sent for an order."""
        fields = ["lines.note", "shipments.state"]
        sales = await self._rpc.search("sale.sale", [["web_id", "=", order]], fields)
        names = {line["id"]: line["note"] for sale in sales for line in sale["lines."]}
        return [
            Parcel(
                id=one["id"],
                state=one["state"],
                lines={
                    names[int(move["origin"].split(",")[1])]: quantity_of(move["quantity"])
                    for move in await self._moves(one["id"])
                    if (move["origin"] or "").startswith("sale.line,")
                },
            )
            for sale in sales
            for one in sale["shipments."]
        ]

    async def ship(self, order: str, only: Mapping[str, Decimal] | None = None, to: str = "done") -> Parcel:
        """Send off what waits, or only so much of its lines; the rest waits on. Raises Refused."""
        waiting = [parcel for parcel in await self.parcels(order) if parcel.state == "waiting"]
        if not waiting:
            raise Refused(f"Nothing of {order} waits to be sent")
        parcel = waiting[0]
        if only is not None:
            await self._lower(parcel, only)
        for button in ("assign_force", "pick", "pack", "ship", "do"):
            await self._rpc.model(SHIPMENT, button, [parcel.id])
            state = (await self._rpc.model(SHIPMENT, "read", [parcel.id], ["state"]))[0]["state"]
            if state == to:
                break
        return next(one for one in await self.parcels(order) if one.id == parcel.id)

    async def _lower(self, parcel: Parcel, only: Mapping[str, Decimal]) -> None:
        """While they are drafts, the moves from the shelf say how much is taken."""
        moves = await self._moves(parcel.id)
        names = dict(
            zip((m["id"] for m in moves if (m["origin"] or "").startswith("sale.line,")), parcel.lines, strict=True)
        )
        for move in moves:
            model, _, origin = (move["origin"] or ",").partition(",")
            if model == "stock.move":
                wanted = only.get(names[int(origin)], Decimal(0))
                await self._rpc.model("stock.move", "write", [move["id"]], {"quantity": float(wanted)})

    async def _moves(self, shipment: int) -> list[dict[str, Any]]:
        here = [["shipment", "=", f"{SHIPMENT},{shipment}"], ["state", "!=", "cancelled"]]
        return await self._rpc.search("stock.move", here, ["origin", "quantity"], order=[["id", "ASC"]])
