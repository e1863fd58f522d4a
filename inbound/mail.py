"""A reply by mail: who sent it, to which of our addresses, and what its first line says.

Anybody can send us mail, so it is bounded before it is parsed: bytes, lines, headers, addresses, parts."""

import hashlib
import re
from collections.abc import Iterable
from email import policy
from email.errors import MessageError
from email.message import Message
from email.parser import BytesParser
from email.utils import getaddresses, parseaddr
from functools import cached_property

from domain.values import Value
from inbound.html import text_of
from inbound.quotes import own_text

MAX_BYTES = 2_000_000
"""What our mail server takes; attachments are not read."""
PARSED_BYTES, PARSED_LINES, LINE_BYTES = 300_000, 8_000, 20_000
MOST_HEADERS, HEADER_CHARACTERS, MOST_PARTS, MAX_TEXT = 200, 2_000, 20, 100_000
TO_WHOM, MOST_RECIPIENTS = ("To", "Cc", "Delivered-To", "X-Original-To"), 50
AUTOMATIC_PRECEDENCE = ("bulk", "list", "junk", "auto_reply")
PART = re.compile(rb"^content-type\s*:", re.IGNORECASE | re.MULTILINE)
UNREADABLE = (MessageError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


class Reply(Value):
    """What a mail says of itself. Its text is read only when it is asked for: who may write is checked first."""

    message_id: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    automatic: bool = False
    authentication: str = ""
    """The newest verdict of a mail server, as it stands in Authentication-Results."""
    raw: bytes = b""

    @cached_property
    def text(self) -> str:
        """What its sender wrote, without whatever they quoted. Total: what cannot be read says nothing."""
        try:
            return own_text(_body(BytesParser(policy=policy.compat32).parsebytes(self.raw)))
        except UNREADABLE:
            return ""

    @property
    def identity(self) -> str:
        """The same mail received twice has the same."""
        return self.message_id or hashlib.sha256(self.raw).hexdigest()

    @property
    def first_line(self) -> str:
        return next((line.strip() for line in self.text.splitlines() if line.strip()), "")

    @property
    def comment(self) -> str:
        lines = self.text.strip().splitlines()[1:]
        return "\n".join(lines).strip()[:4000]

    def passed(self, server: str) -> bool:
        """Whether this mail server says that the sender is who they say: DMARC passed."""
        named, _, verdicts = self.authentication.partition(";")
        says = named.split()[:1] == [server.lower()] if named.strip() else False
        return says and any(verdict.split()[:1] == ["dmarc=pass"] for verdict in verdicts.split(";"))


def read_mail(raw: bytes, envelope_sender: str | None) -> Reply:
    """What a mail says of itself; without an envelope its Return-Path tells who sent it.

    Total: a mail that cannot be read is an empty reply of nobody."""
    beginning = _beginning(raw)
    try:
        head = BytesParser(policy=policy.compat32).parsebytes(beginning, headersonly=True)
        by_header = envelope_sender is None and "Return-Path" in head
        readable = len(PART.findall(beginning)) <= MOST_PARTS
        return Reply(
            message_id=_header(head, "Message-ID")[:300],
            sender=parseaddr(_header(head, "From"))[1].lower()[:254],
            recipients=tuple(_recipients(head)),
            automatic=_automatic(head, _header(head, "Return-Path").strip() if by_header else envelope_sender),
            authentication=_header(head, "Authentication-Results").lower(),
            raw=beginning if readable else b"",
        )  # fmt: skip
    except UNREADABLE:
        return Reply()


def _beginning(raw: bytes) -> bytes:
    """The beginning of a mail: so many lines of such a length, and so many headers."""
    lines = raw[:PARSED_BYTES].split(b"\n", PARSED_LINES)[:PARSED_LINES]
    end = next((n for n, line in enumerate(lines) if not line.strip()), len(lines))
    headers = [n for n in range(end) if not lines[n][:1].isspace()]
    if len(headers) > MOST_HEADERS:
        lines[headers[MOST_HEADERS] : end] = []
    return b"\n".join(line[:LINE_BYTES] for line in lines)


def _header(mail: Message, name: str) -> str:
    value = str(mail.get(name, "") or "")[:HEADER_CHARACTERS]
    return value.replace("\n", " ").replace("\r", " ")


def _recipients(mail: Message) -> Iterable[str]:
    for name in TO_WHOM:
        for _, address in getaddresses([_header(mail, name)])[:MOST_RECIPIENTS]:
            yield address.lower()[:254]


def _automatic(mail: Message, envelope_sender: str | None) -> bool:
    """Whether a machine sent it: neither obeyed nor answered, or two machines would write to each other for ever."""
    return bool(
        envelope_sender in ("", "<>")
        or _header(mail, "Auto-Submitted").lower() not in ("", "no")
        or _header(mail, "Precedence").lower() in AUTOMATIC_PRECEDENCE
        or any(_header(mail, name) for name in ("List-Id", "X-Autoreply", "X-Autorespond", "X-Auto-Reply-From"))
        or _header(mail, "Content-Type").partition(";")[0].strip().lower()
        in ("multipart/report", "message/delivery-status")
    )  # fmt: skip


def _body(mail: Message) -> str:
    """The plain text, or the HTML where there is none or it says nothing."""
    texts: dict[str, str] = {}
    for part in mail.walk():
        kind = part.get_content_type()
        if kind in ("text/plain", "text/html") and part.get_content_disposition() != "attachment" and kind not in texts:
            text = _part_text(part)
            if text.strip():
                texts[kind] = text
    if "text/plain" in texts:
        return texts["text/plain"]
    return text_of(texts.get("text/html", ""))


def _part_text(part: Message) -> str:
    content = part.get_payload(decode=True)
    charset = str(part.get_content_charset("utf-8"))
    try:
        return content.decode(charset, "replace")[:MAX_TEXT] if isinstance(content, bytes) else ""
    except LookupError:
        return content.decode("utf-8", "replace")[:MAX_TEXT] if isinstance(content, bytes) else ""
