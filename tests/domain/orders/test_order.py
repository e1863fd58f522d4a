"""One order: it waits, is moved, held and cancelled; the back office takes it or does not; goods go and arrive."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.orders.acts import OrderMachine, apply
from domain.orders.order import Order, OrderStatus, Phase, new_order, order_run, with_start
from domain.orders.split import Trigger
from domain.runs import Command, Outcome, expiry
from tests.domain.orders.test_split import made
from tests.support import NOW, a_line, a_quote

PORTO = {"city": "Porto", "time_zone": "Europe/Lisbon"}
QUOTE = a_quote(
    lines=[a_line("1", quantity="10"), a_line("2", quantity="2", billing="recurring", recognition="ratable", term_months=12)]
)  # fmt: skip


def an_order(opened: bool = True, **trigger: Any) -> Order:
    """An order of ten goods and a subscription, starting when told to go live unless told otherwise."""
    slot = {"ship_to": PORTO, "trigger": trigger or {"start": "manual"}}
    (planned,) = made(QUOTE, way="whole", slot=slot).orders
    order = new_order(planned, QUOTE, 1)
    return tell(order, "open", "rita")[0] if opened else order


def tell(order: Order, verb: str, who: str = "dina", at: Any = NOW, **payload: Any) -> tuple[Order, Outcome]:
    """What a command does, and what the record completes."""
    command = Command(id="c", run=order_run(order.id), actor=who, verb=verb, payload=payload)
    after, outcome = apply(order, command, at)
    return with_start(order, after, at), outcome


def tick(order: Order, at: Any) -> tuple[Order, Outcome]:
    after, outcome = apply(order, expiry(order_run(order.id), order.seq), at)
    return with_start(order, after, at), outcome


def active() -> Order:
    order, _ = tell(an_order(), "go_live")
    return tell(order, "accepted", "bruno", reference="SO-7")[0]


def test_an_order_starts_when_its_day_begins_at_its_ship_to() -> None:
    order = an_order(start="date", on=date(2026, 5, 1))
    assert (order.status, f"{order.due:%Y-%m-%d %H:%M}") == (OrderStatus.SCHEDULED, "2026-04-30 23:00")
    early, outcome = tick(order, order.due - timedelta(seconds=1))  # type: ignore[operator]
    assert (outcome.code, early.status) == ("not_due", OrderStatus.SCHEDULED)
    assert tick(order, order.due)[0].status is OrderStatus.ACTIVATING


@pytest.mark.parametrize(("day", "instant"), [("2026-03-29", "2026-03-29 00:00"), ("2026-10-25", "2026-10-24 23:00")])
def test_days_on_which_clocks_change_begin_when_they_do(day: str, instant: str) -> None:
    assert f"{an_order(start='date', on=date.fromisoformat(day)).due:%Y-%m-%d %H:%M}" == instant


def test_a_day_that_is_over_or_now_starts_at_once() -> None:
    for trigger in ({"start": "now"}, {"start": "date", "on": date(2026, 1, 1)}):
        order = an_order(**trigger)
        assert order.due is not None
        assert order.due <= NOW
        assert tick(order, NOW)[0].status is OrderStatus.ACTIVATING


def test_an_order_is_moved_to_another_day_to_now_and_to_a_word() -> None:
    order, outcome = tell(an_order(), "reschedule", on="2026-06-01")
    assert (outcome.code, order.version, f"{order.due:%Y-%m-%d}") == ("rescheduled", 2, "2026-05-31")
    order, _ = tell(order, "reschedule", start="now")
    assert order.due == NOW
    order, _ = tell(order, "reschedule", start="manual")
    assert (order.due, order.status, order.version) == (None, OrderStatus.SCHEDULED, 4)


def test_holds_stack_and_the_order_starts_when_the_last_is_released() -> None:
    order, _ = tell(an_order(start="now"), "hold", reason="credit check", owner="finance")
    order, _ = tell(order, "hold", reason="a wish of the customer")
    assert (order.status, order.due, [h.owner for h in order.holds]) == (OrderStatus.HELD, None, ["finance", "desk"])
    assert tick(order, NOW + timedelta(days=9))[1].code == "not_due"
    assert tell(order, "go_live")[1].code == "held"
    order, _ = tell(order, "release", hold=order.holds[0].id)
    assert order.status is OrderStatus.HELD
    order, _ = tell(order, "release", hold=order.holds[0].id)
    assert (order.status, order.due) == (OrderStatus.SCHEDULED, NOW), "its time has come, so it starts at once"


def test_the_back_office_takes_it_and_services_are_delivered_with_that() -> None:
    order = active()
    assert (order.status, order.erp_reference) == (OrderStatus.ACTIVE, "SO-7")
    assert {line.line: line.delivered for line in order.lines} == {"1": 0, "2": 2}


def test_goods_go_and_arrive_in_parts_out_of_order_and_each_report_counts_once() -> None:
    order, _ = tell(active(), "shipment", "bruno", id="S1", lines={"1": "4"})
    assert order.status is OrderStatus.PARTLY_FULFILLED
    again, outcome = tell(order, "shipment", "bruno", id="S1", lines={"1": "4"})
    assert (outcome.code, again.lines) == ("already_reported", order.lines)
    order, _ = tell(order, "delivery", "bruno", id="D2", lines={"1": "7"})
    assert (order.lines[0].shipped, order.lines[0].delivered) == (7, 7), "what arrived was on its way"
    order, _ = tell(order, "shipment", "bruno", id="S2", lines={"1": "3"})
    order, outcome = tell(order, "delivery", "bruno", id="D3", lines={"1": "3"})
    assert (order.status, outcome.facts["state"], order.running) == (OrderStatus.FULFILLED, "fulfilled", False)
    assert order.closed_at == NOW


@pytest.mark.parametrize(
    ("verb", "lines", "field"),
    [
        ("shipment", {"1": "11"}, "lines.1"), ("delivery", {"1": "11"}, "lines.1"), ("shipment", {"9": "1"}, "lines.9"),
        ("shipment", {"2": "1"}, "lines.2"), ("shipment", {}, "lines"), ("shipment", {"1": "-1"}, "lines"),
        ("shipment", {"1": "1e400"}, "lines"), ("shipment", {"1": "many"}, "lines"), ("shipment", "all", "lines"),
    ],
)  # fmt: skip
def test_what_cannot_have_happened_is_refused_naming_the_line(verb: str, lines: Any, field: str) -> None:
    order = active()
    after, outcome = tell(order, verb, "bruno", id="S1", lines=lines)
    assert (outcome.applied, outcome.facts["field"], after.lines) == (False, field, order.lines)


def test_a_refused_order_waits_for_the_desk_which_tries_again_or_cancels() -> None:
    order, _ = tell(an_order(), "go_live")
    order, outcome = tell(order, "rejected", "bruno", reason="unknown tax number")
    assert (outcome.code, order.status, order.erp_words) == ("fallout", OrderStatus.FALLOUT, "unknown tax number")
    again, _ = tell(order, "retry")
    assert (again.status, again.erp_words) == (OrderStatus.ACTIVATING, "")
    assert tell(order, "cancel")[0].status is OrderStatus.CANCELLED


@pytest.mark.parametrize("verb", ["reschedule", "hold", "cancel", "go_live"])
def test_after_it_started_it_is_too_late(verb: str) -> None:
    order, _ = tell(an_order(), "go_live")
    payload = {"on": "2026-06-01", "reason": "x"}
    after, outcome = tell(order, verb, **payload)
    assert (outcome.code, after.model_copy(update={"seq": order.seq})) == ("too_late", order)


def test_a_command_made_against_an_older_version_is_refused_with_the_current_one() -> None:
    order, _ = tell(an_order(), "reschedule", on="2026-06-01", version=1)
    _, outcome = tell(order, "reschedule", on="2026-07-01", version=1)
    assert (outcome.code, outcome.facts["version"]) == ("stale_version", 2)


def test_an_ended_order_does_nothing_more() -> None:
    order, _ = tell(an_order(), "cancel", for_good=True)
    assert (order.for_good, order.running) == (True, False)
    for verb in OrderMachine.verbs:
        assert tell(order, verb)[1].applied is False


def test_the_trigger_of_a_later_order_waits_for_nobody_can_know_when() -> None:
    assert an_order(start="after", after="Q-1-0").due is None
    assert Trigger(start="after", after="Q-1-0").on is None


VERBS = st.sampled_from([*OrderMachine.verbs, "tick", "?"])
PAYLOADS = st.fixed_dictionaries(
    {
        "on": st.sampled_from(["2026-03-01", "2026-03-04", "soon", None]), "start": st.sampled_from(["now", "manual", None, 7]),
        "reason": st.sampled_from(["why not", "", None]), "hold": st.sampled_from(["h2", "h3", None]),
        "id": st.sampled_from(["a", "b", "c"]), "version": st.sampled_from([None, 1, 2, "x"]),
        "lines": st.sampled_from([{"1": "1"}, {"1": "6"}, {"1": "20"}, {}, None, {"2": "1"}]), "for_good": st.booleans(),
    }
)  # fmt: skip


@given(st.lists(st.tuples(VERBS, PAYLOADS, st.integers(0, 40)), max_size=25))
def test_laws_of_an_order(story: list[tuple[str, dict[str, Any], int]]) -> None:
    """Whatever anybody sends in whatever order: it never starts before its time or while held, and nothing is lost."""
    order, at = an_order(opened=False), NOW
    for verb, payload, hours in story:
        at += timedelta(hours=hours)
        before = order
        order, outcome = tick(before, at) if verb == "tick" else tell(before, verb, "x", at, **payload)
        assert order.seq == before.seq + 1
        assert outcome.applied or order.model_copy(update={"seq": before.seq}) == before
        if before.phase is Phase.WAITING and order.phase is Phase.ACTIVATING:
            assert not before.holds
            assert verb == "go_live" or (before.starts_at is not None and before.starts_at <= at)
        if not before.running:
            assert not outcome.applied
        for line, known in zip(order.lines, before.lines, strict=True):
            assert known.delivered <= line.delivered <= line.shipped <= line.share.quantity
        assert order.due is None or order.status is OrderStatus.SCHEDULED
        assert sum((line.share.quantity for line in order.lines), Decimal(0)) == 12
    assert Order.model_validate(order.stored()) == order
