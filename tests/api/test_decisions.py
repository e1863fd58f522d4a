"""Who may decide, what one act of several parts did, and what is refused before it is stored; on both databases."""

from typing import Any

import pytest

from storage.people import people
from tests.api.test_quotes import BODY, submitted
from tests.apiclient import Api
from tests.support import a_line, a_quote

TWICE = """
- {name: first, ask: {user: fabio}, chain: one}
- {name: second, ask: {user: fabio}, chain: two}
"""


async def open_quote(api: Api, id: str = "Q-1", who: str = "rita", **fields: Any) -> None:
    body = {**BODY, "id": id, "owner": who, **fields}
    assert (await api.call(who, "PUT", f"/v1/quotes/{id}", json=body)).status_code in (200, 201)
    assert (await api.call(who, "POST", f"/v1/quotes/{id}/submit")).status_code == 200


async def inbox(api: Api, who: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await api.call(who, "GET", "/v1/inbox")).json()["items"]
    return items


# --- one act of several parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "status"), [("approve", "approved"), ("reject", "rejected")])
async def test_what_one_decision_covers_counts_as_decided_in_the_same_request(api: Api, verb: str, status: str) -> None:
    await api.bench.publish(f"kind: quote\nchains: [{{name: one}}, {{name: two}}]\nrules:{TWICE}")
    await open_quote(api)
    items = await inbox(api, "fabio")
    many = [{"approval": i["approval"], "verb": verb, "digest": i["digest"], "comment": "so"} for i in items]
    assert len(many) == 2
    rows = (await api.call("fabio", "POST", "/v1/approvals/decide", json={"decisions": many})).json()
    assert [(row["outcome"]["applied"], row["outcome"]["code"]) for row in rows] == [(True, status)] * 2
    again = (await api.call("fabio", "POST", "/v1/approvals/decide", json={"decisions": many[:1]})).json()
    assert again[0]["outcome"]["applied"] is False, "a later request finds it decided"


async def test_what_somebody_else_decided_is_refused_in_a_bulk_too(api: Api) -> None:
    item = await submitted(api)
    body = {"digest": item["digest"]}
    await api.call("daniel", "POST", f"/v1/approvals/{item['approval']}/approve", json=body)
    many = [
        {"approval": item["approval"], "verb": "approve", **body},
        {"approval": "a-none", "verb": "approve", **body},
    ]
    rows = (await api.call("dora", "POST", "/v1/approvals/decide", json={"decisions": many})).json()
    assert [row["outcome"]["applied"] for row in rows] == [False, False]


# --- who is asked, and may act ------------------------------------------------------------------------------------------


async def test_who_holds_approvals_keeps_the_role_until_they_are_replaced(api: Api) -> None:
    await submitted(api)
    for field, change in (("roles", {"roles": ["rep"]}), ("active", {"active": False})):
        for who in ("dora", "fabio"):
            known = (await api.call("root", "GET", f"/v1/users/{who}")).json()
            etag = {"If-Match": f'"{known["version"]}"'}
            answer = await api.call("root", "PUT", f"/v1/users/{who}", json={**known, **change}, headers=etag)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_whom_an_open_round_would_escalate_to_keeps_the_role_too(api: Api) -> None:
    await api.bench.publish("- {name: slow, ask: {user: fabio}, escalate_after_hours: 8, escalate_to: {user: leif}}")
    await open_quote(api)
    await api.bench.publish("- {name: slow, ask: {user: fabio}}")
    await api.call("adam", "PUT", "/v1/groups/legal", json={"id": "legal", "name": "Legal", "members": ["lara"]},
                   headers={"If-Match": '"1"'})  # fmt: skip
    leif = (await api.call("root", "GET", "/v1/users/leif")).json()
    etag = {"If-Match": f'"{leif["version"]}"'}
    answer = await api.call("root", "PUT", "/v1/users/leif", json={**leif, "active": False}, headers=etag)
    assert (answer.status_code, answer.json()["places"]["approvals"]) == (422, 1)


async def test_it_escalates_to_the_manager_of_who_holds_it_when_time_has_passed(api: Api) -> None:
    """Fabio's manager is Carla, Dora's is Fabio; Marco, who holds it in the end, has Helena above him."""
    await api.bench.publish("- {name: slow, ask: {user: dora}, escalate_after_hours: 8}")
    await open_quote(api)
    (item,) = await inbox(api, "dora")
    body = {"digest": item["digest"], "to": "marco"}
    assert (await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/delegate", json=body)).status_code == 200
    api.bench.clock.forward(days=1)
    await api.bench.advance("quote:Q-1:approval:1")
    assert [len(await inbox(api, who)) for who in ("marco", "helena", "fabio", "dora")] == [1, 1, 0, 0]


async def test_with_nobody_to_escalate_to_ops_and_admins_are_told_and_the_history_says_so(api: Api) -> None:
    await api.bench.publish("- {name: slow, ask: {user: carla}, escalate_after_hours: 8}")
    await open_quote(api)
    api.bench.clock.forward(days=1)
    await api.bench.advance("quote:Q-1:approval:1")
    entries = (await api.call("adam", "GET", "/v1/quotes/Q-1/audit")).json()["items"]
    assert entries[-1]["code"] == "nobody_to_ask"
    assert await told(api, "nobody_to_ask") == ["adam", "otto"]


async def told(api: Api, template: str) -> list[str]:
    from sqlmodel import select

    from storage.tables import MessageRow

    async with api.bench.container.database.reading() as session:
        rows = (await session.exec(select(MessageRow).where(MessageRow.template == template))).all()
        return sorted(row.person for row in rows)


async def test_when_too_few_are_left_to_vote_ops_and_admins_are_told_once(api: Api) -> None:
    await api.bench.publish("- {name: both, ask: {group: deal-desk, quorum: all}}")
    await open_quote(api)
    await api.bench.sweep()
    assert await told(api, "missing_votes") == []
    away = {"delegate": "daniel", "first": "2026-03-02", "last": "2026-03-06"}
    assert (await api.call("dora", "POST", "/v1/delegations", json=away)).status_code == 201
    for _ in range(3):
        api.bench.clock.forward(minutes=1)
        await api.bench.sweep()
    assert await told(api, "missing_votes") == ["adam", "otto"]
    signed_in = {"Cookie": f"dealwright={await api.token('rita')}"}
    page = await api.client.get("/quotes/Q-1", headers=signed_in)
    assert "Há poucas das pessoas consultadas presentes" in page.text, "in the words of who reads it"
    (item,) = await inbox(api, "dora")
    body = {"digest": item["digest"]}
    assert (await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/approve", json=body)).status_code == 200


async def test_a_stand_in_votes_once_and_is_told_who_else_can(api: Api) -> None:
    await api.bench.publish("- {name: both, ask: {group: deal-desk, quorum: all}}")
    await open_quote(api)
    away = {"delegate": "daniel", "first": "2026-03-02", "last": "2026-03-06"}
    await api.call("dora", "POST", "/v1/delegations", json=away)
    (item,) = await inbox(api, "daniel")
    way, body = f"/v1/approvals/{item['approval']}/approve", {"digest": item["digest"]}
    assert (await api.call("daniel", "POST", way, json=body)).status_code == 200
    again = await api.call("daniel", "POST", way, json=body)
    assert (again.status_code, again.json()["code"], again.json()["holders"]) == (409, "already_voted", ["dora"])


async def test_a_submitter_is_not_shown_their_own_quote_for_whom_they_stand_in(api: Api) -> None:
    rita = (await api.call("root", "GET", "/v1/users/rita")).json()
    etag = {"If-Match": f'"{rita["version"]}"'}
    both = {**rita, "roles": ["rep", "approver"]}
    assert (await api.call("root", "PUT", "/v1/users/rita", json=both, headers=etag)).status_code == 200
    away = {"delegate": "rita", "first": "2026-03-02", "last": "2026-03-06"}
    assert (await api.call("dora", "POST", "/v1/delegations", json=away)).status_code == 201
    await open_quote(api)
    await open_quote(api, "S-1", "snorri")
    assert [item["quote"]["id"] for item in await inbox(api, "rita")] == ["S-1"]
    assert await api.bench.container.approvals.waiting_count(await person(api, "rita")) == 1
    assert len(await inbox(api, "dora")) == 2


async def person(api: Api, id: str) -> Any:
    async with api.bench.container.database.reading() as session:
        return await people.load_person(session, id)


async def test_an_added_approver_is_removed_by_who_added_them(api: Api) -> None:
    item = await submitted(api)
    added = await api.call(
        "rita", "POST", f"/v1/approvals/{item['approval']}/add-approver", json={"to": "omar", "reason": "knows them"}
    )
    approval = added.json()["outcome"]["facts"]["approval"]
    assert (await api.call("dora", "POST", f"/v1/approvals/{approval}/remove-approver")).status_code == 409
    answer = await api.call("rita", "POST", f"/v1/approvals/{approval}/remove-approver", json={"comment": "not needed"})
    assert (answer.status_code, answer.json()["outcome"]["code"]) == (200, "removed")
    body = {"digest": item["digest"]}
    await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/approve", json=body)
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()["status"] == "approved"


# --- what is sent again, and what was seen ------------------------------------------------------------------------------


@pytest.mark.parametrize("etag", [None, '"1"', '"7"'])
async def test_the_same_content_again_changes_nothing(api: Api, etag: str | None) -> None:
    item = await submitted(api)
    headers = {"If-Match": etag} if etag else {}
    for status in ("in_approval", "approved"):
        answer = await api.call("rita", "PUT", "/v1/quotes/Q-1", json=BODY, headers=headers)
        assert (answer.status_code, answer.headers["ETag"], answer.json()["status"]) == (200, '"1"', status)
        body = {"digest": item["digest"]}
        await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/approve", json=body)


async def test_a_submission_says_which_version_was_seen(api: Api) -> None:
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json=BODY)
    stale = await api.call("rita", "POST", "/v1/quotes/Q-1/submit", headers={"If-Match": '"9"'})
    assert (stale.status_code, stale.json()["version"]) == (412, 1)
    assert (await api.call("rita", "POST", "/v1/quotes/Q-1/submit", headers={"If-Match": '"1"'})).status_code == 200
    await open_quote(api, "Q-2")
    seen = [(await api.call("rita", "GET", f"/v1/quotes/{id}/audit")).json()["items"][-1]["facts"]["version_seen"]
            for id in ("Q-1", "Q-2")]  # fmt: skip
    assert seen == [1, "not_stated"]


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lines": []}, "lines"),
        ({"customer": {"id": "C-1", "name": "Acme \u202emca"}}, "customer.name"),
        ({"customer": {"id": "C-1", "name": "Acme \u2066x\u2069"}}, "customer.name"),
        ({"payment_terms": "Net \u202d30"}, "payment_terms"),
        ({"lines": [a_line(name="Cooler \u202e")]}, "lines.0.name"),
        ({"fields": {"note": "x\u202b"}}, "fields.note"),
    ],
)
async def test_a_quote_that_says_nothing_or_shows_other_letters_is_refused(
    api: Api, change: dict[str, Any], field: str
) -> None:
    answer = await api.call("rita", "PUT", "/v1/quotes/Q-1", json={**BODY, **change})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith(field)
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).status_code == 404


async def test_joiners_and_marks_stay_in_names(api: Api) -> None:
    name = "می‌خواهم Zoë \u200dA\u200f"
    body = a_quote(customer={"id": "C-1", "name": name}).model_dump(mode="json")
    assert (await api.call("rita", "PUT", "/v1/quotes/Q-1", json=body)).status_code == 201
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()["quote"]["customer"]["name"] == name


async def test_without_an_exchange_rate_nothing_is_submitted(api: Api) -> None:
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json={**BODY, "currency": "JPY"})
    answer = await api.call("rita", "POST", "/v1/quotes/Q-1/submit")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "currency")
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()["status"] == "draft"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"), ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"), ({"email": "DORA@example.com"}, "email"), ({"name": "Ritа\u202e"}, "name"),
    ],
)  # fmt: skip
async def test_a_person_with_an_unknown_zone_or_somebody_elses_address_is_refused(
    api: Api, change: dict[str, Any], field: str
) -> None:
    rita = (await api.call("root", "GET", "/v1/users/rita")).json()
    etag = {"If-Match": f'"{rita["version"]}"'}
    answer = await api.call("root", "PUT", "/v1/users/rita", json={**rita, **change}, headers=etag)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert (await api.call("root", "GET", "/v1/users/rita")).json() == rita
