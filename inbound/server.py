"""The mail server for replies: takes mail for our reply addresses and no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from inbound.mail import MAX_BYTES, read_mail
from notify.links import Links
from services.approvals.replies import Replies

log = structlog.get_logger()
MOST_RECIPIENTS = 5


class _Door:
    def __init__(self, links: Links, replies: Replies) -> None:
        self._links = links
        self._replies = replies

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's names
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._links.replied_to(address) is None:
            return "550 5.1.1 no such address here"
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        reply = read_mail(content, envelope.mail_from)
        try:
            for address in envelope.rcpt_tos:
                if message := self._links.replied_to(address):
                    await self._replies.receive(message, reply)
        except Exception as error:  # the sender's server keeps it and tries again
            log.exception("reply_failed", error=type(error).__name__)
            return "451 4.3.0 try again later"
        return "250 OK"


@asynccontextmanager
async def mail_door(links: Links, replies: Replies, host: str, port: int) -> AsyncIterator[asyncio.Server]:
    """Listens for replies until the block ends."""
    door = _Door(links, replies)

    def protocol() -> Any:
        return SMTP(door, data_size_limit=MAX_BYTES, enable_SMTPUTF8=True, ident="Dealwright")

    server = await asyncio.get_running_loop().create_server(protocol, host, port)
    try:
        yield server
    finally:
        server.close()
        await server.wait_closed()
