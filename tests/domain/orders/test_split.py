"""Splitting a quote into orders: nothing is lost, nothing is made, and every cent has its place."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from domain.errors import Invalid
from domain.orders.division import largest_remainder
from domain.orders.ledger import LineLedger
from domain.orders.split import Planned, Way, later, nothing_ordered, order_id, split
from domain.quotes import Quote
from tests.support import a_line, a_quote

WAY: TypeAdapter[Any] = TypeAdapter(Way)
PORTO, FARO = {"city": "Porto", "time_zone": "Europe/Lisbon"}, {"city": "Faro"}


def made(quote: Quote, ledger: Mapping[str, LineLedger] | None = None, number: int = 1, **way: Any) -> Planned:
    return split(quote, ledger or nothing_ordered(quote), WAY.validate_python(way), number)


def quantities(planned: Planned) -> list[dict[str, Decimal]]:
    return [{line.line: line.share.quantity for line in order.lines} for order in planned.orders]


TWO = a_quote(
    lines=[
        a_line("1", quantity="10", list_price="33.45", discount_percent="15", ship_to=PORTO, requested_date="2026-05-01"),
        a_line("2", quantity="3", list_price="100", ship_to=FARO, requested_date="2026-05-01"),
        a_line("3", quantity="1", list_price="9.99", ship_to=PORTO, requested_date="2026-07-01"),
    ]
)  # fmt: skip


def test_a_whole_quote_is_one_order() -> None:
    planned = made(TWO, way="whole", together=True)
    assert quantities(planned) == [{"1": 10, "2": 3, "3": 1}]
    assert planned.orders[0].net_total == TWO.net_total
    assert planned.orders[0].id == "Q-1-1"


@pytest.mark.parametrize(
    "way", [{"way": "whole"}, {"way": "even", "waves": 2}, {"way": "even", "waves": 2, "first": "2026-05-01"}]
)
def test_every_order_goes_to_the_one_place_of_its_lines(way: dict[str, Any]) -> None:
    planned = made(TWO, **way)
    for order in planned.orders:
        cities = {line.ship_to.city for line in TWO.lines if line.ship_to and line.id in {n.line for n in order.lines}}
        assert order.slot.ship_to
        assert cities == {order.slot.ship_to.city}
    assert len(made(TWO, **way, together=True).orders) < len(planned.orders)
    elsewhere = made(TWO, **way, slot={"ship_to": {"city": "Braga"}})
    assert {order.slot.ship_to.city for order in elsewhere.orders if order.slot.ship_to} == {"Braga"}


def test_a_group_by_hand_stays_one_order_and_keeps_the_place_of_its_lines() -> None:
    planned = made(TWO, way="hand", groups=[{"lines": {"1": 4, "3": 1}}, {"lines": {"1": 2, "2": 1}}])
    assert [order.slot.ship_to and order.slot.ship_to.city for order in planned.orders] == ["Porto", None]


def test_equal_values_share_an_order_which_goes_there_and_then() -> None:
    planned = made(TWO, way="fields", fields=["ship_to", "requested_date"])
    assert quantities(planned) == [{"1": 10}, {"2": 3}, {"3": 1}]
    slots = [(o.slot.ship_to.city if o.slot.ship_to else "", o.slot.trigger.on) for o in planned.orders]
    assert slots == [("Porto", date(2026, 5, 1)), ("Faro", date(2026, 5, 1)), ("Porto", date(2026, 7, 1))]


def test_blank_values_form_one_group_and_start_as_told() -> None:
    quote = a_quote(lines=[a_line("1", family="A"), a_line("2"), a_line("3", family="A"), a_line("4", family=None)])
    planned = made(quote, way="fields", fields=["family"], otherwise={"start": "manual"})
    assert quantities(planned) == [{"1": 1, "3": 1}, {"2": 1, "4": 1}]
    assert {o.slot.trigger.start for o in planned.orders} == {"manual"}


def test_a_field_that_no_line_has_splits_nothing() -> None:
    with pytest.raises(Invalid, match="colour"):
        made(TWO, way="fields", fields=["colour"])


def test_a_line_field_of_the_companys_own_splits_too() -> None:
    quote = a_quote(
        lines=[a_line("1", fields={"phase": "a"}), a_line("2", phase="b"), a_line("3", fields={"phase": "a"})]
    )
    assert quantities(made(quote, way="fields", fields=["phase"])) == [{"1": 1, "3": 1}, {"2": 1}]


def test_by_hand_what_is_not_named_stays_to_be_ordered_later() -> None:
    groups = [{"lines": {"1": 4}}, {"lines": {"1": 2, "2": 1}}]
    planned = made(TWO, way="hand", groups=groups)
    assert quantities(planned) == [{"1": 4}, {"1": 2, "2": 1}]
    left = {id: entry.unallocated.quantity for id, entry in planned.ledger.items()}
    assert left == {"1": 4, "2": 2, "3": 1}
    rest = made(TWO, planned.ledger, 3, way="whole", together=True)
    assert rest.orders[0].id == "Q-1-3"
    total = sum((o.net_total for o in (*planned.orders, *rest.orders)), Decimal(0))
    assert total == TWO.net_total


@pytest.mark.parametrize(
    ("groups", "field", "what"),
    [
        ([{"lines": {"1": 11}}], "lines.1", "11 asked for, 10 left"),
        ([{"lines": {"1": 6}}, {"lines": {"1": 5}}], "lines.1", "11 asked for, 10 left"),
        ([{"lines": {"9": 1}}], "lines.9", "is no line"),
        ([{"lines": {"1": "2.5"}}], "lines.1", "counted in 1"),
    ],
)
def test_more_than_there_is_is_refused_naming_the_line(groups: list[Any], field: str, what: str) -> None:
    with pytest.raises(Invalid) as error:
        made(TWO, way="hand", groups=groups)
    assert error.value.facts["errors"][0]["field"] == field
    assert what in error.value.sentence


def test_waves_are_even_and_the_earliest_get_what_does_not_divide() -> None:
    assert quantities(made(TWO, way="even", waves=4, together=True)) == [
        {"1": 3, "2": 1, "3": 1}, {"1": 3, "2": 1}, {"1": 2, "2": 1}, {"1": 2},
    ]  # fmt: skip


def test_a_schedule_starts_a_wave_every_month_also_where_months_are_short() -> None:
    planned = made(TWO, way="even", waves=3, first="2026-01-31", together=True)
    assert [o.slot.trigger.on for o in planned.orders] == [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31)]
    assert later(date(2024, 2, 29), "year", 1) == date(2025, 2, 28)
    assert later(date(2026, 11, 30), "quarter", 1) == date(2027, 2, 28)
    assert later(date(2026, 3, 28), "week", 1) == date(2026, 4, 4)


BUNDLE = a_quote(
    lines=[
        a_line("kit", quantity="4", list_price="10"),
        a_line("bolt", quantity="8", list_price="1", requires="kit", ship_to=FARO),
        a_line("manual", quantity="4", list_price="5", requires="kit", severable=True),
    ]
)  # fmt: skip


def test_parts_of_a_bundle_follow_its_head() -> None:
    assert quantities(made(BUNDLE, way="even", waves=3)) == [
        {"kit": 2, "bolt": 4, "manual": 2}, {"kit": 1, "bolt": 2, "manual": 1}, {"kit": 1, "bolt": 2, "manual": 1},
    ]  # fmt: skip
    by_place = made(BUNDLE, way="fields", fields=["ship_to"])
    assert quantities(by_place) == [{"kit": 4, "bolt": 8, "manual": 4}]


@pytest.mark.parametrize("lines", [{"kit": 1}, {"bolt": 2}, {"kit": 1, "bolt": 3}, {"kit": "0.1", "bolt": "0.2"}])
def test_a_split_that_breaks_a_bundle_names_the_line(lines: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as error:
        made(BUNDLE, way="hand", groups=[{"lines": lines}])
    assert error.value.facts["errors"][0]["field"] == "lines.bolt"


def test_a_severable_part_goes_alone() -> None:
    assert quantities(made(BUNDLE, way="hand", groups=[{"lines": {"manual": 3}}])) == [{"manual": 3}]


def test_a_bundle_that_does_not_divide_is_refused() -> None:
    quote = a_quote(lines=[a_line("kit", quantity="3"), a_line("case", quantity="1", requires="kit")])
    with pytest.raises(Invalid, match=r"lines.case: belongs to kit"):
        made(quote, way="even", waves=3)


def test_money_has_no_cents_where_the_currency_has_none() -> None:
    quote = a_quote(currency="ISK", lines=[a_line("1", quantity="3", list_price="100", discount_percent="33")])
    planned = made(quote, way="even", waves=3)
    assert [o.net_total for o in planned.orders] == [67, 67, 67]
    assert quote.net_total == 201


def test_an_order_has_an_id_that_fits_however_long_the_quotes_is() -> None:
    assert order_id("Q" * 64, 7).startswith("o-")
    assert order_id("Q" * 62, 7) == "Q" * 62 + "-7"


@pytest.mark.parametrize(
    "way",
    [
        {"way": "even", "waves": 0}, {"way": "even", "waves": 201}, {"way": "sideways"}, {"way": "fields", "fields": []},
        {"way": "hand", "groups": [{"lines": {"1": 0}}]}, {"way": "hand", "groups": [{"lines": {"1": -1}}]},
        {"way": "whole", "slot": {"trigger": {"start": "date"}}}, {"way": "whole", "slot": {"trigger": {"on": "2026-05-01"}}},
        {"way": "whole", "slot": {"trigger": {"start": "after"}}},
    ],
)  # fmt: skip
def test_a_way_that_makes_no_sense_is_refused(way: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"validation error"):
        WAY.validate_python(way)


def test_when_nothing_is_left_there_is_nothing_to_split() -> None:
    with pytest.raises(Invalid, match="nothing is left"):
        made(TWO, made(TWO, way="whole").ledger, 2, way="whole")


# --- laws -------------------------------------------------------------------------------------------------------------

CENTS = st.integers(0, 10**9).map(lambda n: Decimal(n).scaleb(-2))
WEIGHTS = st.lists(st.decimals(0, 1000, places=3), min_size=1, max_size=8)


@given(CENTS, WEIGHTS)
def test_what_is_divided_adds_up_and_no_part_is_off_by_a_cent(total: Decimal, weights: list[Decimal]) -> None:
    unit = Decimal("0.01")
    parts = largest_remainder(total, weights, unit)
    assert sum(parts, Decimal(0)) == total
    whole = sum(weights, Decimal(0))
    for part, weight in zip(parts, weights, strict=True):
        assert part % unit == 0
        assert whole == 0 or abs(part - total * weight / whole) < unit


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    lines: list[dict[str, Any]] = []
    for n in range(draw(st.integers(1, 5))):
        requires = draw(st.sampled_from([None, *(line["id"] for line in lines)]))
        head = next((Decimal(line["quantity"]) for line in lines if line["id"] == requires), None)
        quantity = head * draw(st.integers(1, 3)) if head else draw(st.integers(1, 40))
        lines.append(
            a_line(
                f"L{n}", quantity=str(quantity), list_price=str(draw(st.decimals(0, 999, places=2))),
                discount_percent=str(draw(st.integers(0, 60))), requires=requires, severable=draw(st.booleans()),
                ship_to=draw(st.sampled_from([None, PORTO, FARO])), group=draw(st.sampled_from([None, "a", "b"])),
            )
        )  # fmt: skip
    return a_quote(lines=lines, currency=draw(st.sampled_from(["EUR", "ISK", "BHD"])))


@st.composite
def ways(draw: st.DrawFn, quote: Quote, ledger: Mapping[str, LineLedger]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["whole", "fields", "even", "hand"]))
    if kind == "fields":
        return {
            "way": kind,
            "fields": draw(st.lists(st.sampled_from(["ship_to", "group", "product"]), min_size=1, max_size=2)),
        }
    if kind == "even":
        return {"way": kind, "waves": draw(st.integers(1, 6))}
    if kind == "whole":
        return {"way": kind}
    heads = [line for line in quote.lines if not line.requires or line.severable]
    some = draw(st.dictionaries(st.sampled_from([line.id for line in heads]), st.integers(1, 50), min_size=1))
    return {"way": kind, "groups": [{"lines": dict(some)}]}


@given(st.data(), quotes())
def test_whatever_is_split_however_often_quantity_and_money_are_conserved(data: st.DataObject, quote: Quote) -> None:
    ledger, number, orders = nothing_ordered(quote), 1, []
    for _ in range(data.draw(st.integers(1, 4))):
        try:
            planned = made(quote, ledger, number, **data.draw(ways(quote, ledger)))
        except Invalid as refused:
            assert refused.facts["errors"][0]["field"]
            continue
        ledger, number = planned.ledger, number + len(planned.orders)
        orders += planned.orders
        assert all(entry.balanced for entry in ledger.values())
    assert len({order.id for order in orders}) == len(orders)
    for line in quote.lines:
        shares = [taken.share for order in orders for taken in order.lines if taken.line == line.id]
        assert sum((s.quantity for s in shares), Decimal(0)) == ledger[line.id].allocated.quantity
        assert sum((s.net for s in shares), Decimal(0)) == ledger[line.id].allocated.net
        assert all(s.quantity > 0 and s.quantity % line.counted_in == 0 for s in shares)
