"""One order: it waits, is moved, held and cancelled; the back office takes it or does not; goods go and arrive."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from domain.orders.acts import OrderMachine, apply
from domain.orders.dry_run import tried
from domain.orders.ledger import opened
from domain.orders.order import Order, OrderStatus, new_order, order_run, with_instants
from domain.orders.settle import claims
from domain.orders.split import Trigger, nothing_ordered
from domain.runs import Command, Outcome, expiry
from tests.domain.orders.test_split import made
from tests.support import NOW, a_line, a_quote

PORTO = {"city": "Porto", "time_zone": "Europe/Lisbon"}
QUOTE = a_quote(
    lines=[a_line("1", quantity="10"), a_line("2", quantity="2", billing="recurring", recognition="ratable", term_months=12)]
)  # fmt: skip


# As though the quote had been accepted for three times as much, and orders taken two thirds of it.
LEFT = {
    id: opened(id, 3 * e.quoted.quantity, 3 * e.quoted.net, 3 * e.quoted.full).shifted(e.quoted.plus(e.quoted))
    for id, e in nothing_ordered(QUOTE).items()
}


def an_order(open: bool = True, **trigger: Any) -> Order:
    """An order of ten goods and a subscription, starting when told to go live unless told otherwise."""
    slot = {"ship_to": PORTO, "trigger": trigger or {"start": "manual"}}
    (planned,) = made(QUOTE, way="whole", slot=slot).orders
    order = new_order(planned, QUOTE, 1)
    return tell(order, "open", "rita")[0] if open else order


def tell(order: Order, verb: str, who: str = "dina", at: Any = NOW, /, **payload: Any) -> tuple[Order, Outcome]:
    """What a command does, and what is completed when it is stored, with as much left of the quote as there is of each line."""
    command = Command(id="c", run=order_run(order.id), actor=who, verb=verb, payload=payload)
    done = tried(order, command, LEFT, QUOTE, at)
    return done.order, done.outcome


def tick(order: Order, at: Any) -> tuple[Order, Outcome]:
    after, outcome = apply(order, expiry(order_run(order.id), order.seq), at)
    return with_instants(after, at), outcome


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


@pytest.mark.parametrize(("place", "begins"), [(None, "2026-04-30T15:00Z"), (PORTO, "2026-04-30T23:00Z")])
def test_a_day_without_a_place_is_that_of_the_company(place: Any, begins: str) -> None:
    slot = {"ship_to": place, "trigger": {"start": "date", "on": "2026-05-01"}}
    (planned,) = made(QUOTE, way="whole", slot=slot).orders
    order, _ = tell(new_order(planned, QUOTE, 1, "Asia/Tokyo"), "open", "rita")
    assert order.starts_at == datetime.fromisoformat(begins)
    assert order.starts_on == date(2026, 5, 1)


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
    assert tell(order, "shipment", "bruno", id="S1", lines={"1": "5"})[1].code == "id_reused"
    order, _ = tell(order, "delivery", "bruno", id="D2", lines={"1": "7"})
    assert (order.lines[0].shipped, order.lines[0].delivered) == (7, 7), "what arrived was on its way"
    order, _ = tell(order, "shipment", "bruno", id="S2", lines={"1": "3"})
    order, outcome = tell(order, "delivery", "bruno", id="D3", lines={"1": "3"})
    assert (order.status, outcome.facts["state"], order.running) == (OrderStatus.FULFILLED, "fulfilled", False)
    assert order.closed_at == NOW


@pytest.mark.parametrize(
    ("verb", "lines", "field"),
    [
        ("shipment", {"9": "1"}, "lines.9"), ("delivery", {"9": "1"}, "lines.9"),
        ("shipment", {"2": "1"}, "lines.2"), ("shipment", {}, "lines"), ("backorder", {"1": "11"}, "lines.1"),
        ("picked", {"1": "11"}, "lines.1"), ("shipment", {"1": "1.5"}, "lines.1"),
        ("shipment", {"1": "0.0000001"}, "lines"), ("shipment", {"1": "-1"}, "lines"),
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


@pytest.mark.parametrize("verb", ["reschedule", "hold", "go_live"])
def test_after_it_started_it_is_too_late(verb: str) -> None:
    order = active()
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


def test_a_day_that_is_over_is_no_day_to_move_to() -> None:
    order, outcome = tell(an_order(), "reschedule", on="2026-02-27")
    assert (outcome.applied, outcome.facts["field"], order.version) == (False, "on", 1)


def test_an_order_waits_for_another_and_starts_with_it_or_is_held_when_that_is_cancelled() -> None:
    order = an_order(start="after", after="Q-1-9")
    assert (order.status, order.due) == (OrderStatus.SCHEDULED, None)
    assert tell(order, "follow", "clock", order="Q-1-8", ended="fulfilled")[1].code == "not_awaited"
    started, _ = tell(order, "follow", "clock", order="Q-1-9", ended="fulfilled")
    assert started.due == NOW
    held, outcome = tell(order, "follow", "clock", order="Q-1-9", ended="cancelled")
    assert (held.status, outcome.code) == (OrderStatus.HELD, "held")


def test_what_comes_while_the_back_office_is_asked_waits_and_is_answered_with_its_answer() -> None:
    order, _ = tell(an_order(), "go_live")
    order, outcome = tell(order, "shipment", "bruno", id="S1", lines={"1": "4"})
    assert (outcome.code, len(order.parked), order.ready) == ("parked", 1, False)
    order, _ = tell(order, "hold", reason="why")
    command = Command(id="a", run=order_run(order.id), actor="bruno", verb="accepted")
    after, outcome = OrderMachine().apply(order, command, NOW)
    acts = [(command.verb, outcome.code)]
    while after.ready:
        command, after = after.without_first_parked()
        after, outcome = OrderMachine().apply(after, command, NOW)
        acts.append((command.verb, outcome.code))
    assert acts == [
        ("accepted", "active"), ("shipment", "shipped"), ("hold", "too_late"),
    ]  # fmt: skip
    assert (after.parked, after.status, after.seq) == ((), OrderStatus.PARTLY_FULFILLED, order.seq + 3)


def test_reports_of_stock_say_how_late_it_will_be_and_why() -> None:
    order, _ = tell(active(), "amend", promised="2026-03-10", policy=0)
    order, _ = tell(order, "accepted", "bruno", version=order.version)
    order, _ = tell(order, "backorder", "bruno", lines={"1": "6"}, expected="2026-03-14")
    assert (order.lines[0].backordered, order.days_late, order.late_because) == (6, 4, "stock")
    order, _ = tell(order, "shipment", "bruno", id="S1", lines={"1": "7"})
    assert order.lines[0].backordered == 3
    late = an_order(start="date", on=date(2026, 5, 1)).model_copy(
        update={"slot": an_order().slot.model_copy(update={"promised": date(2026, 4, 1)})}
    )
    assert (late.days_late, late.late_because) == (29, "start")


def goods(**fields: Any) -> Order:
    """An active order of ten pieces of one line with such fields."""
    quote = a_quote(lines=[a_line("1", quantity="10", **fields)])
    (planned,) = made(quote, way="whole", slot={"trigger": {"start": "manual"}}).orders
    order = tell(new_order(planned, quote, 1), "open", "rita")[0]
    return tell(tell(order, "go_live")[0], "accepted", "bruno")[0]


def test_less_than_ordered_is_enough_within_the_tolerance_and_the_rest_is_ended() -> None:
    order, _ = tell(goods(under_percent="20"), "delivery", "bruno", id="D1", lines={"1": "7"})
    assert order.status is OrderStatus.PARTLY_FULFILLED
    order, _ = tell(order, "delivery", "bruno", id="D2", lines={"1": "1"})
    assert (order.change.verb, order.change.lines) == ("close_short", {"1": 8}), "the ERP must not wait for the rest"
    order, _ = tell(order, "accepted", "bruno", version=order.version)
    line = order.lines[0]
    assert (order.status, line.share.quantity, line.cancelled.quantity) == (OrderStatus.FULFILLED, 8, 2)
    assert line.share.net + line.cancelled.net == 1000


def test_an_order_does_not_end_within_its_tolerance_while_goods_travel() -> None:
    order = goods(under_percent="10")
    for verb, id, quantity in (
        ("shipment", "S1", "9"),
        ("shipment", "S2", "1"),
        ("delivery", "S1", "9"),
        ("delivery", "S2", "1"),
    ):
        order, outcome = tell(order, verb, "bruno", id=id, lines={"1": quantity})
        assert outcome.applied
    assert (order.status, order.lines[0].cancelled.quantity, order.running) == (OrderStatus.FULFILLED, 0, False)


@pytest.mark.parametrize("ids", [("P1", "P1"), ("D1", "S1")])
def test_goods_that_arrive_before_they_are_reported_as_sent_are_counted_once(ids: tuple[str, str]) -> None:
    order = goods()
    for verb, id, quantity in (("delivery", ids[0], "4"), ("shipment", ids[1], "4"), ("shipment", "P2", "6")):
        order, _ = tell(order, verb, "bruno", id=id, lines={"1": quantity})
    assert (order.lines[0].shipped, order.lines[0].delivered, order.tasks) == (10, 4, ())
    order, _ = tell(order, "delivery", "bruno", id="P2", lines={"1": "6"})
    assert order.status is OrderStatus.FULFILLED


def test_what_arrives_after_the_last_or_after_the_order_was_cancelled_is_counted_and_a_task() -> None:
    done_, _ = tell(goods(), "delivery", "bruno", id="D1", lines={"1": "10"})
    late, outcome = tell(done_, "delivery", "bruno", id="D2", lines={"1": "1"})
    assert (outcome.applied, late.lines[0].excess, late.tasks[0].kind, late.running) == (True, 1, "excess", True)
    assert not tell(late, "dismiss", task=late.tasks[0].id)[0].running
    gone, _ = tell(goods(), "cancel")
    gone, _ = tell(gone, "accepted", "bruno", version=gone.version)
    assert (gone.status, gone.running) == (OrderStatus.CANCELLED, False)
    late, outcome = tell(gone, "delivery", "bruno", id="D1", lines={"1": "2"})
    assert (outcome.applied, late.lines[0].excess, late.running) == (True, 2, True)
    assert not tell(late, "dismiss", task=late.tasks[0].id)[0].running


def test_an_event_that_fits_only_after_a_change_is_counted_with_it() -> None:
    order, _ = tell(goods(), "amend", policy=0, lines={"1": "12"})
    order, outcome = tell(order, "delivery", "erp", id="E-9", lines={"1": "12"})
    assert (outcome.applied, order.lines[0].delivered, order.lines[0].excess) == (True, 10, 2)
    order, _ = tell(order, "accepted", "erp", version=order.version)
    assert (order.lines[0].delivered, order.lines[0].excess, order.tasks, order.status) == (
        12,
        0,
        (),
        OrderStatus.FULFILLED,
    )
    assert tell(order, "delivery", "erp", id="E-9", lines={"1": "12"})[1].code == "already_reported"


@pytest.mark.parametrize(
    "wrong", [{"lines": {"9": "1"}}, {"lines": {"1": "-1"}}, {"on": "2016-03-01"}, {"on": "2099-01-01"}, {"on": "soon"}]
)
def test_nothing_that_the_erp_reports_is_dropped(wrong: dict[str, Any]) -> None:
    order, outcome = tell(goods(), "delivery", "erp", **{"id": "E-1", "lines": {"1": "1"}, **wrong})
    assert (outcome.code, order.tasks[0].kind, order.lines[0].delivered) == ("noted", "unapplied", 0)
    assert "E-1" in order.tasks[0].words
    assert not tell(goods(), "delivery", "bruno", **{"id": "E-1", "lines": {"1": "1"}, **wrong})[1].applied


def test_a_wrong_delivery_is_corrected_and_everything_that_followed_with_it() -> None:
    order, _ = tell(goods(), "delivery", "bruno", id="D1", lines={"1": "10"}, on="2026-03-02")
    assert tell(order, "correct", "bruno", what="delivery", id="D1", lines={"1": "8"})[1].facts["field"] == "reason"
    assert (
        tell(order, "correct", "bruno", what="delivery", id="D2", lines={"1": "8"}, reason="miscounted")[1].code
        == "no_such_report"
    )
    order = order.model_copy(update={"news": ()})
    right, outcome = tell(order, "correct", "bruno", what="delivery", id="D1", lines={"1": "8"}, reason="miscounted")
    assert (outcome.code, right.lines[0].delivered, right.lines[0].shipped, right.running) == ("corrected", 8, 8, True)
    assert [(news.quantity, str(news.on), news.source) for news in right.news] == [(-2, "2026-03-02", "D1")]
    assert tell(right, "delivery", "bruno", id="D1", lines={"1": "10"}, on="2026-03-02")[1].code == "already_reported"
    moved, _ = tell(order, "correct", "bruno", what="delivery", id="D1", on="2026-03-03", reason="wrong day")
    assert [(news.quantity, str(news.on)) for news in moved.news] == [(-10, "2026-03-02"), (10, "2026-03-03")]


def test_a_wrong_shipment_is_corrected_but_not_below_what_arrived() -> None:
    order, _ = tell(goods(), "shipment", "bruno", id="S1", lines={"1": "9"})
    order, _ = tell(order, "delivery", "bruno", id="D1", lines={"1": "4"})
    order, _ = tell(order, "correct", "bruno", what="shipment", id="S1", lines={"1": "0"}, reason="never left")
    assert (order.lines[0].shipped, order.lines[0].delivered) == (4, 4)


def test_more_than_ordered_waits_beside_the_order_until_somebody_accepts_it_or_sends_it_back() -> None:
    order, _ = tell(goods(over_percent="20"), "delivery", "bruno", id="D1", lines={"1": "12"})
    line, (task,) = order.lines[0], order.tasks
    assert (line.delivered, line.excess, task.kind, order.status) == (10, 2, "excess", OrderStatus.FULFILLED)
    assert order.running, "somebody must still look at it"
    more, _ = tell(order, "delivery", "bruno", id="D2", lines={"1": "1"})
    assert (more.lines[0].excess, len(more.tasks)) == (3, 1)
    asked, outcome = tell(order, "accept_excess", task=task.id)
    assert (outcome.code, asked.change.lines) == ("sent", {"1": 12}), "the ERP is told"
    kept, _ = tell(asked, "accepted", "bruno", version=asked.version)
    assert (kept.lines[0].share.quantity, kept.lines[0].share.net, kept.running) == (12, 1200, False)
    assert (kept.lines[0].kept.quantity, kept.lines[0].kept.net, claims(kept)["1"][0].quantity) == (2, 200, 10)
    back, _ = tell(order, "dismiss", task=task.id)
    assert (back.lines[0].share.quantity, back.lines[0].excess, back.running) == (10, 0, False)


@pytest.mark.parametrize("terms", ["complete", "lines_whole"])
def test_a_part_that_should_not_have_been_sent_alone_is_a_task_for_the_desk(terms: str) -> None:
    order, _ = tell(an_order(), "amend", terms=terms, policy=0)
    order, _ = tell(tell(order, "go_live")[0], "accepted", "bruno")
    order, _ = tell(order, "shipment", "bruno", id="S1", lines={"1": "4"})
    order, _ = tell(order, "shipment", "bruno", id="S2", lines={"1": "1"})
    assert [task.kind for task in order.tasks] == ["breach"], "once is enough"
    assert tell(order, "dismiss", task=order.tasks[0].id)[0].tasks == ()
