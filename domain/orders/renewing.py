"""Subscriptions that go on from month to month: renewed by the clock, ended by somebody with notice."""

from datetime import date

from domain.orders.order import Line, Order, PendingFact, Phase
from domain.orders.payload import Decided, day_of
from domain.orders.split import later
from domain.runs import Command, done, refused, text_of
from domain.values import Instant


def renew(order: Order, clock: Instant) -> Decided | None:
    """The next month of every subscription whose month is over; None where none is."""
    if order.phase is not Phase.ACTIVE or order.renewal_due is None or order.renewal_due > clock:
        return None
    lines, news = list[Line](), list(order.news)
    for line in order.lines:
        if line.renewal and line.renewal.goes_on and line.renewal.due_at and line.renewal.due_at <= clock:
            begins = line.renewal.paid_until
            line = _add_month(line)
            assert line.renewal is not None
            news.append(
                PendingFact(
                    line=line.line,
                    kind="extended",
                    quantity=line.share.quantity,
                    net=line.renewal.month.net,
                    on=begins,
                    ends=line.renewal.paid_until,
                    source=f"month {line.renewal.months}",
                )
            )
        lines.append(line)
    after = order.evolve(lines=tuple(lines), news=tuple(news), unsettled=True)
    return after, done("renewed", lines=[each.line for each in news])


def _add_month(line: Line) -> Line:
    assert line.renewal is not None
    renewal = line.renewal.evolve(months=line.renewal.months + 1, due_at=None)
    return line.evolve(renewal=renewal, share=line.share.plus(renewal.month))


def end_subscription(order: Order, command: Command, at: Instant) -> Decided:
    """No month begins on or after the day that is given; what is paid for runs on."""
    running = [line for line in order.lines if line.renewal and line.renewal.goes_on]
    only = command.payload.get("line")
    chosen = [line for line in running if only in (None, line.line)]
    if order.phase is not Phase.ACTIVE or not chosen:
        return order, refused("nothing_renews", "No subscription of it goes on from month to month.", field="line")
    today = order.day_at(at)
    on = day_of(command.payload.get("on")) or today
    if command.payload.get("on") is not None and (day_of(command.payload["on"]) is None or on < today):
        return order, refused("invalid", "Say in `on` from which day on, not one that is over.", field="on")
    ended = {line.line: _with_end(line, on) for line in chosen}
    lines = tuple(ended.get(line.line, line) for line in order.lines)
    news = tuple(
        PendingFact(
            line=line.line, kind="ended", on=today, ends=line.renewal.ends_on, source=f"ended by {command.actor}"
        )
        for line in ended.values()
        if line.renewal
    )
    after = order.evolve(lines=lines, news=(*order.news, *news), changed_by=command.actor)
    days = {name: str(line.renewal.ends_on) for name, line in ended.items() if line.renewal}
    return after, done("subscription_ends", ends=days, reason=text_of(command.payload.get("reason"), 1_000))


def _with_end(line: Line, on: date) -> Line:
    renewal = line.renewal
    assert renewal is not None
    assert renewal.first is not None
    months = renewal.months
    while later(renewal.first, "month", months) < on:
        months += 1
    ends_on = later(renewal.first, "month", months)
    return line.evolve(renewal=renewal.evolve(ends_on=ends_on))
