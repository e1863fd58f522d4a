"""Changing what was agreed: before it starts, on a day, after approval, with the back office; and undoing it."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.orders.order import OrderStatus
from domain.orders.subject import change_subject
from domain.runs import expiry, refused
from tests.domain.orders.test_order import active, an_order, tell, tick
from tests.support import NOW

TICK, REFUSED = expiry("order:Q-1-1", 1), refused("too_much", "Less is left.")


def amended(order: Any, **payload: Any) -> Any:
    return tell(order, "amend", **{"policy": 0, **payload})


def test_less_gives_back_its_money_and_more_takes_it_from_what_is_left() -> None:
    less, outcome = amended(an_order(), lines={"1": "4"})
    assert (outcome.code, less.version, less.lines[0].share.quantity, less.lines[0].share.net) == ("changed", 2, 4, 400)
    more, _ = amended(an_order(), lines={"1": "15"})
    assert (more.lines[0].share.quantity, more.lines[0].share.net) == (15, 1500)


def test_more_than_is_left_is_refused_naming_line_asked_and_available() -> None:
    order, outcome = amended(an_order(), lines={"1": "21"})
    assert (outcome.applied, order.version) == (False, 1)
    assert (outcome.facts["field"], outcome.facts["asked"], outcome.facts["available"]) == ("lines.1", "11", "10")


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"lines": {"9": "1"}}, "lines.9"), ({"lines": {"1": "-1"}}, "lines"), ({"lines": "all"}, "lines"),
        ({"lines": {"1": "2.5"}}, "lines.1"), ({"lines": {"1": "0", "2": "0"}}, "lines"), ({"terms": "never"}, "terms"),
        ({"lines": {"1": "5"}, "effective": "2026-01-01"}, "effective"), ({"effective": "soon"}, "effective"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_naming_the_field_and_changes_nothing(payload: dict[str, Any], field: str) -> None:
    before = an_order()
    order, outcome = amended(before, **payload)
    assert (outcome.applied, outcome.facts["field"]) == (False, field)
    assert order.model_copy(update={"seq": before.seq}) == before


@pytest.mark.parametrize(("quantity", "more"), [("10", "11"), ("30", "33"), ("70", "77")])
def test_a_tenth_more_of_a_line_is_exactly_ten_percent_more_whatever_is_rounded(quantity: str, more: str) -> None:
    was = an_order()
    net = Decimal("33.33")
    share = was.lines[0].share.model_copy(update={"quantity": Decimal(quantity), "net": net, "full": net})
    line = was.lines[0].model_copy(update={"share": share})
    grown = share.model_copy(update={"quantity": Decimal(more), "net": Decimal("36.66")})
    was = was.model_copy(update={"lines": (line,)})
    now = was.model_copy(update={"lines": (line.model_copy(update={"share": grown}),)})
    assert change_subject(was, now, {}, {"EUR": Decimal(1)}, "").fields["net_change_percent"] == 10
    dearer = now.model_copy(
        update={"lines": (line.model_copy(update={"share": grown.model_copy(update={"net": net})}),)}
    )
    assert change_subject(was, dearer, {}, {"EUR": Decimal(1)}, "").fields["net_change_percent"] == 0


def test_a_line_goes_and_another_comes() -> None:
    order, _ = amended(an_order(), lines={"2": "0"})
    assert [line.line for line in order.lines] == ["1"]
    order, _ = amended(order, lines={"2": "1"})
    assert [(n.line, n.share.quantity, n.share.net, n.shipped_goods) for n in order.lines] == [
        ("1", 10, 1000, True), ("2", 1, 1200, False),
    ]  # fmt: skip


def test_undo_restores_exactly_what_was_and_only_once() -> None:
    before = an_order(start="date", on=date(2026, 5, 1))
    for change in (
        {"lines": {"1": "3", "2": "0"}},
        {"ship_to": {"city": "Tokyo", "time_zone": "Asia/Tokyo"}},
        {"note": "ring twice"},
    ):
        changed, _ = amended(before, **change)
        undone, outcome = tell(changed, "undo")
        assert outcome.code == "undone"
        same = {name: getattr(before, name) for name in ("slot", "starts_at", "due", "status")}
        assert {name: getattr(undone, name) for name in same} == same
        assert {line.line: line for line in undone.lines} == {line.line: line for line in before.lines}
        assert tell(undone, "undo")[1].code == "nothing_to_undo"
    moved, _ = tell(before, "reschedule", on="2026-07-01")
    assert tell(moved, "undo")[0].starts_at == before.starts_at


def test_another_place_has_another_morning() -> None:
    order, _ = amended(
        an_order(start="date", on=date(2026, 5, 1)), ship_to={"city": "Tokyo", "time_zone": "Asia/Tokyo"}
    )
    assert f"{order.starts_at:%d %H:%M}" == "30 15:00"


def test_a_change_from_a_day_on_is_kept_for_it_until_then_and_can_be_undone() -> None:
    order, outcome = amended(an_order(), lines={"1": "12"}, effective="2026-04-01")
    assert (outcome.code, order.lines[0].share.quantity, order.change.reserved["1"].net) == ("agreed", 10, 200)
    assert f"{order.due:%Y-%m-%d %H:%M}" == "2026-03-31 23:00"
    assert amended(order, lines={"1": "11"})[1].code == "change_pending"
    assert tick(order, NOW + timedelta(days=1))[1].code == "not_due"
    then, outcome = tick(order, order.due)
    assert (outcome.code, then.lines[0].share.quantity, then.lines[0].share.net) == ("changed", 12, 1200)
    undone, _ = tell(order, "undo")
    assert (undone.change, undone.due, undone.lines) == (None, None, an_order().lines)


def test_a_change_that_needs_approval_holds_the_order_until_its_round_ends() -> None:
    order, outcome = amended(an_order(start="now"), lines={"1": "15"}, round="order:Q-1-1:approval:1")
    assert (outcome.code, order.status, order.due) == ("needs_approval", OrderStatus.HELD, None)
    assert tell(order, "release", hold=order.holds[0].id)[1].code == "waits_for_approval"
    assert tell(order, "approval", "clock", round="another", approved=True)[1].code == "no_such_change"
    yes, _ = tell(order, "approval", "clock", round="order:Q-1-1:approval:1", approved=True)
    assert (yes.status, yes.lines[0].share.quantity, yes.change) == (OrderStatus.SCHEDULED, 15, None)
    no, outcome = tell(order, "approval", "clock", round="order:Q-1-1:approval:1", approved=False)
    assert (outcome.code, no.holds, no.change, no.lines) == ("change_rejected", (), None, an_order().lines)


def test_nobody_changes_an_order_past_the_policy() -> None:
    assert tell(an_order(), "amend", lines={"1": "5"})[1].code == "unvetted"


def test_once_the_back_office_has_it_a_change_asks_it_first() -> None:
    order, _ = tell(active(), "shipment", "bruno", id="S1", lines={"1": "4"})
    order, outcome = amended(order, lines={"1": "6"})
    assert (outcome.code, order.change.sent, order.lines[0].share.quantity) == ("sent", True, 10)
    assert tell(order, "undo")[1].code == "too_late"
    yes, _ = tell(order, "accepted", "bruno", version=order.version)
    assert (yes.lines[0].share.quantity, yes.lines[0].share.net, yes.change) == (6, 600, None)
    no, outcome = tell(order, "rejected", "bruno", version=order.version, reason="it is packed")
    assert (outcome.code, no.lines[0].share.quantity, no.tasks[0].words) == ("change_refused", 10, "it is packed")
    assert no.version == order.version + 1, "an answer to the old question meets no other"


def test_nothing_goes_below_what_is_on_its_way() -> None:
    order, _ = tell(active(), "picked", "bruno", lines={"1": "7"})
    _, outcome = amended(order, lines={"1": "6"})
    assert (outcome.code, outcome.facts["field"], outcome.facts["least"]) == ("too_late", "lines.1", "7")
    order, _ = amended(order, lines={"1": "8"})
    order, _ = tell(order, "shipment", "bruno", id="S1", lines={"1": "9"})
    order, _ = tell(order, "accepted", "bruno", version=order.version)
    assert order.lines[0].share.quantity == 9, "what is gone is gone"


@pytest.mark.parametrize("for_good", [False, True])
def test_what_was_not_sent_off_is_cancelled_when_the_back_office_agrees(for_good: bool) -> None:
    order, outcome = tell(active(), "cancel", for_good=for_good)
    assert (outcome.code, order.status) == ("sent", OrderStatus.ACTIVE)
    order, outcome = tell(order, "accepted", "bruno", version=order.version)
    line = order.lines[0]
    assert (outcome.code, line.share.quantity, line.cancelled.quantity) == ("cancelled", 0, 10 if for_good else 0)
    assert order.status is OrderStatus.FULFILLED, "its subscription is delivered and stays"


def test_closing_short_ends_the_rest_for_good_with_a_reason() -> None:
    order, _ = tell(active(), "delivery", "bruno", id="D1", lines={"1": "7"})
    assert tell(order, "close_short")[1].facts["field"] == "reason"
    order, _ = tell(order, "close_short", reason="no longer made")
    order, outcome = tell(order, "accepted", "bruno", version=order.version)
    line = order.lines[0]
    assert (outcome.code, order.status) == ("closed_short", OrderStatus.FULFILLED)
    assert (line.share.quantity, line.cancelled.quantity, line.share.net + line.cancelled.net) == (7, 3, Decimal(1000))


def test_a_cancelled_order_lets_go_of_its_waiting_change() -> None:
    order, _ = amended(an_order(), lines={"1": "12"}, effective="2026-04-01")
    gone, _ = tell(order, "cancel")
    assert (gone.status, gone.change, gone.due) == (OrderStatus.CANCELLED, None, None)


def test_a_service_that_comes_to_an_order_later_is_delivered_with_the_change() -> None:
    order, _ = amended(an_order(), lines={"2": "0"})
    order, _ = tell(tell(order, "go_live")[0], "accepted", "bruno")
    order, _ = amended(order, lines={"2": "1"})
    order, _ = tell(order, "accepted", "bruno", version=order.version)
    line = order.line("2")
    assert (line.share.net, line.delivered, line.shipped_goods) == (1200, 1, False)


def test_what_replaces_a_return_grows_by_nothing() -> None:
    order = an_order().model_copy(update={"replaces": "Q-1-1/1"})
    assert amended(order, lines={"1": "11"})[1].facts["field"] == "lines.1"
    less, _ = amended(order, lines={"1": "4"})
    assert less.lines[0].share.quantity == 4


def test_the_day_of_a_change_waits_for_the_back_offices_answer() -> None:
    order, _ = amended(an_order(), lines={"1": "6"}, effective="2026-04-01")
    order, _ = tell(order, "go_live")
    assert (order.due, tick(order, NOW + timedelta(days=40))[1].code) == (None, "not_due")
    order, _ = tell(order, "accepted", "bruno", version=order.version)
    assert order.status is OrderStatus.ACTIVE
    assert tick(order, NOW + timedelta(days=40))[1].code == "sent"


def test_a_change_that_cannot_be_any_more_when_its_day_comes_is_a_task_and_not_tried_for_ever() -> None:
    order, _ = amended(an_order(), lines={"1": "12"}, effective="2026-04-01")
    stands = order.if_rejected(TICK, REFUSED, NOW + timedelta(days=40))
    assert (stands.change, stands.due is None or stands.next_due is None, stands.tasks[0].kind) == (
        None,
        True,
        "change_refused",
    )
    assert order.if_rejected(TICK, REFUSED, NOW) == order
