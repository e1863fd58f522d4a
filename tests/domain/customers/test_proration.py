"""What a part of a term is worth."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.customers.proration import MEASURES, measure, months_after, prorated
from domain.money import rounded
from tests.domain.customers.makers import day

DAYS = st.dates(date(2024, 1, 1), date(2030, 12, 31))
CYCLES = st.integers(1, 28)
POLICIES = st.sampled_from(sorted(MEASURES))


@pytest.mark.parametrize(
    ("policy", "long"),
    [
        ("actual_days", "314"),
        ("months_and_days_of_billing_month", "10.258065"),
        ("months_and_thirtieths", "10.266667"),
    ],
)
def test_each_policy_measures_the_worked_example(policy: str, long: str) -> None:
    span = day("2025-03-28"), day("2026-02-05")  # up to and with the fourth
    assert round(measure(span, policy, 5), 6) == Decimal(long)  # type: ignore[arg-type]


def test_ninety_a_month_for_that_long() -> None:
    months = measure((day("2025-03-28"), day("2026-02-05")), "months_and_days_of_billing_month", 5)
    assert rounded(90 * months, "USD") == Decimal("923.23")


def test_longer_than_the_whole_costs_more() -> None:
    whole, more = (day("2026-01-01"), day("2027-01-01")), (day("2027-01-01"), day("2027-07-02"))
    assert prorated(Decimal(1200), whole, more, "months_and_thirtieths", "EUR") == Decimal("603.33")
    assert prorated(Decimal(365), whole, more, "actual_days", "EUR") == 182


@given(policy=POLICIES, cycle=CYCLES, first=DAYS, days=st.integers(0, 800))
def test_a_longer_span_never_measures_less(policy: str, cycle: int, first: date, days: int) -> None:
    ends = first + timedelta(days=days)
    shorter, longer = (measure((first, end), policy, cycle) for end in (ends, ends + timedelta(days=1)))  # type: ignore[arg-type]
    assert 0 <= shorter <= longer


@given(cycle=CYCLES, first=DAYS, cut=st.integers(0, 400), rest=st.integers(0, 400))
def test_days_and_billing_months_add_up_wherever_a_span_is_cut(cycle: int, first: date, cut: int, rest: int) -> None:
    middle, last = first + timedelta(days=cut), first + timedelta(days=cut + rest)
    for policy in ("actual_days", "months_and_days_of_billing_month"):
        parts = measure((first, middle), policy, cycle) + measure((middle, last), policy, cycle)  # type: ignore[arg-type]
        assert abs(parts - measure((first, last), policy, cycle)) < Decimal("1e-20")  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["months_and_days_of_billing_month", "months_and_thirtieths"])
@pytest.mark.parametrize("first", [date(2025, 8, 29), date(2025, 8, 30), date(2025, 8, 31)])
def test_whole_months_are_whole_whatever_the_day_and_keep_their_day_when_they_go_on(policy: str, first: date) -> None:
    half, year = months_after(first, 6), months_after(first, 12)
    assert prorated(Decimal(600), (first, half), (first, half), policy, "EUR") == 600
    assert prorated(Decimal(600), (first, half), (half, year), policy, "EUR") == 600
    assert prorated(Decimal(1200), (first, year), (first, half), policy, "EUR") == 600
