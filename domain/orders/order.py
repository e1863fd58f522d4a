"""One order as it stands: where it goes, when it starts, what became of each line. `acts` are its rules."""

from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from enum import StrEnum

from domain.delegation import zone_of
from domain.orders.ledger import ZERO, Share
from domain.orders.split import PlannedOrder, Slot, Trigger
from domain.quotes import Billing, Place, Quote, Recognition
from domain.runs import RunState
from domain.values import Amount, Id, Instant, StorableText, Value


class Phase(StrEnum):
    """How far the order is on its way to the back office."""

    NEW = "new"
    WAITING = "waiting"
    ACTIVATING = "activating"
    FALLOUT = "fallout"
    ACTIVE = "active"
    CANCELLED = "cancelled"


class OrderStatus(StrEnum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    HELD = "held"
    ACTIVATING = "activating"
    FALLOUT = "fallout"
    ACTIVE = "active"
    PARTLY_FULFILLED = "partly_fulfilled"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"


class Hold(Value):
    """A reason for the order not to start; holds stack, and each is released by itself."""

    id: str
    reason: str
    owner: str
    by: str
    at: Instant


class Line(Value):
    """A line of the order and where its quantity is: what is neither shipped nor delivered is still to come."""

    line: Id
    product: Id
    name: StorableText = ""
    share: Share
    shipped_goods: bool = True
    """Otherwise a service or subscription, delivered when the order becomes active."""
    shipped: Amount = ZERO
    delivered: Amount = ZERO

    @property
    def open(self) -> Decimal:
        """What was not sent off yet."""
        return self.share.quantity - self.shipped


class Order(RunState):
    """`version` counts what was agreed: a command made against an older one is refused."""

    id: Id
    quote: Id
    number: int
    customer: str
    title: str
    owner: str
    currency: str
    slot: Slot
    lines: tuple[Line, ...]
    phase: Phase = Phase.NEW
    version: int = 1
    starts_at: Instant | None = None
    """The instant its trigger means, worked out where it is recorded: zones change, and a replay must not."""
    holds: tuple[Hold, ...] = ()
    shipments: tuple[str, ...] = ()
    """Shipments and deliveries that were reported, each counted once."""
    erp_reference: str = ""
    erp_words: str = ""
    """Why the back office refused it."""
    for_good: bool = False
    """Cancelled so that nobody can order it any more."""
    changed_by: str = ""
    closed_at: Instant | None = None

    @property
    def status(self) -> OrderStatus:
        """A function of phase, holds and quantities, computed here alone."""
        if self.phase is Phase.WAITING:
            return OrderStatus.HELD if self.holds else OrderStatus.SCHEDULED
        if self.phase is not Phase.ACTIVE:
            return {
                Phase.NEW: OrderStatus.DRAFT, Phase.ACTIVATING: OrderStatus.ACTIVATING,
                Phase.FALLOUT: OrderStatus.FALLOUT, Phase.CANCELLED: OrderStatus.CANCELLED,
            }[self.phase]  # fmt: skip
        if all(line.delivered == line.share.quantity for line in self.lines):
            return OrderStatus.FULFILLED
        partly = any(line.shipped for line in self.lines if line.shipped_goods)
        return OrderStatus.PARTLY_FULFILLED if partly else OrderStatus.ACTIVE

    @property
    def running(self) -> bool:
        return self.status not in (OrderStatus.FULFILLED, OrderStatus.CANCELLED)

    @property
    def net_total(self) -> Decimal:
        return sum((line.share.net for line in self.lines), ZERO)

    @property
    def waits_for_its_day(self) -> bool:
        return self.phase is Phase.WAITING and not self.holds and self.starts_at is not None


def order_run(id: str) -> str:
    return f"order:{id}"


def new_order(planned: PlannedOrder, quote: Quote, number: int) -> Order:
    """The order at sequence number 0: nothing happens until it is opened."""
    quoted = {line.id: line for line in quote.lines}
    lines = tuple(
        Line(
            line=line.line, product=line.product, name=line.name, share=line.share,
            shipped_goods=quoted[line.line].recognition is Recognition.DELIVERY
            and quoted[line.line].billing is Billing.ONE_TIME,
        )
        for line in planned.lines
    )  # fmt: skip
    place = planned.slot.ship_to.city if planned.slot.ship_to and planned.slot.ship_to.city else ""
    total = f"{planned.net_total:,.2f} {quote.currency}"
    title = " · ".join(part for part in (f"Order {planned.id}", quote.customer.name, place, total) if part)
    return Order(
        id=planned.id, quote=quote.id, number=number, customer=quote.customer.name, title=title, owner=quote.owner,
        currency=quote.currency, slot=planned.slot, lines=lines,
    )  # fmt: skip


def start_of(trigger: Trigger, ship_to: Place | None, now: datetime) -> datetime | None:
    """The instant a trigger means: the start of its day at the ship-to, or now; None for what nobody can know yet.

    A day that begins with an hour that does not exist, as clocks change, begins at the first instant that does."""
    if trigger.start == "now":
        return now
    if trigger.on is None:
        return None
    zone = zone_of(ship_to.time_zone if ship_to and ship_to.time_zone else "UTC")
    return day_begins(trigger.on, zone)


def day_begins(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def with_start(was: Order, now: Order, at: datetime) -> Order:
    """The order with the instant at which it starts, where its trigger is new; and when time acts on it next."""
    changed = was.phase is Phase.NEW or was.slot != now.slot
    started = now.model_copy(update={"starts_at": start_of(now.slot.trigger, now.slot.ship_to, at)}) if changed else now
    return started.model_copy(update={"due": started.starts_at if started.waits_for_its_day else None})
