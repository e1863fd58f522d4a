"""The story of a quote, played against a throw-away stack. Every step asserts on API, database and workflow."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Any

import aiosmtplib
import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from temporalio.service import RPCError

from app import logs
from app.container import Application, build
from app.settings import Settings
from cli.dev import HOST, CannotStart, Ports, Stack
from cli.doctor import Doctor
from domain.approvals.exchange import read_policy, write_policy
from domain.approvals.round import Round, RoundStatus
from domain.audit import flaws
from domain.runs import Advanced, Outcome
from erp.tryton.install import Installation
from notify.catcher import Caught, caught
from services.imports.importing import Imports
from services.imports.samples import FOLDER as SAMPLES
from services.imports.samples import SYSTEM, load
from storage.approvals import rounds
from storage.orders import orders
from storage.runs import audit_log, runs

PASSWORD = "dealwright-demo"
QUOTE = "Q-1002"
PATIENCE_SECONDS = 20.0


class Broken(Exception):
    """A step of the story did not hold."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


@dataclass
class Story:
    """Who acts, and what they see."""

    stack: Stack
    container: Application
    tokens: dict[str, str] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)

    async def call(self, who: str, method: str, path: str, expect: int = 200, **options: Any) -> Any:
        """One request in somebody's name; anything but the expected status breaks the story."""
        async with httpx.AsyncClient(base_url=self.stack.api_url, timeout=30) as client:
            if who not in self.tokens:
                signed_in = await client.post("/v1/auth/token", json={"user": who, "password": PASSWORD})
                must(signed_in.status_code == 200, f"{who} could not sign in: {signed_in.text}")
                self.tokens[who] = signed_in.json()["access_token"]
            headers = {"Authorization": f"Bearer {self.tokens[who]}", **options.pop("headers", {})}
            answer = await client.request(method, path, headers=headers, **options)
        must(answer.status_code == expect, f"{who} {method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.content else None

    async def round(self, number: int) -> Round:
        """The round as stored, once its run in Temporal was told of all of it."""
        run = f"quote:{QUOTE}:approval:{number}"
        await self.follows(run)
        async with self.container.database.reading() as session:
            stored, _ = await rounds.round_of(session, run)
        return stored

    async def follows(self, run: str) -> None:
        """Wait until the run in Temporal was told of everything that is stored."""
        client = await self.container.temporal.client(lazy=False)

        async def agree() -> bool:
            async with self.container.database.reading() as session:
                stored = await runs.get_run(session, run)
            try:
                told = await client.get_workflow_handle(run).query("state", result_type=Advanced)
            except RPCError:  # it is about to be started
                return False
            return stored is not None and (told.number, told.mark) == (stored.seq, stored.mark)

        await self.eventually(agree, f"{run} should follow the database")

    async def eventually(self, come: Callable[[], Awaitable[Any]], what: str) -> Any:
        """What comes of asking again and again."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not (found := await come()):
            must(time.monotonic() < until, what)
            await asyncio.sleep(0.1)
        return found

    async def ended(self, number: int) -> bool:
        return not (await self.round(number)).running

    async def letter(self, to: str, *words: str) -> Caught:
        """The newest letter to somebody that says all this."""

        async def come() -> Caught | None:
            found = (
                m for m in caught(self.stack.mailbox) if to in m.to and all(w in m.subject + m.text for w in words)
            )
            return next(found, None)

        found: Caught = await self.eventually(come, f"{to} should have a letter that says {words}")
        return found

    async def answer(self, letter: Caught, sender: str, text: str) -> None:
        """Answer a letter as its reader's mail program would."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = sender, letter.reply_to, f"Re: {letter.subject}"
        mail["Message-ID"] = make_msgid()
        mail.set_content(text)
        await aiosmtplib.send(mail, hostname=HOST, port=self.stack.ports.replies, start_tls=False)

    async def waiting(self, who: str) -> dict[str, Any]:
        items = (await self.call(who, "GET", "/v1/inbox"))["items"]
        must(len(items) == 1, f"{who} should have one approval waiting, not {len(items)}")
        found: dict[str, Any] = items[0]
        return found

    async def decide(self, who: str, verb: str, expect: int = 200, **body: Any) -> Any:
        item = await self.waiting(who)
        path = f"/v1/approvals/{item['approval']}/{verb}"
        return await self.call(who, "POST", path, expect, json={"digest": item["digest"], **body})


Step = tuple[str, Callable[[Story], Awaitable[None]]]


async def import_quotes(story: Story) -> None:
    must(await load(story.container.context, story.container.access), "the sample company should be loaded")
    folder = SAMPLES / "salesforce"
    first = await Imports(story.container.context).salesforce(SYSTEM, folder, "rita", "EUR")
    again = await Imports(story.container.context).salesforce(SYSTEM, folder, "rita", "EUR")
    must(first.quotes == {"new": 4} and again.quotes == {"unchanged": 4}, "a second import should change nothing")


async def preview(story: Story) -> None:
    plan = await story.call("rita", "POST", f"/v1/quotes/{QUOTE}/preview")
    chains = {(a["chain"], a["step"]) for a in plan["approvals"]}
    must(
        chains == {("commercial", 10), ("commercial", 20), ("operations", 10), ("legal", 10)},
        f"unexpected approvals: {chains}",
    )
    must(all(a["reasons"] for a in plan["approvals"]), "every approval should say why")


async def submit(story: Story) -> None:
    headers = {"Idempotency-Key": "tour-submit"}
    done = await story.call("rita", "POST", f"/v1/quotes/{QUOTE}/submit", headers=headers)
    same = await story.call("rita", "POST", f"/v1/quotes/{QUOTE}/submit", headers=headers)
    must(done == same, "the same key should give the same answer")
    must((await story.round(1)).status is RoundStatus.PENDING, "the round should be pending")


async def edit_is_refused(story: Story) -> None:
    quote = await story.call("rita", "GET", f"/v1/quotes/{QUOTE}")
    headers = {"If-Match": f'"{quote["version"]}"'}
    edited = {**quote["quote"], "payment_terms": "Net 90"}
    await story.call("rita", "PUT", f"/v1/quotes/{QUOTE}", 409, json=edited, headers=headers)


async def approve(story: Story) -> None:
    await story.decide("dora", "approve", comment="Margin holds with the licence uplift.")
    late = await story.call("daniel", "GET", "/v1/inbox")
    must(late["items"] == [], "the group's other member should not be asked any more")


async def delegate(story: Story) -> None:
    await story.decide("omar", "delegate", to="leif", reason="On the road today")
    items = (await story.call("leif", "GET", "/v1/inbox"))["items"]
    must({i["title"] for i in items} == {"Capacity planning", "Counsel"}, "leif should hold both approvals")
    for item in items:
        body = {"digest": item["digest"], "comment": "Fine"}
        await story.call("leif", "POST", f"/v1/approvals/{item['approval']}/approve", json=body)


async def ask_others(story: Story) -> None:
    """Fábio asks Carla before he decides; Rita adds somebody after him."""
    item = await story.waiting("fabio")
    path = f"/v1/approvals/{item['approval']}"
    question = {"digest": item["digest"], "to": "carla", "question": "Did we ever go below 28 % for them?"}
    await story.call("fabio", "POST", f"{path}/consult", json=question)
    must((await story.waiting("carla"))["question"] == question["question"], "carla should be asked, not decide")
    await story.call("carla", "POST", f"{path}/advise", json={"answer": "Once, and regretted it."})
    await story.letter("fabio@example.com", "regretted")
    must((await story.call("carla", "GET", "/v1/inbox"))["items"] == [], "the question should be gone")
    await story.call("rita", "POST", f"{path}/add-approver", json={"to": "helena", "reason": "knows the customer"})
    added = [a for a in (await story.round(1)).approvals if a.added_by == "rita"]
    must([(a.step, a.status.value) for a in added] == [(21, "waiting")], "helena should come after fabio")


async def reject(story: Story) -> None:
    item = await story.waiting("fabio")
    path = f"/v1/approvals/{item['approval']}/reject"
    await story.call("fabio", "POST", path, 422, json={"digest": item["digest"], "comment": ""})
    await story.call("fabio", "POST", path, json={"digest": item["digest"], "comment": "30 % on gateways is too deep"})
    must((await story.round(1)).status is RoundStatus.REJECTED, "the round should be rejected")
    late = await story.call("fabio", "POST", path, 409, json={"digest": item["digest"], "comment": "again"})
    must(late["code"] == "round_closed", "a decision after the end should say so")


async def resubmit(story: Story) -> None:
    stored = await story.call("rita", "GET", f"/v1/quotes/{QUOTE}")
    must(stored["status"] == "rejected", "the quote should be rejected")
    edited = stored["quote"]
    for line in edited["lines"]:
        line["discount_percent"], line["net_total"] = str(min(Decimal(line["discount_percent"] or 0), 25)), None
    headers = {"If-Match": f'"{stored["version"]}"'}
    await story.call("rita", "PUT", f"/v1/quotes/{QUOTE}", json=edited, headers=headers)
    plan = await story.call("rita", "POST", f"/v1/quotes/{QUOTE}/preview")
    carried = {a["rule"] for a in plan["approvals"] if a["carried"]}
    must(carried == {"discount-desk", "equipment", "terms"}, f"unexpected approvals carried over: {carried}")
    must({h["rule"] for h in plan["hints"]} == {"discount-finance"}, f"unexpected hints: {plan['hints']}")
    await story.call("rita", "POST", f"/v1/quotes/{QUOTE}/submit")
    after = await story.round(2)
    must(after.waiting_on == ["fabio"], f"only who rejected it should be asked again, not {after.waiting_on}")
    (added,) = [a for a in after.approvals if a.added_by == "rita"]
    must(added.status.value == "waiting", "whom rita added should stay on the quote")
    await story.call("rita", "POST", f"/v1/approvals/{added.id}/remove-approver", json={"comment": "not needed"})


async def recall(story: Story) -> None:
    await story.call("rita", "POST", f"/v1/quotes/{QUOTE}/recall", json={"comment": "One more change"})
    must((await story.round(2)).status is RoundStatus.RECALLED, "the round should be recalled")


async def away(story: Story) -> None:
    """Fábio is away and Carla decides for him, by answering the mail she gets."""
    since = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()  # a day has not begun everywhere
    await story.call("fabio", "POST", "/v1/delegations", 201, json={"delegate": "carla", "first": since})
    back = {"delegate": "fabio", "first": since}
    refused = await story.call("carla", "POST", "/v1/delegations", 422, json=back)
    must(refused["reason"] == "delegation_cycle", "standing in for each other should be refused")
    await story.call("rita", "POST", f"/v1/quotes/{QUOTE}/submit")
    item = await story.waiting("carla")
    must(item["on_behalf_of"] == "fabio", "carla should see it in fabio's name")
    letter = await story.letter("carla@example.com", "/decide/")
    await story.answer(letter, "carla@example.com", "No problem, approved")
    answer = await story.letter("carla@example.com", "not understood")
    must((await story.round(3)).status is RoundStatus.PENDING, "an unclear reply should decide nothing")
    await story.answer(
        answer, "carla@example.com", "Approved.\r\n\r\nGood enough at 25 %.\r\n\r\n> On Monday you wrote:\r\n> no"
    )
    await story.eventually(lambda: story.ended(3), "the reply should approve the round")
    must((await story.round(3)).status is RoundStatus.APPROVED, "the round should be approved")
    events = (await story.call("rita", "GET", f"/v1/quotes/{QUOTE}/audit"))["items"]
    last = [e for e in events if e["verb"] == "approve"][-1]
    told = (last["actor"], last["on_behalf_of"], last["channel"])
    must(told == ("carla", "fabio", "mail"), f"the trail should keep both and the door, not {told}")


async def finish(story: Story) -> None:
    stored = await story.call("rita", "GET", f"/v1/quotes/{QUOTE}")
    must(stored["status"] == "approved" and stored["valid_until"], "the quote should be approved, for a time")
    quote = {**stored["quote"], "fields": {**stored["quote"]["fields"], "customer_reference": "PO 4711"}}
    headers = {"If-Match": f'"{stored["version"]}"'}
    noted = await story.call("rita", "PUT", f"/v1/quotes/{QUOTE}", json=quote, headers=headers)
    same = ("approved", stored["digest"])
    must((noted["status"], noted["digest"]) == same, "a reference that no rule looks at should cost nothing")


async def forged_signal(story: Story) -> None:
    """A signal that names somebody without the role is refused, and the run goes on."""
    await story.call("rita", "POST", "/v1/quotes/Q-1004/submit")
    client = await story.container.temporal.client(lazy=False)
    handle = client.get_workflow_handle("quote:Q-1004:approval:1")
    run = "quote:Q-1004:approval:1"
    await story.follows(run)
    async with story.container.database.reading() as session:
        before, _ = await rounds.round_of(session, run)
    await handle.signal("approve", {"approval": before.approvals[0].id, "actor": "rita"})
    await handle.signal("approve", "no command at all")
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        trail_ = (await story.call("rita", "GET", "/v1/quotes/Q-1004/audit"))["items"]
        refused = [e for e in trail_ if not e["applied"] and e["code"] == "unverified_actor"]
        if len(refused) == 2:
            break
        must(time.monotonic() < until, "the forged signals should be refused and recorded")
        await asyncio.sleep(0.1)
    async with story.container.database.reading() as session:
        after, _ = await rounds.round_of(session, run)
    must(after == before, "the forged signal should change nothing")


async def by_link(story: Story) -> None:
    """Whoever opens the link decides nothing; whoever presses its button does, once."""
    item = await story.waiting("daniel")
    letter = await story.letter("daniel@example.com", "/decide/", item["quote"]["id"])
    address = next(word for word in letter.text.split() if "/decide/" in word)
    async with httpx.AsyncClient(timeout=30) as client:
        shown = await client.get(address)
        must(shown.status_code == 200 and "Deal desk" in shown.text, "the link should show what is asked")
        await story.waiting("daniel")
        done = await client.post(address, data={"verb": "approve"})
        again = await client.post(address, data={"verb": "reject", "comment": "no"})
    must((done.status_code, again.status_code) == (200, 409), "the link should decide once")


async def replace(story: Story) -> None:
    """Fábio leaves: what he held, and what the policy asked of him, goes to Leif."""
    who = {"old": "fabio", "new": "leif"}
    tried = await story.call("adam", "POST", "/v1/replacements/preview", json=who)
    must(tried["policies"] == ["order_change", "quote"] and tried["approvals"] == 1, f"unexpected dry run: {tried}")
    started = await story.call("adam", "POST", "/v1/replacements", 201, json=who)

    async def finished() -> bool:
        progress = await story.call("adam", "GET", f"/v1/replacements/{started['id']}")
        return bool(progress["replacement"]["status"] == "finished" and not progress["refused"])

    await story.eventually(finished, "the replacement should end with nothing left behind")
    policy = await story.call("adam", "GET", "/v1/policies/quote")
    must("user: leif" in policy["yaml"] and "fabio" not in policy["yaml"], "a new version should name who follows")
    must((await story.waiting("leif"))["quote"]["id"] == "Q-1004", "leif should hold what fabio held")


async def time_acts(story: Story) -> None:
    """On a short clock: nobody decides, so the holders are reminded and then somebody else is asked too."""
    policy = (await story.call("adam", "GET", "/v1/policies/quote"))["yaml"]
    hasty = "remind_every_hours: 0.0004\n  escalate_after_hours: 0.0006\n  escalate_to:\n    user: helena\n"
    yaml = policy.replace("    group: legal\n", f"    group: legal\n  {hasty}")
    await story.container.policies.publish_policy(SYSTEM, read_policy(yaml))
    line = {"id": "1", "product": "P", "quantity": "1", "list_price": "100"}
    quote = {
        "customer": {"id": "C-7", "name": "Norðurljós"},
        "currency": "EUR",
        "owner": "rita",
        "payment_terms": "Net 90",
        "lines": [line],
    }
    await story.call("rita", "PUT", "/v1/quotes/Q-2001", 201, json=quote)
    await story.call("rita", "POST", "/v1/quotes/Q-2001/submit")

    async def escalated() -> bool:
        events = (await story.call("rita", "GET", "/v1/quotes/Q-2001/audit"))["items"]
        return {"reminded", "escalated"} <= {event["code"] for event in events}

    await story.eventually(escalated, "time should remind the holders and ask somebody else too")
    mine = [i for i in (await story.call("helena", "GET", "/v1/inbox"))["items"] if i["quote"]["id"] == "Q-2001"]
    path = f"/v1/approvals/{mine[0]['approval']}/approve"
    await story.call("helena", "POST", path, json={"digest": mine[0]["digest"]})
    must((await story.call("rita", "GET", "/v1/quotes/Q-2001"))["status"] == "approved", "whom it came to may decide")


async def backtest(story: Story) -> None:
    current = await story.call("adam", "GET", "/v1/policies/quote")
    draft = current["yaml"].replace("value: 10\n", "value: 50\n", 1).replace("value: 20\n", "value: 50\n", 1)
    await story.call("adam", "PUT", "/v1/policies/quote/draft", json={"yaml": draft})
    said = await story.call("adam", "GET", "/v1/policies/quote/diff")
    must(any("fires when discount_percent > 50" in sentence for sentence in said), f"unexpected differences: {said}")
    found = (await story.call("adam", "GET", "/v1/policies/quote/backtest"))["totals"]
    must(found["records"] >= 4 and found["removed"] >= 3, f"unexpected backtest: {found}")


async def leave_salesforce(story: Story) -> None:
    folder = SAMPLES / "salesforce-approvals"
    export = await Imports(story.container.context).salesforce_approvals(SYSTEM, folder)
    draft = await story.call("adam", "GET", "/v1/policies/opportunity/draft")
    must(draft["yaml"] == write_policy(export.policies[0]), "the imported rules should be the draft, to the byte")
    must(len(export.remarks) > 3, "what was not mapped should be said")


async def temporal_dies(story: Story) -> None:
    """With neither Temporal nor a worker a decision is answered all the same; the run follows once they are back."""
    story.stack.children["worker"].kill()
    if not story.stack.outer_engine:
        story.stack.children["engine"].kill()
    item = await story.waiting("omar")
    answer = await story.decide("omar", "approve")
    must(Outcome.model_validate(answer["outcome"]).applied, "the approval should take effect at once")
    shown = await story.call("omar", "GET", f"/v1/approvals/{item['approval']}")
    must(shown["approval"]["status"] == "approved", "the approval should be stored")
    story.stack.revive()
    story.container.temporal.forget()
    async with story.container.database.reading() as session:
        run = await rounds.run_of_approval(session, item["approval"])
    assert run is not None
    await story.follows(run[1].id)


async def order(story: Story) -> None:
    """The customer says yes, and the quote becomes three orders by place and day."""
    soon = (datetime.now(UTC) + timedelta(days=40)).date().isoformat()
    porto, faro = {"city": "Porto", "time_zone": "Europe/Lisbon"}, {"city": "Faro", "time_zone": "Europe/Lisbon"}
    lines = [
        {"id": "1", "product": "GW", "quantity": "10", "list_price": "33.45", "ship_to": porto},
        {"id": "2", "product": "AN", "quantity": "4", "list_price": "9.99", "ship_to": faro, "requested_date": soon},
        {"id": "3", "product": "SP", "quantity": "1", "list_price": "99", "ship_to": porto, "requested_date": soon},
    ]
    quote = {"customer": {"id": "C-8", "name": "Casa Azul"}, "currency": "EUR", "owner": "rita", "lines": lines}
    await story.call("rita", "PUT", "/v1/quotes/Q-3001", 201, json=quote)
    await story.call("rita", "POST", "/v1/quotes/Q-3001/submit")
    way = {"way": "fields", "fields": ["ship_to", "requested_date"], "otherwise": {"start": "manual"}}
    await story.call("rita", "POST", "/v1/quotes/Q-3001/orders/preview", 409, json=way)
    yes = {"on": datetime.now(UTC).date().isoformat(), "po_number": "PO 4711"}
    await story.call("rita", "POST", "/v1/quotes/Q-3001/accept", json=yes)
    headers = {"Idempotency-Key": "tour-split"}
    placed = await story.call("rita", "POST", "/v1/quotes/Q-3001/orders", 201, json=way, headers=headers)
    again = await story.call("rita", "POST", "/v1/quotes/Q-3001/orders", 201, json=way, headers=headers)
    must([o["id"] for o in again["orders"]] == [o["id"] for o in placed["orders"]], "the same key should order once")
    money = sum(Decimal(line["share"]["net"]) for o in placed["orders"] for line in o["lines"])
    must(money == Decimal("473.46"), f"the orders should add up to the quote, not to {money}")


async def order_is(story: Story, id: str, wanted: str) -> dict[str, Any]:
    """The order, once it has that status and its run in Temporal was told of it."""

    async def so() -> dict[str, Any] | None:
        shown: dict[str, Any] = await story.call("dina", "GET", f"/v1/orders/{id}")
        return shown if shown["status"] == wanted else None

    found: dict[str, Any] = await story.eventually(so, f"{id} should be {wanted}")
    await story.follows(f"order:{id}")
    return found


async def sums_are_right(story: Story, quote: str, total: str) -> None:
    """Quoted = unallocated + allocated + cancelled in quantity and money, and the orders hold what is allocated."""
    async with story.container.database.reading() as session:
        entries = (await orders.ledger(session, quote)).values()
    money = sum((e.unallocated.net + e.allocated.net + e.cancelled.net for e in entries), Decimal(0))
    must(all(entry.balanced for entry in entries) and money == Decimal(total), f"{quote} should add up to {total}")


async def change_order(story: Story) -> None:
    """What was cancelled is ordered again; more of it needs approval, and undoing it leaves no trace in the sums."""
    slot = {"trigger": {"start": "manual"}}
    placed = await story.call("rita", "POST", "/v1/quotes/Q-3001/orders", 201, json={"way": "whole", "slot": slot})
    must([o["id"] for o in placed["orders"]] == ["Q-3001-4"], "the fourth order should take what is left")
    two = await order_is(story, "Q-3001-2", "scheduled")
    less = await story.call("dina", "POST", "/v1/orders/Q-3001-2/amend", json={"lines": {"2": "3"}})
    must(less["outcome"]["code"] == "changed", "a little less needs nobody")
    await story.call("dina", "POST", "/v1/orders/Q-3001-2/undo")
    same = await order_is(story, "Q-3001-2", "scheduled")
    must(same["order"]["lines"] == two["order"]["lines"], "undone is as it was, to the cent")
    await story.call("dina", "POST", "/v1/orders/Q-3001-2/amend", json={"lines": {"2": "2"}})
    tried = await story.call("dina", "POST", "/v1/orders/Q-3001-2/amend?dry_run=true", json={"lines": {"2": "4"}})
    must(tried["approvals"] == ["Deal desk: group deal-desk (any)"], "so much more should need the deal desk")
    await story.call("dina", "POST", "/v1/orders/Q-3001-2/amend", json={"lines": {"2": "4"}, "reason": "a second shop"})
    await order_is(story, "Q-3001-2", "held")

    async def asked() -> dict[str, Any] | None:
        items = (await story.call("dora", "GET", "/v1/inbox"))["items"]
        return next((item for item in items if item["subject"] == "order:Q-3001-2"), None)

    item = await story.eventually(asked, "the deal desk should be asked about the order")
    await story.call("dora", "POST", f"/v1/approvals/{item['approval']}/approve", json={"digest": item["digest"]})
    changed = await order_is(story, "Q-3001-2", "scheduled")
    must(changed["net_total"] == "39.96", f"the order should be four again, not {changed['net_total']}")
    await sums_are_right(story, "Q-3001", "473.46")


async def fulfil_orders(story: Story) -> None:
    """A part is shipped, the rest is not in stock and late; it comes, one comes back and is replaced for nothing."""
    two = "Q-3001-2"
    await story.call("dina", "POST", f"/v1/orders/{two}/go-live")
    await story.call("bruno", "POST", f"/v1/erp/documents/{two}/accept", json={"reference": "SO-2"})
    promised = datetime.now(UTC).date() + timedelta(days=10)
    await story.call("dina", "POST", f"/v1/orders/{two}/amend", json={"promised": promised.isoformat()})
    version = (await story.call("dina", "GET", f"/v1/orders/{two}"))["order"]["version"]
    await story.call("bruno", "POST", f"/v1/erp/documents/{two}/accept", json={"version": version})
    await story.call("bruno", "POST", f"/v1/orders/{two}/shipments", json={"id": "S1", "lines": {"2": "1"}})
    late = {"lines": {"2": "3"}, "expected": (promised + timedelta(days=3)).isoformat()}
    await story.call("bruno", "POST", f"/v1/orders/{two}/backorder", json=late)
    shown = await order_is(story, two, "partly_fulfilled")
    must((shown["days_late"], shown["late_because"]) == (3, "stock"), "it should be known to be late, and why")
    must(shown["order"]["lines"][0]["backordered"] == "3", "three should not be in stock")
    await story.call("bruno", "POST", f"/v1/orders/{two}/deliveries", json={"id": "D1", "lines": {"2": "4"}})
    await order_is(story, two, "fulfilled")
    back = {"id": "R1", "lines": {"2": "1"}, "reason": "broken", "arrived": True}
    await story.call("bruno", "POST", f"/v1/orders/{two}/returns", json=back)
    new = await story.call("dina", "POST", f"/v1/orders/{two}/returns/1/replace", 201)
    must((new["net_total"], new["order"]["replaces"]) == ("0", f"{two}/1"), "the new one should cost nothing")
    await sums_are_right(story, "Q-3001", "473.46")


async def steer_orders(story: Story) -> None:
    """One is moved to now and delivered in parts, one is held and released, one is cancelled."""
    one, two, three = (f"Q-3001-{n}" for n in (1, 2, 3))

    async def comes_to_be(id: str, wanted: str) -> None:
        await order_is(story, id, wanted)

    why = {"reason": "credit check", "owner": "finance"}
    held = await story.call("dina", "POST", f"/v1/orders/{two}/hold", json=why)
    await comes_to_be(two, "held")
    await story.call("dina", "POST", f"/v1/orders/{one}/reschedule", json={"start": "now"})
    await comes_to_be(one, "activating")
    waiting = (await story.call("bruno", "GET", "/v1/erp/documents?status=waiting"))["items"]
    must([d["order"] for d in waiting] == [one], "only the order that started is for the back office")
    await story.call("bruno", "POST", f"/v1/erp/documents/{one}/accept", json={"reference": "SO-1"})
    for id, quantity in (("D1", "4"), ("D1", "4"), ("D2", "6")):
        body = {"id": id, "lines": {"1": quantity}}
        await story.call("bruno", "POST", f"/v1/orders/{one}/deliveries", json=body)
    await comes_to_be(one, "fulfilled")
    hold = {"hold": held["outcome"]["facts"]["hold"]}
    await story.call("dina", "POST", f"/v1/orders/{two}/release", 403, json=hold)
    await story.call("freyja", "POST", f"/v1/orders/{two}/release", json=hold)
    await comes_to_be(two, "scheduled")
    await cancelled(story, three)
    left = await story.call("rita", "POST", "/v1/quotes/Q-3001/orders/preview", json={"way": "whole"})
    must([line["line"] for line in left["orders"][0]["lines"]] == ["3"], "what was cancelled can be ordered again")


async def cancelled(story: Story, order: str) -> None:
    """Less than half of the order would be left, so Leif, who follows the finance director, is asked first."""
    asked = await story.call("dina", "POST", f"/v1/orders/{order}/cancel", json={"reason": "the shop closes"})
    must(asked["outcome"]["code"] == "needs_approval", "a cancelled order should be approved")
    items = (await story.call("leif", "GET", "/v1/inbox"))["items"]
    (item,) = (each for each in items if each["subject"] == f"order:{order}")
    await story.call("leif", "POST", f"/v1/approvals/{item['approval']}/approve", json={"digest": item["digest"]})
    await order_is(story, order, "cancelled")


async def ordered(story: Story, quote: str, lines: list[dict[str, Any]], customer: str = "C-9") -> str:
    """A new quote, accepted, as one order that starts at once."""
    told = {"customer": {"id": customer, "name": "Fjörður"}, "currency": "EUR", "owner": "rita", "lines": lines}
    await story.call("rita", "PUT", f"/v1/quotes/{quote}", 201, json=told)
    await story.call("rita", "POST", f"/v1/quotes/{quote}/submit")
    await story.call("rita", "POST", f"/v1/quotes/{quote}/accept", json={"on": datetime.now(UTC).date().isoformat()})
    await story.call("rita", "POST", f"/v1/quotes/{quote}/orders", 201, json={"way": "whole"})
    return f"{quote}-1"


GATEWAYS: list[dict[str, Any]] = [
    {"id": "1", "product": "GW", "quantity": "10", "list_price": "33.45", "sla": "gold", "term_months": 24},
    {
        "id": "2",
        "product": "CARE",
        "quantity": "5",
        "list_price": "10",
        "billing": "recurring",
        "recognition": "ratable",
        "term_months": 12,
    },
    {"id": "3", "product": "SETUP", "quantity": "1", "list_price": "500", "recognition": "milestone"},
]


async def repair_refused(story: Story) -> None:
    """The back office refuses an order in its own words; it is repaired, asked again, and taken over."""
    await ordered(story, "Q-4001", GATEWAYS)
    await order_is(story, "Q-4001-1", "activating")
    await story.call("bruno", "POST", "/v1/erp/documents/Q-4001-1/refuse", json={"reason": "No such address"})
    refused = await order_is(story, "Q-4001-1", "fallout")
    must(refused["order"]["erp_words"] == "No such address", "the refusal should be in the back office's words")
    attention = (await story.call("dina", "GET", "/v1/figures"))["refused"]
    must([one["order"] for one in attention] == ["Q-4001-1"], "the refusal should be counted")
    await story.call("dina", "POST", "/v1/orders/Q-4001-1/amend", json={"ship_to": {"city": "Höfn"}})
    await story.call("dina", "POST", "/v1/orders/Q-4001-1/retry")
    await story.call("bruno", "POST", "/v1/erp/documents/Q-4001-1/accept", json={"reference": "SO-3"})
    await order_is(story, "Q-4001-1", "active")


async def what_follows(story: Story) -> None:
    """From what was delivered: a contract, entitlements on three days, and revenue by month that adds up."""
    today = datetime.now(UTC).date()
    if story.stack.erp:
        await sent_by_tryton(story, "Q-4001-1", {"1": Decimal(4)}, delivered="4")
    else:
        goods = {"id": "D1", "lines": {"1": "4"}, "serials": {"1": ["GW-1", "GW-2"]}}
        await story.call("bruno", "POST", "/v1/orders/Q-4001-1/deliveries", json=goods)
    await story.call("dina", "POST", "/v1/orders/Q-4001-1/milestones/done")
    (contract,) = await story.call("dina", "GET", "/v1/customers/C-9/contracts")
    must(contract["value"] == {"EUR": "733.80"}, f"four gateways and the care are 733.80, not {contract['value']}")
    for days, wanted in ((-1, {}), (0, {"GW": "4", "CARE": "5"}), (400, {"GW": "4"})):
        day = (today + timedelta(days=days)).isoformat()
        found = await story.call("dina", "GET", f"/v1/customers/C-9/entitlements?as_of={day}")
        must({e["product"]: e["quantity"] for e in found} == wanted, f"on {day} it should be {wanted}")
    first, last = f"{today:%Y-%m}", f"{today + timedelta(days=400):%Y-%m}"
    months = await story.call("freyja", "GET", f"/v1/customers/C-9/revenue?from={first}&to={last}")
    earned = sum(Decimal(month["recognised"]) for month in months)
    must(earned == Decimal("1233.80"), f"in the end 1233.80 should be recognised, not {earned}")
    must(months[-1]["remaining"] == "200.70", "six gateways that never came should remain")
    await story.call("freyja", "POST", f"/v1/periods/{first}/close", 422)


# --- the same with a real ERP -----------------------------------------------------------------------------------------


async def sent_by_tryton(story: Story, id: str, only: dict[str, Decimal] | None, delivered: str) -> dict[str, Any]:
    """Tryton's warehouse sends it off, and the order knows."""
    assert story.stack.erp is not None
    warehouse = story.stack.erp.warehouse()
    try:
        await warehouse.ship(id, only)
    finally:
        await warehouse.close()

    async def known() -> dict[str, Any] | None:
        shown: dict[str, Any] = await story.call("dina", "GET", f"/v1/orders/{id}")
        return shown if shown["order"]["lines"][0]["delivered"] == delivered else None

    found: dict[str, Any] = await story.eventually(known, f"{delivered} of {id} should have arrived")
    return found


async def into_tryton(story: Story) -> None:
    """An order that starts is taken over by itself; two parts come, and between them the rest is a back order."""
    one = "Q-3001-1"
    await story.call("dina", "POST", f"/v1/orders/{one}/reschedule", json={"start": "now"})
    taken = await order_is(story, one, "active")
    must(taken["order"]["erp_reference"] != "", "Tryton should have given it a number")
    part = await sent_by_tryton(story, one, {"1": Decimal(4)}, "4")
    must(
        (part["status"], part["order"]["lines"][0]["backordered"]) == ("partly_fulfilled", "6"), "six should be missing"
    )
    await sent_by_tryton(story, one, None, "10")
    await order_is(story, one, "fulfilled")
    await sums_are_right(story, "Q-3001", "473.46")


async def change_in_tryton(story: Story) -> None:
    """A change becomes an amendment of the sale there, and no more than that is sent."""
    two, three = "Q-3001-2", "Q-3001-3"
    await cancelled(story, three)
    await story.call("dina", "POST", f"/v1/orders/{two}/reschedule", json={"start": "now"})
    await order_is(story, two, "active")
    await story.call("dina", "POST", f"/v1/orders/{two}/amend", json={"lines": {"2": "3"}})

    async def changed() -> bool:
        shown = await story.call("dina", "GET", f"/v1/orders/{two}")
        return bool(shown["order"]["lines"][0]["share"]["quantity"] == "3")

    await story.eventually(changed, "the change should have been made in Tryton")
    await sent_by_tryton(story, two, None, "3")
    await order_is(story, two, "fulfilled")
    await sums_are_right(story, "Q-3001", "473.46")


async def repair_for_tryton(story: Story) -> None:
    """Tryton sells no half pieces: the order is repaired, asked again, and taken over."""
    half = {"id": "1", "product": "GW", "quantity": "2.5", "list_price": "10"}
    id = await ordered(story, "Q-4002", [half], "C-8")
    refused = await order_is(story, id, "fallout")
    must("2.5" in refused["order"]["erp_words"], "the refusal should be in Tryton's words")
    await story.call("dina", "POST", f"/v1/orders/{id}/amend", json={"lines": {"1": "2"}})
    await story.call("dina", "POST", f"/v1/orders/{id}/retry")
    await order_is(story, id, "active")
    await order_is(story, await ordered(story, "Q-4001", GATEWAYS), "active")


async def nothing_differs(story: Story) -> None:
    """Both are compared, order by order."""
    found = await Doctor(story.container, await story.container.temporal.client(lazy=False)).examine()
    left = [finding for finding in found if finding.kind != "forged"]  # the story forged some itself
    must(not left, f"database, Temporal and Tryton should agree: {left[:3]}")


async def mail(story: Story) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        letters = list(caught(story.stack.mailbox))
        to = {letter.to for letter in letters}
        if any("dora" in t for t in to) and any("Aprovado" in letter.subject for letter in letters):
            break
        must(time.monotonic() < until, "the approvers and the rep should have mail")
        await asyncio.sleep(0.2)
    ids = [(letter.to, letter.subject, letter.date) for letter in letters]
    must(len(ids) >= 10, f"only {len(ids)} letters")


async def audit(story: Story) -> None:
    async with story.container.database.reading() as session:
        entries = [item async for item in audit_log.everything(session)]
    found = list(flaws(story.container.context.audit_key, entries))
    must(not found, f"the audit chain has flaws: {found[:3]}")
    must(len(entries) > 40, "the trail should hold the story")


QUOTES: list[Step] = [
    ("Import the sample company and its quotes, twice", import_quotes),
    ("Preview: which approvals, and why", preview),
    ("Submit, twice with the same key", submit),
    ("Editing is refused while in approval", edit_is_refused),
    ("The deal desk approves", approve),
    ("Operations hands over, and the other decides", delegate),
    ("Finance asks for advice; the rep adds an approver", ask_others),
    ("Finance rejects; a second decision is refused", reject),
    ("Edit and resubmit: what was approved carries over", resubmit),
    ("Recall", recall),
    ("Away: a colleague decides by answering the mail", away),
    ("The quote is approved, and may be noted upon", finish),
    ("Forged and unreadable signals are refused", forged_signal),
    ("Temporal and its worker die; the decision stands", temporal_dies),
    ("A link in a mail decides once", by_link),
    ("An approver leaves, and another follows everywhere", replace),
    ("Nobody decides: time reminds and escalates", time_acts),
    ("A draft policy is tried on what was submitted", backtest),
    ("Rules of Salesforce become a draft", leave_salesforce),
    ("The customer says yes; three orders by place and day", order),
]
BACK_OFFICE: list[Step] = [
    ("Orders are moved, held, cancelled and delivered in parts", steer_orders),
    ("An order is changed, undone, and changed with approval", change_order),
    ("A part is shipped, the rest late; one comes back", fulfil_orders),
    ("The back office refuses an order; it is repaired", repair_refused),
    ("Contract, entitlements and revenue follow what came", what_follows),
]
TRYTON: list[Step] = [
    ("Tryton takes an order over, and sends it in two parts", into_tryton),
    ("A change reaches Tryton, and no more is sent", change_in_tryton),
    ("Tryton refuses an order; it is repaired", repair_for_tryton),
    ("Contract, entitlements and revenue follow what came", what_follows),
    ("Database, engine and Tryton agree", nothing_differs),
]
END: list[Step] = [
    ("Everybody has mail, in their language", mail),
    ("The audit chain holds", audit),
]


def play(home: Path | None, screen: Console, tryton: Installation | None = None) -> bool:
    """Play all steps, with a real ERP if there is one; True if every one held."""
    if home is not None:
        return _play(home.resolve(), screen, tryton)
    with tempfile.TemporaryDirectory(prefix="dealwright-tour-") as folder:
        return _play(Path(folder), screen, tryton)


def _play(home: Path, screen: Console, tryton: Installation | None) -> bool:
    ports = Ports.free()
    erp = tryton.server(home / "erp", ports.erp) if tryton else None
    stack = Stack(home, ports, settings={"DEALWRIGHT_SIGN_INS_PER_MINUTE": "1000"}, erp=erp)
    steps = [*QUOTES, *(TRYTON if tryton else BACK_OFFICE), *END]
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    try:
        with Progress(*columns, console=screen) as bar:
            task = bar.add_task("Starting a stack", total=len(steps))
            with stack.running(lambda step: bar.update(task, description=f"Starting a stack: {step}")):
                os.environ.update(stack.environment())
                logs.configure(json=False, level=40)

                def told(name: str, held: bool) -> None:
                    screen.print(f"[green]✓[/] {name}" if held else f"[red]✕[/] {name}")
                    bar.advance(task)

                asyncio.run(_tell(stack, steps, lambda name: bar.update(task, description=name), told))
    except (Broken, CannotStart) as error:
        screen.print(f"[bold red]The story broke:[/] {error}", highlight=False)
        return False
    screen.print(f"[bold green]All {len(steps)} steps held.[/]")
    return True


async def _tell(
    stack: Stack, steps: list[Step], begin: Callable[[str], None], told: Callable[[str, bool], None]
) -> None:
    container = build(Settings())
    story = Story(stack, container)
    try:
        for name, step in steps:
            begin(name)
            try:
                await step(story)
            except Exception:
                told(name, False)
                raise
            told(name, True)
    finally:
        await container.close()
