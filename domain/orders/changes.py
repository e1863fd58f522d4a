"""Changing what was agreed: proposed, approved, on its day, told to the back office, in effect; or undone before that.

Quantities are decided here; money and what is left of the quote are worked out where it is stored (`settle`)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from domain.orders.ledger import NOTHING, ZERO
from domain.orders.order import Change, Hold, Line, Order, PendingFact, Phase, PreviousVersion, is_past
from domain.orders.payload import Decided, amounts, day_of, too_late
from domain.orders.split import Slot
from domain.runs import Command, Outcome, done, refused, text_of
from domain.sentences import Sentence
from domain.values import Instant

MOST_LINES = 2_000
SLOT_FIELDS = ("ship_to", "contact", "note", "terms", "promised", "coterm")
BEFORE = (Phase.WAITING, Phase.FALLOUT)
"""While nothing of it is with the back office."""


def agreed(order: Order, command: Command, **changes: Any) -> Order:
    """A new version of what was agreed."""
    return order.evolve(**changes, version=order.version + 1, changed_by=command.actor)


# --- proposing --------------------------------------------------------------------------------------------------------


def amend(order: Order, command: Command, at: Instant) -> Decided:
    """Other quantities, another place, contact, note or terms: now, or from a day on."""
    if not order.running or order.phase not in (*BEFORE, Phase.ACTIVE):
        return too_late(order)
    if "policy" not in command.payload:
        return order, refused("unvetted", "Change orders through the API or a page, where the policy sees it first.")
    proposed = _proposal(order, command, at)
    if isinstance(proposed, Outcome):
        return order, proposed
    return propose(order, proposed, command, at)


def cancel(order: Order, command: Command, at: Instant) -> Decided:
    """What was not sent off can be ordered again, or never more, as whoever cancels says."""
    for_good = command.payload.get("for_good") is True
    placed = order.change is not None and order.change.verb == "place"
    if order.phase in BEFORE and not placed and (round := _round(command)):
        change = Change(
            id=f"v{order.version + 1}",
            version=order.version,
            verb="cancel",
            for_good=for_good,
            by=command.actor,
            at=at,
            lines={line.line: ZERO for line in order.lines},
            round=round,
            reason=_reason(command),
        )
        return propose(order if order.change is None else _without_change(order), change, command, at)
    if order.phase in BEFORE:
        free = _without_change(order)
        gone = agreed(free, command, phase=Phase.CANCELLED, for_good=for_good, tasks=(), previous=None)
        return gone, done("cancelled", for_good=for_good)
    if order.phase is not Phase.ACTIVE or not order.running:
        return too_late(order)
    return _end_rest(order, command, at, "cancel", for_good, [line.line for line in order.lines])


def close_short(order: Order, command: Command, at: Instant) -> Decided:
    """No more comes of these lines: what is open of them is ended for good."""
    if order.phase is not Phase.ACTIVE or not order.running:
        return order, refused(
            "not_active", Sentence("It is {state}: nothing of it is open.", state=order.status), state=order.status
        )
    if not text_of(command.payload.get("reason"), 1_000).strip():
        return order, refused("comment_required", "Say why no more comes.", field="reason")
    named = command.payload.get("lines") or [line.line for line in order.lines]
    if not isinstance(named, list) or not all(order.line(name) for name in named):
        return order, refused("invalid", "Name lines of this order.", field="lines")
    return _end_rest(order, command, at, "close_short", True, named)


def _end_rest(order: Order, command: Command, at: Instant, verb: Any, for_good: bool, named: list[str]) -> Decided:
    dropped = order if order.change is None or order.change.sent else _without_change(order)
    lines = {n.line: n.locked for n in order.lines if n.line in named and n.can_end and n.locked < n.share.quantity}
    if not lines:
        return order, refused("nothing_open", "Nothing of it is open.", state=order.status)
    change = Change(
        id=f"v{order.version + 1}",
        version=order.version,
        verb=verb,
        lines=lines,
        for_good=for_good,
        by=command.actor,
        at=at,
        reason=_reason(command),
        round=_round(command),
    )
    return propose(dropped, change, command, at)


def _proposal(order: Order, command: Command, at: Instant) -> Change | Outcome:
    payload = command.payload
    lines = amounts(payload.get("lines"), least=ZERO)
    if lines is None or len(lines) > MOST_LINES:
        return refused("invalid", "Say in `lines` how much of which line it shall be.", field="lines")
    slot = _slot(order, payload, at)
    if isinstance(slot, Outcome):
        return slot
    if slot and order.extends and slot.coterm != order.slot.coterm:
        return refused("invalid", "It ends on the day that was agreed.", field="coterm")
    effective = day_of(payload.get("effective"))
    if payload.get("effective") is not None and (effective is None or is_past(effective, at)):
        return refused("invalid", "Say in `effective` from which day on, not one that is over.", field="effective")
    lines = {name: wanted for name, wanted in lines.items() if wanted != _quantity(order, name)}
    if not lines and slot is None:
        return refused("nothing_changed", "That is how it is already.")
    if order.phase is Phase.ACTIVE and (wrong := _too_late_for(order, lines, slot)):
        return wrong
    after = {line.line: line.share.quantity for line in order.lines} | lines
    if not any(after.values()):
        return refused("nothing_left", "Nothing would be left of it. Cancel it instead.", field="lines")
    return Change(
        id=f"v{order.version + 1}",
        version=order.version,
        verb="amend",
        lines=lines,
        slot=slot,
        by=command.actor,
        at=at,
        effective=effective,
        reason=_reason(command),
        round=_round(command),
    )


def _round(command: Command) -> str | None:
    """The approvals that the policy wants before the change takes effect."""
    return text_of(command.payload.get("round"), 200) or None


def _reason(command: Command) -> str:
    return text_of(command.payload.get("reason"), 1_000)


def _quantity(order: Order, name: str) -> Decimal:
    line = order.line(name)
    return line.share.quantity if line else ZERO


def _slot(order: Order, payload: Mapping[str, Any], at: Instant) -> Slot | Outcome | None:
    """The slot with what the payload says of it; None where that is nothing new."""
    told = {name: payload[name] for name in SLOT_FIELDS if name in payload}
    promised = day_of(told.get("promised"))
    if promised and promised != order.slot.promised and is_past(promised, at):
        return refused("invalid", Sentence("{day} is over: promise a day to come.", day=promised), field="promised")
    try:
        slot = Slot.model_validate({**order.slot.model_dump(mode="json"), **told})
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        return refused("invalid", Sentence("{field} cannot be read.", field=field), field=field)
    return None if slot == order.slot else slot


def _too_late_for(order: Order, lines: Mapping[str, Decimal], slot: Slot | None) -> Outcome | None:
    """With the back office only what was not sent off can still change."""
    if slot and slot.coterm != order.slot.coterm:
        return refused("too_late", "Its subscriptions run already.", field="coterm")
    if slot and slot.ship_to != order.slot.ship_to and any(line.shipped for line in order.lines if line.shipped_goods):
        return refused("too_late", "Something was sent there already.", field="ship_to")
    for name, wanted in lines.items():
        line = order.line(name)
        if line and not line.can_end:
            return refused("too_late", Sentence("Line {name} is delivered already.", name=name), field=f"lines.{name}")
        if line and wanted < line.locked:
            least = str(line.locked)
            return refused(
                "too_late",
                Sentence("So much of line {name} is on its way.", name=name),
                field=f"lines.{name}",
                least=least,
            )
    return None


def propose(order: Order, change: Change, command: Command, at: Instant) -> Decided:
    if order.change:
        return order, refused(
            "change_pending", "Another change is on its way. Undo it, or wait.", change=order.change.id
        )
    facts: dict[str, Any] = {"change": change.id, "lines": {name: str(q) for name, q in change.lines.items()}}
    if change.round:
        waits = agreed(order, command, change=change, unsettled=True)
        return _held(waits, change, at), done("needs_approval", round=change.round, **facts)
    if change.effective and change.effective > at.date():
        waits = agreed(order, command, change=change, unsettled=True)
        return waits, done("agreed", effective=change.effective.isoformat(), **facts)
    after, code = take_effect(order, change)
    return after.evolve(changed_by=command.actor), done(code, **facts)


def _held(order: Order, change: Change, at: Instant) -> Order:
    what = "the order" if change.verb == "place" else f"change {change.id}"
    hold = Hold(
        id=f"a{change.id}", reason=change.reason or f"{what} waits for approval", owner="approval", by=change.by, at=at
    )
    return order.evolve(holds=(*order.holds, hold)) if order.phase in BEFORE else order


def held_until_approved(order: Order, command: Command, at: Instant) -> Order:
    """A new order, which waits where the policy wants it approved first."""
    if (round := _round(command)) is None:
        return order
    change = Change(id="v1", version=order.version, verb="place", by=command.actor, at=at, round=round)
    return _held(order.evolve(change=change), change, at)


# --- taking effect ----------------------------------------------------------------------------------------------------


def take_effect(order: Order, change: Change) -> tuple[Order, str]:
    """At once before it went to the back office; afterwards the back office is asked first."""
    if order.phase not in BEFORE:
        sent = change.evolve(sent=True, round=None)
        return order.evolve(change=sent, version=order.version + 1, unsettled=True), "sent"
    if change.verb == "cancel":
        gone = _without_change(order).evolve(version=order.version + 1, previous=None, tasks=())
        return gone.evolve(phase=Phase.CANCELLED, for_good=change.for_good), "cancelled"
    was = {line.line for line in order.lines}
    before = PreviousVersion(
        version=order.version,
        slot=order.slot,
        starts_at=order.starts_at,
        lines=tuple(line for line in order.lines if line.line in change.lines),
        added=tuple(name for name in change.lines if name not in was),
        places=tuple(n.line for n in order.lines),
    )
    moved = change.slot is not None and change.slot.ship_to != order.slot.ship_to
    update = {"previous": before, "version": order.version + 1, "change": None, "unsettled": True}
    if moved and order.slot.trigger.on:
        update["starts_at"] = None  # its day begins elsewhere
    return _altered(order, change).evolve(**update), "changed"


def _altered(order: Order, change: Change) -> Order:
    """The order with the change's quantities and slot; nothing goes below what is on its way."""
    lines = [_line(line, change) for line in order.lines]
    known = {line.line for line in lines}
    for name, wanted in change.lines.items():
        if name not in known:
            made = Line(line=name, product=name, share=change.reserved.get(name, NOTHING))
            lines.append(made if name in change.reserved else made.of(wanted))
    slot = _laid_over(order.slot, change.slot) if change.slot else order.slot
    return order.evolve(lines=tuple(lines), slot=slot)


def _laid_over(slot: Slot, wanted: Slot) -> Slot:
    """Everything of a change's slot but its trigger: the order may have been moved since."""
    return wanted.evolve(trigger=slot.trigger)


def _line(line: Line, change: Change) -> Line:
    if line.line not in change.lines:
        return line
    if reserved := change.reserved.get(line.line):
        return line.evolve(share=line.share.plus(reserved))
    if change.verb == "accept_excess":
        more = min(change.lines[line.line] - line.share.quantity, line.excess)
        kept = line.kept.evolve(quantity=line.kept.quantity + more)
        return line.of(line.share.quantity + more).evolve(kept=kept)
    wanted = max(change.lines[line.line], line.locked)
    ended = line.share.quantity - wanted if change.for_good else ZERO
    return line.of(wanted, max(ZERO, ended))


def accepted(order: Order, command: Command) -> Decided:
    """The back office took the change over."""
    change = order.change
    assert change is not None
    delivered = _with_excess_delivered(order, _altered(order, change))
    after = delivered.evolve(change=None, unsettled=True)
    if not any(line.share.quantity for line in after.lines):
        after = after.evolve(phase=Phase.CANCELLED, for_good=False, tasks=())
    code = CODES[change.verb]
    return after, done(code, change=change.id, state=after.status)


CODES = {
    "place": "approved",
    "amend": "changed",
    "cancel": "cancelled",
    "close_short": "closed_short",
    "accept_excess": "excess_accepted",
}


def _with_excess_delivered(was: Order, now: Order) -> Order:
    """What arrived beyond the order is delivered as far as the order has become larger."""
    lines, news, gone = [], list(now.news), set()
    for line in now.lines:
        more = min(line.excess, line.share.quantity - line.delivered)
        if more > 0:
            line = line.evolve(delivered=line.delivered + more, excess=line.excess - more)
            news.append(PendingFact(line=line.line, kind="delivered", quantity=more, source=f"change {now.version}"))
            gone |= set() if line.excess else {line.line}
        lines.append(line)
    tasks = tuple(task for task in now.tasks if task.kind != "excess" or task.line not in gone)
    return now.evolve(lines=tuple(lines), news=tuple(news), tasks=tasks)


def rejected(order: Order, command: Command, words: str, at: Instant) -> Decided:
    """The order goes on as it was, and the desk is told."""
    change = order.change
    assert change is not None
    after = agreed(order, command, change=None, unsettled=True).with_task("change_refused", words, at)
    return after, done("change_refused", change=change.id, reason=words, task=after.tasks[-1].id)


def approval(order: Order, command: Command, at: Instant) -> Decided:
    """The round of approvals that a change waits for has ended; only a step of that round tells it so."""
    change = order.change
    if change is None or change.round is None or change.round != command.payload.get("round"):
        return order, refused("no_such_change", "No change waits for that.")
    if command.payload.get("approved") is not True:
        without = _without_change(agreed(order, command))
        if change.verb == "place":
            without = without.evolve(phase=Phase.CANCELLED)
        return without, done("change_rejected", change=change.id)
    freed = change.evolve(round=None)
    holds = tuple(hold for hold in order.holds if hold.id != f"a{change.id}")
    after = order.evolve(holds=holds, change=freed)
    if freed.verb == "place":
        return after.evolve(change=None), done("approved", change=change.id)
    if freed.effective_at and freed.effective_at > at:
        return after, done("change_approved", change=change.id)
    after, code = take_effect(after, freed)
    return after, done(code, change=change.id)


def _without_change(order: Order) -> Order:
    """What the change had kept can be ordered again."""
    held = f"a{order.change.id}" if order.change else ""
    holds = tuple(hold for hold in order.holds if hold.id != held)
    return order.evolve(change=None, holds=holds, unsettled=True)


# --- undoing ----------------------------------------------------------------------------------------------------------


def undo(order: Order, command: Command, at: Instant) -> Decided:
    """The last change is no more, while it has not taken effect at the back office: everything is exactly as before."""
    before, change = order.previous, order.change
    if change and change.verb == "place":
        return order, refused("nothing_to_undo", "Nothing can be undone.", state=order.status)
    if change and (before is None or before.version < change.version):
        if change.sent:
            return order, refused("too_late", "The back office was asked already.", state=order.status)
        return _without_change(agreed(order, command)), done("undone", change=change.id)
    if before is None or order.phase not in BEFORE:
        return order, refused("nothing_to_undo", "Nothing can be undone.", state=order.status)
    old = {line.line: line for line in before.lines}
    lines = tuple(old.pop(line.line, line) for line in order.lines if line.line not in before.added)
    found = {line.line: line for line in (*lines, *old.values())}
    places = dict.fromkeys((*(name for name in before.places if name in found), *found))
    after = agreed(
        order,
        command,
        slot=before.slot,
        starts_at=before.starts_at,
        lines=tuple(found[n] for n in places),
        previous=None,
        unsettled=True,
    )
    return after, done("undone", version=order.version)


def dated(order: Order, at: Instant) -> Decided | None:
    """The day of a change has come; None where it has not."""
    change = order.change
    if order.busy or change is None or not change.waits_for_its_day:
        return None
    if change.effective_at is None or change.effective_at > at:
        return None
    after, code = take_effect(order, change)
    return after, done(code, change=change.id)
