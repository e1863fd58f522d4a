"""Subscriptions that run on until others end: which, for how much, and as which order."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.customers.contracts import common_end
from domain.customers.facts import Fact
from domain.customers.holdings import subscriptions, terms_by_line
from domain.orders.extending import Extension, before_and_after, extension_order, extensions
from domain.orders.settle import claims
from domain.quotes import Acceptance
from tests.domain.customers.makers import GOODS, day, ordered, subscribed
from tests.domain.orders.test_order import an_order

TODAY = day("2026-07-01")
A_YEAR = subscribed("2026-01-01", "2027-01-01", "10", "1200", order="O-0")
LATER = subscribed("2026-07-01", "2027-07-01", "5", "600")


def run_on(end: str, *facts: Fact) -> list[Extension]:
    return extensions(subscriptions(facts), terms_by_line(facts), day(end), TODAY)


def test_what_ends_earlier_runs_on_at_the_price_it_had() -> None:
    (one,) = run_on("2027-07-01", A_YEAR, LATER, ordered("2026-01-01", "1", "5", GOODS, line="9", order="O-0"))
    assert (one.order, one.quantity, one.starts, one.ends) == ("O-0", 10, day("2027-01-01"), day("2027-07-01"))
    assert (one.agreed, one.price) == (1200, Decimal("595.07"))  # 181 of 365 days


def test_what_has_ended_or_has_no_end_does_not_run_on() -> None:
    over = subscribed("2025-01-01", "2026-06-30", "1", "100", order="O-2")
    assert run_on("2027-07-01", over) == []
    assert run_on("2027-01-01", A_YEAR) == []


def test_the_last_quantity_runs_on() -> None:
    more = subscribed("2026-07-02", "2027-01-01", "2", "100", order="O-0", id="more")
    (one,) = run_on("2028-01-01", A_YEAR, more)
    assert one.quantity == 12


def test_it_is_an_order_of_its_own_outside_the_ledger_of_the_quote() -> None:
    some = run_on("2027-07-01", A_YEAR)
    extended = an_order().model_copy(update={"id": "O-0", "quote": "Q-1"})
    yes = Acceptance(on=TODAY, po_number="PO 7")
    made = extension_order(extended, [some[0].model_copy(update={"line": extended.lines[0].line})], 4, yes)
    assert (made.id, made.extends, made.net_total, made.acceptance) == ("Q-1-4", "O-0", Decimal("595.07"), yes)
    assert claims(made) == {}
    was, now = before_and_after(made, [some[0].model_copy(update={"line": extended.lines[0].line})])
    assert (was.net_total, now.net_total) == (1200, Decimal("1795.07"))


@given(st.lists(st.tuples(st.integers(1, 24), st.integers(1, 9), st.integers(0, 100_000)), min_size=1, max_size=5))
def test_afterwards_all_end_together(wanted: list[tuple[int, int, int]]) -> None:
    facts = [
        subscribed("2026-07-01", f"{2026 + (6 + n) // 12}-{(6 + n) % 12 + 1:02}-01", str(quantity), str(net), order=f"O-{i}")
        for i, (n, quantity, net) in enumerate(wanted)
    ]  # fmt: skip
    running = subscriptions(facts)
    end = common_end(running)
    assert end is not None
    found = extensions(running, terms_by_line(facts), end, TODAY)
    assert {one.order for one in found} == {each.order for each in running if each.ends != end}
    for one in found:
        (before,) = [each for each in running if each.order == one.order]
        assert (one.starts, one.ends, one.quantity) == (before.ends, end, before.segments[-1].quantity)
        assert one.price >= 0
