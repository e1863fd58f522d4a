"""What a customer may use or claim: on which day, and as known when."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.customers.entitlements import entitlements
from domain.customers.facts import Fact, Kind
from tests.domain.customers.makers import A_YEAR, GOODS, a_fact, day, delivered, instant, ordered, subscribed

HOURS = {"gold": 4}
WARRANTED = GOODS.model_copy(update={"sla": "gold", "months": 24})


def entitled(facts: list[Fact], on: str, known: str | None = None) -> list[tuple[Decimal, int | None]]:
    found = entitlements(facts, day(on), instant(known) if known else None, HOURS)
    return [(e.quantity, e.response_hours) for e in found]


PUMPS = [ordered("2026-01-01", "5", "500", WARRANTED), delivered("2026-02-01", "3", known="2026-02-10"),
         delivered("2026-03-01", "2", source="S-2"), a_fact(Kind.RETURNED, "2026-04-01", "1")]  # fmt: skip


@pytest.mark.parametrize(("on", "quantity"),
    [
        ("2026-01-31", 0), ("2026-02-01", 3), ("2026-03-01", 5), ("2026-04-01", 4),
        ("2028-01-31", 4), ("2028-02-01", 2), ("2028-02-29", 2), ("2028-03-01", 0),
    ],
)  # fmt: skip
def test_what_arrived_and_did_not_come_back_can_be_claimed_each_delivery_for_its_own_term(
    on: str, quantity: int
) -> None:
    found = entitled(PUMPS, on)
    assert sum(entitled for entitled, _ in found) == quantity
    assert {hours for _, hours in found} <= {4}


def test_a_replacement_takes_over_the_rest_of_the_term_of_what_it_replaces() -> None:
    replacement = {"order": "O-2", "source": "R-1"}
    facts = [
        ordered("2026-01-01", "10", "850", WARRANTED), delivered("2026-02-01", "4"), delivered("2026-06-01", "6", source="S-2"),
        a_fact(Kind.RETURNED, "2026-07-01", "5"), ordered("2026-08-01", "5", "0", WARRANTED, **replacement),
        delivered("2026-08-02", "5", **replacement), a_fact(Kind.REPLACED, "2026-08-02", "5", source="R-1", by="O-2"),
    ]  # fmt: skip
    by_order = [
        (e.order, e.starts.isoformat(), e.quantity) for e in entitlements(facts, day("2026-09-01"), None, HOURS)
    ]
    assert by_order == [("O-1", "2026-06-01", 5), ("O-2", "2026-02-01", 4), ("O-2", "2026-06-01", 1)]
    assert sum(quantity for quantity, _ in entitled(facts, "2028-02-01")) == 6
    assert entitled(facts, "2028-06-01") == []


@pytest.mark.parametrize(("known", "quantity"), [("2026-02-09", None), ("2026-02-10", 3), ("2026-05-01", 3)])
def test_a_day_is_asked_about_as_it_was_known_then(known: str, quantity: int | None) -> None:
    assert entitled(PUMPS, "2026-02-05", known) == ([(quantity, 4)] if quantity else [])


def test_a_subscription_can_be_used_while_it_runs() -> None:
    seats = [subscribed("2026-01-01", "2027-01-01", "10", "1200")]
    assert [bool(entitled(seats, on)) for on in ("2025-12-31", "2026-01-01", "2026-12-31", "2027-01-01")] == [
        False, True, True, False,
    ]  # fmt: skip


def test_an_evergreen_one_can_be_used_until_somebody_ends_it() -> None:
    terms = A_YEAR.model_copy(update={"months": None})
    assert entitled([subscribed("2026-01-01", None, "7", "70", terms=terms)], "2031-01-01") == [(7, None)]


STEPS = st.lists(
    st.tuples(st.sampled_from(["delivered", "returned"]), st.integers(1, 5), st.integers(0, 60)), max_size=8
)


@given(steps=STEPS, asked=st.integers(0, 70))
def test_nobody_is_entitled_to_more_than_arrived_and_stayed(steps: list[tuple[str, int, int]], asked: int) -> None:
    facts, there = [ordered("2026-01-01", "99", "99", WARRANTED)], 0
    for n, (what, some, after) in enumerate(steps):
        kind = Kind(what)
        if kind is Kind.RETURNED and some > there:
            continue
        there += some if kind is Kind.DELIVERED else -some
        on = (date(2026, 1, 1) + timedelta(days=after)).isoformat()
        facts.append(a_fact(kind, on, str(some), id=str(n)))
    on = date(2026, 1, 1) + timedelta(days=asked)
    net = sum(
        fact.quantity if fact.kind is Kind.DELIVERED else -fact.quantity
        for fact in facts if fact.on <= on and fact.kind in (Kind.DELIVERED, Kind.RETURNED)
    )  # fmt: skip
    assert sum((e.quantity for e in entitlements(facts, on, None, HOURS)), Decimal(0)) == max(0, net)
