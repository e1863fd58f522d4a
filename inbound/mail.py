"""A reply by mail: who sent it, to which of our addresses, and what its first line says.

Anybody can send us mail, so it is bounded before it is parsed: bytes, lines, headers, addresses, parts."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from email import policy
from email.errors import MessageError
from email.message import Message
from email.parser import BytesParser
from email.utils import getaddresses, parseaddr
from functools import cached_property

from domain.values import Value, storable
from inbound.html import text_of
from inbound.quotes import own_text

MAX_BYTES = 2_000_000
"""What our mail server takes; attachments are not read."""
PARSED_BYTES, PARSED_LINES, LINE_BYTES = 300_000, 8_000, 20_000
MOST_HEADERS, HEADER_CHARACTERS, MOST_PARTS, MAX_TEXT = 200, 2_000, 20, 100_000
MIME_HEADER_BYTES = 1_000
"""Of a header that describes a part, with its continuation lines: the library's work on it is quadratic."""
TO_WHOM, MOST_RECIPIENTS = ("To", "Cc", "Delivered-To", "X-Original-To"), 50
AUTOMATIC_PRECEDENCE = ("bulk", "list", "junk", "auto_reply")
PART = re.compile(rb"^content-type\s*:", re.IGNORECASE | re.MULTILINE)
MIME_HEADER = re.compile(rb"content-[a-z-]{1,40}\s*:", re.IGNORECASE)
PLAIN, HTML = "text/plain", "text/html"
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
            body = _body(BytesParser(policy=policy.compat32).parsebytes(self.raw))
            return storable(own_text(body), MAX_TEXT)
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
        named, *verdicts = _without_quoted(self.authentication).split(";")
        says = [verdict.split()[0] for verdict in verdicts if verdict.strip().startswith("dmarc")]
        return named.split()[:1] == [server.lower()] and says == ["dmarc=pass"]


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
        )
    except UNREADABLE:
        return Reply()


def _beginning(raw: bytes) -> bytes:
    """The beginning of a mail: so many lines of such a length, so many headers, and short descriptions of parts."""
    lines = raw[:PARSED_BYTES].splitlines()[:PARSED_LINES]
    end = next((n for n, line in enumerate(lines) if not line.strip()), len(lines))
    headers = [n for n in range(end) if not lines[n][:1].isspace()]
    if len(headers) > MOST_HEADERS:
        lines[headers[MOST_HEADERS] : end] = []
    return b"\n".join(_shorten(lines))


def _shorten(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of bounded length. A MIME header and its continuation lines together have one bound."""
    left: int | None = None
    for line in lines:
        if MIME_HEADER.match(line):
            left = MIME_HEADER_BYTES
        elif left is None or line[:1] not in (b" ", b"\t"):
            left = None
        elif left <= 0:
            continue
        yield line[: LINE_BYTES if left is None else left]
        left = None if left is None else left - len(line)


def _header(mail: Message, name: str) -> str:
    value = str(mail.get(name, "") or "")[:HEADER_CHARACTERS]
    return storable(value, HEADER_CHARACTERS).replace("\n", " ").replace("\r", " ")


def _without_quoted(header: str) -> str:
    """A header without its comments and quoted strings (RFC 8601): whoever writes a mail can put anything there.

    What is never closed is left out up to the end."""
    kept, depth, quoted, escaped = [], 0, False, False
    for character in header:
        inside = quoted or depth > 0
        if escaped:
            escaped = False
        elif character == "\\" and inside:
            escaped = True
        elif character == '"' and not depth:
            quoted = not quoted
        elif character == "(" and not quoted:
            depth += 1
        elif character == ")" and depth:
            depth -= 1
        elif not inside:
            kept.append(character)
    return "".join(kept)


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
    )


def _body(mail: Message) -> str:
    """The text of the body. Attached files and mails are never part of it."""
    kind, text = _read_part(mail)
    return text_of(text) if kind == HTML else text


def _read_part(part: Message) -> tuple[str, str]:
    """The kind and the text of a part: the plain text of alternatives, else their HTML, else nothing.

    Elsewhere the first part that says something is the body. Apple Mail cuts a text at a picture into several parts of
    one kind without a disposition; a disclaimer that a mail server adds has one."""
    if part.get_content_maintype() == "multipart":
        return _read_parts(part)
    kind = part.get_content_type()
    is_file = part.get_content_disposition() == "attachment" or part.get_filename() is not None
    return (kind, _part_text(part)) if kind in (PLAIN, HTML) and not is_file else ("", "")


def _read_parts(part: Message) -> tuple[str, str]:
    inside = part.get_payload()
    parts = [each for each in inside if isinstance(each, Message)] if isinstance(inside, list) else []
    texts = [(each, *_read_part(each)) for each in parts]
    texts = [(each, kind, text) for each, kind, text in texts if text.strip()]
    if part.get_content_subtype() == "alternative":
        texts = sorted(texts, key=lambda found: found[1] != PLAIN)[:1]
    if not texts:
        return "", ""
    _, kind, first = texts[0]
    more = [text for each, same, text in texts[1:] if same == kind and "Content-Disposition" not in each]
    return kind, "\n".join([first, *more])


def _part_text(part: Message) -> str:
    """The text of a part, in its charset; where that is missing or wrong, in UTF-8, and else in Windows' own."""
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    for charset in (str(part.get_content_charset("utf-8")), "utf-8"):
        try:
            return content.decode(charset)[:MAX_TEXT]
        except (LookupError, ValueError):
            continue
    return content.decode("cp1252", "replace")[:MAX_TEXT]
