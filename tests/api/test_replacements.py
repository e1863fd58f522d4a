"""Replacing a person everywhere, on both databases; the run's steps are taken one by one."""

from typing import Any

import pytest

from domain.runs.contracts import Replaced
from tests.api.test_quotes import submitted
from tests.apiclient import Api
from tests.support import a_line, a_quote

LEAVER = {"old": "dora", "new": "lara"}
AWAY = {"first": "2026-03-02", "last": "2026-03-06"}


async def finished(api: Api, id: str) -> Replaced:
    for _ in range(50):
        done = await api.bench.replacing.step(id)
        if done.status == "finished":
            return done
    raise AssertionError("never finished")


async def open_quotes(api: Api, count: int) -> None:
    for n in range(count):
        body = a_quote(f"R-{n}", lines=[a_line(discount_percent="30")]).model_dump(mode="json")
        await api.call("rita", "PUT", f"/v1/quotes/R-{n}", json=body)
        await api.call("rita", "POST", f"/v1/quotes/R-{n}/submit")


async def start(api: Api, **headers: str) -> dict[str, Any]:
    answer = await api.call("adam", "POST", "/v1/replacements", json=LEAVER, headers=headers)
    assert answer.status_code == 201
    found: dict[str, Any] = answer.json()
    return found


async def test_a_dry_run_counts_and_changes_nothing(api: Api) -> None:
    await open_quotes(api, 3)
    await api.call("dora", "POST", "/v1/delegations", json={**AWAY, "delegate": "fabio"})
    found = (await api.call("adam", "POST", "/v1/replacements/preview", json=LEAVER)).json()
    assert found == {"policies": [], "groups": ["deal-desk"], "delegations": 1, "approvals": 3}
    finance = {"old": "fabio", "new": "lara"}
    found = (await api.call("adam", "POST", "/v1/replacements/preview", json=finance)).json()
    assert (found["policies"], found["approvals"]) == (["order_change", "quote"], 3), "steps not reached yet count too"
    assert (await api.call("adam", "GET", "/v1/replacements")).json()["items"] == []


async def test_a_person_is_replaced_everywhere(api: Api) -> None:
    await open_quotes(api, 3)
    await api.call("fabio", "POST", "/v1/delegations", json={**AWAY, "delegate": "dora"})
    id = (await start(api))["id"]
    done = await finished(api, id)
    assert (done.sent, done.answered) == (3, 3)
    assert (await api.call("adam", "GET", "/v1/groups/deal-desk")).json()["members"] == ["lara", "daniel"]
    given = (await api.call("adam", "GET", "/v1/delegations")).json()["items"]
    assert {(d["person"], d["delegate"]) for d in given if d["ended_at"] is None} == {("fabio", "lara")}
    assert len((await api.call("lara", "GET", "/v1/inbox")).json()["items"]) == 3
    assert (await api.call("dora", "GET", "/v1/inbox")).json()["items"] == []
    progress = (await api.call("adam", "GET", f"/v1/replacements/{id}")).json()
    assert (progress["replacement"]["status"], progress["replacement"]["total"], progress["refused"]) == (
        "finished", 3, [],
    )  # fmt: skip
    assert (await api.call("adam", "POST", "/v1/replacements/preview", json=LEAVER)).json()["approvals"] == 0
    trail = (await api.call("rita", "GET", "/v1/quotes/R-0/audit")).json()["items"]
    assert [(e["actor"], e["facts"]["from"], e["facts"]["to"]) for e in trail if e["verb"] == "reassign"] == [
        ("adam", "dora", "lara")
    ]


async def test_the_policy_names_the_follower_in_a_new_version(api: Api) -> None:
    answer = await api.call("adam", "POST", "/v1/replacements", json={"old": "fabio", "new": "carla"})
    await finished(api, answer.json()["id"])
    policy = (await api.call("adam", "GET", "/v1/policies/quote")).json()
    assert policy["version"] == 2
    assert "user: carla" in policy["yaml"]
    assert "fabio" not in policy["yaml"]


async def test_it_pauses_resumes_and_goes_on_where_it_was(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.people.replacement_steps.BATCH", 1)
    await open_quotes(api, 2)
    api.bench.engine.down = True
    id = (await start(api))["id"]
    assert (await api.bench.replacing.step(id)).answered == 1
    paused = await api.call("adam", "POST", f"/v1/replacements/{id}/pause")
    assert paused.json()["status"] == "paused"
    assert (await api.bench.replacing.step(id)).status == "paused"
    api.bench.engine.down = False
    assert (await api.call("adam", "POST", f"/v1/replacements/{id}/resume")).json()["status"] == "running"
    assert (await api.bench.replacing.step(id)).answered == 2, "each is moved once"
    assert (await finished(api, id)).answered == 2
    late = await api.call("adam", "POST", f"/v1/replacements/{id}/pause")
    assert (late.status_code, late.json()["state"]) == (409, "finished")


async def test_who_follows_a_colleague_of_the_same_group_keeps_one_place(api: Api) -> None:
    item = await submitted(api)
    answer = await api.call("adam", "POST", "/v1/replacements", json={"old": "dora", "new": "daniel"})
    await finished(api, answer.json()["id"])
    progress = (await api.call("adam", "GET", f"/v1/replacements/{answer.json()['id']}")).json()
    assert progress["refused"] == []
    assert (await api.call("adam", "GET", "/v1/groups/deal-desk")).json()["members"] == ["daniel"]
    assert (await api.call("dora", "GET", "/v1/inbox")).json()["items"] == []
    body = {"digest": item["digest"]}
    assert (await api.call("daniel", "POST", f"/v1/approvals/{item['approval']}/approve", json=body)).status_code == 200


async def test_what_cannot_be_moved_is_listed_with_its_reason(api: Api) -> None:
    """Both must approve, and one person cannot do so twice."""
    await api.bench.publish("- {name: both, ask: {group: deal-desk, quorum: 2}}")
    await submitted(api)
    answer = await api.call("adam", "POST", "/v1/replacements", json={"old": "dora", "new": "daniel"})
    await finished(api, answer.json()["id"])
    progress = (await api.call("adam", "GET", f"/v1/replacements/{answer.json()['id']}")).json()
    assert [r["code"] for r in progress["refused"]] == ["already_an_approver"]


async def test_whom_an_open_round_would_escalate_to_is_moved_too(api: Api) -> None:
    await api.bench.publish("- {name: slow, ask: {user: fabio}, escalate_after_hours: 8, escalate_to: {user: dora}}")
    await open_quotes(api, 2)
    found = (await api.call("adam", "POST", "/v1/replacements/preview", json=LEAVER)).json()
    assert found["approvals"] == 2
    await finished(api, (await start(api))["id"])
    api.bench.clock.forward(days=2)
    await api.bench.advance("quote:R-0:approval:1")
    assert len((await api.call("lara", "GET", "/v1/inbox")).json()["items"]) == 1
    assert (await api.call("dora", "GET", "/v1/inbox")).json()["items"] == []


async def test_the_same_key_starts_once(api: Api) -> None:
    key = {"Idempotency-Key": "leave"}
    assert (await start(api, **key))["id"] == (await start(api, **key))["id"]
    other = await api.call("adam", "POST", "/v1/replacements", json={"old": "dora", "new": "omar"}, headers=key)
    assert other.json()["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"old": "dora", "new": "dora"}, "new"),
        ({"old": "ghost", "new": "dora"}, "old"),
        ({"old": "dora", "new": "rita"}, "new"),
    ],
)
async def test_a_replacement_that_makes_no_sense_is_refused_by_field(
    api: Api, body: dict[str, str], field: str
) -> None:
    for path in ("/v1/replacements", "/v1/replacements/preview"):
        answer = await api.call("adam", "POST", path, json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_nobody_leaves_who_is_still_asked(api: Api) -> None:
    await submitted(api)

    async def leave() -> Any:
        dora = (await api.call("root", "GET", "/v1/users/dora")).json()
        etag = {"If-Match": f'"{dora["version"]}"'}
        return await api.call("root", "PUT", "/v1/users/dora", json={**dora, "active": False}, headers=etag)

    refused = await leave()
    assert (refused.status_code, refused.json()["places"]["approvals"]) == (422, 1)
    await finished(api, (await start(api))["id"])
    assert (await leave()).status_code == 200
