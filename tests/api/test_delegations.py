"""Out of office over HTTP, on both databases."""

from typing import Any

import pytest
from sqlmodel import select

from domain.approvals.exchange import read_policy
from services.imports.samples import SYSTEM
from storage.tables import MessageRow
from tests.api.test_quotes import submitted
from tests.apiclient import Api

AWAY = {"delegate": "fabio", "first": "2026-03-02", "last": "2026-03-06", "note": "skiing"}


async def items(api: Api, who: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.call(who, "GET", "/v1/inbox")).json()["items"]
    return found


async def test_a_delegate_sees_and_decides_what_waits_already_and_the_trail_keeps_both(api: Api) -> None:
    item = await submitted(api)
    assert (await api.call("fabio", "GET", "/v1/quotes/Q-1")).status_code == 404
    given = await api.call("dora", "POST", "/v1/delegations", json=AWAY)
    assert given.status_code == 201
    (mine,) = await items(api, "fabio")
    assert (mine["approval"], mine["on_behalf_of"]) == (item["approval"], "dora")
    assert [i["on_behalf_of"] for i in await items(api, "dora")] == [None], "both see it"
    assert (await api.call("fabio", "GET", "/v1/quotes/Q-1")).status_code == 200
    path = f"/v1/approvals/{item['approval']}/approve"
    done = await api.call("fabio", "POST", path, json={"digest": item["digest"]})
    assert done.json()["outcome"]["code"] == "approved"
    trail = (await api.call("rita", "GET", "/v1/quotes/Q-1/audit")).json()["items"]
    decided = next(e for e in trail if e["verb"] == "approve")
    assert (decided["actor"], decided["on_behalf_of"]) == ("fabio", "dora")
    assert (await api.call("fabio", "GET", "/v1/quotes/Q-1")).status_code == 200, "who decided keeps sight of it"


async def test_an_ended_or_past_delegation_gives_nothing(api: Api) -> None:
    item = await submitted(api)
    id = (await api.call("dora", "POST", "/v1/delegations", json=AWAY)).json()["id"]
    api.bench.clock.forward(days=5)
    assert await items(api, "fabio") == []
    path = f"/v1/approvals/{item['approval']}/approve"
    late = await api.call("fabio", "POST", path, json={"digest": item["digest"]})
    assert (late.status_code, late.json()["code"]) == (409, "not_an_approver")
    api.bench.clock.forward(days=-5)
    assert (await api.call("fabio", "POST", f"/v1/delegations/{id}/end")).status_code == 404, "it is not his to end"
    assert (await api.call("dora", "POST", f"/v1/delegations/{id}/end")).status_code == 200
    assert await items(api, "fabio") == []


async def test_a_delegate_is_told_of_what_comes_in_once_per_wave(api: Api) -> None:
    await api.call("dora", "POST", "/v1/delegations", json=AWAY)
    await api.call("daniel", "POST", "/v1/delegations", json=AWAY)
    await submitted(api)
    async with api.bench.container.database.reading() as session:
        told = [m.person for m in (await session.exec(select(MessageRow))).all()]
    assert sorted(told) == ["daniel", "dora", "fabio"]
    (mine,) = await items(api, "fabio")
    assert mine["on_behalf_of"] in ("daniel", "dora"), "listed once, though he stands in for both"


async def test_who_voted_once_is_not_shown_the_other_seats_that_they_stand_in_for(api: Api) -> None:
    await api.bench.container.policies.publish_policy(
        SYSTEM, read_policy("kind: quote\nrules: [{name: r, ask: {group: deal-desk, quorum: 2}}]")
    )
    for who in ("dora", "daniel"):
        await api.call(who, "POST", "/v1/delegations", json=AWAY)
    await api.call("adam", "POST", "/v1/delegations", json={**AWAY, "person": "daniel", "delegate": "lara"})
    item = await submitted(api)
    assert len(await items(api, "fabio")) == 1
    path = f"/v1/approvals/{item['approval']}/approve"
    assert (await api.call("fabio", "POST", path, json={"digest": item["digest"]})).status_code == 200
    assert await items(api, "fabio") == []
    assert len(await items(api, "daniel")) == 1
    assert (await api.call("fabio", "POST", path, json={"digest": item["digest"]})).status_code == 409


async def test_a_person_of_two_keys_decides_for_one_of_them_and_never_for_their_own_submission(api: Api) -> None:
    item = await submitted(api)
    await api.call("adam", "POST", "/v1/delegations", json={**AWAY, "person": "dora", "delegate": "lara"})
    path = f"/v1/approvals/{item['approval']}/approve"
    stranger = await api.call("fabio", "POST", path, json={"digest": item["digest"]})
    assert stranger.json()["code"] == "not_an_approver"
    assert (await api.call("lara", "POST", path, json={"digest": item["digest"]})).status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"delegate": "dora"}, "delegate"),
        ({"delegate": "rita"}, "delegate"),
        ({"delegate": "nobody"}, "delegate"),
        ({"last": "2026-03-01"}, "last"),
        ({"first": "2026-02-01", "last": "2026-02-02"}, "last"),
        ({"first": "2036-02-01", "last": None}, "first"),
        ({"kinds": ["wish"]}, "kinds"),
    ],
)
async def test_a_delegation_that_makes_no_sense_is_refused_by_field(
    api: Api, change: dict[str, Any], field: str
) -> None:
    answer = await api.call("dora", "POST", "/v1/delegations", json={**AWAY, **change})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert (await api.call("adam", "GET", "/v1/delegations")).json()["items"] == []


async def test_a_circle_is_refused_with_the_way(api: Api) -> None:
    await api.call("dora", "POST", "/v1/delegations", json=AWAY)
    back = await api.call("fabio", "POST", "/v1/delegations", json={**AWAY, "delegate": "dora"})
    assert (back.status_code, back.json()["way"]) == (422, ["fabio", "dora", "fabio"])


async def test_the_same_key_gives_once(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    first = await api.call("dora", "POST", "/v1/delegations", json=AWAY, headers=key)
    again = await api.call("dora", "POST", "/v1/delegations", json=AWAY, headers=key)
    assert first.json() == again.json()
    other = await api.call("dora", "POST", "/v1/delegations", json={**AWAY, "note": "x"}, headers=key)
    assert other.json()["code"] == "idempotency_key_reused"


async def test_the_preview_says_who_decides_for_those_who_are_away(api: Api) -> None:
    await api.call("dora", "POST", "/v1/delegations", json=AWAY)
    await submitted(api)
    found = (await api.call("rita", "POST", "/v1/quotes/Q-1/preview")).json()
    assert found["stand_ins"] == {"dora": ["fabio"]}
    assert found["names"]["fabio"] == "Fábio Lima"
