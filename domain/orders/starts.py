"""When the orders of a split start: no day that is over, nobody who waits for nothing, or in the end for themselves."""

from collections.abc import Collection, Sequence
from datetime import date, datetime

from domain.errors import Invalid
from domain.orders.order import place_zone
from domain.orders.split import PlannedOrder
from domain.quotes import check_zone


def check_starts(
    planned: Sequence[PlannedOrder],
    others: Collection[str],
    at: datetime,
    order_by: date | None,
    chosen: bool,
    company_zone: str = "",
) -> None:
    """Raises Invalid naming the order and the field; `others` are orders that may be waited for.

    A day that nobody chose, but a line wished for, may be over: such an order starts at once. Nobody chooses a day
    after the last one to order on, when the approved price ends."""
    waits = {order.id: order.slot.trigger.after for order in planned}
    for n, order in enumerate(planned):
        trigger, place = order.slot.trigger, order.slot.ship_to
        check_zone(place, f"orders[{n}].ship_to")
        if chosen and trigger.on and trigger.on < at.astimezone(place_zone(place, company_zone)).date():
            raise Invalid.field(f"orders[{n}].on", "{day} is over", day=trigger.on)
        if chosen and trigger.on and order_by and trigger.on > order_by:
            raise Invalid.field(
                f"orders[{n}].on", "{day} is after {order_by}, the last day to order", day=trigger.on, order_by=order_by
            )
        if trigger.after is None:
            continue
        if trigger.after not in waits and trigger.after not in others:
            raise Invalid.field(
                f"orders[{n}].after", "there is no order {after!r} that it could wait for", after=trigger.after
            )
        seen, next_one = {order.id}, waits.get(order.id)
        while next_one is not None and next_one not in seen:
            seen.add(next_one)
            next_one = waits.get(next_one)
        if next_one is not None:
            raise Invalid.field(
                f"orders[{n}].after", "waits for itself in the end, by way of {after}", after=trigger.after
            )
