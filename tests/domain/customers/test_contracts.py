"""Which contract things stand in, and when subscriptions end."""

from decimal import Decimal
from typing import Any

import pytest

from domain.customers.contracts import (
    Grouping,
    check_coterm,
    contents,
    contract_of_line,
    contracts_of,
    cotermed,
)
from domain.customers.facts import Fact
from domain.customers.holdings import Subscription, assets, subscriptions
from domain.errors import Invalid
from domain.orders.split import Coterm
from tests.domain.customers.makers import A_YEAR, GOODS, day, delivered, ordered, subscribed

BEFORE = subscribed("2026-01-01", "2027-01-01", "10", "1200", order="O-0")
"""Ten seats at 10 a month since the new year."""
NOW = "2026-07-01"


def joined(
    coterm: Coterm, *new: Fact, before: tuple[Fact, ...] = (BEFORE,), grouping: Grouping = "single"
) -> list[Fact]:
    return cotermed(list(new), coterm, subscriptions(before), grouping, day(NOW))


def more_seats(**more: Any) -> Fact:
    return subscribed(NOW, "2027-07-01", "5", "600", **more)


def lengths(made: list[Fact], *before: Fact) -> dict[str, tuple[str, Decimal]]:
    return {s.order: (str(s.ends), s.price) for s in subscriptions([*before, *made])}


def test_a_subscription_runs_its_own_term_unless_told() -> None:
    assert lengths(joined("own", more_seats()), BEFORE) == {"O-0": ("2027-01-01", 1200), "O-1": ("2027-07-01", 600)}


def test_it_ends_with_the_contract_and_costs_less() -> None:
    made = joined("contract", more_seats())
    assert lengths(made, BEFORE) == {"O-0": ("2027-01-01", 1200), "O-1": ("2027-01-01", Decimal("302.47"))}


def test_to_end_with_a_contract_there_must_be_one() -> None:
    running = subscriptions([BEFORE])
    check_coterm("contract", running, day(NOW))
    for way, wrong, first in (("contract", running, "2027-01-01"), ("contract", [], NOW), ("extend", running, NOW)):
        with pytest.raises(Invalid, match="coterm"):
            check_coterm(way, wrong, day(first))  # type: ignore[arg-type]


@pytest.mark.parametrize(("months", "ends", "kind"), [(12, "2027-07-01", "renewable"), (None, None, "evergreen")])
def test_evergreen_and_renewable_never_mix(months: int | None, ends: str | None, kind: str) -> None:
    terms = A_YEAR.model_copy(update={"months": months})
    id, found = contract_of_line("C-1", terms, day(ends) if ends else None, "single")
    assert (id, found) == (f"C-1-{kind}", kind)


def test_one_contract_for_a_customer_or_one_for_each_end() -> None:
    goods, seats = ordered(NOW, "2", "50", GOODS, line="2"), more_seats()
    for grouping, expected in (
        ("single", ["C-1-renewable"]), ("by_end_date", ["C-1-renewable", "C-1-renewable-2027-07-01"]),
    ):  # fmt: skip
        made = joined("own", goods, seats, grouping=grouping)  # type: ignore[arg-type]
        assert [c.id for c in contracts_of(made, grouping)] == expected  # type: ignore[arg-type]


def test_a_contract_is_worth_its_subscriptions_and_assets() -> None:
    facts = [*joined("own", ordered(NOW, "3", "100", GOODS, line="2"), more_seats()),
             delivered("2026-08-01", "1", line="2"), delivered("2026-08-02", "1", line="2", serials=("A1",))]  # fmt: skip
    (contract,) = contracts_of(facts, "single")
    inside = contents(contract, subscriptions(facts), assets(facts))
    assert [(a.quantity, a.price, a.serials) for a in inside.assets] == [
        (1, Decimal("33.34"), ()), (1, Decimal("33.33"), ("A1",)),
    ]  # fmt: skip
    assert (inside.value, inside.contract.ends) == ({"EUR": Decimal("666.67")}, day("2027-07-01"))


def test_more_of_a_subscription_is_a_segment_of_its_own() -> None:
    more = subscribed("2026-07-02", "2027-01-01", "2", "100", order="O-0", id="more")
    (one,) = subscriptions([BEFORE, more])
    assert isinstance(one, Subscription)
    assert [(str(s.starts), str(s.ends), s.quantity) for s in one.segments] == [
        ("2026-01-01", "2026-07-02", 10), ("2026-07-02", "2027-01-01", 12),
    ]  # fmt: skip
    assert one.price == 1300
