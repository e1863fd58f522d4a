"""Subscriptions without a term: renewed on their day, also where months are short, and ended with notice."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from domain.orders.dry_run import tried
from domain.orders.order import Order, new_order
from domain.orders.split import nothing_ordered
from domain.quotes import Quote
from domain.runs import Command, Outcome
from tests.domain.orders.test_order import tick
from tests.domain.orders.test_split import made
from tests.support import a_line, a_quote

QUOTE: Quote = a_quote(lines=[a_line("1", billing="recurring", recognition="ratable", list_price="10")])


def tell(order: Order, verb: str, at: datetime, **payload: Any) -> tuple[Order, Outcome]:
    command = Command(id="c", run=f"order:{order.id}", actor="dina", verb=verb, payload=payload)
    done = tried(order, command, nothing_ordered(QUOTE), QUOTE, at)
    return done.order, done.outcome


def monthly(at: datetime, zone: str = "") -> Order:
    """An active order of one subscription, begun at an instant."""
    place = {"ship_to": {"city": "X", "time_zone": zone}} if zone else {}
    (planned,) = made(QUOTE, way="whole", slot={"trigger": {"start": "manual"}, **place}).orders
    order = new_order(planned, QUOTE, 1)
    for verb in ("open", "go_live", "accepted"):
        order, outcome = tell(order, verb, at)
        assert outcome.applied, outcome
    return order


def paid(order: Order) -> Any:
    renewal = order.lines[0].renewal
    assert renewal
    return renewal.months, renewal.paid_until


def test_each_month_begins_on_the_day_of_the_first_or_the_last_of_a_shorter_month() -> None:
    order = monthly(datetime(2026, 1, 31, 12, tzinfo=UTC))
    days = []
    for _ in range(3):
        assert order.due is not None
        days.append(order.due.date())
        order, outcome = tick(order, order.due)
        assert outcome.code == "renewed"
    assert days == [date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)]
    assert (paid(order), order.lines[0].share.net) == ((4, date(2026, 5, 31)), 40)


def test_a_month_begins_with_the_day_at_its_place() -> None:
    order = monthly(datetime(2026, 1, 30, 20, tzinfo=UTC), "Asia/Tokyo")
    assert order.due == datetime(2026, 2, 27, 15, tzinfo=UTC), "the 28th in Tokyo, for it began there on the 31st"
    assert tick(order, order.due - timedelta(seconds=1))[1].code == "not_due"


@pytest.mark.parametrize(
    ("on", "ends"),
    [("2026-02-01", date(2026, 2, 28)), ("2026-02-28", date(2026, 2, 28)), ("2026-03-01", date(2026, 3, 31))],
)
def test_it_ends_with_the_month_that_the_day_falls_into(on: str, ends: date) -> None:
    begun = datetime(2026, 1, 31, 12, tzinfo=UTC)
    order, _ = tell(monthly(begun), "end_subscription", begun, on=on)
    renewal = order.lines[0].renewal
    assert renewal
    assert renewal.ends_on == ends
    while order.running and order.due:
        order, _ = tick(order, order.due)
    assert (paid(order)[1], order.running) == (ends, False)
