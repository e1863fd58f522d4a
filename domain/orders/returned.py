"""Goods that come back: announced, then received or declined. What comes back frees nothing of the quote."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum

from domain.errors import Invalid, problem
from domain.orders.ledger import ZERO, Share
from domain.orders.order import Order
from domain.orders.payload import day_of
from domain.orders.split import OrderLine, PlannedOrder, Slot
from domain.quotes import Quantity
from domain.runs import Command, Outcome, RunState, Visible, done, refused, text_of
from domain.sentences import Sentence
from domain.values import Id, Instant, StorableText, plain_number


class ReturnStatus(StrEnum):
    NEW = "new"
    ANNOUNCED = "announced"
    RECEIVED = "received"
    DECLINED = "declined"


class Return(RunState):
    order: Id
    number: int
    customer: str
    title: str
    lines: dict[Id, Quantity]
    serials: dict[Id, tuple[str, ...]] = {}
    reason: StorableText
    by: str
    status: ReturnStatus = ReturnStatus.NEW
    words: StorableText = ""
    """Why it was declined."""
    arrived_on: date | None = None
    """The day on which it came back, where that was told."""
    closed_at: Instant | None = None

    @property
    def running(self) -> bool:
        return self.status in (ReturnStatus.NEW, ReturnStatus.ANNOUNCED)


def return_run(order: str, number: int) -> str:
    return f"order-return:{order}:{number}"


def new_return(
    order: Order,
    number: int,
    lines: Mapping[str, Decimal],
    reason: str,
    by: str,
    serials: Mapping[str, tuple[str, ...]],
) -> Return:
    """The return at sequence number 0."""
    title = f"Return {number} of order {order.id} · {order.customer}"
    return Return(
        order=order.id,
        number=number,
        customer=order.customer,
        title=title,
        lines=dict(lines),
        reason=reason,
        serials=dict(serials),
        by=by,
    )


def check_returned(order: Order, earlier: Mapping[str, Decimal], lines: Mapping[str, Decimal]) -> None:
    """Only what was delivered and did not come back yet can. Raises Invalid naming the line, asked and available."""
    for name, asked in lines.items():
        line = order.line(name)
        if line is None or not line.shipped_goods:
            raise Invalid.field(f"lines.{name}", "this order shipped no such line")
        if line.step and asked % line.step:
            raise Invalid.field(f"lines.{name}", "is counted in {step:n}", step=plain_number(line.step))
        there = line.delivered - earlier.get(name, ZERO)
        if asked > there:
            wanted, left = plain_number(asked), plain_number(there)
            what = "{asked:n} asked for, {there:n} were delivered and not returned"
            found = problem(f"lines.{name}", what, asked=wanted, there=left)
            raise Invalid.fields([found], line=name, asked=wanted, available=left)


def replacement(returned: Return, order: Order, id: str, slot: Slot) -> PlannedOrder:
    """An order of the same goods that costs nothing."""
    lines = tuple(
        OrderLine(line=name, product=line.product, name=line.name, share=Share(quantity=quantity))
        for name, quantity in returned.lines.items()
        if (line := order.line(name))
    )
    return PlannedOrder(id=id, slot=slot, lines=lines)


def apply(state: Return, command: Command, at: Instant) -> tuple[Return, Outcome]:
    after, outcome = _apply(state, command, at)
    update = {"seq": state.seq + 1, "closed_at": None if after.running else state.closed_at or at}
    return after.evolve(**update), outcome


def _apply(state: Return, command: Command, at: Instant) -> tuple[Return, Outcome]:
    if command.verb == "open" and state.status is ReturnStatus.NEW:
        arrived = command.payload.get("arrived") is True
        opened = ReturnStatus.RECEIVED if arrived else ReturnStatus.ANNOUNCED
        update = {"status": opened, "arrived_on": day_of(command.payload.get("on"))}
        return state.evolve(**update), done(opened.value, state=opened)
    if state.status is not ReturnStatus.ANNOUNCED:
        return state, refused(
            "return_closed", Sentence("This return is {state}.", state=state.status), state=state.status
        )
    if command.verb == "arrived":
        update = {"status": ReturnStatus.RECEIVED, "arrived_on": day_of(command.payload.get("on"))}
        return state.evolve(**update), done("received", state=ReturnStatus.RECEIVED)
    if command.verb == "decline":
        words = text_of(command.payload.get("reason"), 1_000).strip()
        if not words:
            return state, refused("comment_required", "Say why it is declined.", field="reason")
        declined: dict[str, object] = {"status": ReturnStatus.DECLINED, "words": words}
        return state.evolve(**declined), done("declined", state=ReturnStatus.DECLINED, reason=words)
    return state, refused("unknown_verb", "A return does not know that act.")


class ReturnMachine:
    """The return as a kind of run."""

    kind = "order_return"
    state = Return
    verbs: tuple[str, ...] = ("open", "arrived", "decline")

    @staticmethod
    def apply(state: Return, command: Command, at: Instant) -> tuple[Return, Outcome]:
        return apply(state, command, at)


# --- in words ---------------------------------------------------------------------------------------------------------


def visible(state: Return) -> Visible:
    waiting = ("back_office",) if state.status is ReturnStatus.ANNOUNCED else ()
    return Visible(status=state.status.value, customer=state.customer[:100], waiting_on=waiting)


def details(state: Return) -> str:
    goods = "\n".join(f"- {plain_number(quantity)} of line {name}" for name, quantity in state.lines.items())
    why = f" {state.words}" if state.words else ""
    return f"**{state.title}**\n\n**{state.status.value}**.{why}\n\n{goods}\n\n{state.reason} ({state.by})"


def timer_summary(state: Return) -> str:
    return state.title
