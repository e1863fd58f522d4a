"""Replies read from a mailbox of a real IMAP server (Dovecot), beside the mail server of our own."""

import asyncio
import base64
import getpass
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from imapclient import IMAPClient
from sqlmodel import select

from cli.dev import Ports
from inbound.mail import MAX_BYTES
from inbound.mailbox import ImapPoller, Mailbox, mailbox_door
from storage.tables import EventRow, InboundRow, MessageRow
from tests.api.test_quotes import submitted
from tests.apiclient import Api
from tests.inbound.test_mail import GMAIL_HTML, headers, plain

DOVECOT = shutil.which("dovecot") or (str(p) if (p := Path("/usr/sbin/dovecot")).exists() else None)
NOBODY = 65534
CONFIGURATION = """
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{home}/mail/%n
first_valid_uid = 0
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""
OF_ONE_USER = """
default_internal_user = {user}
default_login_user = {user}
service imap-login {{
  chroot =
}}
service anvil {{
  chroot =
}}
"""
"""Who is not root runs all of it as themselves."""


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Mailbox]:
    if DOVECOT is None:
        pytest.skip("Dovecot is not installed here")
    with TemporaryDirectory() as folder:  # pytest's own folders are closed to the users Dovecot runs as
        yield from _served(Path(folder))


def _served(home: Path) -> Iterator[Mailbox]:
    port, root = Ports.free().replies, os.getuid() == 0
    owner = {"user": getpass.getuser(), "uid": NOBODY if root else os.getuid(), "gid": NOBODY if root else os.getgid()}
    (home / "mail").mkdir()
    if root:
        home.chmod(0o755)
        os.chown(home / "mail", NOBODY, NOBODY)
    file = home / "dovecot.conf"
    wanted = CONFIGURATION + ("" if root else OF_ONE_USER)
    file.write_text(wanted.format(home=home, port=port, **owner))
    server = subprocess.Popen([DOVECOT, "-F", "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(server, port, home / "log")
        yield Mailbox(host="127.0.0.1", port=port, username="reply", password="secret", tls=False, every_seconds=0.05)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    while True:
        assert server.poll() is None, log.read_text() if log.exists() else "Dovecot ended at once"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return


@dataclass
class Post:
    """A mailbox, and what came of the mail in it."""

    api: Api
    box: Mailbox
    reading: ImapPoller

    def _client(self) -> IMAPClient:
        client = IMAPClient(self.box.host, self.box.port, ssl=False)
        client.login(self.box.username, self.box.password)
        client.select_folder("INBOX")
        return client

    async def put(self, raw: bytes) -> None:
        await asyncio.to_thread(lambda: self._client().append("INBOX", raw))

    async def unread(self) -> int:
        return len(await asyncio.to_thread(lambda: self._client().search("UNSEEN")))

    async def address(self) -> str:
        async with self.api.bench.container.database.reading() as session:
            rows = (await session.exec(select(MessageRow).where(MessageRow.person == "dora"))).all()
        return self.api.bench.container.links.reply_address(rows[0].id)

    async def results(self) -> list[str]:
        async with self.api.bench.container.database.reading() as session:
            return [row.result for row in (await session.exec(select(InboundRow))).all()]

    async def decided(self) -> list[EventRow]:
        async with self.api.bench.container.database.reading() as session:
            query = select(EventRow).where(EventRow.verb.in_(["approve", "reject"]))  # type: ignore[attr-defined]
            return list((await session.exec(query)).all())


@pytest.fixture
async def post(api: Api, dovecot: Mailbox) -> AsyncIterator[Post]:
    await submitted(api)
    container = api.bench.container
    found = Post(api, dovecot, ImapPoller(dovecot, container.links, container.replies))
    yield found
    client = found._client()
    client.delete_messages(client.search("ALL"))
    client.expunge()


async def test_a_reply_in_the_mailbox_decides_once_however_often_one_looks(post: Post) -> None:
    raw = plain("Samþykkt\n\nGott mál", From="dora@example.com", To=await post.address(), Message_ID="<1@c>")
    for _ in range(2):
        await post.put(raw)
    assert await post.reading.read() == 2
    assert await post.reading.read() == 0
    (event,) = await post.decided()
    assert (event.actor, event.channel, event.facts["comment"]) == ("dora", "mail", "Gott mál")
    assert (await post.results(), await post.unread()) == (["decided"], 0)


async def test_the_address_may_stand_in_a_header_that_the_mail_server_adds(post: Post) -> None:
    await post.put(f"Delivered-To: {await post.address()}\n".encode() + GMAIL_HTML)
    await post.reading.read()
    assert [event.code for event in await post.decided()] == ["rejected"]


async def test_mail_of_machines_and_of_others_is_marked_as_read_and_not_obeyed(post: Post) -> None:
    to = await post.address()
    bounce = plain("yes", From="dora@example.com", To=to, Message_ID="<2@c>")
    await post.put(b"Return-Path: <>\r\n" + bounce)
    await post.put(plain("yes", From="mallory@example.com", To=to, Message_ID="<3@c>"))
    await post.put(plain("yes", From="dora@example.com", To="reply@example.com", Message_ID="<4@c>"))
    assert await post.reading.read() == 3
    assert (sorted(await post.results()), await post.decided()) == (["automatic", "not_theirs"], [])
    assert await post.unread() == 0


async def test_a_mail_of_many_megabytes_is_not_even_fetched(post: Post) -> None:
    huge = plain("yes\n" + "x" * 70 + "\n", From="dora@example.com", To=await post.address(), Message_ID="<5@c>")
    await post.put(huge + (b"z" * 76 + b"\r\n") * (MAX_BYTES // 70))
    assert await post.reading.read() == 1
    assert (await post.results(), await post.unread()) == ([], 0)


async def test_what_could_not_be_taken_stays_unread_and_is_taken_later(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post.put(plain("yes", From="dora@example.com", To=await post.address(), Message_ID="<6@c>"))

    async def away(*_: object) -> None:
        raise ConnectionError("no database")

    with monkeypatch.context() as broken:
        broken.setattr(post.api.bench.container.replies, "receive", away)
        assert await post.reading.read() == 0
    assert await post.unread() == 1
    async with mailbox_door(post.reading):
        while await post.unread():
            await asyncio.sleep(0.02)
    assert len(await post.decided()) == 1


@pytest.mark.parametrize("body", ["reject\n\na\x00b", "hello \x00 there", "yes\n\n\ud800"])
async def test_letters_that_no_database_takes_hold_up_no_other_mail(post: Post, body: str) -> None:
    to = await post.address()
    coded = base64.encodebytes(body.encode("utf-16-le", "surrogatepass"))
    head = headers(Content_Type="text/plain; charset=utf-16-le", Content_Transfer_Encoding="base64", To=to,
                   From="dora@example.com", Message_ID="<5@c>")  # fmt: skip
    await post.put(head.encode() + b"\r\n" + coded)
    await post.put(plain("yes", From="dora@example.com", To=to, Message_ID="<6@c>"))
    assert await post.reading.read() == 2
    assert await post.unread() == 0
    assert len(await post.decided()) == 1


async def test_a_mail_server_that_is_away_is_asked_again(post: Post) -> None:
    gone = ImapPoller(
        post.box.model_copy(update={"port": Ports.free().replies}), post.api.bench.container.links,
        post.api.bench.container.replies,
    )  # fmt: skip
    with pytest.raises(OSError, match="refused"):
        await gone.read()
    async with mailbox_door(gone) as task:
        await asyncio.sleep(0.2)
        assert not task.done()
