"""The story of a quote over HTTP, on both databases, answered by a stand-in engine."""

from typing import Any

from api.requests import cursor_of
from domain.people import Role
from tests.apiclient import Api
from tests.support import a_line, a_quote

BODY = a_quote(discount="15").model_dump(mode="json")


async def submitted(api: Api, **fields: Any) -> dict[str, Any]:
    """Q-1, unless told otherwise, in approval, and Dóra's inbox item about it."""
    way = f"/v1/quotes/{fields.get('id', 'Q-1')}"
    await api.call("rita", "PUT", way, json={**BODY, **fields})
    assert (await api.call("rita", "POST", f"{way}/submit")).status_code == 200
    items = (await api.call("dora", "GET", "/v1/inbox")).json()["items"]
    assert len(items) == 1
    found: dict[str, Any] = items[0]
    return found


async def test_a_quote_is_drafted_read_and_changed(api: Api) -> None:
    made = await api.call("rita", "PUT", "/v1/quotes/Q-1", json=BODY)
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    assert made.json()["sums"]["net_total"] == "85.00"
    edited = {**BODY, "payment_terms": "Net 60"}
    no_version = await api.call("rita", "PUT", "/v1/quotes/Q-1", json=edited)
    assert (no_version.status_code, no_version.json()["version"]) == (428, 1)
    stale = await api.call("rita", "PUT", "/v1/quotes/Q-1", json=edited, headers={"If-Match": '"7"'})
    assert stale.status_code == 412
    done = await api.call("rita", "PUT", "/v1/quotes/Q-1", json=edited, headers={"If-Match": '"1"'})
    assert (done.status_code, done.headers["ETag"]) == (200, '"2"')
    read = await api.call("rita", "GET", "/v1/quotes/Q-1")
    assert read.json()["quote"]["payment_terms"] == "Net 60"


async def test_a_rep_sees_and_changes_only_their_own(api: Api) -> None:
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json=BODY)
    for method, path in (("GET", ""), ("GET", "/rounds"), ("GET", "/audit"), ("POST", "/submit"), ("POST", "/recall")):
        assert (await api.call("snorri", method, f"/v1/quotes/Q-1{path}")).status_code == 404
    assert (await api.call("snorri", "GET", "/v1/quotes")).json()["items"] == []
    theirs = {**BODY, "owner": "snorri"}
    assert (await api.call("snorri", "PUT", "/v1/quotes/Q-1", json=theirs)).status_code == 403
    assert (await api.call("snorri", "PUT", "/v1/quotes/Q-2", json={**BODY, "id": "Q-2"})).status_code == 403


async def test_an_approver_sees_what_waits_on_them_and_no_more(api: Api) -> None:
    assert (await api.call("dora", "GET", "/v1/quotes/Q-1")).status_code == 404
    item = await submitted(api)
    assert (await api.call("dora", "GET", "/v1/quotes/Q-1")).status_code == 200
    assert (await api.call("dora", "GET", f"/v1/approvals/{item['approval']}")).json()["reasons"] == [
        "discount_percent 15 > 10"
    ]
    assert (await api.call("fabio", "GET", "/v1/quotes/Q-1")).status_code == 404
    assert (await api.call("fabio", "GET", f"/v1/approvals/{item['approval']}")).status_code == 404
    assert [q["id"] for q in (await api.call("dora", "GET", "/v1/quotes")).json()["items"]] == ["Q-1"]
    assert (await api.call("fabio", "GET", "/v1/quotes")).json()["items"] == []


async def test_a_later_step_is_not_seen_before_its_turn(api: Api) -> None:
    item = await submitted(api, lines=[a_line(discount_percent="30")])
    assert (await api.call("fabio", "GET", "/v1/quotes/Q-1")).status_code == 404
    body = {"digest": item["digest"]}
    await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/approve", json=body)
    assert (await api.call("fabio", "GET", "/v1/quotes/Q-1")).status_code == 200


async def test_preview_says_what_an_edit_would_need_and_saves_nothing(api: Api) -> None:
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json=BODY)
    plain = (await api.call("rita", "POST", "/v1/quotes/Q-1/preview")).json()
    assert [a["rule"] for a in plain["approvals"]] == ["discount-desk"]
    edit = {"lines": [{"id": "1", "discount_percent": "30"}], "payment_terms": "Net 90"}
    deep = (await api.call("rita", "POST", "/v1/quotes/Q-1/preview", json=edit)).json()
    assert {a["rule"] for a in deep["approvals"]} == {"discount-desk", "discount-finance", "terms"}
    assert deep["names"]["fabio"] == "Fábio Lima"
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()["version"] == 1
    new = await api.call("rita", "POST", "/v1/quotes/Q-new/preview", json={**BODY, "id": "Q-new"})
    assert new.status_code == 200


async def test_explain_shows_every_rule_and_condition(api: Api) -> None:
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json=BODY)
    found = {f["rule"]: f for f in (await api.call("rita", "GET", "/v1/quotes/Q-1/explain")).json()}
    assert set(found) == {"discount-desk", "discount-finance", "equipment", "terms", "large-deal"}
    assert found["discount-desk"]["tests"][0] == {
        "index": 1, "name": "discount_percent", "tested": "15", "sign": ">", "compared": "10", "holds": True,
    }  # fmt: skip


async def test_submitting_twice_with_one_key_opens_one_round(api: Api) -> None:
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json=BODY)
    key = {"Idempotency-Key": "once"}
    first = await api.call("rita", "POST", "/v1/quotes/Q-1/submit", headers=key)
    again = await api.call("rita", "POST", "/v1/quotes/Q-1/submit", headers=key)
    assert first.json() == again.json()
    assert (await api.call("rita", "POST", "/v1/quotes/Q-1/submit")).status_code == 409
    assert len((await api.call("rita", "GET", "/v1/quotes/Q-1/rounds")).json()) == 1
    other = await api.call("rita", "POST", "/v1/quotes/Q-1/recall", headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_key_belongs_to_its_caller(api: Api) -> None:
    item = await submitted(api)
    path, key = f"/v1/approvals/{item['approval']}/approve", {"Idempotency-Key": "k"}
    body = {"digest": item["digest"]}
    assert (await api.call("fabio", "POST", path, json=body, headers=key)).json()["code"] == "not_an_approver"
    assert (await api.call("dora", "POST", path, json=body, headers=key)).status_code == 200


async def test_a_decision_is_answered_and_repeated_by_key(api: Api) -> None:
    item = await submitted(api)
    path, key = f"/v1/approvals/{item['approval']}/approve", {"Idempotency-Key": "k"}
    body = {"digest": item["digest"], "comment": "ok"}
    first = await api.call("dora", "POST", path, json=body, headers=key)
    assert first.json()["outcome"]["code"] == "approved"
    assert (await api.call("dora", "POST", path, json=body, headers=key)).json() == first.json()
    changed = await api.call("dora", "POST", path, json={**body, "comment": "no"}, headers=key)
    assert changed.status_code == 422
    late = await api.call("daniel", "POST", path, json=body)
    assert (late.status_code, late.json()["code"], late.json()["state"]) == (409, "round_closed", "approved")
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()["status"] == "approved"


async def test_refusals_change_nothing(api: Api) -> None:
    item = await submitted(api)
    path, body = f"/v1/approvals/{item['approval']}", {"digest": item["digest"]}
    before = (await api.call("rita", "GET", "/v1/quotes/Q-1/rounds")).json()[0]["round"]["approvals"]
    await api.add("rita-too", Role.REP, Role.APPROVER)
    codes = {
        "stranger": (await api.call("fabio", "POST", f"{path}/approve", json=body)).json()["code"],
        "stale": (await api.call("dora", "POST", f"{path}/approve", json={"digest": "0" * 64})).json()["code"],
        "no comment": (await api.call("dora", "POST", f"{path}/reject", json={**body, "comment": " "})).json()["code"],
        "to nobody": (await api.call("dora", "POST", f"{path}/delegate", json={**body, "to": "ghost"})).json()["code"],
        "to a rep": (await api.call("dora", "POST", f"{path}/delegate", json={**body, "to": "snorri"})).json()["code"],
        "unknown": (await api.call("dora", "POST", "/v1/approvals/a-none/approve", json=body)).json()["code"],
    }
    assert codes == {
        "stranger": "not_an_approver", "stale": "stale_version", "no comment": "invalid", "to nobody": "invalid",
        "to a rep": "invalid", "unknown": "not_found",
    }  # fmt: skip
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1/rounds")).json()[0]["round"]["approvals"] == before


async def test_delegate_reassign_and_reject(api: Api) -> None:
    item = await submitted(api)
    path, digest = f"/v1/approvals/{item['approval']}", item["digest"]
    handed = await api.call("dora", "POST", f"{path}/delegate", json={"digest": digest, "to": "lara", "reason": "away"})
    assert handed.json()["outcome"]["facts"]["to"] == "lara"
    assert (await api.call("dora", "GET", "/v1/inbox")).json()["items"] == []
    moved = await api.call("adam", "POST", f"{path}/reassign", json={"to": "leif", "from": "lara"})
    assert moved.status_code == 200
    done = await api.call("leif", "POST", f"{path}/reject", json={"digest": digest, "comment": "no"})
    assert done.status_code == 200, "a group that any member settles still has Daniel"
    assert (await api.call("dora", "GET", "/v1/quotes/Q-1")).status_code == 200, "who handed over keeps sight"
    trail = (await api.call("rita", "GET", "/v1/quotes/Q-1/audit")).json()["items"]
    assert [(e["actor"], e["verb"]) for e in trail] == [
        ("rita", "drafted"), ("rita", "open"), ("dora", "delegate"), ("adam", "reassign"), ("leif", "reject"),
    ]  # fmt: skip


async def test_an_edit_after_approval_makes_a_draft_and_a_new_round(api: Api) -> None:
    item = await submitted(api)
    await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/approve", json={"digest": item["digest"]})
    assert (await api.call("rita", "POST", "/v1/quotes/Q-1/submit")).status_code == 409
    edited = {**BODY, "payment_terms": "Net 60"}
    done = await api.call("rita", "PUT", "/v1/quotes/Q-1", json=edited, headers={"If-Match": '"1"'})
    assert done.json()["status"] == "draft"
    await api.call("rita", "POST", "/v1/quotes/Q-1/submit")
    assert [r["round"]["number"] for r in (await api.call("rita", "GET", "/v1/quotes/Q-1/rounds")).json()] == [2, 1]


async def test_recall_by_the_rep_and_by_an_admin(api: Api) -> None:
    await submitted(api)
    assert (await api.call("rita", "POST", "/v1/quotes/Q-1/recall")).status_code == 200
    again = await api.call("rita", "POST", "/v1/quotes/Q-1/recall")
    assert (again.status_code, again.json()["code"]) == (409, "round_closed")
    await api.call("rita", "POST", "/v1/quotes/Q-1/submit")
    assert (await api.call("adam", "POST", "/v1/quotes/Q-1/recall")).status_code == 200


async def test_with_temporal_away_a_command_is_answered_and_its_run_is_woken_later(api: Api) -> None:
    item = await submitted(api)
    api.bench.engine.down = True
    path, body = f"/v1/approvals/{item['approval']}/approve", {"digest": item["digest"]}
    answer = await api.call("dora", "POST", path, json=body, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["outcome"]["code"]) == (200, "approved")
    receipt = f"/v1/receipts/{answer.json()['command']}"
    assert (await api.call("dora", "GET", receipt)).json()["outcome"]["code"] == "approved"
    assert (await api.call("daniel", "GET", receipt)).status_code == 404
    same = await api.call("dora", "POST", path, json=body, headers={"Idempotency-Key": "k"})
    assert (same.status_code, same.json()) == (200, answer.json())
    await api.bench.container.path.settle()
    api.bench.engine.down, api.bench.engine.signals = False, []
    api.bench.clock.forward(seconds=10)
    assert (await api.bench.sweep()).woken == 1
    assert api.bench.engine.signals == [("quote:Q-1:approval:1", "wake")]


async def test_an_unresolved_plan_is_refused_naming_the_rule(api: Api) -> None:
    body = {**BODY, "lines": [a_line(list_price="90000000")]}
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json=body)
    refused = await api.call("rita", "POST", "/v1/quotes/Q-1/submit")
    assert (refused.status_code, refused.json()["rules"][0]["rule"]) == (409, "large-deal")
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()["status"] == "draft"


async def test_lists_are_paged_by_key(api: Api) -> None:
    for n in range(5):
        await api.call("rita", "PUT", f"/v1/quotes/Q-{n}", json={**BODY, "id": f"Q-{n}"})
        await api.call("rita", "POST", f"/v1/quotes/Q-{n}/submit")
    for who, path, name in (("rita", "/v1/quotes", "id"), ("dora", "/v1/inbox", "approval")):
        seen, cursor = [], ""
        while cursor is not None:
            page = (await api.call(who, "GET", f"{path}?limit=2{f'&cursor={cursor}' if cursor else ''}")).json()
            assert len(page["items"]) <= 2
            seen += [item[name] for item in page["items"]]
            cursor = page["next_cursor"]
        assert len(seen) == len(set(seen)) == 5
    assert (await api.call("rita", "GET", "/v1/quotes?cursor=junk")).status_code == 422


async def test_a_cursor_of_ones_own_making_is_refused(api: Api) -> None:
    for version in ("²", "-1", "1e3", "9" * 5000):
        made_up = cursor_of("o-1", version)
        assert (await api.call("bruno", "GET", f"/v1/erp/documents?cursor={made_up}")).status_code == 422


async def test_policies_are_drafted_checked_and_published(api: Api) -> None:
    now = (await api.call("adam", "GET", "/v1/policies/quote")).json()
    broken = {"yaml": "kind: quote\nrules:\n- {name: a, ask: {user: ghost}}\n"}
    made = await api.call("adam", "PUT", "/v1/policies/quote/draft", json=broken)
    assert made.status_code == 200
    assert (await api.call("adam", "POST", "/v1/policies/quote/lint")).json()[0]["field"] == "rules.a.ask.user"
    refused = await api.call("adam", "POST", "/v1/policies/quote/publish")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "rules.a.ask.user")
    fixed = {"yaml": "kind: quote\nrules:\n- {name: a, ask: {user: fabio}}\n"}
    etag = {"If-Match": made.headers["ETag"]}
    await api.call("adam", "PUT", "/v1/policies/quote/draft", json=fixed, headers=etag)
    published = await api.call("adam", "POST", "/v1/policies/quote/publish")
    assert published.json()["version"] == now["version"] + 1
    assert [v["version"] for v in (await api.call("adam", "GET", "/v1/policies/quote/versions")).json()["items"]] == [
        2,
        1,
    ]


async def test_a_round_keeps_the_version_it_was_opened_with(api: Api) -> None:
    item = await submitted(api)
    draft = {"yaml": "kind: quote\nrules:\n- {name: a, ask: {user: carla}}\n"}
    await api.call("adam", "PUT", "/v1/policies/quote/draft", json=draft)
    await api.call("adam", "POST", "/v1/policies/quote/publish")
    await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/approve", json={"digest": item["digest"]})
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()["status"] == "approved"
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1/rounds")).json()[0]["round"]["policy_version"] == 1


async def test_users_and_groups(api: Api) -> None:
    made = await api.call(
        "root", "PUT", "/v1/users/zoe", json={"id": "zoe", "name": "Zoë", "roles": ["approver"], "manager": "carla"}
    )
    assert (made.status_code, made.headers["ETag"]) == (200, '"1"')
    for changes, field in (
        ({"manager": "zoe"}, "manager"),
        ({"manager": "ghost"}, "manager"),
        ({"roles": ["king"]}, "roles.0"),
    ):
        body = {"id": "zoe", "name": "Zoë", **changes}
        refused = await api.call("root", "PUT", "/v1/users/zoe", json=body, headers={"If-Match": '"1"'})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    group = await api.call(
        "adam", "PUT", "/v1/groups/tigers", json={"id": "tigers", "name": "T", "members": ["zoe", "ghost"]}
    )
    assert group.json()["errors"][0]["field"] == "members"
    group = await api.call("adam", "PUT", "/v1/groups/tigers", json={"id": "tigers", "name": "T", "members": ["zoe"]})
    assert group.status_code == 200


async def test_a_comment_is_text_that_can_be_stored(api: Api) -> None:
    item = await submitted(api)
    path, body = f"/v1/approvals/{item['approval']}/approve", {"digest": item["digest"]}
    refused = await api.call("dora", "POST", path, json={**body, "comment": "a\x00b"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "comment")
    done = await api.call("dora", "POST", path, json={**body, "comment": "the text \\u0000 is harmless"})
    assert done.json()["outcome"]["code"] == "approved"


async def test_a_rep_does_not_pick_the_approver(api: Api) -> None:
    policy = {"yaml": "kind: quote\nrules:\n- {name: a, ask: {field: sponsor}, fallback: {user: carla}}\n"}
    await api.call("adam", "PUT", "/v1/policies/quote/draft", json=policy)
    await api.call("adam", "POST", "/v1/policies/quote/publish")
    refused = await api.call("rita", "PUT", "/v1/quotes/Q-1", json={**BODY, "fields": {"sponsor": "leif"}})
    assert (refused.status_code, refused.json()["field"]) == (403, "sponsor")
    assert (await api.call("rita", "PUT", "/v1/quotes/Q-1", json=BODY)).status_code == 201


async def test_odd_edits_of_a_preview_are_refused_by_field(api: Api) -> None:
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json=BODY)
    for edits in ({"lines": [{"id": []}]}, {"lines": [5]}, {"lines": [{"quantity": "1"}]}, {"lines": "x"}):
        answer = await api.call("rita", "POST", "/v1/quotes/Q-1/preview", json=edits)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), edits


async def put_and_submit(api: Api, version: int, discount: str) -> None:
    body = a_quote(discount=discount).model_dump(mode="json")
    headers = {"If-Match": f'"{version}"'} if version else {}
    assert (await api.call("rita", "PUT", "/v1/quotes/Q-1", json=body, headers=headers)).status_code in (200, 201)


async def test_what_a_person_approved_carries_over_to_the_next_round(api: Api) -> None:
    """Dóra approves 30 %, Fábio rejects it; at 28 % only Fábio is asked again, and the trail says why."""
    await put_and_submit(api, 0, "30")
    await api.call("rita", "POST", "/v1/quotes/Q-1/submit")
    for who, verb in (("dora", "approve"), ("fabio", "reject")):
        (item,) = (await api.call(who, "GET", "/v1/inbox")).json()["items"]
        path = f"/v1/approvals/{item['approval']}/{verb}"
        assert (await api.call(who, "POST", path, json={"digest": item["digest"], "comment": "so"})).status_code == 200
    await put_and_submit(api, 1, "28")
    desk, finance = (await api.call("rita", "POST", "/v1/quotes/Q-1/preview")).json()["approvals"]
    assert (desk["carried"]["number"], desk["carried"]["by"]) == (1, ["dora"])
    assert finance["again"] == ["rejected in round 1"]
    await api.call("rita", "POST", "/v1/quotes/Q-1/submit")
    assert (await api.call("dora", "GET", "/v1/inbox")).json()["items"] == []
    (item,) = (await api.call("fabio", "GET", "/v1/inbox")).json()["items"]
    opened = [e for e in (await api.call("rita", "GET", "/v1/quotes/Q-1/audit")).json()["items"] if e["verb"] == "open"]
    assert opened[-1]["facts"]["carried"] == {"discount-desk": 1}
    path = f"/v1/approvals/{item['approval']}/approve"
    done = await api.call("fabio", "POST", path, json={"digest": item["digest"]})
    assert done.json()["outcome"]["facts"]["state"] == "approved"
