"""Correcting what was reported wrongly: a shipment or delivery of other quantities, on another day, or not at all."""

from collections.abc import Mapping
from decimal import Decimal

from domain.orders.ledger import ZERO
from domain.orders.order import Line, Order, PendingFact, Reported
from domain.orders.payload import Decided, amounts
from domain.orders.shipping import count_goods, day_reported
from domain.runs import Command, Outcome, done, refused, text_of
from domain.sentences import Sentence
from domain.values import Instant, plain_number

WHAT = {"shipment": "shipped", "delivery": "delivered"}


def correct(order: Order, command: Command, at: Instant) -> Decided:
    """What follows from the report follows from the corrected one; months that are closed stay as they are."""
    payload = command.payload
    if not (reason := text_of(payload.get("reason"), 1_000).strip()):
        return order, refused("comment_required", "Say what was wrong.", field="reason")
    what, id = WHAT.get(text_of(payload.get("what"), 20)), text_of(payload.get("id"), 64)
    known = next((each for each in order.reports if (each.what, each.id) == (what, id)), None)
    if known is None:
        return order, refused("no_such_report", "Nothing was reported under that id.", field="id")
    wanted = known.lines if payload.get("lines") is None else amounts(payload["lines"], least=ZERO)
    on = day_reported(order, command, at)
    if isinstance(on, Outcome):
        return order, on
    if wanted is None or not set(wanted) <= set(known.lines):
        return order, refused("invalid", "Say in `lines` how much of the lines that were reported.", field="lines")
    wanted = {**known.lines, **wanted}
    if wanted == known.lines and on in (None, known.on):
        return order, refused("nothing_changed", "That is how it was reported.")
    if problem := _impossible(order, known, wanted):
        return order, problem
    return _apply_correction(order, known, wanted, on, at), done("corrected", id=id, what=known.what, reason=reason)


def _impossible(order: Order, known: Reported, wanted: Mapping[str, Decimal]) -> Outcome | None:
    for name, quantity in wanted.items():
        line = order.line(name)
        if line is None or (line.step and quantity % line.step):
            return refused(
                "invalid",
                Sentence("Line {name} cannot be {quantity:n}.", name=name, quantity=plain_number(quantity)),
                field=f"lines.{name}",
            )
        arrived = line.delivered + line.excess + quantity - known.lines[name]
        if known.what == "delivered" and arrived < 0:
            return refused(
                "invalid", Sentence("So much of line {name} did not arrive.", name=name), field=f"lines.{name}"
            )
    return None


def _apply_correction(order: Order, known: Reported, wanted: dict[str, Decimal], on: object, at: Instant) -> Order:
    day = on or known.on
    report = known.evolve(lines=wanted, given=known.given or known.lines, on=day)
    reports = tuple(report if each is known else each for each in order.reports)
    lines, news = list[Line](), list[PendingFact]()
    for line in order.lines:
        if line.line not in wanted:
            lines.append(line)
            continue
        after = count_goods(line, known.what, wanted[line.line] - known.lines[line.line])
        lines.append(after)
        if known.what == "delivered":
            news += _news(known, line, after, day)
    return order.evolve(lines=tuple(lines), reports=reports, news=(*order.news, *news))


def _news(known: Reported, was: Line, now: Line, day: object) -> list[PendingFact]:
    """The old figure is taken back on its own day, and the right one counts on its."""
    change = now.delivered - was.delivered
    told = {"line": was.line, "kind": "delivered", "source": known.id}
    if day == known.on:
        return [PendingFact.model_validate({**told, "quantity": change, "on": known.on})] if change else []
    before = min(known.lines[was.line], was.delivered)
    return [
        PendingFact.model_validate({**told, "quantity": quantity, "on": on})
        for quantity, on in ((-before, known.on), (before + change, day))
        if quantity
    ]
