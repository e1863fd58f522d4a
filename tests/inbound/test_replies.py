"""Mail replies over real SMTP into both databases: what is obeyed, what is answered, and what is neither."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiosmtplib
import pytest
from sqlmodel import select

from cli.dev import Ports
from domain.people import Role
from inbound.mail import MAX_BYTES, Reply
from inbound.server import mail_door
from notify.chat import Chat
from notify.links import Claim
from notify.port import Letter
from services.letters.letter_delivery import LetterDelivery
from storage.tables import EventRow, InboundRow, MessageRow
from tests.api.test_quotes import BODY, submitted
from tests.apiclient import Api
from tests.inbound.test_mail import GMAIL_HTML, plain
from tests.services.test_delivery import Box
from tests.support import a_line, a_quote


@dataclass
class Post:
    """A mail program, and what came of its mail."""

    api: Api
    port: int

    async def message(self, person: str = "dora", template: str = "requested") -> MessageRow:
        """The newest message of this kind to a person."""
        async with self.api.bench.container.database.reading() as session:
            query = select(MessageRow).where(MessageRow.person == person, MessageRow.template == template)
            return (await session.exec(query)).all()[-1]

    async def send(self, raw: bytes, to: str, sender: str = "dora@example.com") -> None:
        await aiosmtplib.send(
            raw, sender=sender, recipients=[to], hostname="127.0.0.1", port=self.port, start_tls=False, use_tls=False
        )

    async def reply(self, text: str, sender: str = "dora@example.com", id: str = "<1@c>", **headers: str) -> str:
        """What came of a reply to Dóra's request."""
        to = self.api.bench.container.links.reply_address((await self.message()).id)
        await self.send(plain(text, From=sender, Message_ID=id, **headers), to, sender)
        return (await self.results())[-1]

    async def results(self) -> list[str]:
        async with self.api.bench.container.database.reading() as session:
            return [row.result for row in sorted((await session.exec(select(InboundRow))).all(), key=lambda r: r.at)]

    async def answers(self) -> list[MessageRow]:
        async with self.api.bench.container.database.reading() as session:
            return list((await session.exec(select(MessageRow).where(MessageRow.template == "answer"))).all())

    async def decided(self) -> list[EventRow]:
        async with self.api.bench.container.database.reading() as session:
            query = select(EventRow).where(EventRow.verb.in_(["approve", "reject"]))  # type: ignore[attr-defined]
            return list((await session.exec(query)).all())


@pytest.fixture
async def post(api: Api) -> AsyncIterator[Post]:
    await submitted(api)
    container, port = api.bench.container, Ports.free().replies
    async with mail_door(container.links, container.replies, "127.0.0.1", port):
        yield Post(api, port)


async def test_a_reply_decides_and_says_through_which_door(post: Post) -> None:
    assert await post.reply("Samþykkt\n\nGott mál") == "decided"
    (event,) = await post.decided()
    assert (event.actor, event.channel, event.code, event.facts["comment"]) == ("dora", "mail", "approved", "Gott mál")
    assert await post.answers() == []


async def test_a_reply_of_an_html_only_program_rejects_with_its_reason(post: Post) -> None:
    to = post.api.bench.container.links.reply_address((await post.message()).id)
    await post.send(GMAIL_HTML, to.upper())
    (event,) = await post.decided()
    assert (event.code, event.facts["comment"]) == ("rejected", "Too deep for this customer.")


async def test_the_same_mail_twice_is_one_mail_and_a_second_answer_decides_nothing(post: Post) -> None:
    await post.reply("yes", id="<a@c>")
    await post.reply("yes", id="<a@c>")
    assert await post.results() == ["decided"]
    post.api.bench.clock.forward(minutes=1)
    assert await post.reply("no\nchanged my mind", id="<b@c>") == "refused"
    assert len(await post.decided()) == 1
    (answer,) = await post.answers()
    assert answer.data["detail"] == "You already answered this message."


async def test_an_unclear_reply_is_asked_about_again_a_bounded_number_of_times(post: Post) -> None:
    for n in range(8):
        assert await post.reply("No problem, approved", id=f"<{n}@c>") == "unclear"
    assert len(await post.answers()) == 5
    assert await post.decided() == []
    to = post.api.bench.container.links.reply_address((await post.answers())[0].id)
    await post.send(plain("approved", Message_ID="<again@c>"), to)
    assert len(await post.decided()) == 1, "the answer to the answer counts"


async def test_a_rejection_without_a_reason_is_asked_for_one(post: Post) -> None:
    assert await post.reply("hafna") == "comment_required"
    assert await post.decided() == []


async def test_a_forged_sender_is_neither_obeyed_nor_answered(post: Post) -> None:
    assert await post.reply("approved", sender="daniel@example.com") == "not_theirs"
    assert (await post.decided(), await post.answers()) == ([], [])


async def test_machines_are_neither_obeyed_nor_answered(post: Post) -> None:
    assert await post.reply("approved", Auto_Submitted="auto-replied") == "automatic"
    assert (await post.decided(), await post.answers()) == ([], [])


async def test_two_people_with_one_address_are_told_apart_by_the_address_that_is_answered(post: Post) -> None:
    await post.api.bench.store_person("daniel", email="dora@example.com")  # as an earlier version allowed
    to = post.api.bench.container.links.reply_address((await post.message("daniel")).id)
    await post.send(plain("approved"), to)
    (event,) = await post.decided()
    assert event.actor == "daniel"


async def test_a_reply_after_the_decision_hears_who_decided(post: Post) -> None:
    item = (await post.api.call("daniel", "GET", "/v1/inbox")).json()["items"][0]
    path = f"/v1/approvals/{item['approval']}/approve"
    await post.api.call("daniel", "POST", path, json={"digest": item["digest"]})
    assert await post.reply("approved") == "ended"
    assert (await post.answers())[0].data["detail"] == "approved"


async def test_authority_is_checked_when_the_reply_comes(post: Post) -> None:
    await post.reply("maybe")
    await post.api.bench.store_person("dora", roles=(Role.REP,))
    post.api.bench.clock.forward(minutes=1)
    assert await post.reply("approved", id="<2@c>") == "refused"
    assert await post.decided() == []


async def test_other_addresses_altered_ones_and_crowds_are_refused_at_the_door(post: Post) -> None:
    right = post.api.bench.container.links.reply_address((await post.message()).id)
    wrong = right.replace("reply+m-", "reply+m-f", 1)
    for to in (wrong, "postmaster@localhost", "someone@example.org"):
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await post.send(plain("approved"), to)
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=post.port, start_tls=False, use_tls=False)
    await client.connect()
    codes = []
    await client.mail("dora@example.com")
    for _ in range(10):
        try:
            codes.append((await client.rcpt(right)).code)
        except aiosmtplib.SMTPRecipientRefused as refused:
            codes.append(refused.code)
    client.close()
    assert codes.count(250) == 5
    assert 452 in codes


async def test_a_huge_mail_is_refused_and_one_without_a_body_is_unclear(post: Post) -> None:
    to = post.api.bench.container.links.reply_address((await post.message()).id)
    with pytest.raises(aiosmtplib.SMTPException):
        await post.send(plain("approved\n" + "x" * (MAX_BYTES + 1000)), to)
    assert await post.results() == []
    assert await post.reply("") == "unclear"


async def test_ops_see_every_reply_and_what_came_of_it(post: Post) -> None:
    await post.reply("perhaps")
    (row,) = (await post.api.call("otto", "GET", "/v1/messages/received")).json()["items"]
    assert (row["result"], row["person"], row["detail"]) == ("unclear", "dora", "perhaps")
    assert (await post.api.call("rita", "GET", "/v1/messages/received")).status_code == 403


# --- links ----------------------------------------------------------------------------------------------------------


async def link(post: Post, **change: str) -> str:
    message = await post.message()
    claim: dict[str, Any] = {
        "message": message.id,
        "approval": message.data["approvals"][0],
        "person": "dora",
        **change,
    }
    return post.api.bench.container.links.decide(Claim(**claim)).removeprefix("http://127.0.0.1:8080")


async def test_opening_a_link_changes_nothing_and_a_button_decides_once(post: Post) -> None:
    address = await link(post)
    for _ in range(2):
        shown = await post.api.client.get(address)
        assert shown.status_code == 200
        assert "Acme" in shown.text
        assert shown.headers["X-Robots-Tag"] == "noindex"
    assert await post.decided() == []
    done = await post.api.client.post(address, data={"verb": "approve", "comment": "by link"})
    assert done.status_code == 200
    (event,) = await post.decided()
    assert (event.actor, event.channel, event.facts["comment"]) == ("dora", "link", "by link")
    again = await post.api.client.post(address, data={"verb": "approve", "comment": "by link"})
    assert again.status_code == 200, "the same decision again is the same decision"
    other = await post.api.client.post(address, data={"verb": "reject", "comment": "no"})
    assert other.status_code == 409
    assert len(await post.decided()) == 1


async def test_a_rejection_by_link_needs_a_reason(post: Post) -> None:
    answer = await post.api.client.post(await link(post), data={"verb": "reject"})
    assert answer.status_code == 422
    assert "segðu hvers vegna þú hafnar" in answer.text
    assert await post.decided() == []


async def test_altered_strange_and_foreign_links_show_nothing(post: Post) -> None:
    address = await link(post)
    for bad in (
        address[:-2] + "xx",
        "/decide/nonsense",
        await link(post, person="fabio"),
        await link(post, person="x"),
    ):
        answer = await post.api.client.get(bad)
        assert answer.status_code == 404
        assert "Acme" not in answer.text
        assert (await post.api.client.post(bad, data={"verb": "approve"})).status_code == 404
    assert await post.decided() == []


async def test_a_link_ends_with_the_approval(post: Post) -> None:
    address = await link(post)
    await post.api.call("rita", "POST", "/v1/quotes/Q-1/recall")
    assert "<button" not in re.sub(r"(?s)<header.*?</header>", "", (await post.api.client.get(address)).text)
    assert (await post.api.client.post(address, data={"verb": "approve"})).status_code == 409


async def test_an_old_link_is_not_valid(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    address = await link(post)
    monkeypatch.setattr("notify.links.LIFE_SECONDS", -1)
    assert (await post.api.client.get(address)).status_code == 404


async def test_links_can_require_signing_in_as_the_right_person(post: Post) -> None:
    post.api.bench.container.by_link.requires_login = True
    address = await link(post)
    away = await post.api.client.get(address)
    assert away.status_code == 200
    assert "Acme" not in away.text, "nothing is shown to who only has the link"
    assert (await post.api.client.post(address, data={"verb": "approve"})).status_code == 401
    other = await post.api.client.get(address, cookies={"dealwright": await post.api.token("fabio")})
    assert other.status_code == 404
    right = await post.api.client.get(address, cookies={"dealwright": await post.api.token("dora")})
    assert right.status_code == 200


# --- who wrote it, and what they saw ------------------------------------------------------------------------------------


async def test_one_reply_decides_everything_its_letter_asks_though_one_decision_covers_the_other(post: Post) -> None:
    await post.api.bench.publish(
        "kind: quote\nchains: [{name: one}, {name: two}]\nrules:\n"
        "- {name: first, ask: {user: dora}, chain: one}\n- {name: second, ask: {user: dora}, chain: two}\n"
    )
    await submit_again(post, "Q-2")
    assert await post.reply("approved") == "decided"
    assert await post.answers() == []
    assert (await post.api.call("rita", "GET", "/v1/quotes/Q-2")).json()["status"] == "approved"


async def submit_again(post: Post, id: str) -> None:
    post.api.bench.clock.forward(minutes=1)
    body = {**BODY, "id": id}
    assert (await post.api.call("rita", "PUT", f"/v1/quotes/{id}", json=body)).status_code == 201
    assert (await post.api.call("rita", "POST", f"/v1/quotes/{id}/submit")).status_code == 200


async def test_a_reply_after_the_end_hears_how_it_ended_and_is_invited_to_nothing(post: Post) -> None:
    await post.api.call("rita", "POST", "/v1/quotes/Q-1/recall")
    for n, text in enumerate(("approved", "what is this?")):
        assert await post.reply(text, id=f"<{n}@c>") == "ended"
        post.api.bench.clock.forward(minutes=1)
    letter = await letter_of(post, (await post.answers())[0])
    assert "þessu er þegar lokið: Tekið til baka" in letter.text
    assert (letter.reply_to, "/decide/" in letter.text) == ("", False)


async def letter_of(post: Post, row: MessageRow) -> Letter:
    """The letter as it would be sent."""
    box, container = Box(), post.api.bench.container
    delivery = LetterDelivery(container.database, box, Chat(), post.api.bench.clock, container.links)
    while (await delivery.send_due()).sent:
        pass
    return next(letter for letter in box.letters if letter.id == row.id)


@pytest.mark.parametrize(
    ("verdict", "server", "result"),
    [
        ("mx.example.com; dmarc=pass header.from=example.com", "mx.example.com", "decided"),
        ("mx.example.com; spf=pass; dkim=pass; dmarc=pass (p=none)", "mx.example.com", "decided"),
        ("mx.example.com; dmarc=fail", "mx.example.com", "confirm"),
        ("mx.example.com; spf=pass dmarc=passed", "mx.example.com", "confirm"),
        ("evil.example; dmarc=pass", "mx.example.com", "confirm"),
        ("", "mx.example.com", "confirm"),
        ("mx.example.com; dmarc=pass", "", "confirm"),
    ],
)
async def test_in_production_a_reply_counts_with_a_mail_servers_verdict_alone(
    post: Post, verdict: str, server: str, result: str
) -> None:
    container = post.api.bench.container
    container.replies._authenticated_by, container.replies._needs_verdict = server, True
    headers = {"Authentication_Results": verdict} if verdict else {}
    assert await post.reply("approved", **headers) == result
    assert len(await post.decided()) == (1 if result == "decided" else 0)
    if result == "confirm":
        letter = await letter_of(post, (await post.answers())[0])
        assert "/decide/" in letter.text


async def test_a_link_and_a_reply_bind_to_what_the_letter_showed(post: Post) -> None:
    changed = await link(post, digest="0" * 64)
    answer = await post.api.client.post(changed, data={"verb": "approve"})
    assert (answer.status_code, "er ekki það sem er í samþykkt núna" in answer.text) == (409, True)
    assert await post.decided() == [event for event in await post.decided() if event.code == "stale_version"]
    assert (await post.message()).data["digest"] != "0" * 64


async def test_nobody_decides_by_somebody_elses_link(post: Post) -> None:
    address, omar = await link(post), {"dealwright": await post.api.token("omar")}
    for method in ("GET", "POST"):
        answer = await post.api.client.request(method, address, data={"verb": "approve"}, cookies=omar)
        assert (answer.status_code, "Acme" in answer.text) == (404, False)
    assert await post.decided() == []


async def test_a_one_time_code_by_mail_opens_the_link_for_whom_it_was_sent_to(post: Post) -> None:
    container = post.api.bench.container
    container.by_link.requires_login = True
    address = await link(post)
    assert (await post.api.client.post(f"{address}/verify", data={"code": "000000"})).status_code == 422
    assert (await post.api.client.post(f"{address}/code")).status_code == 200
    message = await post.message(template="code")
    code = container.links.code("dora", message.data["nonce"])
    assert code not in str(message.data), "the database alone does not know it"
    assert code in (await letter_of(post, message)).text
    wrong = "1" * 6 if code != "1" * 6 else "2" * 6
    assert (await post.api.client.post(f"{address}/verify", data={"code": wrong})).status_code == 422
    right = await post.api.client.post(f"{address}/verify", data={"code": code, "remember": "true"})
    assert (right.status_code, right.headers["location"]) == (303, address)
    assert "Max-Age=2592000" in right.headers["set-cookie"]
    device = {"dealwright_device": right.cookies["dealwright_device"]}
    assert "Acme" in (await post.api.client.get(address, cookies=device)).text
    assert (await post.api.client.post(f"{address}/verify", data={"code": code})).status_code == 422, "once"
    done = await post.api.client.post(address, data={"verb": "approve"}, cookies=device)
    assert done.status_code == 200
    (event,) = await post.decided()
    assert (event.actor, event.channel) == ("dora", "link")


async def test_a_code_is_tried_five_times_and_lives_ten_minutes(post: Post) -> None:
    container = post.api.bench.container
    container.by_link.requires_login = True
    address = await link(post)
    await post.api.client.post(f"{address}/code")
    code = container.links.code("dora", (await post.message(template="code")).data["nonce"])
    for _ in range(5):
        await post.api.client.post(f"{address}/verify", data={"code": "x"})
    assert (await post.api.client.post(f"{address}/verify", data={"code": code})).status_code == 422
    await post.api.client.post(f"{address}/code")
    codes = [m for m in await messages(post) if m.template == "code"]
    post.api.bench.clock.forward(minutes=11)
    newest = {container.links.code("dora", m.data["nonce"]) for m in codes} - {code}
    for old in newest:
        assert (await post.api.client.post(f"{address}/verify", data={"code": old})).status_code == 422
    sent = [(await post.api.client.post(f"{address}/code")).status_code for _ in range(5)]
    assert sent == [200, 200, 200, 429, 429], "five a day"


async def messages(post: Post) -> list[MessageRow]:
    async with post.api.bench.container.database.reading() as session:
        return list((await session.exec(select(MessageRow))).all())


# --- what letters say ---------------------------------------------------------------------------------------------------


async def test_a_letter_formats_for_its_reader_and_names_only_who_decided(post: Post) -> None:
    krona = [a_line(list_price="765006", discount_percent="16.9")]
    body = a_quote("K-1", currency="ISK", lines=krona).model_dump(mode="json")
    await post.api.call("rita", "PUT", "/v1/quotes/K-1", json=body)
    post.api.bench.clock.forward(minutes=1)
    await post.api.call("rita", "POST", "/v1/quotes/K-1/submit")
    asked = await letter_of(post, await post.message())
    assert "635.720" in asked.subject
    assert "16,9 %" in asked.subject
    (item,) = [
        i for i in (await post.api.call("dora", "GET", "/v1/inbox")).json()["items"] if i["quote"]["id"] == "K-1"
    ]
    await post.api.call("dora", "POST", f"/v1/approvals/{item['approval']}/approve", json={"digest": item["digest"]})
    finished = await letter_of(post, await post.message("rita", "finished"))
    assert "Dóra" in finished.text
    assert "Daniel" not in finished.text


async def test_a_stand_ins_letter_says_for_whom_and_a_hand_over_by_whom_and_why(post: Post) -> None:
    away = {"delegate": "omar", "first": "2026-03-02", "last": "2026-03-06"}
    await post.api.call("dora", "POST", "/v1/delegations", json=away)
    await submit_again(post, "Q-2")
    letter = await letter_of(post, await post.message("omar"))
    assert "You decide this for Dóra Einarsdóttir, who is away." in letter.text
    (item,) = [
        i for i in (await post.api.call("daniel", "GET", "/v1/inbox")).json()["items"] if i["quote"]["id"] == "Q-2"
    ]
    body = {"digest": item["digest"], "to": "leif", "reason": "knows the customer"}
    await post.api.call("daniel", "POST", f"/v1/approvals/{item['approval']}/delegate", json=body)
    letter = await letter_of(post, await post.message("leif", "delegated"))
    assert "Daniel Okoro handed this to you" in letter.text
    assert "knows the customer" in letter.text


TWO_CHAINS = """
kind: quote
chains: [{name: one}, {name: two}]
rules:
- {name: first, ask: {group: deal-desk}, chain: one}
- {name: second, ask: {user: dora}, chain: two}
"""
TWO_STEPS = """
kind: quote
chains: [{name: one}]
rules:
- {name: first, ask: {group: deal-desk}, chain: one}
- {name: second, step: 2, ask: {user: fabio}, chain: one}
"""


async def daniel_approves(post: Post, policy: str) -> None:
    """The group's approval of a new quote, of which Dóra was told too."""
    await post.api.bench.publish(policy)
    await submit_again(post, "Q-2")
    items = (await post.api.call("daniel", "GET", "/v1/inbox")).json()["items"]
    (item,) = [item for item in items if item["quote"]["id"] == "Q-2"]
    answer = await post.api.call(
        "daniel", "POST", f"/v1/approvals/{item['approval']}/approve", json={"digest": item["digest"]}
    )
    assert answer.status_code == 200


async def test_a_reply_decides_what_is_still_open_of_what_it_was_asked(post: Post) -> None:
    await daniel_approves(post, TWO_CHAINS)
    assert await post.reply("approved") == "decided"
    assert (await post.api.call("rita", "GET", "/v1/quotes/Q-2")).json()["status"] == "approved"
    assert await post.answers() == []


async def test_a_reply_to_what_others_decided_hears_so_although_the_round_goes_on(post: Post) -> None:
    await daniel_approves(post, TWO_STEPS)
    for n, text in enumerate(("hmm", "approved")):
        assert await post.reply(text, id=f"<{n}@c>") == "ended"
        post.api.bench.clock.forward(minutes=1)
    letter = await letter_of(post, (await post.answers())[0])
    assert "þessu er þegar lokið: Samþykkt" in letter.text
    assert (letter.reply_to, "/decide/" in letter.text) == ("", False)
    path = letter.text.partition("Leiðin hingað til")[2].split("\n- ")
    assert [part.partition(":")[0] for part in path[1:]] == ["First", "Second"]


async def test_a_reply_of_which_a_part_is_refused_is_told_which_part_was_done(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post.api.bench.publish(TWO_CHAINS)
    await submit_again(post, "Q-2")
    real, asked = type(post.api.bench.container.replies)._decide_one, []

    async def once(self: Any, *given: Any) -> str | None:
        asked.append(given)
        return "Not now." if len(asked) == 2 else await real(self, *given)

    monkeypatch.setattr(type(post.api.bench.container.replies), "_decide_one", once)
    monkeypatch.setattr("services.approvals.replies.is_fulfilled", lambda *_: False)
    assert await post.reply("approved") == "partly"
    assert "hluti þess er ákveðinn en hitt ekki: Not now." in (await letter_of(post, (await post.answers())[0])).text


@pytest.mark.parametrize(
    "verdict",
    [
        'mx.example.com; spf=pass smtp.mailfrom="a; dmarc=pass b"@evil.example; dmarc=fail header.from=example.com',
        "mx.example.com; spf=pass (helo; dmarc=pass x); dmarc=fail", "mx.example.com; dmarc=fail; dmarc=pass",
        "mx.example.com; dmarc=pass; dmarc=fail", 'mx.example.com; spf=pass smtp.mailfrom="a; dmarc=pass',
        "mx.example.com; spf=pass (a \\) ; dmarc=pass", "evil.example (mx.example.com); dmarc=pass",
    ],
)  # fmt: skip
def test_nobody_writes_the_verdict_on_themselves(verdict: str) -> None:
    assert not Reply(authentication=verdict).passed("mx.example.com")


def test_a_verdict_is_read_with_its_comments() -> None:
    said = 'mx.example.com; spf=pass (it "says" so) smtp.mailfrom=a@b; dmarc=pass (p=none; sp=none) header.from=b'
    assert Reply(authentication=said).passed("mx.example.com")
