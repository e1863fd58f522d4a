"""What the back office reports: sent off, arrived, not in stock, picked; in parts, out of order, more than once."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

from domain.orders.ledger import ZERO
from domain.orders.order import Line, News, Order, Phase, Task, is_to_come
from domain.orders.payload import Decided, amounts, day_of
from domain.runs import Command, Outcome, done, refused, text_of
from domain.values import Instant, digest, plain_number

MOST_SHIPMENTS, MOST_TASKS = 2_000, 100


def shipment(order: Order, command: Command, at: Instant) -> Decided:
    return _moved(order, command, "shipped", at)


def delivery(order: Order, command: Command, at: Instant) -> Decided:
    """What arrived; what nobody reported as shipped is shipped with it."""
    return _moved(order, command, "delivered", at)


def _reported(order: Order, command: Command, least: Decimal | None = None) -> dict[str, Decimal] | Outcome:
    """How much of which line of goods, all of it known."""
    if order.phase is not Phase.ACTIVE:
        return refused("not_active", f"It is {order.status.words}: nothing can be on its way.", state=order.status)
    quantities = amounts(command.payload.get("lines"), least)
    if not quantities:
        return refused("invalid", "Say in `lines` how much of which line.", field="lines")
    for name in quantities:
        line = order.line(name)
        if line is None or not line.shipped_goods:
            return refused("invalid", f"This order ships no line {name}.", field=f"lines.{name}")
        if line.step and quantities[name] % line.step:
            step = plain_number(line.step)
            return refused("invalid", f"Line {name} is counted in {step}.", field=f"lines.{name}", step=step)
    return quantities


def _moved(order: Order, command: Command, what: str, at: Instant) -> Decided:
    quantities, on = _reported(order, command), _reported_on(command, at)
    if isinstance(quantities, Outcome):
        return order, quantities
    if isinstance(on, Outcome):
        return order, on
    if isinstance(serials := _serials(command.payload.get("serials"), quantities), Outcome):
        return order, serials
    named = text_of(command.payload.get("id"), 64)
    this = f"{what}:{named}:{digest(quantities)[:12]}"
    if answer := _known(order, this) or _beyond(order, what, quantities):
        return order, answer
    lines = tuple(
        _counted(line, what, quantities[line.line]) if line.line in quantities else line for line in order.lines
    )
    news = _arrived(order, lines, on, named, serials) if what == "delivered" else ()
    update = {"lines": lines, "shipments": (*order.shipments, this), "news": (*order.news, *news)}
    after = _with_tasks(order, order.model_copy(update=update), at)
    if what == "delivered" and all(line.enough for line in lines if line.shipped_goods):
        after = _closed_within_tolerance(after)
    return after, done(what, state=after.status, lines={name: plain_number(q) for name, q in quantities.items()})


def _reported_on(command: Command, at: Instant) -> date | Outcome | None:
    """The day on which it happened, where that was told; never one that is to come."""
    on = day_of(command.payload.get("on"))
    if command.payload.get("on") is not None and (on is None or is_to_come(on, at)):
        return refused("invalid", "Say in `on` on which day, not one that is to come.", field="on")
    return on


def _known(order: Order, this: str) -> Outcome | None:
    """The answer to a report that came before, with the same lines or with others."""
    known = this.rsplit(":", 1)[0]
    named = known.split(":", 1)[1]
    if this in order.shipments or known in order.shipments:  # before it was kept what an id was reported with
        return done("already_reported", id=named)
    if any(report.rsplit(":", 1)[0] == known for report in order.shipments):
        return refused("id_reused", f"{named} was reported with other lines.", field="id")
    if len(order.shipments) >= MOST_SHIPMENTS:
        return refused("too_many", f"It has {MOST_SHIPMENTS} shipments already.")
    return None


def _beyond(order: Order, what: str, quantities: Mapping[str, Decimal]) -> Outcome | None:
    """Why it is more than can still be sent off, or arrive, if it is."""
    for line in order.lines:
        gone = line.shipped if what == "shipped" else line.delivered + line.excess
        quantity = quantities.get(line.line, ZERO)
        if gone + quantity > line.most:
            left = plain_number(max(ZERO, line.most - gone))
            what_is_wrong = f"More of line {line.line} than is on order: {plain_number(quantity)}, and {left} is open."
            return refused("too_much", what_is_wrong, field=f"lines.{line.line}", open=left)
    return None


def _serials(given: object, quantities: Mapping[str, Decimal]) -> dict[str, tuple[str, ...]] | Outcome:
    """The serial numbers of what arrived, at most one for each unit."""
    found: dict[str, tuple[str, ...]] = {}
    for name, numbers in given.items() if isinstance(given, Mapping) else ():
        if name not in quantities or not isinstance(numbers, list) or len(set(map(str, numbers))) != len(numbers):
            return refused("invalid", "Serial numbers are a list for a line, each once.", field=f"serials.{name}")
        if len(numbers) > quantities[name]:
            return refused("invalid", f"More serial numbers than units of {name}.", field=f"serials.{name}")
        found[name] = tuple(text_of(number, 64) for number in numbers)
    return found


def _arrived(
    was: Order, lines: Iterable[Line], on: date | None, source: str, serials: Mapping[str, tuple[str, ...]]
) -> tuple[News, ...]:
    """What of it was ordered; the excess is news when somebody accepts it."""
    return tuple(
        News(line=line.line, kind="delivered", quantity=line.delivered - old.delivered, on=on, source=source,
             serials=serials.get(line.line, ())[: int(line.delivered - old.delivered)])
        for line in lines if (old := was.line(line.line)) and line.delivered > old.delivered
    )  # fmt: skip


def milestone(order: Order, command: Command, at: Instant) -> Decided:
    """A step of a service is reached; with its last one the service is delivered."""
    name, on = text_of(command.payload.get("name"), 64), _reported_on(command, at)
    if order.phase is not Phase.ACTIVE:
        return order, refused("not_active", f"It is {order.status.words}: nothing of it is under way.")
    if isinstance(on, Outcome):
        return order, on
    only = command.payload.get("line")
    reached = [line for line in order.lines if name in line.milestones and only in (None, line.line)]
    if not reached:
        open_ones = sorted({step for line in order.lines for step in line.milestones})
        return order, refused("no_such_milestone", "No line waits for that milestone.", field="name", open=open_ones)
    lines = tuple(_reached(line, name) if line in reached else line for line in order.lines)
    news = tuple(News(line=line.line, kind="milestone", on=on, source=name) for line in reached)
    after = order.model_copy(update={"lines": lines, "news": (*order.news, *news)})
    return after, done("milestone", state=after.status, name=name, of=[line.line for line in reached])


def _reached(line: Line, name: str) -> Line:
    """Once begun, it is not taken back any more."""
    left = tuple(step for step in line.milestones if step != name)
    moved = dict.fromkeys(("picked",) if left else ("shipped", "delivered"), line.share.quantity)
    return line.model_copy(update={"milestones": left, **moved})


def _counted(line: Line, what: str, quantity: Decimal) -> Line:
    if what == "shipped":
        shipped, delivered, excess = line.shipped + quantity, line.delivered, line.excess
    else:
        arrived = line.delivered + line.excess + quantity
        delivered = min(arrived, line.share.quantity)
        excess, shipped = arrived - delivered, max(line.shipped, arrived)
    left = max(ZERO, line.share.quantity - shipped)
    return line.model_copy(update={"shipped": shipped, "delivered": delivered, "excess": excess,
                                   "backordered": min(line.backordered, left)})  # fmt: skip


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
    for n, (kind, line, words) in enumerate(wrong):
        if (kind, line) not in known and len(found) < MOST_TASKS:
            task = {"id": f"t{was.seq + 1}.{n}", "kind": kind, "words": words, "at": at, "line": line}
            found.append(Task.model_validate(task))
    return now.model_copy(update={"tasks": tuple(found)})


def _closed_within_tolerance(order: Order) -> Order:
    """Enough arrived of every line: what is missing is not waited for."""
    short = [line for line in order.lines if line.delivered < line.share.quantity]
    if not short:
        return order
    lines = tuple(
        line.of(line.delivered, line.share.quantity - line.delivered).model_copy(update={"shipped": line.delivered})
        if line in short else line for line in order.lines
    )  # fmt: skip
    return order.model_copy(update={"lines": lines, "unsettled": True})


def backorder(order: Order, command: Command, at: Instant) -> Decided:
    """How much of each line is not in stock, and when it is expected; it replaces what was reported of those lines."""
    quantities = _reported(order, command, least=ZERO)
    if isinstance(quantities, Outcome):
        return order, quantities
    for name, quantity in quantities.items():
        line = order.line(name)
        if line and quantity > line.open:
            left = plain_number(line.open)
            return order, refused("too_much", f"Only {left} of line {name} is open.", field=f"lines.{name}", open=left)
    expected = day_of(command.payload.get("expected"))
    if command.payload.get("expected") is not None and expected is None:
        return order, refused("invalid", "Say in `expected` on which day.", field="expected")
    lines = _each(order, quantities, "backordered")
    after = order.model_copy(update={"lines": lines, "expected": expected or order.expected})
    return after, done("backordered", state=after.status, days_late=after.days_late)


def picked(order: Order, command: Command, at: Instant) -> Decided:
    """So much of each line is on its way through the warehouse: no change goes below it any more."""
    quantities = _reported(order, command, least=ZERO)
    if isinstance(quantities, Outcome):
        return order, quantities
    for name, quantity in quantities.items():
        line = order.line(name)
        if line and quantity > line.share.quantity:
            return order, refused("too_much", f"More of line {name} than is on order.", field=f"lines.{name}")
    return order.model_copy(update={"lines": _each(order, quantities, "picked")}), done("picked")


def _each(order: Order, quantities: Mapping[str, Decimal], field: str) -> tuple[Line, ...]:
    return tuple(
        line.model_copy(update={field: quantities[line.line]}) if line.line in quantities else line
        for line in order.lines
    )


def accept_excess(order: Order, command: Command, at: Instant) -> Decided:
    """The customer keeps what arrived beyond the order: it is ordered too, out of what is left of the quote."""
    task, line = _task(order, command)
    if task is None or line is None or task.kind != "excess":
        return order, refused("no_such_task", "Nothing of that line arrived beyond the order.", field="task")
    whole = line.of(line.share.quantity + line.excess).model_copy(
        update={"delivered": line.delivered + line.excess, "excess": ZERO}
    )
    lines = tuple(whole if n.line == line.line else n for n in order.lines)
    news = _arrived(order, lines, None, task.id, {})
    after = order.model_copy(
        update={"lines": lines, "tasks": _others(order, task), "unsettled": True, "news": (*order.news, *news)}
    )
    return after, done("excess_accepted", line=line.line, state=after.status)


def dismiss(order: Order, command: Command, at: Instant) -> Decided:
    """Somebody saw to it; what arrived beyond the order goes back."""
    task, line = _task(order, command)
    if task is None:
        return order, refused("no_such_task", "The order has no such task.", field="task")
    lines = order.lines
    if line and task.kind == "excess":
        kept = line.model_copy(update={"excess": ZERO, "shipped": min(line.shipped, line.share.quantity)})
        lines = tuple(kept if n.line == line.line else n for n in lines)
    after = order.model_copy(update={"tasks": _others(order, task), "lines": lines})
    return after, done("dismissed", task=task.id, state=after.status)


def _task(order: Order, command: Command) -> tuple[Task | None, Line | None]:
    task = next((task for task in order.tasks if task.id == command.payload.get("task")), None)
    return task, order.line(task.line) if task else None


def _others(order: Order, task: Task) -> tuple[Task, ...]:
    return tuple(other for other in order.tasks if other is not task)
