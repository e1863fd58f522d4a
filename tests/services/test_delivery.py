"""Messages by chat beside the mail, to a real HTTP server, on both databases."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlmodel import select

from domain.errors import Invalid
from domain.people import Person
from notify.chat import Chat
from notify.port import Letter, Refused, Unavailable
from services.letters.letter_delivery import LetterDelivery
from services.people.people import People
from services.runs.commands import Caller
from storage.tables import MessageRow, RunRow
from tests.api.test_quotes import BODY, submitted
from tests.apiclient import Api


class Room(ThreadingHTTPServer):
    """A chat service: keeps what it is told, or refuses it."""

    said: list[dict[str, Any]]
    status = 200


class _Ear(BaseHTTPRequestHandler):
    server: Room

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sent_on = self.path == "/elsewhere"
        if sent_on or self.server.status == 200:
            self.server.said.append(json.loads(body))
        self.send_response(200 if sent_on else self.server.status)
        if self.server.status == 307:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def room() -> Iterator[Room]:
    server = Room(("127.0.0.1", 0), _Ear)
    server.said = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Box:
    """A mail channel that takes everything."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    async def send(self, letter: Letter) -> None:
        self.letters.append(letter)


async def statuses(api: Api) -> dict[tuple[str, str], str]:
    async with api.bench.container.database.reading() as session:
        return {(m.person, m.channel): m.status for m in (await session.exec(select(MessageRow))).all()}


async def test_who_has_a_chat_is_told_there_too_with_a_link_that_needs_signing_in(api: Api, room: Room) -> None:
    container, box = api.bench.container, Box()
    url = f"json://127.0.0.1:{room.server_port}/hook"
    assert (await api.call("dora", "PUT", "/v1/users/dora/chat", json={"url": url})).status_code == 204
    assert "hook" not in (await api.call("root", "GET", "/v1/users/dora")).text, "it holds a secret"
    await submitted(api)
    delivery = LetterDelivery(
        container.database, box, Chat(to_private_addresses=True), api.bench.clock, container.links
    )
    await delivery.send_due()
    await delivery.send_due()
    assert sorted(letter.to for letter in box.letters) == ["daniel@example.com", "dora@example.com"]
    (said,) = room.said
    assert "/decide/" not in said["message"], "whoever reads along must not decide"
    assert "/quotes/Q-1" in said["message"]
    assert await statuses(api) == {("dora", "mail"): "sent", ("daniel", "mail"): "sent", ("dora", "chat"): "sent"}


async def test_a_chat_that_is_away_is_tried_again_and_the_mail_is_not_sent_twice(api: Api, room: Room) -> None:
    container, box = api.bench.container, Box()
    url = f"json://127.0.0.1:{room.server_port}/hook"
    await api.call("dora", "PUT", "/v1/users/dora/chat", json={"url": url})
    await submitted(api)
    room.status = 503
    delivery = LetterDelivery(
        container.database, box, Chat(to_private_addresses=True), api.bench.clock, container.links
    )
    for _ in range(3):
        await delivery.send_due()
    assert (await statuses(api))[("dora", "chat")] == "queued"
    (failed,) = (await api.call("rita", "GET", "/v1/quotes/Q-1/undelivered")).json()
    assert (failed["person"], failed["channel"], failed["attempts"]) == ("dora", "chat", 1)
    shown = await api.client.get("/quotes/Q-1", cookies={"dealwright": await api.token("rita")})
    assert "the chat service did not take it" in shown.text
    room.status = 200
    api.bench.clock.forward(minutes=1)
    await delivery.send_due()
    assert (await statuses(api))[("dora", "chat")] == "sent"
    assert len([letter for letter in box.letters if letter.to == "dora@example.com"]) == 1
    assert (await api.call("rita", "GET", "/v1/quotes/Q-1/undelivered")).json() == []


@pytest.mark.parametrize("url", ["http://x", "file:///etc/passwd", "mailto://x", "slack://", "json://" + "x" * 600])
async def test_a_chat_address_that_is_not_allowed_is_refused(api: Api, url: str) -> None:
    answer = await api.call("dora", "PUT", "/v1/users/dora/chat", json={"url": url})
    assert answer.status_code == 422
    assert (await api.call("adam", "PUT", "/v1/users/dora/chat", json={"url": ""})).status_code == 403


async def test_only_the_person_sets_where_their_chat_goes_and_an_admin_may_remove_it(api: Api) -> None:
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    assert (await api.call("root", "PUT", "/v1/users/dora/chat", json={"url": url})).status_code == 403
    assert (await api.call("dora", "PUT", "/v1/users/daniel/chat", json={"url": url})).status_code == 403
    assert (await api.call("dora", "PUT", "/v1/users/dora/chat", json={"url": url})).status_code == 204
    assert (await api.call("root", "PUT", "/v1/users/dora/chat", json={"url": ""})).status_code == 204


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "[::1]", "192.168.1.9", "0.0.0.0", "no-such.invalid"],
)
async def test_a_chat_address_inside_a_network_is_refused_and_not_written_to(api: Api, host: str) -> None:
    office = replace(api.bench.container.context, chat_to_private_addresses=False)
    dora = (await api.call("root", "GET", "/v1/users/dora")).json()
    caller = Caller(person=Person.model_validate(dora))
    with pytest.raises(Invalid, match=r"public internet|understands"):
        await People(office).set_chat(caller, "dora", f"json://{host}:8080/hook")
    letter = Letter(id="m-1", to="d@example.com", to_name="d", subject="s", text="t", html="h")
    with pytest.raises(Refused):
        await Chat().send(f"json://{host}:8080/hook", letter)


async def test_a_chat_service_that_sends_on_to_another_address_is_not_followed(room: Room) -> None:
    letter = Letter(id="m-1", to="d@example.com", to_name="d", subject="s", text="t", html="h")
    url = f"json://127.0.0.1:{room.server_port}"
    room.status = 307
    with pytest.raises(Unavailable):
        await Chat(to_private_addresses=True).send(f"{url}/hook", letter)
    assert room.said == []
    with pytest.raises(Refused):
        await Chat(to_private_addresses=True).send(f"{url}/hook?redirect=yes", letter)


async def test_a_round_that_cannot_be_read_does_not_hold_up_the_letters_beside_it(api: Api) -> None:
    container, box = api.bench.container, Box()
    await submitted(api)
    for method, path, body in (
        ("PUT", "/v1/quotes/Q-2", {**BODY, "id": "Q-2"}),
        ("POST", "/v1/quotes/Q-2/submit", None),
    ):
        assert (await api.call("rita", method, path, json=body)).is_success
    async with container.database.writing() as session:
        (await session.get_one(RunRow, "quote:Q-1:approval:1")).state = {"status": "no such status"}
    delivery = LetterDelivery(
        container.database, box, Chat(to_private_addresses=True), api.bench.clock, container.links
    )
    await delivery.send_due()
    assert sorted(letter.to for letter in box.letters) == ["daniel@example.com", "dora@example.com"]
    async with container.database.reading() as session:
        found = (await session.exec(select(MessageRow))).all()
    assert {(m.subject, m.status, m.error) for m in found} == {
        ("quote:Q-2", "sent", ""), ("quote:Q-1", "queued", "quote:Q-1:approval:1 cannot be read"),
    }  # fmt: skip
