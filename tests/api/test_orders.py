"""From the customer's yes to the last delivery, over HTTP on both databases."""

import asyncio
from typing import Any

import pytest

from tests.api.test_quotes import submitted
from tests.apiclient import Api
from tests.support import GROWING_ALONE, a_line

LINES = [
    a_line("1", quantity="10", list_price="33.45", ship_to={"city": "Porto", "time_zone": "Europe/Lisbon"}),
    a_line("2", quantity="4", list_price="9.99", ship_to={"city": "Faro"}),
]
YES = {"on": "2026-03-02", "po_number": "PO 4711"}


async def accepted(api: Api, **quote: Any) -> None:
    """Q-1, approved and accepted."""
    await approved(api, **quote)
    answer = await api.call("rita", "POST", "/v1/quotes/Q-1/accept", json=YES)
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")


async def approved(api: Api, **quote: Any) -> None:
    await api.call("root", "GET", "/v1/me")
    body = {"lines": [{**line, "discount_percent": "15"} for line in LINES], **quote}
    item = await submitted(api, **body)
    way = f"/v1/approvals/{item['approval']}/approve"
    assert (await api.call("dora", "POST", way, json={"digest": item["digest"]})).status_code == 200


async def ordered(api: Api, **way: Any) -> list[str]:
    answer = await api.call("rita", "POST", "/v1/quotes/Q-1/orders", json=way or {"way": "whole", "together": True})
    assert answer.status_code == 201, answer.text
    return [order["id"] for order in answer.json()["orders"]]


async def test_a_quote_is_split_by_place_and_each_order_goes_its_way(api: Api) -> None:
    await accepted(api)
    way = {"way": "fields", "fields": ["ship_to"], "otherwise": {"start": "manual"}}
    tried = (await api.call("rita", "POST", "/v1/quotes/Q-1/orders/preview", json=way)).json()
    assert (await api.call("rita", "GET", "/v1/orders")).json()["items"] == []
    one, two = await ordered(api, **way)
    assert [o["id"] for o in tried["orders"]] == [one, two] == ["Q-1-1", "Q-1-2"]
    assert (await api.call("dina", "POST", f"/v1/orders/{one}/go-live")).status_code == 200
    (document,) = (await api.call("bruno", "GET", "/v1/erp/documents?status=waiting")).json()["items"]
    assert (document["order"], document["body"]["ship_to"]["city"]) == (one, "Porto")
    taken = await api.call("bruno", "POST", f"/v1/erp/documents/{one}/accept", json={"reference": "SO-1"})
    assert taken.json()["outcome"]["facts"]["state"] == "active"
    for id, quantity, status in (
        ("S1", "4", "partly_fulfilled"),
        ("S1", "4", "partly_fulfilled"),
        ("S2", "6", "fulfilled"),
    ):
        goods = {"id": id, "lines": {"1": quantity}}
        await api.call("bruno", "POST", f"/v1/orders/{one}/deliveries", json=goods)
        assert (await api.call("rita", "GET", f"/v1/orders/{one}")).json()["status"] == status
    statuses = {o["id"]: o["status"] for o in (await api.call("dina", "GET", "/v1/orders?quote=Q-1")).json()["items"]}
    assert statuses == {one: "fulfilled", two: "scheduled"}
    trail = (await api.call("rita", "GET", "/v1/quotes/Q-1/audit")).json()["items"]
    assert [e["verb"] for e in trail if e["verb"] in ("accept", "split")] == ["accept", "split"]


async def test_only_an_approved_quote_is_accepted_and_only_an_accepted_one_ordered(api: Api) -> None:
    await submitted(api)
    early = await api.call("rita", "POST", "/v1/quotes/Q-1/accept", json=YES)
    assert (early.status_code, early.json()["code"]) == (409, "locked")
    order = await api.call("rita", "POST", "/v1/quotes/Q-1/orders", json={"way": "whole"})
    assert (order.status_code, order.json()["code"]) == (409, "locked")


async def test_an_accepted_quote_is_changed_no_more_and_accepting_twice_is_once(api: Api) -> None:
    await accepted(api)
    again = await api.call("rita", "POST", "/v1/quotes/Q-1/accept", json=YES)
    assert again.status_code == 200
    other = await api.call("rita", "POST", "/v1/quotes/Q-1/accept", json={**YES, "po_number": "PO 1"})
    assert other.json()["code"] == "locked"
    now = (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()
    edited = {**now["quote"], "payment_terms": "Net 90"}
    tag = {"If-Match": f'"{now["version"]}"'}
    assert (await api.call("rita", "PUT", "/v1/quotes/Q-1", json=edited, headers=tag)).json()["code"] == "locked"
    assert (await api.call("rita", "POST", "/v1/quotes/Q-1/submit")).json()["code"] == "locked"


async def test_where_no_yes_is_asked_for_an_approved_quote_is_ordered_at_once(api: Api) -> None:
    api.bench.container.orders._acceptance_required = False
    item = await submitted(api)
    early = await api.call("rita", "POST", "/v1/quotes/Q-1/orders", json={"way": "whole"})
    assert early.json()["code"] == "locked"
    await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/approve", json={"digest": item["digest"]})
    tried = (await api.call("rita", "POST", "/v1/quotes/Q-1/orders/preview", json={"way": "whole"})).json()
    assert [o["id"] for o in tried["orders"]] == await ordered(api, way="whole")
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()["status"] == "ordering"


async def test_a_yes_to_come_is_no_yes(api: Api) -> None:
    item = await submitted(api)
    way = f"/v1/approvals/{item['approval']}/approve"
    await api.call("dora", "POST", way, json={"digest": item["digest"]})
    answer = await api.call("rita", "POST", "/v1/quotes/Q-1/accept", json={"on": "2026-03-03"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "on")


async def test_what_is_left_is_ordered_later_until_the_last_day(api: Api) -> None:
    await accepted(api, order_by="2026-03-31")
    (one,) = await ordered(api, way="hand", groups=[{"lines": {"1": "3"}}])
    (two,) = await ordered(api, way="hand", groups=[{"lines": {"1": "7"}}])
    assert (one, two) == ("Q-1-1", "Q-1-2")
    much = await api.call(
        "rita", "POST", "/v1/quotes/Q-1/orders", json={"way": "hand", "groups": [{"lines": {"1": "1"}}]}
    )
    assert (much.status_code, much.json()["errors"][0]["field"]) == (422, "lines.1")
    assert (much.json()["asked"], much.json()["available"]) == ("1", "0")
    api.bench.clock.forward(days=40)
    late = await api.call("rita", "POST", "/v1/quotes/Q-1/orders", json={"way": "whole"})
    assert (late.status_code, late.json()["state"]) == (409, "too_late")


async def test_a_cancelled_order_gives_its_goods_back_or_ends_them_for_good(api: Api) -> None:
    await accepted(api)
    await api.bench.publish(GROWING_ALONE)
    manual = {"trigger": {"start": "manual"}}
    one, two = await ordered(
        api, way="hand", groups=[{"slot": manual, "lines": {"1": "4"}}, {"slot": manual, "lines": {"1": "6"}}]
    )
    assert (await api.call("dina", "POST", f"/v1/orders/{one}/cancel", json={})).status_code == 200
    assert (await api.call("dina", "POST", f"/v1/orders/{two}/cancel", json={"for_good": True})).status_code == 200
    left = (await api.call("rita", "POST", "/v1/quotes/Q-1/orders/preview", json={"way": "whole"})).json()
    assert {n["line"]: n["share"]["quantity"] for o in left["orders"] for n in o["lines"]} == {"1": "4", "2": "4"}
    entry = next(e for e in left["ledger"] if e["line"] == "1")
    assert (entry["cancelled"]["quantity"], entry["quoted"]["net"]) == ("6", "284.33")


async def test_the_same_key_orders_once(api: Api) -> None:
    await accepted(api)
    key = {"Idempotency-Key": "split-1"}
    way = {"way": "even", "waves": 2, "together": True}
    first = await api.call("rita", "POST", "/v1/quotes/Q-1/orders", json=way, headers=key)
    again = await api.call("rita", "POST", "/v1/quotes/Q-1/orders", json=way, headers=key)
    assert [o["id"] for o in again.json()["orders"]] == [o["id"] for o in first.json()["orders"]] == ["Q-1-1", "Q-1-2"]
    other = await api.call("rita", "POST", "/v1/quotes/Q-1/orders", json={"way": "whole"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len((await api.call("rita", "GET", "/v1/orders")).json()["items"]) == 2


async def test_many_who_split_one_quote_at_once_never_order_more_than_there_is(api: Api) -> None:
    await accepted(api)
    manual = {"trigger": {"start": "manual"}}
    way = {"way": "hand", "groups": [{"slot": manual, "lines": {"1": "1"}}]}
    answers = await asyncio.gather(*(api.call("rita", "POST", "/v1/quotes/Q-1/orders", json=way) for _ in range(50)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] * 10 + [422] * 40
    items = (await api.call("rita", "GET", "/v1/orders?limit=50")).json()["items"]
    assert len({o["id"] for o in items}) == 10
    assert sum(float(o["net_total"]) for o in items) == pytest.approx(284.33)


async def test_who_may_do_what_with_orders(api: Api) -> None:
    await accepted(api)
    (id,) = await ordered(api, way="whole", together=True, slot={"trigger": {"start": "manual"}})
    assert (await api.call("snorri", "GET", f"/v1/orders/{id}")).status_code == 404
    assert (await api.call("snorri", "POST", "/v1/quotes/Q-1/orders", json={"way": "whole"})).status_code == 404
    assert (await api.call("rita", "POST", f"/v1/orders/{id}/go-live")).status_code == 403
    assert (await api.call("dina", "POST", f"/v1/erp/documents/{id}/accept")).status_code == 403
    assert (await api.call("dora", "GET", f"/v1/orders/{id}")).status_code == 200, "she decided the quote"
    assert (await api.call("lara", "GET", f"/v1/orders/{id}")).status_code == 404
    assert (await api.call("adam", "GET", "/v1/orders")).status_code == 403


@pytest.mark.parametrize(
    ("verb", "body", "code", "field"),
    [
        ("reschedule", {}, 422, "on"),
        ("reschedule", {"on": "someday"}, 422, "on"),
        ("hold", {"reason": ""}, 422, "reason"),
        ("release", {"hold": "h9"}, 409, None),
        ("cancel", {"version": 9}, 409, None),
    ],
)
async def test_a_command_that_makes_no_sense_changes_nothing(
    api: Api, verb: str, body: dict[str, Any], code: int, field: str | None
) -> None:
    await accepted(api)
    (id,) = await ordered(api, way="whole", together=True, slot={"trigger": {"start": "manual"}})
    before = (await api.call("dina", "GET", f"/v1/orders/{id}")).json()["order"]
    answer = await api.call("dina", "POST", f"/v1/orders/{id}/{verb}", json=body)
    assert answer.status_code == code, answer.text
    if field:
        named = answer.json().get("field") or answer.json()["errors"][0]["field"]
        assert named == field
    after = (await api.call("dina", "GET", f"/v1/orders/{id}")).json()["order"]
    assert {**after, "seq": 0} == {**before, "seq": 0}
