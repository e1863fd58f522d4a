"""What the back office reports: sent off, arrived, not in stock, picked; in parts, out of order, more than once."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from domain.orders.changes import propose, take_effect
from domain.orders.ledger import ZERO
from domain.orders.order import ERP, MOST_TASKS, Change, Line, Order, PendingFact, Phase, Reported, Task
from domain.orders.payload import Decided, amounts, day_of
from domain.runs import Command, Outcome, done, refused, text_of
from domain.sentences import Sentence
from domain.values import Instant, plain_number

MOST_SHIPMENTS = 2_000
ONLY_OPEN, ONLY_ORDERED = "Only {left:n} of line {line} is open.", "Only {left:n} of line {line} is ordered."


def shipment(order: Order, command: Command, at: Instant) -> Decided:
    return _moved(order, command, "shipped", at)


def delivery(order: Order, command: Command, at: Instant) -> Decided:
    """What arrived; what nobody reported as shipped is shipped with it."""
    return _moved(order, command, "delivered", at)


def _reported(order: Order, command: Command, least: Decimal | None = None) -> dict[str, Decimal] | Outcome:
    """How much of which line of goods, all of it known."""
    began = order.phase is Phase.ACTIVE or (order.phase is Phase.CANCELLED and order.began_at is not None)
    if not began:
        return refused(
            "not_active", Sentence("It is {state}: nothing can be on its way.", state=order.status), state=order.status
        )
    quantities = amounts(command.payload.get("lines"), least)
    if not quantities:
        return refused("invalid", "Say in `lines` how much of which line.", field="lines")
    for name in quantities:
        line = order.line(name)
        if line is None or not line.shipped_goods:
            return refused("invalid", Sentence("This order ships no line {name}.", name=name), field=f"lines.{name}")
        if line.step and quantities[name] % line.step:
            step = plain_number(line.step)
            return refused(
                "invalid",
                Sentence("Line {name} is counted in {step:n}.", name=name, step=step),
                field=f"lines.{name}",
                step=step,
            )
    return quantities


def _moved(order: Order, command: Command, what: Literal["shipped", "delivered"], at: Instant) -> Decided:
    """Count it once. What does not fit is counted too, and the desk is told: it happened."""
    quantities, on = _reported(order, command), day_reported(order, command, at)
    if isinstance(quantities, Outcome):
        return order, quantities
    if isinstance(on, Outcome):
        return order, on
    if isinstance(serials := _serials(command.payload.get("serials"), quantities), Outcome):
        return order, serials
    day = on or order.day_at(at)
    report = Reported(what=what, id=text_of(command.payload.get("id"), 64), lines=quantities, on=day)
    if answer := _earlier_answer(order, report):
        return order, answer
    lines = tuple(
        count_goods(line, what, quantities[line.line]) if line.line in quantities else line for line in order.lines
    )
    news = arrivals(order, lines, day, report.id, serials) if what == "delivered" else ()
    update = {"lines": lines, "reports": (*order.reports, report), "news": (*order.news, *news)}
    after = _with_tasks(order, order.evolve(**update), at)
    if what == "delivered":
        after = close_within_tolerance(after, command.actor, at)
    return after, done(what, state=after.status, lines={name: plain_number(q) for name, q in quantities.items()})


def day_reported(order: Order, command: Command, at: Instant) -> date | Outcome | None:
    """The day on which it happened, where that was told: not before the order began, and tomorrow at the latest."""
    told = command.payload.get("on")
    if told is None:
        return None
    on, today = day_of(told), order.day_at(at)
    if on is None or on > today + timedelta(days=1):
        return refused("invalid", "Say in `on` on which day, tomorrow at the latest.", field="on")
    began = order.began_on
    if began and on < began:
        return refused(
            "invalid", Sentence("The order began on {began}: nothing of it happened before.", began=began), field="on"
        )
    return on


def _earlier_answer(order: Order, report: Reported) -> Outcome | None:
    """The answer to a report that came before, with the same lines or with others."""
    for known in order.reports:
        if (known.what, known.id) == (report.what, report.id):
            if report.lines in (known.given or known.lines, known.lines):
                return done("already_reported", id=report.id)
            return refused("id_reused", Sentence("{id} was reported with other lines.", id=report.id), field="id")
    legacy = f"{report.what}:{report.id}"
    if any(each == legacy or each.rsplit(":", 1)[0] == legacy for each in order.shipments):
        return done("already_reported", id=report.id)
    if len(order.reports) + len(order.shipments) >= MOST_SHIPMENTS:
        return refused("too_many", Sentence("It has {most} shipments already.", most=MOST_SHIPMENTS))
    return None


def _serials(given: object, quantities: Mapping[str, Decimal]) -> dict[str, tuple[str, ...]] | Outcome:
    """The serial numbers of what arrived, at most one for each unit."""
    found: dict[str, tuple[str, ...]] = {}
    for name, numbers in given.items() if isinstance(given, Mapping) else ():
        if name not in quantities or not isinstance(numbers, list) or len(set(map(str, numbers))) != len(numbers):
            return refused("invalid", "Serial numbers are a list for a line, each once.", field=f"serials.{name}")
        if len(numbers) > quantities[name]:
            return refused(
                "invalid", Sentence("More serial numbers than units of {name}.", name=name), field=f"serials.{name}"
            )
        found[name] = tuple(text_of(number, 64) for number in numbers)
    return found


def arrivals(
    was: Order, lines: Iterable[Line], on: date | None, source: str, serials: Mapping[str, tuple[str, ...]]
) -> tuple[PendingFact, ...]:
    """What of it was ordered; the excess is news when somebody accepts it."""
    return tuple(
        PendingFact(
            line=line.line,
            kind="delivered",
            quantity=line.delivered - old.delivered,
            on=on,
            source=source,
            serials=serials.get(line.line, ())[: max(0, int(line.delivered - old.delivered))],
        )
        for line in lines
        if (old := was.line(line.line)) and line.delivered != old.delivered
    )


def milestone(order: Order, command: Command, at: Instant) -> Decided:
    """A step of a service is reached; with its last one the service is delivered."""
    name, on = text_of(command.payload.get("name"), 64), day_reported(order, command, at)
    if order.phase is not Phase.ACTIVE:
        return order, refused("not_active", Sentence("It is {state}: nothing of it is under way.", state=order.status))
    if isinstance(on, Outcome):
        return order, on
    only = command.payload.get("line")
    reached = [line for line in order.lines if name in line.milestones and only in (None, line.line)]
    if not reached:
        open_ones = sorted({step for line in order.lines for step in line.milestones})
        return order, refused("no_such_milestone", "No line waits for that milestone.", field="name", open=open_ones)
    lines = tuple(_reached(line, name) if line in reached else line for line in order.lines)
    news = tuple(PendingFact(line=line.line, kind="milestone", on=on, source=name) for line in reached)
    after = order.evolve(lines=lines, news=(*order.news, *news))
    return after, done("milestone", state=after.status, name=name, of=[line.line for line in reached])


def _reached(line: Line, name: str) -> Line:
    """Once begun, it is not taken back any more."""
    left = tuple(step for step in line.milestones if step != name)
    moved = dict.fromkeys(("picked",) if left else ("shipped", "delivered"), line.share.quantity)
    return line.evolve(milestones=left, **moved)


def count_goods(line: Line, what: str, quantity: Decimal) -> Line:
    """The line after so much more was shipped or arrived; less where a report is corrected.

    A shipment that is reported after its goods arrived is known already."""
    implied = line.implied
    if what == "shipped":
        known = min(quantity, implied) if quantity > 0 else ZERO
        shipped, implied = max(ZERO, line.shipped + quantity - known), implied - known
        delivered, excess = line.delivered, line.excess
        if (missing := delivered + excess - shipped) > 0:  # what arrived was sent, whatever was reported
            shipped, implied = shipped + missing, implied + missing
    else:
        arrived = line.delivered + line.excess + quantity
        delivered = min(arrived, line.share.quantity)
        excess = arrived - delivered
        shipped = max(line.shipped - max(ZERO, min(implied, -quantity)), arrived)
        implied = max(ZERO, implied + shipped - line.shipped)
    left = max(ZERO, line.share.quantity - shipped)
    return line.evolve(
        shipped=shipped, delivered=delivered, excess=excess, implied=implied, backordered=min(line.backordered, left)
    )


def _with_tasks(was: Order, now: Order, at: Instant) -> Order:
    """The order desk is told of what should not have been sent so, and of what arrived beyond what was ordered."""
    found = list(now.tasks)
    known = {(task.kind, task.line) for task in now.tasks}
    goods = [line for line in now.lines if line.shipped_goods]
    partly = [line for line in goods if ZERO < line.shipped < line.share.quantity]
    wrong: list[tuple[str, str | None, str]] = []
    if now.slot.terms == "complete" and any(n.shipped for n in goods) and any(n.open for n in goods):
        wrong.append(("breach", None, "It was to be delivered complete, and only a part was sent."))
    if now.slot.terms == "lines_whole":
        wrong += [("breach", n.line, f"Line {n.line} was to be sent whole, and only a part was.") for n in partly]
    grown = [n for n in goods if (was.line(n.line) or n).excess < n.excess]
    wrong += [
        ("excess", n.line, f"{plain_number(n.excess)} of line {n.line} more than ordered arrived.") for n in grown
    ]
    over = [n for n in goods if n.shipped > max(n.most, (was.line(n.line) or n).shipped) and n.travelling > 0]
    wrong += [("breach", n.line, f"More of line {n.line} was sent than is on order.") for n in over]
    if was.phase is Phase.CANCELLED:
        sent = [n for n in goods if n.travelling > 0]
        wrong += [("breach", n.line, f"Line {n.line} was sent though the order was cancelled.") for n in sent]
    for n, (kind, line, words) in enumerate(wrong):
        if (kind, line) not in known and len(found) < MOST_TASKS:
            task = {"id": f"t{was.seq + 1}.{n}", "kind": kind, "words": words, "at": at, "line": line}
            found.append(Task.model_validate(task))
    return now.evolve(tasks=tuple(found))


def close_within_tolerance(order: Order, by: str, at: Instant) -> Order:
    """Enough arrived of every line, and nothing travels: the back office is asked to end what is missing."""
    goods = [line for line in order.lines if line.shipped_goods]
    short = [line for line in goods if line.delivered < line.share.quantity]
    over = all(line.enough and line.travelling <= 0 for line in goods)
    if not short or not over or order.phase is not Phase.ACTIVE or order.change is not None:
        return order
    change = Change(
        id=f"v{order.version + 1}",
        version=order.version,
        verb="close_short",
        for_good=True,
        by=by,
        at=at,
        lines={line.line: line.delivered for line in short},
        reason="enough arrived",
    )
    return take_effect(order, change)[0]


def backorder(order: Order, command: Command, at: Instant) -> Decided:
    """How much of each line is not in stock, and when it is expected; it replaces what was reported of those lines."""
    quantities = _reported(order, command, least=ZERO)
    if isinstance(quantities, Outcome):
        return order, quantities
    quantities = _limit(order, command, quantities, "open")
    if isinstance(quantities, Outcome):
        return order, quantities
    expected = day_of(command.payload.get("expected"))
    if command.payload.get("expected") is not None and expected is None:
        return order, refused("invalid", "Say in `expected` on which day.", field="expected")
    lines = _each(order, quantities, "backordered")
    after = order.evolve(lines=lines, expected=expected or order.expected)
    return after, done("backordered", state=after.status, days_late=after.days_late)


def picked(order: Order, command: Command, at: Instant) -> Decided:
    """So much of each line is on its way through the warehouse: no change goes below it any more."""
    quantities = _reported(order, command, least=ZERO)
    if isinstance(quantities, Outcome):
        return order, quantities
    quantities = _limit(order, command, quantities, "ordered")
    if isinstance(quantities, Outcome):
        return order, quantities
    return order.evolve(lines=_each(order, quantities, "picked")), done("picked")


def _limit(
    order: Order, command: Command, quantities: Mapping[str, Decimal], of: Literal["open", "ordered"]
) -> dict[str, Decimal] | Outcome:
    """At most what is open or on order: a person is told so, and the ERP may not know yet of what was changed."""
    limited = dict(quantities)
    for line in order.lines:
        most = line.open if of == "open" else line.share.quantity
        if line.line in limited and limited[line.line] > most:
            if command.actor != ERP:
                left = plain_number(most)
                template = ONLY_OPEN if of == "open" else ONLY_ORDERED
                sentence = Sentence(template, left=left, line=line.line)
                return refused("too_much", sentence, field=f"lines.{line.line}", open=left)
            limited[line.line] = most
    return limited


def _each(order: Order, quantities: Mapping[str, Decimal], field: str) -> tuple[Line, ...]:
    return tuple(
        line.evolve(**{field: quantities[line.line]}) if line.line in quantities else line for line in order.lines
    )


def accept_excess(order: Order, command: Command, at: Instant) -> Decided:
    """The customer keeps what arrived beyond the order: the back office is asked to make the order larger."""
    task, line = _task(order, command)
    if task is None or line is None or task.kind != "excess" or not line.excess:
        return order, refused("no_such_task", "Nothing of that line arrived beyond the order.", field="task")
    if order.phase is not Phase.ACTIVE:
        return order, refused(
            "order_closed", Sentence("This order is {state}.", state=order.status), state=order.status
        )
    change = Change(
        id=f"v{order.version + 1}",
        version=order.version,
        verb="accept_excess",
        by=command.actor,
        at=at,
        lines={line.line: line.share.quantity + line.excess},
        round=text_of(command.payload.get("round"), 200) or None,
    )
    return propose(order, change, command, at)


def dismiss(order: Order, command: Command, at: Instant) -> Decided:
    """Somebody saw to it; what arrived beyond the order goes back."""
    task, line = _task(order, command)
    if task is None:
        return order, refused("no_such_task", "The order has no such task.", field="task")
    lines = order.lines
    if line and task.kind == "excess":
        kept = line.evolve(excess=ZERO, shipped=min(line.shipped, line.share.quantity))
        lines = tuple(kept if n.line == line.line else n for n in lines)
    after = order.evolve(tasks=_others(order, task), lines=lines)
    return after, done("dismissed", task=task.id, state=after.status)


def _task(order: Order, command: Command) -> tuple[Task | None, Line | None]:
    task = next((task for task in order.tasks if task.id == command.payload.get("task")), None)
    return task, order.line(task.line) if task else None


def _others(order: Order, task: Task) -> tuple[Task, ...]:
    return tuple(other for other in order.tasks if other is not task)
