"""A mail server for development: takes every letter and keeps it in a folder."""

import mailbox
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import uvloop
from aiosmtpd.controller import Controller

from domain.values import Value


class Caught(Value):
    key: str
    to: str
    sender: str
    subject: str
    date: str
    text: str
    html: str
    reply_to: str = ""


class _Keep:
    def __init__(self, folder: Path) -> None:
        self._box = mailbox.Maildir(folder, create=True)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self._box.add(envelope.content)
        return "250 OK"


def catcher(folder: Path, port: int, host: str = "127.0.0.1") -> Controller:
    """Start with `.start()`, end with `.stop()`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Controller(_Keep(folder), host, port, uvloop.new_event_loop())


def caught(folder: Path, most: int = 100) -> Iterator[Caught]:
    """The newest letters first."""
    if not folder.exists():
        return
    files = sorted((folder / "new").glob("*"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[:most]:
        mail = BytesParser(EmailMessage, policy=policy.default).parsebytes(file.read_bytes())
        yield Caught(
            key=file.name,
            to=str(mail["to"]),
            sender=str(mail["from"]),
            subject=str(mail["subject"]),
            date=str(mail["date"] or ""),
            text=_part(mail, "plain"),
            html=_part(mail, "html"),
            reply_to=str(mail["reply-to"] or ""),
        )


def _part(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return str(part.get_content()) if part else ""
