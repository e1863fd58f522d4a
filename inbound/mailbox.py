"""The other way in for replies: a mailbox of the company's own mail server, read over IMAP."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from domain.values import Value
from inbound.mail import MAX_BYTES, read_mail
from notify.links import Links
from services.approvals.replies import Replies

log = structlog.get_logger()
BATCH, SECONDS = 50, 15


class Mailbox(Value):
    host: str
    port: int = 993
    username: str = ""
    password: str = ""
    tls: bool = True
    folder: str = "INBOX"
    every_seconds: float = 20


class ImapPoller:
    """Takes unread mail for our reply addresses. What was read is marked so; what is not ours is only marked."""

    def __init__(self, mailbox: Mailbox, links: Links, replies: Replies) -> None:
        self._mailbox = mailbox
        self._links = links
        self._replies = replies

    async def read(self) -> int:
        """One look into the mailbox; says how many mails it took. Raises OSError or IMAPClientError.

        A mail is marked as read only after it took effect, and the same mail twice is one mail: dying in between
        loses nothing. One that cannot be taken now does not hold up the others."""
        taken = 0
        client = await asyncio.to_thread(self._opened)
        try:
            unread = await asyncio.to_thread(client.search, "UNSEEN")
            sizes = await asyncio.to_thread(client.fetch, unread[:BATCH], ["RFC822.SIZE"]) if unread else {}
            for number in unread[:BATCH]:
                if sizes.get(number, {}).get(b"RFC822.SIZE", 0) <= MAX_BYTES:
                    found = await asyncio.to_thread(client.fetch, [number], ["BODY.PEEK[]"])
                    if not await self._take_or_log(found.get(number, {}).get(b"BODY[]", b"")):
                        continue
                await asyncio.to_thread(client.add_flags, [number], [rb"\Seen"], True)
                taken += 1
            return taken
        finally:
            await asyncio.to_thread(client.shutdown)

    def _opened(self) -> IMAPClient:
        box = self._mailbox
        context = ssl.create_default_context() if box.tls else None
        client = IMAPClient(box.host, box.port, ssl=box.tls, ssl_context=context, timeout=SECONDS)
        try:
            client.login(box.username, box.password)
            client.select_folder(box.folder)
        except BaseException:
            client.shutdown()
            raise
        return client

    async def _take_or_log(self, raw: bytes) -> bool:
        """Whether it took effect."""
        try:
            await self._take(raw)
        except Exception as error:  # it stays unread, and is taken when it can be
            log.exception("reply_failed", error=type(error).__name__)
            return False
        return True

    async def _take(self, raw: bytes) -> None:
        reply = read_mail(raw, None)
        for message in dict.fromkeys(filter(None, map(self._links.replied_to, reply.recipients))):
            await self._replies.receive(message, reply)

    async def forever(self) -> None:
        """Look again and again; a mail server that is away is asked again later."""
        while True:
            try:
                read = await self.read()
            except (OSError, IMAPClientError) as error:
                log.warning("mailbox_away", host=self._mailbox.host, error=type(error).__name__)
                read = 0
            if read < BATCH:
                await asyncio.sleep(self._mailbox.every_seconds)


@asynccontextmanager
async def mailbox_door(reading: ImapPoller) -> AsyncIterator[asyncio.Task[Any]]:
    """Reads the mailbox until the block ends."""
    task = asyncio.create_task(reading.forever())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
