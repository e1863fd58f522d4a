"""A reply by mail: who sent it, to which of our addresses, and what its first line says."""

import re
from email import policy
from email.errors import MessageError
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import getaddresses, parseaddr
from html.parser import HTMLParser

from mailparser_reply import EmailReplyParser

from domain.values import Value

MAX_BYTES = 2_000_000
MAX_TEXT = 20_000
TO_WHOM, MOST_RECIPIENTS = ("To", "Cc", "Delivered-To", "X-Original-To"), 50
AUTOMATIC_PRECEDENCE = ("bulk", "list", "junk", "auto_reply")
QUOTES = re.compile(
    r"^(>|_{10,}|-{2,}\s*(original message|mensagem original|upprunaleg\w* skilabo\S*|forwarded message)"
    r"|(on|em|þann|den)\b.{0,300}\b(wrote|escreveu|skrifaði)\b.{0,200}:\s*$"
    r"|\*?(from|de|frá|sent|enviad[ao](?: em)?|sendt)\*?:\s.{2,}|-- ?$|sent from my |enviado do meu |sent úr )",
    re.IGNORECASE,
)


class Reply(Value):
    """What a mail says. `text` is what its sender wrote above whatever they quoted."""

    message_id: str
    sender: str
    recipients: tuple[str, ...]
    automatic: bool
    text: str

    @property
    def first_line(self) -> str:
        return next((line.strip() for line in self.text.splitlines() if line.strip()), "")

    @property
    def comment(self) -> str:
        lines = self.text.strip().splitlines()[1:]
        return "\n".join(lines).strip()[:4000]


def read_mail(raw: bytes, envelope_sender: str | None) -> Reply:
    """What a mail says; without an envelope its Return-Path tells who sent it.

    Total: a mail that cannot be read is an empty reply of nobody."""
    try:
        mail = BytesParser(EmailMessage, policy=policy.default).parsebytes(raw[:MAX_BYTES])
        by_header = envelope_sender is None and "Return-Path" in mail
        return Reply(
            message_id=_header(mail, "Message-ID")[:300],
            sender=parseaddr(_header(mail, "From"))[1].lower()[:254],
            recipients=tuple(a.lower() for _, a in getaddresses([_header(mail, n) for n in TO_WHOM])[:MOST_RECIPIENTS]),
            automatic=_automatic(mail, _header(mail, "Return-Path").strip() if by_header else envelope_sender),
            text=written(_body(mail)),
        )
    except (MessageError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return Reply(message_id="", sender="", recipients=(), automatic=False, text="")


def _header(mail: EmailMessage, name: str) -> str:
    return str(mail.get(name, "") or "").replace("\n", " ").replace("\r", " ")


def _automatic(mail: EmailMessage, envelope_sender: str | None) -> bool:
    """Whether a machine sent it: neither obeyed nor answered, or two machines would write to each other for ever."""
    return bool(
        envelope_sender in ("", "<>")
        or _header(mail, "Auto-Submitted").lower() not in ("", "no")
        or _header(mail, "Precedence").lower() in AUTOMATIC_PRECEDENCE
        or any(_header(mail, name) for name in ("List-Id", "X-Autoreply", "X-Autorespond", "X-Auto-Reply-From"))
        or mail.get_content_type() in ("multipart/report", "message/delivery-status")
    )  # fmt: skip


def _body(mail: EmailMessage) -> str:
    part = mail.get_body(("plain", "html"))
    if part is None:
        return ""
    text = str(part.get_content())[: MAX_TEXT * 10]
    return text_of(text) if part.get_content_type() == "text/html" else text


def written(text: str) -> str:
    """What somebody wrote, without what they quoted and without their signature."""
    lines: list[str] = []
    for line in text[:MAX_TEXT].replace("\r\n", "\n").replace("\xa0", " ").split("\n"):
        if QUOTES.match(line.strip()):
            break
        lines.append(line)
    own = "\n".join(lines).strip()
    found = EmailReplyParser(languages=["en", "pt"]).parse_reply(own) if own else ""
    return found.strip() or own


class _Text(HTMLParser):
    """HTML as lines of text; quoted blocks, styles and scripts are left out."""

    BLOCKS = ("p", "div", "br", "tr", "li", "table", "hr", "h1", "h2", "h3")
    LEFT_OUT = ("blockquote", "style", "script", "head", "title")
    QUOTED = ("gmail_quote", "gmail_attr", "moz-cite-prefix", "yahoo_quoted", "appendonsend", "divrplyfwdmsg")
    VOID = ("br", "hr", "img", "meta", "link", "input", "col", "wbr", "area", "base", "source")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.depth = 0
        self.ended = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in self.BLOCKS:
            self.parts.append("\n")
        marks = " ".join(value or "" for name, value in attributes if name in ("class", "id")).lower()
        if any(mark in marks for mark in self.QUOTED) or tag == "hr":
            self.ended = True  # from here on it is what they answer to
        if tag in self.VOID:
            return
        if self.depth or tag in self.LEFT_OUT:
            self.depth += 1

    def handle_endtag(self, tag: str) -> None:
        if self.depth and tag not in self.VOID:
            self.depth -= 1
        if tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.depth and not self.ended:
            self.parts.append(re.sub(r"\s+", " ", data))


def text_of(html: str) -> str:
    reader = _Text()
    reader.feed(html)
    reader.close()
    return "".join(reader.parts)
