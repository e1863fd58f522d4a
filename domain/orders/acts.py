"""The rules of one order: what may be done with it, when, and what follows. Values in, values out.

`apply` is total: the workflow applies a command before anybody has checked that it is genuine."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from domain.orders.order import Hold, Line, Order, Phase
from domain.orders.split import Trigger
from domain.runs import Command, Outcome, done, is_expiry, refused, text_of
from domain.values import Instant

Decided = tuple[Order, Outcome]
MOST_HOLDS, MOST_SHIPMENTS = 20, 2_000


def apply(order: Order, command: Command, at: Instant) -> Decided:
    """The order after the command, and what came of it. Every command takes a sequence number, refused or not."""
    after, outcome = _apply(order, command, at)
    after = after.model_copy(update={"seq": order.seq + 1})
    if not after.running and after.closed_at is None:
        after = after.model_copy(update={"closed_at": at})
    return after.model_copy(update={"due": after.starts_at if after.waits_for_its_day else None}), outcome


def _apply(order: Order, command: Command, at: Instant) -> Decided:
    if command.verb == "open" and order.phase is Phase.NEW:
        opened = order.model_copy(update={"phase": Phase.WAITING, "changed_by": command.actor})
        return opened, done("opened", state=opened.status)
    if order.phase is Phase.NEW or not order.running:
        return order, refused("order_closed", f"This order is {order.status}.", state=order.status)
    handler = HANDLERS.get(command.verb)
    if handler is None or (command.verb == "expire" and not is_expiry(command)):
        return order, refused("unknown_verb", "An order does not know that act.")
    known = command.payload.get("version")
    if known is not None and known != order.version:
        return order, refused("stale_version", "The order was changed meanwhile. Open it again.", version=order.version)
    return handler(order, command, at)


def _too_late(order: Order) -> Decided:
    return order, refused("too_late", f"The order is {order.status} already.", state=order.status)


def _agreed(order: Order, command: Command, **changes: Any) -> Order:
    """A new version of what was agreed."""
    return order.model_copy(update={**changes, "version": order.version + 1, "changed_by": command.actor})


# --- before it starts -------------------------------------------------------------------------------------------------


def _reschedule(order: Order, command: Command, at: Instant) -> Decided:
    """Another day, now, or when somebody says so; never after it has started."""
    if order.phase is not Phase.WAITING:
        return _too_late(order)
    trigger = _trigger(command.payload)
    if trigger is None:
        return order, refused("invalid", "Say in `on` which day, or in `start` now or manual.", field="on")
    after = _agreed(order, command, slot=order.slot.model_copy(update={"trigger": trigger}), starts_at=None)
    return after, done("rescheduled", start=trigger.start, on=trigger.on and trigger.on.isoformat())


def _trigger(payload: Mapping[str, Any]) -> Trigger | None:
    if payload.get("start") in ("now", "manual") and payload.get("on") is None:
        return Trigger(start=payload["start"])
    try:
        return Trigger(start="date", on=date.fromisoformat(text_of(payload.get("on"))))
    except ValueError:
        return None


def _hold(order: Order, command: Command, at: Instant) -> Decided:
    if order.phase is not Phase.WAITING:
        return _too_late(order)
    reason = text_of(command.payload.get("reason"), 1_000).strip()
    if not reason:
        return order, refused("comment_required", "Say why it is held.", field="reason")
    if len(order.holds) >= MOST_HOLDS:
        return order, refused("too_many", f"It has {MOST_HOLDS} holds already.")
    owner = text_of(command.payload.get("owner"), 64) or "desk"
    hold = Hold(id=f"h{order.seq + 1}", reason=reason, owner=owner, by=command.actor, at=at)
    return order.model_copy(update={"holds": (*order.holds, hold), "changed_by": command.actor}), done(
        "held", hold=hold.id, reason=reason
    )


def _release(order: Order, command: Command, at: Instant) -> Decided:
    """One hold ends; the order moves when none is left, at once if its day has passed."""
    wanted = command.payload.get("hold")
    if not any(hold.id == wanted for hold in order.holds):
        return order, refused("unknown_hold", "The order has no such hold.", holds=[h.id for h in order.holds])
    left = tuple(hold for hold in order.holds if hold.id != wanted)
    after = order.model_copy(update={"holds": left, "changed_by": command.actor})
    return after, done("released", hold=wanted, holds=len(left))


def _go_live(order: Order, command: Command, at: Instant) -> Decided:
    """Whoever decides says: now."""
    if order.phase is not Phase.WAITING:
        return _too_late(order)
    if order.holds:
        return order, refused("held", "It is held. Release it first.", holds=[h.id for h in order.holds])
    return _activating(order.model_copy(update={"changed_by": command.actor})), done("activating")


def _cancel(order: Order, command: Command, at: Instant) -> Decided:
    """What was to be ordered can be ordered again, or never more, as whoever cancels says."""
    if order.phase not in (Phase.WAITING, Phase.FALLOUT):
        return _too_late(order)
    for_good = command.payload.get("for_good") is True
    after = _agreed(order, command, phase=Phase.CANCELLED, for_good=for_good)
    return after, done("cancelled", for_good=for_good)


def _expire(order: Order, command: Command, at: Instant) -> Decided:
    """The day has come."""
    if not order.waits_for_its_day or order.starts_at is None or order.starts_at > at:
        return order, refused("not_due", "It does not start yet.")
    return _activating(order), done("activating")


def _activating(order: Order) -> Order:
    return order.model_copy(update={"phase": Phase.ACTIVATING, "erp_words": ""})


# --- with the back office ---------------------------------------------------------------------------------------------


def _accepted(order: Order, command: Command, at: Instant) -> Decided:
    """The back office has it: services are delivered with that, goods when they are."""
    if order.phase is not Phase.ACTIVATING:
        return order, refused("not_asked", f"Nothing waits for the back office: it is {order.status}.")
    lines = tuple(line if line.shipped_goods else _served(line) for line in order.lines)
    reference = text_of(command.payload.get("reference"), 100)
    after = order.model_copy(update={"phase": Phase.ACTIVE, "lines": lines, "erp_reference": reference})
    return after, done("active", state=after.status, reference=reference)


def _served(line: Line) -> Line:
    whole = line.share.quantity
    return line.model_copy(update={"shipped": whole, "delivered": whole})


def _rejected(order: Order, command: Command, at: Instant) -> Decided:
    """The back office will not have it: a task for the order desk, in the back office's own words."""
    if order.phase is not Phase.ACTIVATING:
        return order, refused("not_asked", f"Nothing waits for the back office: it is {order.status}.")
    words = text_of(command.payload.get("reason"), 1_000).strip()
    if not words:
        return order, refused("comment_required", "Say why it is refused.", field="reason")
    return order.model_copy(update={"phase": Phase.FALLOUT, "erp_words": words}), done("fallout", reason=words)


def _retry(order: Order, command: Command, at: Instant) -> Decided:
    if order.phase is not Phase.FALLOUT:
        return order, refused("no_fallout", f"There is nothing to try again: it is {order.status}.")
    return _activating(order.model_copy(update={"changed_by": command.actor})), done("activating")


def _shipment(order: Order, command: Command, at: Instant) -> Decided:
    return _moved(order, command, "shipped", lambda line, quantity: quantity <= line.open)


def _delivery(order: Order, command: Command, at: Instant) -> Decided:
    """What arrived; what nobody reported as shipped is shipped with it."""
    return _moved(order, command, "delivered", lambda line, quantity: line.delivered + quantity <= line.share.quantity)


def _moved(order: Order, command: Command, what: str, fits: Callable[[Line, Decimal], bool]) -> Decided:
    if order.phase is not Phase.ACTIVE:
        return order, refused("not_active", f"It is {order.status}: nothing can be on its way.", state=order.status)
    id = f"{what}:{text_of(command.payload.get('id'), 64)}"
    if id in order.shipments:
        return order, done("already_reported", id=command.payload.get("id"))
    quantities = _quantities(command.payload.get("lines"))
    known = {line.line: line for line in order.lines if line.shipped_goods}
    if not quantities or len(order.shipments) >= MOST_SHIPMENTS:
        return order, refused("invalid", "Say in `lines` how much of which line.", field="lines")
    for name, quantity in quantities.items():
        if name not in known:
            return order, refused("invalid", f"This order ships no line {name}.", field=f"lines.{name}")
        if not fits(known[name], quantity):
            open_ = str(known[name].open)
            return order, refused(
                "too_much", f"More of line {name} than is on order.", field=f"lines.{name}", open=open_
            )
    lines = tuple(_counted(line, what, quantities.get(line.line, Decimal(0))) for line in order.lines)
    after = order.model_copy(update={"lines": lines, "shipments": (*order.shipments, id)})
    return after, done(what, state=after.status)


def _counted(line: Line, what: str, quantity: Decimal) -> Line:
    if not quantity:
        return line
    if what == "shipped":
        return line.model_copy(update={"shipped": line.shipped + quantity})
    delivered = line.delivered + quantity
    return line.model_copy(update={"delivered": delivered, "shipped": max(line.shipped, delivered)})


def _quantities(value: object) -> dict[str, Decimal]:
    """Empty unless every quantity is a number above 0."""
    found: dict[str, Decimal] = {}
    for name, quantity in value.items() if isinstance(value, Mapping) else ():
        try:
            number = Decimal(str(quantity))
        except InvalidOperation:
            return {}
        if not number.is_finite() or not 0 < number < 10**9 or abs(number.adjusted()) > 12:
            return {}
        found[str(name)] = number
    return found


HANDLERS: dict[str, Callable[[Order, Command, Instant], Decided]] = {
    "reschedule": _reschedule,
    "hold": _hold,
    "release": _release,
    "cancel": _cancel,
    "go_live": _go_live,
    "accepted": _accepted,
    "rejected": _rejected,
    "retry": _retry,
    "shipment": _shipment,
    "delivery": _delivery,
    "expire": _expire,
}


class OrderMachine:
    """The order as a kind of run."""

    kind = "order_fulfilment"
    state = Order
    verbs: tuple[str, ...] = ("open", *(verb for verb in HANDLERS if verb != "expire"))

    @staticmethod
    def apply(state: Order, command: Command, at: Instant) -> Decided:
        return apply(state, command, at)
