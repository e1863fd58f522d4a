"""One order as it stands: where it goes, when it starts, what became of each line. `acts` are its rules."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from domain.delegation import zone_of
from domain.money import formatted
from domain.orders.ledger import NOTHING, ZERO, Share
from domain.orders.split import PlannedOrder, Slot, Trigger, later
from domain.quotes import Acceptance, LineKind, Place, Quote, QuoteLine
from domain.runs import Command, Outcome, RunState, is_expiry, text_of
from domain.values import Amount, Id, Instant, StorableText, Value, Word

ERP = "erp"
"""Who acts when the ERP does."""
MOST_TASKS = 100


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

    @property
    def words(self) -> str:
        return self.value.replace("_", " ")


class Hold(Value):
    """A reason for the order not to start; holds stack, and each is released by itself."""

    id: str
    reason: str
    owner: str
    by: str
    at: Instant
    line: str | None = None
    """The line it is about, where it is not about all of them."""


class Task(Value):
    """Something the order desk must look at; it stays until somebody has."""

    id: str
    kind: Literal["breach", "excess", "change_refused", "not_answered", "unapplied"]
    words: str
    at: Instant
    line: str | None = None


class PendingFact(Value):
    """Something that happened to a line, which is yet to be stored as a fact."""

    line: Id
    kind: Literal["delivered", "milestone", "extended", "ended"]
    quantity: Amount = ZERO
    net: Amount = ZERO
    on: date | None = None
    ends: date | None = None
    """The first day on which a subscription runs no more."""
    source: str
    """The shipment, task or milestone."""
    serials: tuple[str, ...] = ()


class Reported(Value):
    """A shipment or delivery as it was reported, counted once; `lines` as they are after corrections."""

    what: Literal["shipped", "delivered"]
    id: StorableText
    lines: dict[Id, Amount]
    given: dict[Id, Amount] = {}
    """The lines that were reported first, where somebody corrected them."""
    on: date | None = None


class Renewal(Value):
    """A subscription that is paid month by month until somebody ends it."""

    first: date | None = None
    """The day on which it began; each month begins on that day, or on the last of a shorter month."""
    months: int = 1
    """So many are paid for."""
    month: Share = NOTHING
    """What a month costs."""
    due_at: Instant | None = None
    """When the next month begins at the ship-to."""
    ends_on: date | None = None
    """The first day of the month that is not begun any more."""

    @property
    def paid_until(self) -> date:
        return later(self.first, "month", self.months) if self.first else date.max

    @property
    def goes_on(self) -> bool:
        return self.ends_on is None or self.paid_until < self.ends_on


class Line(Value):
    """A line of the order and where its quantity is: what is neither shipped nor delivered is still to come."""

    line: Id
    product: Id
    name: StorableText = ""
    share: Share
    shipped_goods: bool = True
    """Otherwise a service or subscription, delivered when the order becomes active."""
    unit: Word = ""
    """What it is measured in; pieces without it."""
    step: Amount = ZERO
    """What it is counted in; anything where that was not said."""
    over_percent: Amount = ZERO
    under_percent: Amount = ZERO
    shipped: Amount = ZERO
    delivered: Amount = ZERO
    backordered: Amount = ZERO
    """Of what is open, what is not in stock."""
    picked: Amount = ZERO
    """So much is on its way through the warehouse: no change goes below."""
    implied: Amount = ZERO
    """Of what was shipped, what is known only because it arrived: its shipment may yet be reported."""
    excess: Amount = ZERO
    """Arrived beyond what was ordered, and accepted by nobody yet."""
    kept: Share = NOTHING
    """Of its share, what arrived beyond what was ordered and the customer keeps: it is not of the quote."""
    cancelled: Share = NOTHING
    """Ended for good; nobody can order it any more."""
    not_charged: Amount = ZERO
    """Of its price, what is not charged because it ends with the customer's contract."""
    starts: date | None = None
    """The day on which it begins, where it lets another run on."""
    ends: date | None = None
    """The day on which it runs no more, where it ends with the contract or lets another run on."""
    renewal: Renewal | None = None
    """How a subscription without a term goes on from month to month."""
    milestones: tuple[Id, ...] = ()
    """Steps that are not reached yet; with the last of them it is delivered."""
    unpriced: bool = False
    """Its quantity changed, and the money is yet to be worked out."""

    @property
    def open(self) -> Decimal:
        """What was not sent off yet."""
        return max(ZERO, self.share.quantity - self.shipped)

    @property
    def renewed(self) -> Share:
        """What its months after the first cost: it is not of the quote."""
        if self.renewal is None:
            return NOTHING
        times = self.renewal.months - 1
        return Share(quantity=ZERO, net=self.renewal.month.net * times, full=self.renewal.month.full * times)

    @property
    def can_end(self) -> bool:
        """Whether it comes in steps, and was not handed over as the order began."""
        return self.shipped_goods or bool(self.milestones)

    @property
    def locked(self) -> Decimal:
        """No change can make it less."""
        return max(self.shipped, self.picked)

    @property
    def most(self) -> Decimal:
        """How much may be sent off and arrive in all, with what its tolerance allows."""
        return self.share.quantity * (100 + self.over_percent) / 100

    @property
    def enough(self) -> bool:
        return self.delivered >= self.share.quantity * (100 - self.under_percent) / 100

    @property
    def travelling(self) -> Decimal:
        """Sent off, and not there yet."""
        return self.shipped - self.delivered - self.excess

    def of(self, quantity: Decimal, cancelled: Decimal = ZERO) -> "Line":
        """With another quantity, of which so much more is cancelled for good; its money is worked out later."""
        gone = self.cancelled.evolve(quantity=self.cancelled.quantity + cancelled)
        share = self.share.evolve(quantity=quantity)
        missing = min(self.backordered, max(ZERO, quantity - self.shipped))
        update = {"share": share, "cancelled": gone, "unpriced": True, "backordered": missing}
        return self.evolve(**update)


class Change(Value):
    """An alteration of what was agreed that has not taken effect: it waits for people, a day, or the back office."""

    id: str
    version: int
    """That of the order it was made for."""
    verb: Literal["place", "amend", "cancel", "close_short", "accept_excess"]
    lines: dict[Id, Amount] = {}
    """The quantities that the lines will have."""
    slot: Slot | None = None
    reason: StorableText = ""
    for_good: bool = False
    by: str
    at: Instant
    effective: date | None = None
    effective_at: Instant | None = None
    """When that day begins at the ship-to, worked out where it is recorded."""
    round: str | None = None
    """The run of the approvals that it waits for."""
    sent: bool = False
    """The back office was asked."""
    reserved: dict[Id, Share] = {}
    """What it will take more, already kept for it."""

    @property
    def waits_for_its_day(self) -> bool:
        return self.round is None and not self.sent


class PreviousVersion(Value):
    """What was agreed before the last change, as far as that differs."""

    version: int
    slot: Slot
    starts_at: Instant | None = None
    lines: tuple[Line, ...] = ()
    """The lines that it changed, as they were."""
    added: tuple[Id, ...] = ()
    places: tuple[Id, ...] = ()
    """All lines in their order."""


class Order(RunState):
    """`version` counts what was agreed: a command made against an older one is refused."""

    id: Id
    quote: Id
    number: int
    customer: str
    title: str
    owner: str
    currency: str
    company_zone: str = ""
    """By whose calendar it has days where its place has none."""
    slot: Slot
    lines: tuple[Line, ...]
    phase: Phase = Phase.NEW
    version: int = 1
    starts_at: Instant | None = None
    """The instant its trigger means, worked out where it is recorded: zones change, and a replay must not."""
    holds: tuple[Hold, ...] = ()
    tasks: tuple[Task, ...] = ()
    change: Change | None = None
    previous: PreviousVersion | None = None
    """What `undo` restores; nothing once the order went to the back office."""
    news: tuple[PendingFact, ...] = ()
    expected: date | None = None
    """The day on which the back office expects to have sent everything."""
    reports: tuple[Reported, ...] = ()
    shipments: tuple[str, ...] = ()
    """Reports that were counted before their quantities were kept, as `shipped:id:digest`."""
    began_at: Instant | None = None
    """When the back office took it over."""
    erp_reference: str = ""
    erp_words: str = ""
    """Why the back office refused it."""
    for_good: bool = False
    """Cancelled so that nobody can order it any more."""
    replaces: str | None = None
    """The return whose goods it replaces: it costs nothing, and stands outside the quote's ledger."""
    extends: str | None = None
    """The order whose subscriptions it lets run on: it stands outside the quote's ledger."""
    acceptance: Acceptance | None = None
    """The customer's yes, where it is more than they accepted with the quote."""
    changed_by: str = ""
    waiting_since: Instant | None = None
    """When what it waits for now began; see `waiting_on`."""
    closed_at: Instant | None = None

    @property
    def status(self) -> OrderStatus:
        """A function of phase, holds and quantities, computed here alone."""
        if self.phase is Phase.WAITING:
            return OrderStatus.HELD if self.holds else OrderStatus.SCHEDULED
        if self.phase is not Phase.ACTIVE:
            return {
                Phase.NEW: OrderStatus.DRAFT,
                Phase.ACTIVATING: OrderStatus.ACTIVATING,
                Phase.FALLOUT: OrderStatus.FALLOUT,
                Phase.CANCELLED: OrderStatus.CANCELLED,
            }[self.phase]
        if all(line.delivered == line.share.quantity for line in self.lines):
            return OrderStatus.FULFILLED
        partly = any(line.shipped for line in self.lines if line.shipped_goods)
        return OrderStatus.PARTLY_FULFILLED if partly else OrderStatus.ACTIVE

    @property
    def of_quote(self) -> bool:
        """Whether the ledger of its quote accounts for it."""
        return self.replaces is None and self.extends is None

    @property
    def running(self) -> bool:
        """An order that is over goes on while goods travel, and while somebody must look at it or at a change of it."""
        if self.status is OrderStatus.CANCELLED:
            return bool(self.tasks)
        if self.status is not OrderStatus.FULFILLED or self.tasks or self.change is not None:
            return True
        goes_on = any(line.renewal and line.renewal.goes_on for line in self.lines)
        return goes_on or any(line.travelling > 0 for line in self.lines if line.shipped_goods)

    @property
    def asks_back_office(self) -> bool:
        """The back office has yet to answer whether it takes the order over, or the change."""
        return self.phase is Phase.ACTIVATING or (self.change is not None and self.change.sent)

    @property
    def busy(self) -> bool:
        """It is about to be opened, or the back office has yet to answer: what depends on the answer waits."""
        return self.phase is Phase.NEW or self.asks_back_office

    @property
    def waiting_on(self) -> tuple[str, ...]:
        """Who must do something before it goes on: owners of holds, approvers, the back office, the order desk."""
        found = [hold.owner for hold in self.holds] if self.phase is Phase.WAITING else []
        if self.change and self.change.round:
            found.append("approval")
        if self.asks_back_office:
            found.append("back_office")
        if self.phase is Phase.FALLOUT or (self.tasks and self.running):
            found.append("order_desk")
        return tuple(dict.fromkeys(found)) if self.running else ()

    @property
    def net_total(self) -> Decimal:
        return sum((line.share.net for line in self.lines), ZERO)

    @property
    def zone(self) -> tzinfo:
        """By whose calendar it has days."""
        return place_zone(self.slot.ship_to, self.company_zone)

    def day_at(self, instant: datetime) -> date:
        """The day that an instant falls on at its place."""
        return instant.astimezone(self.zone).date()

    @property
    def began_on(self) -> date | None:
        return self.day_at(self.began_at) if self.began_at else None

    @property
    def starts_on(self) -> date | None:
        return self.day_at(self.starts_at) if self.starts_at else None

    @property
    def waits_for_its_day(self) -> bool:
        return self.phase is Phase.WAITING and not self.holds and self.starts_at is not None

    @property
    def next_due(self) -> Instant | None:
        """The next instant at which time itself acts on it."""
        instants = [self.starts_at if self.waits_for_its_day else None, self.binding_due, self.parked_until]
        return min((instant for instant in instants if instant), default=None) if self.running else None

    @property
    def binding_due(self) -> Instant | None:
        """The day of a change that was agreed: it is in effect for whatever is asked after it."""
        waits = self.change is not None and self.change.waits_for_its_day and not self.busy
        change = self.change.effective_at if self.change and waits and self.running else None
        return min((instant for instant in (change, self.renewal_due) if instant), default=None)

    @property
    def renewal_due(self) -> Instant | None:
        """When the next month of a subscription begins."""
        if self.phase is not Phase.ACTIVE:
            return None
        going = (line.renewal for line in self.lines if line.renewal and line.renewal.goes_on)
        return min((renewal.due_at for renewal in going if renewal.due_at), default=None)

    def with_task(self, kind: str, words: str, at: Instant, line: str | None = None) -> "Order":
        """With one more task for the order desk."""
        number = sum(1 for task in self.tasks if task.id.partition(".")[0] == f"t{self.seq + 1}")
        id = f"t{self.seq + 1}.{number}" if number else f"t{self.seq + 1}"
        task = Task.model_validate({"id": id, "kind": kind, "words": words[:1_000], "at": at, "line": line})
        return self.evolve(tasks=(*self.tasks, task))

    def if_rejected(self, command: Command, outcome: Outcome, at: Instant) -> "Order":
        if is_expiry(command):
            return self._without_dated_change(at)
        return self.with_unapplied(command, outcome, at) if command.actor == ERP else self

    def with_unapplied(self, command: Command, outcome: Outcome, at: Instant) -> "Order":
        """Nothing that the ERP reports is dropped: what cannot be counted is a task, with the reason."""
        if command.verb not in ("shipment", "delivery", "milestone") or len(self.tasks) >= MOST_TASKS:
            return self
        lines = command.payload.get("lines")
        told = ", ".join(f"{n}: {q}" for n, q in lines.items()) if isinstance(lines, Mapping) else ""
        what = f"{command.verb} {text_of(command.payload.get('id'), 64)} ({told[:300]})"
        words = f"{what} was not counted: {outcome.sentence}"
        return self.with_task("unapplied", words, at)

    def _without_dated_change(self, at: Instant) -> "Order":
        """A change whose day has come and that cannot be is dropped, and the desk is told: its day comes only once."""
        change = self.change
        if change is None or not change.waits_for_its_day or change.effective_at is None or change.effective_at > at:
            return self
        words = f"The change for {change.effective} could not be made any more."
        dropped = self.evolve(change=None, version=self.version + 1)
        return dropped.with_task("change_refused", words, at)

    def if_not_answered(self, command: Command, at: Instant) -> "Order":
        """The desk is told what was asked and could not be done: the back office may be away for days."""
        words = f"{command.verb} by {command.actor} was not done: the back office did not answer in time. Ask again."
        return self.with_task("not_answered", words, at)

    @property
    def days_late(self) -> int:
        """By how much it is forecast to miss what was promised; 0 where it is not, or nothing was."""
        if self.slot.promised is None or self.status in (OrderStatus.FULFILLED, OrderStatus.CANCELLED):
            return 0
        return max(0, (max(self.expected or date.min, self._first_day) - self.slot.promised).days)

    @property
    def late_because(self) -> Literal["stock", "start"] | None:
        """The step to blame for missing the promise."""
        if not self.days_late:
            return None
        return "stock" if (self.expected or date.min) >= self._first_day else "start"

    @property
    def _first_day(self) -> date:
        waits = self.phase is Phase.WAITING and self.starts_at
        return self.starts_at.date() if waits and self.starts_at else date.min

    def line(self, wanted: object) -> Line | None:
        return next((line for line in self.lines if line.line == wanted), None)


def order_run(id: str) -> str:
    return f"order:{id}"


def new_order(planned: PlannedOrder, quote: Quote, number: int, company_zone: str = "") -> Order:
    """The order at sequence number 0: nothing happens until it is opened."""
    quoted = {line.id: line for line in quote.lines}
    lines = tuple(new_line(quoted[line.line], line.share, quote.term_months) for line in planned.lines)
    made = Order(
        id=planned.id,
        quote=quote.id,
        number=number,
        customer=quote.customer.name,
        title="",
        owner=quote.owner,
        currency=quote.currency,
        slot=planned.slot,
        lines=lines,
        company_zone=company_zone,
    )
    return made.evolve(title=title_of(made))


def title_of(order: Order) -> str:
    """`Order Q-1-2 · Acme · Porto · €85.00`."""
    place = order.slot.ship_to.city if order.slot.ship_to else ""
    total = formatted(order.net_total, order.currency)
    return " · ".join(part for part in (f"Order {order.id}", order.customer, place, total) if part)


def _manner(line: QuoteLine) -> dict[str, Any]:
    """How a line of the quote is delivered."""
    return {
        "shipped_goods": line.sold_as is LineKind.GOODS,
        "unit": line.unit or "",
        "step": line.counted_in,
        "over_percent": line.over_percent or ZERO,
        "under_percent": line.under_percent or ZERO,
        "milestones": tuple(milestone.name for milestone in line.milestones_agreed),
    }


def new_line(line: QuoteLine, share: Share, quote_term: int | None) -> Line:
    monthly = line.sold_as is LineKind.SUBSCRIPTION and not (line.term_months or quote_term)
    renewal = Renewal() if monthly else None
    return Line(line=line.id, product=line.product, name=line.name, share=share, renewal=renewal, **_manner(line))


def start_of(trigger: Trigger, zone: tzinfo, now: datetime) -> datetime | None:
    """The instant a trigger means: the start of its day at its place, or now; None for what nobody can know yet.

    A day that begins with an hour that does not exist, as clocks change, begins at the first instant that does."""
    if trigger.start == "now":
        return now
    if trigger.on is None:
        return None
    return day_begins(trigger.on, zone)


def place_zone(ship_to: Place | None, company_zone: str) -> tzinfo:
    """By whose calendar an order has days: its place's, and the company's where it has none."""
    return zone_of((ship_to.time_zone if ship_to else "") or company_zone)


def day_begins(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def with_instants(now: Order, at: datetime) -> Order:
    """The order with the instants that its days mean, where those are new; its title, and when time acts on it next."""
    update: dict[str, Any] = {}
    if now.starts_at is None and now.phase is Phase.WAITING:
        update["starts_at"] = start_of(now.slot.trigger, now.zone, at)
    change = now.change
    if change and change.effective and change.effective_at is None:
        begins = start_of(Trigger(start="date", on=change.effective), now.zone, at)
        update["change"] = change.evolve(effective_at=begins)
    if now.phase is Phase.ACTIVE and any(line.renewal for line in now.lines):
        update["lines"] = tuple(_with_renewal(line, now, at) for line in now.lines)
    known = now.evolve(**update)
    return known.evolve(due=known.next_due, title=title_of(known))


def _with_renewal(line: Line, order: Order, at: datetime) -> Line:
    """With the day on which its first month began, and the instant at which the next one does."""
    if line.renewal is None or not line.share.quantity:
        return line
    renewal = line.renewal
    if renewal.first is None:
        month = line.share.evolve(quantity=ZERO)
        renewal = renewal.evolve(first=order.day_at(at), month=month)
    due = day_begins(renewal.paid_until, order.zone)
    return line.evolve(renewal=renewal.evolve(due_at=due))


def is_past(day: date, at: datetime) -> bool:
    """Whether a day is over everywhere on earth."""
    return day < (at - timedelta(hours=12)).date()
