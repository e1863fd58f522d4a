"""One more approver, advice, telling, neutral and steered fields, and approvals that end."""

from typing import Any

import pytest
from sqlmodel import select

from domain.approvals.exchange import read_policy
from services.imports.samples import SYSTEM
from storage.tables import MessageRow
from tests.api.test_quotes import BODY, submitted
from tests.apiclient import Api
from tests.support import a_line, a_quote

DEEP = {"lines": [a_line(discount_percent="30")]}


async def policy(api: Api, yaml: str) -> None:
    await api.bench.container.policies.publish_policy(SYSTEM, read_policy("kind: quote\n" + yaml))


async def told(api: Api, template: str) -> list[tuple[str, dict[str, Any]]]:
    async with api.bench.container.database.reading() as session:
        rows = (await session.exec(select(MessageRow).where(MessageRow.template == template))).all()
    return [(row.person, row.data) for row in rows]


async def inbox(api: Api, who: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.call(who, "GET", "/v1/inbox")).json()["items"]
    return found


async def test_the_rep_adds_an_approver_whose_turn_comes_and_whose_approval_counts(api: Api) -> None:
    item = await submitted(api, **DEEP)
    path = f"/v1/approvals/{item['approval']}"
    body = {"to": "fabio", "step": 15, "reason": "he knows them"}
    answer = await api.call("rita", "POST", f"{path}/add-approver", json=body)
    assert answer.status_code == 200, answer.text
    round = (await api.call("rita", "GET", "/v1/quotes/Q-1/rounds")).json()[0]
    added = next(a for a in round["round"]["approvals"] if a["rule"] == "added")
    assert round["reasons"][added["id"]] == ["rita asked for it: he knows them"]
    while (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()["status"] == "in_approval":
        for who in ("dora", "fabio"):
            for mine in await inbox(api, who):
                way = f"/v1/approvals/{mine['approval']}/approve"
                await api.call(who, "POST", way, json={"digest": mine["digest"]})
    shown = (await api.call("fabio", "GET", f"/v1/approvals/{added['id']}")).json()
    assert (shown["approval"]["status"], shown["asked"]) == ("approved", "")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "to"),
        ({"to": "fabio", "group": "deal-desk"}, "to"),
        ({"to": "ghost"}, "to"),
        ({"to": "rita"}, "to"),
        ({"group": "ghosts"}, "group"),
        ({"to": "fabio", "step": 0}, "step"),
    ],
)
async def test_adding_nobody_who_could_decide_is_an_error_naming_the_field(
    api: Api, body: dict[str, Any], field: str
) -> None:
    item = await submitted(api)
    answer = await api.call("rita", "POST", f"/v1/approvals/{item['approval']}/add-approver", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_stranger_adds_nobody_and_learns_nothing(api: Api) -> None:
    item = await submitted(api)
    answer = await api.call("fabio", "POST", f"/v1/approvals/{item['approval']}/add-approver", json={"to": "carla"})
    assert answer.status_code == 404


async def test_a_group_is_added_and_any_of_it_may_decide(api: Api) -> None:
    await policy(api, "rules: [{name: r, ask: {user: dora}}]")
    item = await submitted(api)
    path = f"/v1/approvals/{item['approval']}"
    assert (await api.call("dora", "POST", f"{path}/add-approver", json={"group": "deal-desk"})).status_code == 200
    await api.call("dora", "POST", f"{path}/approve", json={"digest": item["digest"]})
    (mine,) = await inbox(api, "daniel")
    assert mine["rule"] == "added"


async def test_advice_is_asked_in_the_inbox_given_and_the_holder_told(api: Api) -> None:
    item = await submitted(api)
    path = f"/v1/approvals/{item['approval']}"
    assert (await api.call("fabio", "GET", "/v1/quotes/Q-1")).status_code == 404
    asked = {"digest": item["digest"], "to": "fabio", "question": "Is that margin still fine?"}
    assert (await api.call("dora", "POST", f"{path}/consult", json=asked)).status_code == 200
    (mine,) = await inbox(api, "fabio")
    assert mine["question"] == "Is that margin still fine?"
    assert await told(api, "consulted") == [
        (
            "fabio",
            {
                "approvals": [item["approval"]],
                "digest": item["digest"],
                "text": "Is that margin still fine?",
                "by": "dora",
            },
        )
    ]
    refused = await api.call("fabio", "POST", f"{path}/approve", json={"digest": item["digest"]})
    assert refused.json()["code"] == "not_an_approver"
    assert (await api.call("fabio", "POST", f"{path}/advise", json={"answer": "Yes."})).status_code == 200
    assert (await inbox(api, "fabio"), len(await inbox(api, "dora"))) == ([], 1)
    assert [who for who, _ in await told(api, "advised")] == ["dora"]
    assert (await api.call("fabio", "GET", "/v1/quotes/Q-1")).status_code == 200, "who advised keeps sight of it"
    again = await api.call("fabio", "POST", f"{path}/advise", json={"answer": "No."})
    assert (again.status_code, again.json()["code"]) == (409, "not_consulted")
    assert (await api.call("dora", "POST", f"{path}/approve", json={"digest": item["digest"]})).status_code == 200


async def test_a_decision_without_waiting_for_advice_takes_the_question_away(api: Api) -> None:
    item = await submitted(api)
    path = f"/v1/approvals/{item['approval']}"
    asked = {"digest": item["digest"], "to": "fabio", "question": "Fine?"}
    await api.call("dora", "POST", f"{path}/consult", json=asked)
    await api.call("dora", "POST", f"{path}/approve", json={"digest": item["digest"]})
    assert await inbox(api, "fabio") == []


async def test_advice_asked_of_one_who_is_away_is_not_put_to_who_stands_in(api: Api) -> None:
    item = await submitted(api)
    body = {"delegate": "carla", "first": "2026-03-01", "last": "2026-03-31"}
    assert (await api.call("fabio", "POST", "/v1/delegations", json=body)).status_code == 201
    asked = {"digest": item["digest"], "to": "fabio", "question": "Fine?"}
    await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/consult", json=asked)
    assert (len(await inbox(api, "fabio")), await inbox(api, "carla")) == (1, [])


async def test_who_is_only_told_sees_the_quote_and_has_nothing_to_decide(api: Api) -> None:
    await policy(api, "rules: [{name: told, ask: {user: fabio}, effect: inform}, {name: r, ask: {user: dora}}]")
    await submitted(api)
    assert [who for who, _ in await told(api, "informed")] == ["fabio"]
    assert await inbox(api, "fabio") == []
    assert (await api.call("fabio", "GET", "/v1/quotes/Q-1")).status_code == 200


# --- fields -----------------------------------------------------------------------------------------------------------


async def edit(api: Api, **fields: Any) -> Any:
    now = (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()
    tag = {"If-Match": f'"{now["version"]}"'}
    body = a_quote(discount="15", **fields).model_dump(mode="json")
    return await api.call("rita", "PUT", "/v1/quotes/Q-1", json=body, headers=tag)


async def test_a_neutral_field_is_edited_in_and_after_approval_and_nothing_else(api: Api) -> None:
    await policy(api, "neutral: [note, payment_terms]\nrules: [{name: r, ask: {user: dora}}]")
    item = await submitted(api)
    edited = await edit(api, fields={"note": "call first"}, payment_terms="net 30")
    assert (edited.status_code, edited.json()["status"], edited.json()["digest"]) == (
        200,
        "in_approval",
        item["digest"],
    )
    assert (await edit(api, fields={"note": "x", "colour": "red"})).json()["code"] == "locked"
    approve = f"/v1/approvals/{item['approval']}/approve"
    assert (await api.call("dora", "POST", approve, json={"digest": item["digest"]})).status_code == 200
    assert (await edit(api, fields={"note": "done"})).json()["status"] == "approved"
    trail = (await api.call("rita", "GET", "/v1/quotes/Q-1/audit")).json()["items"]
    assert [e["facts"]["neutral"] for e in trail if "neutral" in e["facts"]] == [
        ["note", "payment_terms"],
        ["note", "payment_terms"],
    ]
    assert (await edit(api, fields={"colour": "red"})).json()["status"] == "draft"


async def test_what_is_neutral_is_what_the_round_was_opened_with(api: Api) -> None:
    await policy(api, "rules: [{name: r, ask: {user: dora}}]")
    await submitted(api)
    await policy(api, "neutral: [note]\nrules: [{name: r, ask: {user: dora}}]")
    assert (await edit(api, fields={"note": "x"})).json()["code"] == "locked"


async def test_fields_that_steer_approvals_are_not_the_reps_to_write(api: Api) -> None:
    await policy(
        api,
        "routing: [channel, partner]\nrules:\n"
        "- {name: r, ask: {line_field: product_manager}, fallback: {user: dora}}\n"
        "- {name: g, ask: {group: deal-desk, where: {unit: region}}, fallback: {user: dora}}\n",
    )
    for fields, named in (
        ({"fields": {"channel": "web"}}, "channel"),
        ({"partner": "P-1"}, "partner"),
        ({"fields": {"region": "Nordics"}}, "region"),
        ({"lines": [a_line(product_manager="rita")]}, "lines[0].product_manager"),
    ):
        body = a_quote("Q-9", **fields).model_dump(mode="json")
        answer = await api.call("rita", "PUT", "/v1/quotes/Q-9", json=body)
        assert (answer.status_code, answer.json().get("field")) == (403, named)


async def test_a_line_with_an_approver_of_its_own_keeps_its_product(api: Api) -> None:
    """Swapped ids would hand each product to the approver of the other."""
    lines = [a_line("1", product="P-1", product_manager="dora"), a_line("2", product="P-2", product_manager="fabio")]
    assert (await api.call("rita", "PUT", "/v1/quotes/Q-1", json={**BODY, "lines": lines})).status_code == 201
    await policy(api, "rules: [{name: r, ask: {line_field: product_manager}, fallback: {user: dora}}]")
    swapped = [{**lines[0], "product": "P-2"}, {**lines[1], "product": "P-1"}]
    answer = await edit(api, lines=swapped)
    assert (answer.status_code, answer.json()["field"]) == (403, "lines[0].product")
    assert (await edit(api, lines=lines[::-1])).status_code == 200, "their order is free"
    assert (await edit(api, lines=[lines[1]])).status_code == 200, "a line may go"


async def test_whoever_took_the_place_of_an_added_approver_is_asked(api: Api) -> None:
    await policy(api, "rules: [{name: r, ask: {user: dora}}]")
    item = await submitted(api)
    path = f"/v1/approvals/{item['approval']}/add-approver"
    assert (await api.call("rita", "POST", path, json={"to": "daniel"})).status_code == 200
    assert (await api.call("rita", "POST", "/v1/quotes/Q-1/recall")).status_code == 200
    for new in ("lara", "omar"):
        old = "daniel" if new == "lara" else "lara"
        started = await api.call("adam", "POST", "/v1/replacements", json={"old": old, "new": new})
        while (await api.bench.replacing.step(started.json()["id"])).status != "finished":
            continue
        known = (await api.call("root", "GET", f"/v1/users/{old}")).json()
        tag = {"If-Match": f'"{known["version"]}"'}
        left = await api.call("root", "PUT", f"/v1/users/{old}", json={**known, "active": False}, headers=tag)
        assert left.status_code == 200, left.text
    plan = (await api.call("rita", "POST", "/v1/quotes/Q-1/preview")).json()
    asked = {approval["rule"]: (approval["seats"], approval["notes"]) for approval in plan["approvals"]}
    assert asked["added"] == (["omar"], ["daniel was replaced by omar"])
    assert plan["unresolved"] == []


async def test_a_group_is_narrowed_by_the_unit_of_the_owner(api: Api) -> None:
    for who, unit in (("rita", "Nordics"), ("daniel", "Nordics"), ("dora", "Iberia")):
        known = (await api.call("root", "GET", f"/v1/users/{who}")).json()
        tag = {"If-Match": f'"{known["version"]}"'}
        changed = await api.call("root", "PUT", f"/v1/users/{who}", json={**known, "unit": unit}, headers=tag)
        assert changed.status_code == 200
    await policy(api, "rules: [{name: g, ask: {group: deal-desk, where: {unit: owner_unit}}}]")
    body = a_quote().model_dump(mode="json")
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json=body)
    preview = (await api.call("rita", "POST", "/v1/quotes/Q-1/preview")).json()
    assert preview["approvals"][0]["seats"] == ["daniel"]


# --- time -------------------------------------------------------------------------------------------------------------


async def test_an_approval_that_is_not_used_in_time_ends_and_the_owner_is_told(api: Api) -> None:
    await policy(api, "valid_for_days: 30\nrules: [{name: r, ask: {user: dora}}]")
    item = await submitted(api)
    way = f"/v1/approvals/{item['approval']}/approve"
    await api.call("dora", "POST", way, json={"digest": item["digest"]})
    quote = (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()
    assert (quote["status"], quote["valid_until"][:10]) == ("approved", "2026-04-01")
    api.bench.clock.forward(days=29)
    await api.bench.sweep()
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()["status"] == "approved"
    api.bench.clock.forward(days=1)
    for _ in range(2):
        await api.bench.sweep()
    quote = (await api.call("rita", "GET", "/v1/quotes/Q-1")).json()
    assert (quote["status"], quote["valid_until"]) == ("draft", None)
    assert [who for who, _ in await told(api, "lapsed")] == ["rita"]
    trail = (await api.call("rita", "GET", "/v1/quotes/Q-1/audit")).json()["items"]
    assert [e["code"] for e in trail if e["actor"] == "clock"] == ["lapsed"]


async def test_an_edit_before_the_end_keeps_the_approval_from_ending_twice(api: Api) -> None:
    await policy(api, "valid_for_days: 1\nrules: []")
    body = a_quote().model_dump(mode="json")
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json=body)
    await api.call("rita", "POST", "/v1/quotes/Q-1/submit")
    await edit(api)
    api.bench.clock.forward(days=2)
    await api.bench.sweep()
    assert await told(api, "lapsed") == []


async def test_the_preview_says_how_long_it_takes_by_how_long_it_took(api: Api) -> None:
    await policy(api, "rules: [{name: r, ask: {user: dora}}]")
    for n, hours in enumerate((2, 4, 90)):
        item = await submitted(api, id=f"H-{n}")
        api.bench.clock.forward(hours=hours)
        way = f"/v1/approvals/{item['approval']}/approve"
        await api.call("dora", "POST", way, json={"digest": item["digest"]})
    await api.call("rita", "PUT", "/v1/quotes/Q-2", json=a_quote("Q-2").model_dump(mode="json"))
    preview = (await api.call("rita", "POST", "/v1/quotes/Q-2/preview")).json()
    assert float(preview["expected_hours"]) == 4


async def test_a_person_without_history_makes_the_time_unknown(api: Api) -> None:
    await api.call("rita", "PUT", "/v1/quotes/Q-2", json=a_quote("Q-2", discount="15").model_dump(mode="json"))
    assert (await api.call("rita", "POST", "/v1/quotes/Q-2/preview")).json()["expected_hours"] is None
