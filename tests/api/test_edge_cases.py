"""What is right in rare cases of approvals; each test states the rule."""

import re
from typing import Any

import pytest
from sqlmodel import select

from domain.errors import Unavailable
from storage.tables import MessageRow
from tests.api.test_decisions import inbox, open_quote
from tests.api.test_delegations import AWAY
from tests.api.test_order_changes import an_order, done
from tests.api.test_orders import accepted, ordered
from tests.api.test_quotes import BODY, submitted
from tests.apiclient import Api
from tests.console.test_resume import visit
from tests.support import a_line

on_sqlite = pytest.mark.parametrize("bench", ["sqlite"], indirect=True)
"""What pages and types say is no matter of databases."""
ADDED_LATER = """
kind: quote
valid_for_days: 30
chains: [{name: one}]
rules:
- {name: first, ask: {user: fabio}, chain: one}
"""


async def approve(api: Api, who: str) -> None:
    (item,) = await inbox(api, who)
    answer = await api.call(who, "POST", f"/v1/approvals/{item['approval']}/approve", json={"digest": item["digest"]})
    assert answer.json()["outcome"]["applied"], answer.text


async def quote(api: Api) -> dict[str, Any]:
    return dict((await api.call("rita", "GET", "/v1/quotes/Q-1")).json())


async def letters(api: Api) -> list[tuple[str, str]]:
    async with api.bench.container.database.reading() as session:
        return [(row.person, row.template) for row in (await session.exec(select(MessageRow))).all()]


async def test_who_was_added_is_asked_again_once_their_approval_is_out_of_date(api: Api) -> None:
    await api.bench.publish(ADDED_LATER)
    await open_quote(api)
    (item,) = await inbox(api, "fabio")
    await api.call("rita", "POST", f"/v1/approvals/{item['approval']}/add-approver", json={"to": "omar", "reason": "x"})
    for who in ("fabio", "omar"):
        await approve(api, who)
    api.bench.clock.forward(days=31)
    await api.bench.sweep()
    assert (await quote(api))["status"] == "draft"
    assert (await api.call("rita", "POST", "/v1/quotes/Q-1/submit")).status_code == 200
    for who in ("fabio", "omar"):
        await approve(api, who)
    assert (await quote(api))["status"] == "approved"
    assert (await api.call("rita", "POST", "/v1/quotes/Q-1/accept", json={"on": "2026-04-01"})).status_code == 200


@pytest.mark.parametrize(("sent", "fires"), [(0, False), (1, True), (1.0, True), (2, True), (True, False)])
@on_sqlite
async def test_a_number_of_the_companys_own_stays_a_number(api: Api, sent: Any, fires: bool) -> None:
    await api.bench.publish(
        "- {name: seats, conditions: [{field: seats, operator: greater_or_equals, value: 1}], ask: {user: fabio}}"
    )
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json={**BODY, "fields": {"seats": sent}})
    stored = (await quote(api))["quote"]["fields"]["seats"]
    assert (stored, type(stored) is bool) == (sent, type(sent) is bool)
    preview = (await api.call("rita", "POST", "/v1/quotes/Q-1/preview")).json()
    assert bool(preview["approvals"]) is fires


async def test_one_and_true_are_two_versions(api: Api) -> None:
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json={**BODY, "fields": {"rush": 1}})
    answer = await api.call(
        "rita", "PUT", "/v1/quotes/Q-1", json={**BODY, "fields": {"rush": True}}, headers={"If-Match": '"1"'}
    )
    assert answer.headers["ETag"] == '"2"'
    assert (await quote(api))["quote"]["fields"]["rush"] is True


@on_sqlite
async def test_who_submitted_is_shown_no_decision_although_they_stand_in(api: Api) -> None:
    rita = (await api.call("root", "GET", "/v1/users/rita")).json()
    changed = {**rita, "roles": ["rep", "approver"]}
    await api.call("root", "PUT", "/v1/users/rita", json=changed, headers={"If-Match": f'"{rita["version"]}"'})
    assert (await api.call("dora", "POST", "/v1/delegations", json={**AWAY, "delegate": "rita"})).status_code == 201
    await open_quote(api)
    page = (await visit(api, "rita", "GET", "/quotes/Q-1")).text
    assert not re.search(r"/(approve|reject|delegate|consult)\b", page)


async def test_a_stand_in_who_voted_is_reminded_of_nothing(api: Api) -> None:
    await api.bench.publish("- {name: both, ask: {group: deal-desk, quorum: all}, remind_every_hours: 8}")
    await open_quote(api)
    await api.call("dora", "POST", "/v1/delegations", json={**AWAY, "delegate": "daniel"})
    await approve(api, "daniel")
    before = len(await letters(api))
    api.bench.clock.forward(days=1)
    await api.bench.advance("quote:Q-1:approval:1")
    assert {person for person, _ in (await letters(api))[before:]} == {"dora"}


async def test_advice_goes_to_who_asked_for_it(api: Api) -> None:
    item = await submitted(api)
    await api.call("dora", "POST", "/v1/delegations", json=AWAY)
    asked = {"digest": item["digest"], "to": "omar", "question": "Enough stock?"}
    await api.call("fabio", "POST", f"/v1/approvals/{item['approval']}/consult", json=asked)
    await api.call("omar", "POST", f"/v1/approvals/{item['approval']}/advise", json={"answer": "Yes"})
    assert [person for person, template in await letters(api) if template == "advised"] == ["fabio"]


@on_sqlite
async def test_the_customer_says_yes_to_what_the_page_showed(api: Api) -> None:
    item = await submitted(api)
    await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/approve", json={"digest": item["digest"]})
    page = (await visit(api, "rita", "GET", "/quotes/Q-1")).text
    form = page[page.index('action="/quotes/Q-1/accept"') :].partition("</form>")[0]
    fields = [(name, value) for name, value in re.findall(r'name="([^"]*)" value="([^"]*)"', form) if name != "on"]
    cheaper = {**BODY, "lines": [a_line(discount_percent="5", quantity="7")]}
    await api.call("rita", "PUT", "/v1/quotes/Q-1", json=cheaper, headers={"If-Match": '"1"'})
    await api.call("rita", "POST", "/v1/quotes/Q-1/submit")
    answer = await visit(api, "rita", "POST", "/quotes/Q-1/accept", [*fields, ("on", "2026-03-02")])
    assert answer.status_code == 412
    assert (await quote(api))["status"] == "approved"


@pytest.mark.parametrize("delegate", ["", "x y", "nobody"])
@on_sqlite
async def test_a_delegate_that_is_nobody_is_refused_on_the_page(api: Api, delegate: str) -> None:
    answer = await visit(api, "fabio", "POST", "/away", [("delegate", delegate), ("first", "2026-03-02")])
    assert answer.status_code == 422
    assert 'class="note bad"' in answer.text


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"note": "x\u202b"}, "must not override the direction"), ({"note": "x" * 4_001}, "is longer than 4000 characters"),
        ({"note": {"a": 1}}, "must be a text, a number"), ({"note": 10**18}, "digits"),
        ({"note": ["x" * 201]}, "is longer than 200 characters"),
    ],
)  # fmt: skip
@on_sqlite
async def test_a_field_of_the_companys_own_is_named_without_the_types_it_could_have(
    api: Api, fields: dict[str, Any], problem: str
) -> None:
    answer = (await api.call("rita", "PUT", "/v1/quotes/Q-1", json={**BODY, "fields": fields})).json()
    (error,) = answer["errors"]
    assert error["field"] == "fields.note"
    assert problem in error["problem"]


@on_sqlite
async def test_a_text_that_is_too_long_has_characters_and_no_entries(api: Api) -> None:
    answer = (await api.call("rita", "PUT", "/v1/quotes/Q-1", json={**BODY, "payment_terms": "x" * 65})).json()
    assert answer["errors"] == [{"field": "payment_terms", "problem": "is longer than 64 characters"}]


@pytest.mark.parametrize("email", ["þóra@example.com", "ÞÓRA@Example.com"])
async def test_an_address_belongs_to_one_person_in_every_alphabet(api: Api, email: str) -> None:
    codes = []
    for who, address in (("leif", "Þóra@example.com"), ("omar", email)):
        person = (await api.call("root", "GET", f"/v1/users/{who}")).json()
        changed, version = {**person, "email": address}, {"If-Match": f'"{person["version"]}"'}
        codes.append((await api.call("root", "PUT", f"/v1/users/{who}", json=changed, headers=version)).status_code)
    assert codes == [200, 422]


@on_sqlite
async def test_what_is_refused_on_a_card_stands_below_what_was_typed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    item = await submitted(api)
    path = f"/approvals/{item['approval']}"
    on_card = {"HX_Request": "true", "HX_Target": f"card-{item['approval']}"}
    fields = [("digest", item["digest"]), ("to", "daniel"), ("comment", "Is it right?")]
    asked = [("digest", item["digest"]), ("comment", "x" * 5_000)]

    def away() -> None:
        raise Unavailable

    for who, verb, sent, status in (
        ("dora", "delegate", [*fields[:1], ("to", "dora")], 409), ("dora", "approve", asked, 422),
        ("rita", "approve", fields, 403), ("dora", "approve", fields, 503),
    ):  # fmt: skip
        if status == 503:
            monkeypatch.setattr(api.bench.container.database, "writing", away)
        answer = await visit(api, who, "POST", f"{path}/{verb}", sent, **on_card)
        assert answer.status_code == status, (verb, answer.text)
        assert answer.headers["HX-Retarget"] == f"#problem-{item['approval']}"
        assert answer.text.startswith('<span role="alert">')


@on_sqlite
async def test_a_quantity_is_written_as_its_reader_types_it(api: Api) -> None:
    await accepted(api, lines=[a_line(quantity="2.25", unit="t", step="0.001", discount_percent="15")])
    page = (await visit(api, "rita", "POST", "/quotes/Q-1/orders", [("way", "hand"), ("line.1", "1,125")])).text
    assert "1,125 ×" in page
    await ordered(api, way="hand", groups=[{"slot": {"trigger": {"start": "manual"}}, "lines": {"1": "1.125"}}])
    page = (await visit(api, "rita", "POST", "/quotes/Q-1/orders", [("way", "hand"), ("line.1", "2")])).text
    assert "1,125 ainda por pedir" in page


@pytest.mark.parametrize(("kinds", "sees"), [(["order_change"], True), (["quote"], False), ([], True)])
async def test_whom_a_delegation_covers_is_the_same_in_mail_inbox_page_and_decision(
    api: Api, kinds: list[str], sees: bool
) -> None:
    id = await an_order(api)
    assert (await api.call("dora", "POST", "/v1/delegations", json={**AWAY, "kinds": kinds})).status_code == 201
    await done(api, "dina", f"orders/{id}/amend", lines={"1": "8"}, reason="more")
    assert ("fabio" in {person for person, template in await letters(api) if template == "requested"}) is sees
    (item,) = await inbox(api, "dora")
    path = f"/v1/approvals/{item['approval']}"
    assert len(await inbox(api, "fabio")) == sees
    assert (item["approval"] in (await visit(api, "fabio", "GET", "/inbox")).text) is sees
    assert (await api.call("fabio", "GET", path)).status_code == (200 if sees else 404)
    answer = await api.call("fabio", "POST", f"{path}/approve", json={"digest": item["digest"]})
    assert answer.status_code == (200 if sees else 409)


async def test_whose_advice_is_awaited_is_replaced_before_they_leave(api: Api) -> None:
    item = await submitted(api)
    asked = {"digest": item["digest"], "to": "omar", "question": "Enough stock?"}
    await api.call("dora", "POST", f"/v1/approvals/{item['approval']}/consult", json=asked)
    group = {"id": "operations", "name": "Operations", "members": ["olga"]}
    await api.call("adam", "PUT", "/v1/groups/operations", json=group, headers={"If-Match": '"1"'})
    omar = (await api.call("root", "GET", "/v1/users/omar")).json()
    leaves = {"json": {**omar, "active": False}, "headers": {"If-Match": f'"{omar["version"]}"'}}
    assert (await api.call("root", "PUT", "/v1/users/omar", **leaves)).status_code == 422
    started = await api.call("adam", "POST", "/v1/replacements", json={"old": "omar", "new": "olga"})
    assert started.status_code in (201, 202), started.text
    for _ in range(3):
        await api.bench.replacing.step(started.json()["id"])
    (asked_of_olga,) = [one for one in await inbox(api, "olga") if one["question"]]
    assert asked_of_olga["question"] == "Enough stock?"
    assert "olga" in [person for person, template in await letters(api) if template == "consulted"]
    assert (await api.call("root", "PUT", "/v1/users/omar", **leaves)).status_code == 200
