"""The rules of one order: what may be done with it, when, and what follows. Values in, values out.

`apply` is total: the workflow applies a command before anybody has checked that it is genuine."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from domain.orders import changes, correcting, renewing, shipping
from domain.orders.changes import agreed
from domain.orders.order import ERP, Hold, Line, Order, Phase, PreviousVersion, is_past
from domain.orders.payload import Decided, day_of, too_late
from domain.orders.split import Trigger
from domain.problems import ID_PATTERN
from domain.runs import PARKED, Command, Outcome, clock_of, done, is_expiry, refused, text_of
from domain.sentences import Sentence
from domain.values import Instant

MOST_HOLDS, MOST_PARKED = 20, 50
PARK_FOR = timedelta(hours=24)
"""How long a command waits for the back office's answer, before it is refused."""
ANSWERS = ("accepted", "rejected", "expire")
"""What is answered at once while the back office takes the order over: everything else waits."""
DEPENDS_ON_ANSWER = ("amend", "cancel", "close_short", "accept_excess")
"""What waits while the back office is asked for a change: one change at a time, in the order of their versions."""


def apply(order: Order, command: Command, at: Instant) -> Decided:
    """The order after the command, and what came of it. Every command takes a sequence number, refused or not."""
    after, outcome = _apply(order, command, at)
    after = after.evolve(seq=order.seq + 1)
    if after.running is not (after.closed_at is None):
        after = after.evolve(closed_at=None if after.running else at)
    if after.waiting_on != order.waiting_on:
        after = after.evolve(waiting_since=at if after.waiting_on else None)
    return after.evolve(due=after.next_due), outcome


def _apply(order: Order, command: Command, at: Instant) -> Decided:
    if command.verb == "open" and order.phase is Phase.NEW:
        opened = order.evolve(phase=Phase.WAITING, changed_by=command.actor)
        opened = changes.held_until_approved(opened, command, at)
        return opened, done("opened", state=opened.status)
    if not order.running and command.verb not in LATE_FACTS:
        return order, refused(
            "order_closed", Sentence("This order is {state}.", state=order.status), state=order.status
        )
    handler = HANDLERS.get(command.verb)
    if handler is None or (command.verb == "expire" and not is_expiry(command)):
        return order, refused("unknown_verb", "An order does not know that act.")
    if _must_wait(order, command.verb):
        if len(order.parked) >= MOST_PARKED:
            return order, refused("too_many", "Too much waits for its answer already.")
        waiting = Outcome(applied=False, code=PARKED, sentence="It waits until the order can answer.")
        until = order.parked_until or at + PARK_FOR
        return order.evolve(parked=(*order.parked, command), parked_until=until), waiting
    known = command.payload.get("version")
    if known is not None and known != order.version:
        return order, refused("stale_version", "The order was changed meanwhile. Open it again.", version=order.version)
    after, outcome = handler(order, command, at)
    if command.actor == ERP and not outcome.applied:
        noted = order.with_unapplied(command, outcome, at)
        if noted is not order:
            return noted, done("noted", outcome.sentence, because=outcome.code, task=noted.tasks[-1].id)
    return after, outcome


LATE_FACTS = ("shipment", "delivery", "correct", "dismiss")
"""What is recorded of an order that is over, too: goods do not stop because somebody closed a file."""


def _must_wait(order: Order, verb: str) -> bool:
    if order.phase in (Phase.NEW, Phase.ACTIVATING):
        return verb not in ANSWERS
    return order.busy and verb in DEPENDS_ON_ANSWER


# --- before it starts -------------------------------------------------------------------------------------------------


def _reschedule(order: Order, command: Command, at: Instant) -> Decided:
    """Another day, now, when somebody says so, or after another order; never after it has started."""
    if order.phase is not Phase.WAITING:
        return too_late(order)
    trigger = _trigger(command.payload)
    if trigger is None:
        return order, refused("invalid", "Say in `on` which day, or in `start` now or manual.", field="on")
    if trigger.on and is_past(trigger.on, at):
        return order, refused("invalid", Sentence("{day} is over.", day=trigger.on), field="on")
    if trigger.after == order.id:
        return order, refused("cycle", "An order cannot wait for itself.", field="after")
    slot = order.slot.evolve(trigger=trigger)
    after = agreed(
        order,
        command,
        slot=slot,
        starts_at=None,
        unsettled=trigger.after is not None,
        previous=PreviousVersion(version=order.version, slot=order.slot, starts_at=order.starts_at),
    )
    return after, done(
        "rescheduled", start=trigger.start, on=trigger.on and trigger.on.isoformat(), after=trigger.after
    )


def _trigger(payload: Mapping[str, Any]) -> Trigger | None:
    named = [name for name in ("on", "start", "after") if payload.get(name) is not None]
    if named == ["start"] and payload["start"] in ("now", "manual"):
        return Trigger(start=payload["start"])
    if named == ["after"] and re.match(ID_PATTERN, text_of(payload["after"])):
        return Trigger(start="after", after=payload["after"])
    day = day_of(payload.get("on"))
    return Trigger(start="date", on=day) if named == ["on"] and day else None


def _hold(order: Order, command: Command, at: Instant) -> Decided:
    if order.phase is not Phase.WAITING:
        return too_late(order)
    reason = text_of(command.payload.get("reason"), 1_000).strip()
    if not reason:
        return order, refused("comment_required", "Say why it is held.", field="reason")
    if len(order.holds) >= MOST_HOLDS:
        return order, refused("too_many", Sentence("It has {most} holds already.", most=MOST_HOLDS))
    line = command.payload.get("line")
    if line is not None and order.line(line) is None:
        return order, refused("invalid", "The order has no such line.", field="line")
    owner = text_of(command.payload.get("owner"), 64) or "desk"
    if owner not in OWNERS:
        return order, refused(
            "invalid", Sentence("A hold is owned by {owners}.", owners=", ".join(OWNERS)), field="owner"
        )
    hold = Hold(id=f"h{order.seq + 1}", reason=reason, owner=owner, by=command.actor, at=at, line=line)
    return order.evolve(holds=(*order.holds, hold), changed_by=command.actor), done("held", hold=hold.id, reason=reason)


OWNERS = ("desk", "finance", "quality")


def _release(order: Order, command: Command, at: Instant) -> Decided:
    """One hold ends; the order moves when none is left, at once if its day has passed."""
    wanted = command.payload.get("hold")
    hold = next((hold for hold in order.holds if hold.id == wanted), None)
    if hold is None:
        return order, refused("unknown_hold", "The order has no such hold.", holds=[h.id for h in order.holds])
    if hold.owner == "approval":
        return order, refused("waits_for_approval", "It ends with its approval. Undo the change to end it before.")
    left = tuple(hold for hold in order.holds if hold.id != wanted)
    after = order.evolve(holds=left, changed_by=command.actor)
    return after, done("released", hold=wanted, holds=len(left))


def _go_live(order: Order, command: Command, at: Instant) -> Decided:
    """Whoever decides says: now."""
    if order.phase is not Phase.WAITING:
        return too_late(order)
    if order.holds:
        return order, refused("held", "It is held. Release it first.", holds=[h.id for h in order.holds])
    return _activating(order.evolve(changed_by=command.actor, starts_at=at)), done("activating")


def _follow(order: Order, command: Command, at: Instant) -> Decided:
    """The order it waits for has ended; only a step of that order tells it so."""
    trigger, other = order.slot.trigger, text_of(command.payload.get("order"), 64)
    if order.phase is not Phase.WAITING or trigger.after is None or trigger.after != other:
        return order, refused("not_awaited", "It does not wait for that order.")
    if command.payload.get("ended") == "fulfilled":
        return order.evolve(starts_at=at), done("starts", after=other)
    hold = Hold(
        id=f"h{order.seq + 1}",
        reason=f"order {other}, which it waits for, was cancelled",
        owner="desk",
        by=command.actor,
        at=at,
    )
    return order.evolve(holds=(*order.holds, hold)), done("held", hold=hold.id, reason=hold.reason)


def _expire(order: Order, command: Command, at: Instant) -> Decided:
    """A day has come: that of a change, or its own."""
    clock = clock_of(command, at)
    if happened := changes.dated(order, clock) or renewing.renew(order, clock):
        return happened
    if not order.waits_for_its_day or order.starts_at is None or order.starts_at > clock:
        return order, refused("not_due", "It does not start yet.")
    return _activating(order), done("activating")


def _activating(order: Order) -> Order:
    return order.evolve(phase=Phase.ACTIVATING, erp_words="", previous=None)


# --- with the back office ---------------------------------------------------------------------------------------------


def _accepted(order: Order, command: Command, at: Instant) -> Decided:
    """The back office has it: services are delivered with that, goods when they are."""
    if order.change and order.change.sent:
        if command.payload.get("version") is None:
            return order, NO_VERSION
        after, outcome = changes.accepted(order, command)
        return shipping.close_within_tolerance(after, command.actor, at), outcome
    if order.phase is not Phase.ACTIVATING:
        return order, refused(
            "not_asked", Sentence("Nothing waits for the back office: it is {state}.", state=order.status)
        )
    lines = tuple(line if line.shipped_goods or line.milestones else _served(line) for line in order.lines)
    reference = text_of(command.payload.get("reference"), 100)
    update = {"phase": Phase.ACTIVE, "lines": lines, "erp_reference": reference, "began_at": order.began_at or at}
    after = order.evolve(**update)
    return after, done("active", state=after.status, reference=reference)


NO_VERSION = refused("invalid", "Say in `version` which change is answered.", field="version")
"""A late answer about the order itself must not be taken for one about its change."""


def _served(line: Line) -> Line:
    whole = line.share.quantity
    return line.evolve(shipped=whole, delivered=whole)


def _rejected(order: Order, command: Command, at: Instant) -> Decided:
    """The back office will not have it: a task for the order desk, in the back office's own words."""
    asked = order.phase is Phase.ACTIVATING or (order.change is not None and order.change.sent)
    if not asked:
        return order, refused(
            "not_asked", Sentence("Nothing waits for the back office: it is {state}.", state=order.status)
        )
    words = text_of(command.payload.get("reason"), 1_000).strip()
    if not words:
        return order, refused("comment_required", "Say why it is refused.", field="reason")
    if order.phase is not Phase.ACTIVATING:
        if command.payload.get("version") is None:
            return order, NO_VERSION
        return changes.rejected(order, command, words, at)
    return order.evolve(phase=Phase.FALLOUT, erp_words=words), done("fallout", reason=words)


def _retry(order: Order, command: Command, at: Instant) -> Decided:
    if order.phase is not Phase.FALLOUT:
        return order, refused(
            "no_fallout", Sentence("There is nothing to try again: it is {state}.", state=order.status)
        )
    if order.holds:
        return order, refused("held", "It is held. Release it first.", holds=[h.id for h in order.holds])
    return _activating(order.evolve(changed_by=command.actor)), done("activating")


HANDLERS: dict[str, Callable[[Order, Command, Instant], Decided]] = {
    "reschedule": _reschedule,
    "hold": _hold,
    "release": _release,
    "cancel": changes.cancel,
    "go_live": _go_live,
    "amend": changes.amend,
    "undo": changes.undo,
    "close_short": changes.close_short,
    "approval": changes.approval,
    "follow": _follow,
    "accepted": _accepted,
    "rejected": _rejected,
    "retry": _retry,
    "shipment": shipping.shipment,
    "delivery": shipping.delivery,
    "correct": correcting.correct,
    "milestone": shipping.milestone,
    "backorder": shipping.backorder,
    "picked": shipping.picked,
    "end_subscription": renewing.end_subscription,
    "accept_excess": shipping.accept_excess,
    "dismiss": shipping.dismiss,
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
