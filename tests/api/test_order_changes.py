"""Orders that change after they were placed, over HTTP on both databases."""

from typing import Any

import pytest

from tests.api.test_orders import accepted, approved, ordered
from tests.apiclient import Api
from tests.support import GROWING_ALONE

MANUAL = {"trigger": {"start": "manual"}}
SIX = {"way": "hand", "groups": [{"slot": MANUAL, "lines": {"1": "6", "2": "4"}}]}


async def an_order(api: Api, active: bool = False, **quote: Any) -> str:
    """Six of ten pieces of line 1 and all of line 2, waiting for somebody's word; or with the back office."""
    await api.bench.publish(GROWING_ALONE)
    await accepted(api, **quote)
    (id,) = await ordered(api, **SIX)
    if active:
        await done(api, "dina", f"orders/{id}/go-live")
        await done(api, "bruno", f"erp/documents/{id}/accept", reference="SO-1")
    return id


async def done(api: Api, who: str, path: str, expect: int = 200, /, **body: Any) -> dict[str, Any]:
    answer = await api.call(who, "POST", f"/v1/{path}", json=body)
    assert answer.status_code == expect, answer.text
    await api.bench.container.path.settle()
    found: dict[str, Any] = answer.json()
    return found


async def order(api: Api, id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.call("dina", "GET", f"/v1/orders/{id}")).json()
    return found


async def test_a_place_is_in_a_time_zone_that_exists(api: Api) -> None:
    id, mars = await an_order(api), {"city": "Ares", "time_zone": "Mars/X"}
    wrong = await done(api, "dina", f"orders/{id}/amend", 422, ship_to=mars)
    assert wrong["errors"][0]["field"] == "ship_to.time_zone"
    wrong = await done(api, "rita", "quotes/Q-1/orders", 422, way="whole", slot={"ship_to": mars})
    assert wrong["errors"][0]["field"] == "orders[0].ship_to.time_zone"


async def test_the_ledger_can_be_read_when_nothing_is_left(api: Api) -> None:
    await an_order(api)
    await ordered(api, way="whole", slot=MANUAL)
    entries = (await api.call("dina", "GET", "/v1/quotes/Q-1/ledger")).json()
    assert [(e["line"], e["unallocated"]["quantity"], e["allocated"]["quantity"]) for e in entries] == [
        ("1", "0", "10"), ("2", "0", "4"),
    ]  # fmt: skip


async def left(api: Api) -> dict[str, str]:
    """What of each line of the quote can still be ordered, and for how much."""
    answer = (await api.call("rita", "POST", "/v1/quotes/Q-1/orders/preview", json={"way": "whole"})).json()
    if "orders" not in answer:
        return {}
    return {n["line"]: f"{n['share']['quantity']}:{n['share']['net']}" for o in answer["orders"] for n in o["lines"]}


async def test_a_smaller_order_gives_back_and_undo_makes_it_exactly_as_it_was(api: Api) -> None:
    id = await an_order(api)
    before = await order(api, id)
    assert await left(api) == {"1": "4:113.73"}
    await done(api, "dina", f"orders/{id}/amend", lines={"1": "5"}, version=1)
    assert (await order(api, id))["net_total"] == "176.14"
    assert await left(api) == {"1": "5:142.16"}
    await done(api, "dina", f"orders/{id}/undo")
    after = await order(api, id)
    assert (after["order"]["lines"], after["order"]["slot"]) == (before["order"]["lines"], before["order"]["slot"])
    assert await left(api) == {"1": "4:113.73"}


async def test_what_the_policy_wants_approved_holds_the_order_until_it_is(api: Api) -> None:
    id = await an_order(api)
    answer = await done(api, "dina", f"orders/{id}/amend", lines={"1": "8"}, reason="they opened a second shop")
    assert answer["outcome"]["code"] == "needs_approval"
    shown = await order(api, id)
    assert (shown["status"], shown["order"]["holds"][0]["owner"]) == ("held", "approval")
    assert await left(api) == {"1": "2:56.86"}, "it is kept for the change from now on"
    (item,) = (await api.call("dora", "GET", "/v1/inbox")).json()["items"]
    assert (item["subject"], item["reasons"][0]) == (f"order:{id}", f"Order {id}: P-1 6 → 8; €204.57 → €261.44")
    assert (await api.call("dora", "GET", f"/v1/approvals/{item['approval']}")).status_code == 200
    await done(api, "dora", f"approvals/{item['approval']}/approve", digest=item["digest"])
    shown = await order(api, id)
    assert (shown["status"], shown["net_total"], shown["order"].get("change")) == ("scheduled", "261.44", None)
    trail = (await api.call("dina", "GET", f"/v1/orders/{id}/audit")).json()["items"]
    assert [e["verb"] for e in trail] == ["open", "amend", "open", "approve", "approval"]


async def test_a_change_asked_for_while_the_back_office_takes_the_order_over_is_approved_like_any_other(
    api: Api,
) -> None:
    id = await an_order(api)
    await done(api, "dina", f"orders/{id}/go-live")
    await done(api, "dina", f"orders/{id}/amend", 202, lines={"1": "8"})
    assert (await api.call("dora", "GET", "/v1/inbox")).json()["items"] == []
    await done(api, "bruno", f"erp/documents/{id}/accept", reference="SO-1")
    (item,) = (await api.call("dora", "GET", "/v1/inbox")).json()["items"]
    assert len((await api.call("bruno", "GET", "/v1/erp/documents?status=waiting")).json()["items"]) == 0
    await done(api, "dora", f"approvals/{item['approval']}/approve", digest=item["digest"])
    (document,) = (await api.call("bruno", "GET", "/v1/erp/documents?status=waiting")).json()["items"]
    assert (document["kind"], document["version"], document["body"]["lines"][0]["quantity"]) == ("change", 3, "8")


@pytest.mark.parametrize("answer", ["accept", "refuse"])
async def test_what_is_asked_while_the_back_office_is_asked_for_a_change_comes_after_it(api: Api, answer: str) -> None:
    id = await an_order(api, active=True)
    await done(api, "dina", f"orders/{id}/amend", lines={"1": "5"})
    await done(api, "dina", f"orders/{id}/cancel", 202)
    told = {"version": 2, **({"reason": "picked already"} if answer == "refuse" else {})}
    wrong = await done(
        api, "bruno", f"erp/documents/{id}/{answer}", 422, **{k: v for k, v in told.items() if k != "version"}
    )
    assert wrong["field"] == "version", "which of the questions is answered?"
    await done(api, "bruno", f"erp/documents/{id}/{answer}", **told)
    (document,) = (await api.call("bruno", "GET", "/v1/erp/documents?status=waiting")).json()["items"]
    assert (document["kind"], document["version"]) == ("cancel", 3 if answer == "accept" else 4)
    await done(api, "bruno", f"erp/documents/{id}/accept", version=document["version"])
    assert (await order(api, id))["status"] == "cancelled"
    assert await left(api) == {"1": "10:284.33", "2": "4:33.97"}


async def test_what_the_back_office_did_not_answer_within_a_day_is_refused_and_the_desk_is_told(api: Api) -> None:
    id = await an_order(api)
    await done(api, "dina", f"orders/{id}/go-live")
    await done(api, "dina", f"orders/{id}/cancel", 202)
    api.bench.clock.forward(hours=25)
    await api.bench.advance(f"order:{id}", "order_fulfilment")
    (task,) = (await order(api, id))["order"]["tasks"]
    assert (task["kind"], task["words"].startswith("cancel by dina")) == ("not_answered", True)
    await done(api, "bruno", f"erp/documents/{id}/accept", reference="SO-1")
    assert (await order(api, id))["status"] == "active"


@pytest.mark.parametrize("how", ["rejected", "undone", "cancelled"])
async def test_a_change_that_does_not_come_to_be_lets_go_of_everything(api: Api, how: str) -> None:
    id = await an_order(api)
    await done(api, "dina", f"orders/{id}/amend", lines={"1": "8"})
    (item,) = (await api.call("dora", "GET", "/v1/inbox")).json()["items"]
    if how == "rejected":
        await done(api, "dora", f"approvals/{item['approval']}/reject", digest=item["digest"], comment="too much")
    else:
        await done(api, "dina", f"orders/{id}/{'undo' if how == 'undone' else 'cancel'}")
    shown = await order(api, id)
    assert (shown["order"].get("change"), shown["order"].get("holds", [])) == (None, [])
    assert shown["status"] == ("cancelled" if how == "cancelled" else "scheduled")
    assert (await left(api))["1"] == ("10:284.33" if how == "cancelled" else "4:113.73")
    assert (await api.call("dora", "GET", "/v1/inbox")).json()["items"] == []


async def test_a_refused_change_leaves_no_round_behind(api: Api) -> None:
    id = await an_order(api)
    stale = await done(api, "dina", f"orders/{id}/amend", 409, lines={"1": "8"}, version=9)
    assert (stale["code"], stale["version"]) == ("stale_version", 1)
    much = await done(api, "dina", f"orders/{id}/amend", 422, lines={"1": "11"})
    assert (much["asked"], much["available"], much["field"]) == ("5", "4", "lines.1")
    assert (await api.call("dora", "GET", "/v1/inbox")).json()["items"] == []


async def test_amending_twice_with_one_key_is_once_and_another_wish_is_refused(api: Api) -> None:
    id, key = await an_order(api), {"Idempotency-Key": "a"}
    for body, status in (({"lines": {"1": "8"}}, 200), ({"lines": {"1": "8"}}, 200), ({"lines": {"1": "7"}}, 422)):
        answer = await api.call("dina", "POST", f"/v1/orders/{id}/amend", json=body, headers=key)
        assert answer.status_code == status
    assert len((await api.call("dora", "GET", "/v1/inbox")).json()["items"]) == 1


async def test_every_command_can_be_tried_and_then_changes_nothing(api: Api) -> None:
    id = await an_order(api)
    before = await order(api, id)
    tried = await done(api, "dina", f"orders/{id}/amend?dry_run=true", lines={"1": "8"})
    assert (tried["outcome"]["code"], tried["approvals"]) == ("needs_approval", ["Deal desk: group deal-desk (any)"])
    assert [(m["line"], m["to_orders"]["quantity"], m["left"]["quantity"]) for m in tried["moves"]] == [("1", "2", "2")]
    tried = await done(api, "dina", f"orders/{id}/cancel?dry_run=true", for_good=True)
    assert [(m["line"], m["cancelled"]["net"]) for m in tried["moves"]] == [("1", "170.60"), ("2", "33.97")]
    tried = await done(api, "dina", f"orders/{id}/go-live?dry_run=true")
    assert (tried["messages"][0]["kind"], tried["messages"][0]["body"]["net_total"]) == ("order", "204.57")
    tried = await done(api, "dina", f"orders/{id}/reschedule?dry_run=true", on="2026-01-01")
    assert (tried["outcome"]["applied"], tried["outcome"]["facts"]["field"]) == (False, "on")
    assert await order(api, id) == before
    assert (await api.call("bruno", "GET", "/v1/erp/documents")).json()["items"] == []


async def test_the_back_office_is_asked_for_a_change_and_answers_that_very_one(api: Api) -> None:
    id = await an_order(api, active=True)
    await done(api, "bruno", f"orders/{id}/shipments", id="S1", lines={"1": "2"})
    await done(api, "dina", f"orders/{id}/amend", lines={"1": "5"})
    documents = (await api.call("bruno", "GET", "/v1/erp/documents")).json()["items"]
    assert [(d["version"], d["kind"], d["status"]) for d in documents] == [
        (1, "order", "accepted"),
        (2, "change", "waiting"),
    ]
    assert documents[1]["body"]["lines"] == [{"line": "1", "product": "P-1", "was": "6", "quantity": "5"}]
    stale = await done(api, "bruno", f"erp/documents/{id}/accept", 409, version=1)
    assert stale["code"] == "stale_version"
    await done(api, "bruno", f"erp/documents/{id}/refuse", version=2, reason="it is packed")
    shown = await order(api, id)
    assert (shown["order"]["lines"][0]["share"]["quantity"], shown["order"]["tasks"][0]["words"]) == (
        "6",
        "it is packed",
    )
    await done(api, "dina", f"orders/{id}/dismiss", task=shown["order"]["tasks"][0]["id"])
    await done(api, "dina", f"orders/{id}/cancel")
    await done(api, "bruno", f"erp/documents/{id}/accept", version=4)
    shown = await order(api, id)
    assert [n["share"]["quantity"] for n in shown["order"]["lines"]] == ["2", "0"]
    assert await left(api) == {"1": "8:227.46", "2": "4:33.97"}
    csv = (await api.call("bruno", "GET", "/v1/erp/documents.csv")).text.splitlines()
    assert csv[0].startswith("\ufefforder,version,kind,status"), "a spreadsheet knows by it that it is UTF-8"
    assert len(csv) == 1 + 2 + 1 + 2


async def test_an_order_follows_another_and_no_circle_is_made(api: Api) -> None:
    await accepted(api)
    after = {"trigger": {"start": "after", "after": "Q-1-1"}}
    one, two = await ordered(
        api, way="hand", groups=[{"slot": MANUAL, "lines": {"1": "4"}}, {"slot": after, "lines": {"2": "4"}}]
    )
    assert (await order(api, two))["status"] == "scheduled"
    circle = await done(api, "dina", f"orders/{one}/reschedule", 409, after=two)
    assert (circle["code"], circle["field"]) == ("cycle", "after")
    tried = await done(api, "dina", f"orders/{one}/reschedule?dry_run=true", after=two)
    assert (tried["outcome"]["applied"], tried["outcome"]["code"]) == (False, "cycle")
    nobody = await done(api, "dina", f"orders/{one}/reschedule", 409, after="Q-9-9")
    assert nobody["code"] == "unknown_order"
    await done(api, "dina", f"orders/{one}/go-live")
    await done(api, "bruno", f"erp/documents/{one}/accept")
    await done(api, "bruno", f"orders/{one}/deliveries", id="D1", lines={"1": "4"})
    shown = await order(api, two)
    assert shown["order"]["starts_at"] is not None
    assert shown["order"]["due"] == shown["order"]["starts_at"]


async def test_a_cancelled_predecessor_holds_who_waits_for_it(api: Api) -> None:
    await accepted(api)
    await api.bench.publish(GROWING_ALONE)
    after = {"trigger": {"start": "after", "after": "Q-1-1"}}
    one, two = await ordered(
        api, way="hand", groups=[{"slot": MANUAL, "lines": {"1": "4"}}, {"slot": after, "lines": {"2": "4"}}]
    )
    await done(api, "dina", f"orders/{one}/cancel")
    shown = await order(api, two)
    assert (shown["status"], one in shown["order"]["holds"][0]["reason"]) == ("held", True)


async def test_a_split_that_waits_for_nobody_known_is_refused_naming_the_field(api: Api) -> None:
    await accepted(api, order_by="2026-12-31")
    for wrong in ("Q-1-1", "Q-9-9"):  # itself, and an order that does not exist
        slot = {"trigger": {"start": "after", "after": wrong}}
        answer = await api.call("rita", "POST", "/v1/quotes/Q-1/orders", json={"way": "whole", "slot": slot})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "orders[0].after")
    for day in ("2026-02-01", "2027-01-01"):
        slot = {"trigger": {"start": "date", "on": day}}
        answer = await api.call("rita", "POST", "/v1/quotes/Q-1/orders", json={"way": "whole", "slot": slot})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "orders[0].on")


async def test_goods_come_back_once_never_more_than_arrived_and_are_replaced_for_nothing(api: Api) -> None:
    id = await an_order(api, active=True)
    await done(api, "bruno", f"orders/{id}/deliveries", id="D1", lines={"1": "6", "2": "4"})
    assert (await order(api, id))["status"] == "fulfilled"
    before = await left(api)
    back: dict[str, Any] = {"id": "R1", "lines": {"1": "2"}, "reason": "broken", "arrived": False}
    for _ in range(2):
        assert (await done(api, "bruno", f"orders/{id}/returns", **back))["outcome"]["code"] == "announced"
    much = await done(api, "bruno", f"orders/{id}/returns", 422, **{**back, "id": "R2", "lines": {"1": "5"}})
    assert (much["asked"], much["available"]) == ("5", "4")
    await done(api, "bruno", f"orders/{id}/returns/1/arrived")
    assert (await done(api, "bruno", f"orders/{id}/returns/1/decline", 409, reason="no"))["code"] == "return_closed"
    for _ in range(2):
        new = await done(api, "dina", f"orders/{id}/returns/1/replace", 201)
        assert (new["order"]["id"], new["net_total"], new["order"]["replaces"]) == ("Q-1-2", "0", f"{id}/1")
    await done(api, "dina", "orders/Q-1-2/cancel")
    assert await left(api) == before, "what comes back, and what replaces it, is no matter of the quote's"
    (one,) = (await api.call("rita", "GET", f"/v1/orders/{id}/returns")).json()
    assert (one["status"], one["replaced_by"]) == ("received", "Q-1-2")


async def test_the_page_takes_nothing_back_but_quantities_above_nothing(api: Api) -> None:
    id = await an_order(api, active=True)
    await done(api, "bruno", f"orders/{id}/deliveries", id="D1", lines={"1": "6", "2": "4"})
    signed_in = {"Cookie": f"dealwright={await api.token('bruno')}"}
    for quantity, status in (("-1", 422), ("NaN", 422), ("1e400", 422), ("some", 422), ("", 422), ("1", 303)):
        typed = {"line.1": quantity, "reason": "broken", "key": f"R-{quantity}"}
        answer = await api.client.post(f"/orders/{id}/return", data=typed, headers=signed_in)
        assert answer.status_code == status, (quantity, answer.text)
    (one,) = (await api.call("rita", "GET", f"/v1/orders/{id}/returns")).json()
    assert one["lines"] == {"1": "1"}


async def test_a_version_that_the_page_cannot_have_shown_is_refused_and_not_passed_over(api: Api) -> None:
    id = await an_order(api)
    before = await order(api, id)
    signed_in = {"Cookie": f"dealwright={await api.token('dina')}"}
    for version in ("²", "first", "9" * 12):
        for act in ("amend", "cancel"):
            typed = {"line.1": "5", "reason": "less", "version": version, "key": f"K-{act}-{len(version)}"}
            answer = await api.client.post(f"/orders/{id}/{act}", data=typed, headers=signed_in)
            assert answer.status_code == 422, (act, version)
    assert await order(api, id) == before


SHRINKING = """
kind: order_change
rules:
- name: shrinks
  title: Finance director
  step: 10
  conditions: [{index: 1, field: net_change_percent, operator: less_than, value: -50}]
  ask: {user: fabio}
"""


@pytest.mark.parametrize(("verb", "active"), [("cancel", False), ("cancel", True), ("close-short", True)])
@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_whatever_changes_what_the_customer_gets_is_judged_by_the_policy(
    api: Api, active: bool, verb: str, decision: str
) -> None:
    id = await an_order(api, active=active)
    await api.bench.publish(SHRINKING)
    asked = await done(api, "dina", f"orders/{id}/{verb}", reason="the shop closes")
    assert asked["outcome"]["code"] == "needs_approval"
    assert [each["status"] for each in (await api.call("bruno", "GET", "/v1/erp/documents")).json()["items"]] == [
        "accepted"
    ] * active
    (item,) = (await api.call("fabio", "GET", "/v1/inbox")).json()["items"]
    assert "P-1 6 → 0" in item["reasons"][0]
    await done(api, "fabio", f"approvals/{item['approval']}/{decision}", digest=item["digest"], comment="so")
    shown = await order(api, id)
    if decision == "reject":
        assert (shown["status"], shown["order"].get("change")) == ("active" if active else "scheduled", None)
        return
    if active:
        await done(api, "bruno", f"erp/documents/{id}/accept", version=shown["order"]["version"])
    assert (await order(api, id))["status"] == "cancelled"


async def test_a_hold_is_released_by_whom_it_belongs_to_or_an_admin(api: Api) -> None:
    id = await an_order(api)
    for owner, wrong, right in (
        ("finance", "dina", "freyja"),
        ("desk", "freyja", "dina"),
        ("quality", "dina", "bruno"),
        ("finance", "bruno", "root"),
    ):
        held = await done(api, "dina", f"orders/{id}/hold", reason="look first", owner=owner)
        hold = held["outcome"]["facts"]["hold"]
        refused = await done(api, wrong, f"orders/{id}/release", 403, hold=hold)
        assert "belongs to" in refused["detail"]
        await done(api, right, f"orders/{id}/release", hold=hold)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("amend", {"lines": {"1": "5"}, "quantity": "7"}), ("cancel", {"forgood": True}), ("hold", {"reason": "x", "until": "y"}),
        ("reschedule", {"on": "2026-05-01", "at": "noon"}), ("deliveries", {"id": "D", "lines": {"1": "1"}, "date": "2026-03-02"}),
        ("returns", {"id": "R", "lines": {"1": "1"}, "reason": "x", "day": "2026-03-02"}),
    ],
)  # fmt: skip
async def test_a_member_that_nobody_knows_is_refused_by_its_name(api: Api, path: str, body: dict[str, Any]) -> None:
    id = await an_order(api)
    who = "bruno" if path in ("deliveries", "returns") else "dina"
    wrong = await done(api, who, f"orders/{id}/{path}", 422, **body)
    assert wrong["errors"][0]["field"] == next(
        name for name in body if name in ("quantity", "forgood", "until", "at", "date", "day")
    )


async def test_a_promise_for_a_day_that_is_over_is_refused(api: Api) -> None:
    wrong = await done(api, "dina", f"orders/{await an_order(api)}/amend", 422, promised="2026-01-01")
    assert wrong["field"] == "promised"


async def test_the_title_of_an_order_follows_its_place_and_amount(api: Api) -> None:
    id = await an_order(api)
    await done(api, "dina", f"orders/{id}/amend", lines={"1": "5"}, ship_to={"city": "Porto"})
    assert (await order(api, id))["order"]["title"] == f"Order {id} · Acme · Porto · €176.14"
    await done(api, "dina", f"orders/{id}/undo")
    assert (await order(api, id))["order"]["title"] == f"Order {id} · Acme · €204.57"


async def test_a_day_is_shown_as_the_day_of_its_place_whoever_reads_it(api: Api) -> None:
    await accepted(api)
    berlin = {
        "ship_to": {"city": "Berlin", "time_zone": "Europe/Berlin"},
        "trigger": {"start": "date", "on": "2026-03-28"},
    }
    (id,) = await ordered(api, way="whole", slot=berlin)
    signed_in = {"Cookie": f"dealwright={await api.token('dina')}"}
    for page in (f"/orders/{id}", "/orders", "/quotes/Q-1"):
        shown = (await api.client.get(page, headers=signed_in)).text
        assert ("Mar 28, 2026" in shown, "Mar 27, 2026" in shown) == (True, False), page


async def test_todays_yes_is_recorded_by_the_day_of_who_records_it(api: Api) -> None:
    await approved(api)
    api.bench.clock.at = api.bench.clock.at.replace(hour=20)
    await api.bench.store_person("rita", time_zone="Asia/Tokyo")
    early = await api.call("rita", "POST", "/v1/quotes/Q-1/accept", json={"on": "2026-03-04"})
    assert (early.status_code, early.json()["errors"][0]["field"]) == (422, "on")
    assert (await api.call("rita", "POST", "/v1/quotes/Q-1/accept", json={"on": "2026-03-03"})).status_code == 200


async def test_whom_somebody_added_to_a_change_and_who_rejected_it_is_asked_when_it_is_asked_for_again(
    api: Api,
) -> None:
    id = await an_order(api)

    async def asked(who: str) -> list[dict[str, Any]]:
        items = (await api.call(who, "GET", "/v1/inbox")).json()["items"]
        return [item for item in items if item["subject"] == f"order:{id}"]

    await done(api, "dina", f"orders/{id}/amend", lines={"1": "8"})
    (item,) = await asked("dora")
    added = await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/add-approver", json={"to": "helena"})
    assert added.status_code == 200, added.text
    await done(api, "dora", f"approvals/{item['approval']}/approve", digest=item["digest"])
    (theirs,) = await asked("helena")
    await done(api, "helena", f"approvals/{theirs['approval']}/reject", digest=theirs["digest"], comment="too much")
    await done(api, "dina", f"orders/{id}/amend", lines={"1": "8"})
    (item,) = await asked("dora")
    await done(api, "dora", f"approvals/{item['approval']}/approve", digest=item["digest"])
    assert ((await order(api, id))["status"], len(await asked("helena"))) == ("held", 1)
