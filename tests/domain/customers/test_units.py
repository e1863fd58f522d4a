"""What of each delivery is still with the customer, and that its money is that of the books."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.customers.facts import Fact, Kind
from domain.customers.holdings import assets
from domain.customers.revenue import entries
from domain.money import minor_unit
from tests.domain.customers.makers import GOODS, a_fact, delivered, ordered

TO_ACCEPT = GOODS.model_copy(update={"acceptance_days": 60})


def prices(facts: list[Fact]) -> list[tuple[str, Decimal, Decimal]]:
    return [(asset.order, asset.quantity, asset.price) for asset in assets(facts)]


def booked(facts: list[Fact], kind: str) -> dict[str, Decimal]:
    """What the books of one line say in the end, by month."""
    found: dict[str, Decimal] = {}
    for entry in entries(facts, {}, None):
        if entry.kind == kind:
            found[f"{entry.month:%Y-%m}"] = found.get(f"{entry.month:%Y-%m}", Decimal(0)) + entry.amount
    return found


def test_what_came_back_takes_its_price_with_it() -> None:
    facts = [
        ordered("2026-01-01", "43", "2630.08"),
        delivered("2026-02-01", "43"),
        a_fact(Kind.RETURNED, "2026-03-01", "3"),
    ]
    assert prices(facts) == [("O-1", 40, Decimal("2446.59"))]
    assert sum(booked(facts, "price").values()) == Decimal("2446.59")
    everything = [*facts, a_fact(Kind.RETURNED, "2026-04-01", "40")]
    assert prices(everything) == [("O-1", 0, 0)], "nothing is there, and nothing is owed"


def test_a_replacement_carries_the_price_of_what_it_replaces_until_it_comes_back_too() -> None:
    there = {"order": "O-2", "source": "R-1"}
    facts = [
        ordered("2026-01-01", "10", "850"),
        delivered("2026-02-01", "10"),
        a_fact(Kind.RETURNED, "2026-03-01", "1"),
    ]
    again = [ordered("2026-03-05", "1", "0", **there), delivered("2026-03-06", "1", **there),
             a_fact(Kind.REPLACED, "2026-03-06", "1", source="R-1", by="O-2")]  # fmt: skip
    assert prices([*facts, *again]) == [("O-1", 9, 765), ("O-2", 1, 85)]
    back = [
        a_fact(Kind.RETURNED, "2026-04-01", "1", **there),
        a_fact(Kind.REPLACED, "2026-04-01", "-1", source="return 1", by="O-2"),
    ]
    everything = [*facts, *again, *back]
    assert prices(everything) == [("O-1", 9, 765), ("O-2", 0, 0)]
    assert sum(booked([f for f in everything if f.order == "O-1"], "earned").values()) == 765


def test_what_comes_back_before_it_was_accepted_is_taken_off_on_the_day_that_it_would_count() -> None:
    facts = [
        ordered("2026-03-02", "10", "850", TO_ACCEPT),
        delivered("2026-03-02", "10"),
        a_fact(Kind.RETURNED, "2026-03-02", "4"),
    ]
    assert booked(facts, "earned") == {"2026-05": 510}
    assert booked(facts, "price") == {"2026-03": 510}
    accepted = [*facts, a_fact(Kind.ACCEPTED, "2026-03-20"), a_fact(Kind.RETURNED, "2026-04-05", "1")]
    assert booked(accepted, "earned") == {"2026-03": 510, "2026-04": -85}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["delivered", "delivered", "returned", "replaced", "back again", "more"]), st.integers(1, 5)
    ),
    max_size=12,
)


@given(steps=STEPS, net=st.integers(1, 10**6), currency=st.sampled_from(["EUR", "ISK", "JPY", "BHD"]))
def test_assets_are_worth_what_the_books_say_for_all_that_arrived(
    steps: list[tuple[str, int]], net: int, currency: str
) -> None:
    unit, money = minor_unit(currency), {"currency": currency}
    facts = [
        ordered("2026-01-01", "20", str(net * unit), **money),
        ordered("2026-01-01", "0", "0", order="O-2", **money),
    ]
    arrived = back = replaced = 0
    for n, (what, many) in enumerate(steps):
        on, more = f"2026-02-{n + 1:02}", {"id": f"f{n}", **money}
        if what == "delivered" and (many := min(many, 20 - arrived)):
            facts.append(delivered(on, str(many), **more))
            arrived += many
        elif what == "returned" and (many := min(many, arrived - back)):
            facts.append(a_fact(Kind.RETURNED, on, str(many), **more))
            back += many
        elif what == "replaced" and (many := min(many, back - replaced)):
            facts += [delivered(on, str(many), order="O-2", source=f"R{n}", **more),
                      a_fact(Kind.REPLACED, on, str(many), source=f"R{n}", by="O-2", **{**more, "id": f"r{n}"})]  # fmt: skip
            replaced += many
        elif what == "back again" and (many := min(many, replaced)):
            facts += [a_fact(Kind.RETURNED, on, str(many), order="O-2", **more),
                      a_fact(Kind.REPLACED, on, str(-many), by="O-2", **{**more, "id": f"r{n}"})]  # fmt: skip
            replaced -= many
        elif what == "more":
            facts.append(ordered(on, "0", str(many * unit), **more))
    mine = [fact for fact in facts if fact.order == "O-1"]
    worth, price = sum(asset.price for asset in assets(facts)), sum(booked(mine, "price").values())
    earned = sum(booked(mine, "earned").values())
    assert all(asset.price >= 0 and asset.quantity >= 0 for asset in assets(facts))
    assert abs(worth - earned) <= 2 * unit, "but for the rounding of what has not arrived"
    if arrived == 20 and (back < 20 or replaced):
        assert worth == price == earned


@pytest.mark.parametrize("currency", ["EUR", "ISK"])
def test_the_money_of_deliveries_is_whole_minor_units(currency: str) -> None:
    facts = [
        ordered("2026-01-01", "3", "100", currency=currency),
        *(delivered(f"2026-02-0{n}", "1", currency=currency) for n in (1, 2, 3)),
    ]
    assert all(asset.price % minor_unit(currency) == 0 for asset in assets(facts))
    assert sum(asset.price for asset in assets(facts)) == 100
