"""Replies as the mail programs of this world write them."""

import base64
import quopri
import sys
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals.replies import meaning
from domain.people import Language
from inbound.mail import MAX_BYTES, read_mail
from inbound.quotes import own_text

EN, PT, IS = Language.ENGLISH, Language.PORTUGUESE, Language.ICELANDIC


def headers(**more: str) -> str:
    known = {
        "From": "Dora <dora@example.com>", "To": "reply+m-1.aa@localhost", "Subject": "Re: Please decide",
        "Message-ID": "<1@client>", "MIME-Version": "1.0", **{k.replace("_", "-"): v for k, v in more.items()},
    }  # fmt: skip
    return "".join(f"{name}: {value}\r\n" for name, value in known.items())


def plain(text: str, charset: str = "utf-8", encoding: str = "8bit", **more: str) -> bytes:
    data = text.replace("\n", "\r\n").encode(charset)
    body = {"8bit": data, "base64": base64.encodebytes(data), "quoted-printable": quopri.encodestring(data)}[encoding]
    kind = {"Content_Type": f"text/plain; charset={charset}", "Content_Transfer_Encoding": encoding}
    return headers(**kind, **more).encode() + b"\r\n" + body


def html(text: str, **more: str) -> bytes:
    return headers(Content_Type="text/html; charset=utf-8", **more).encode() + b"\r\n" + text.encode()


GMAIL = plain(
    "Approved\n\nGo ahead, good margin.\n\nOn Mon, 2 Mar 2026 at 12:00, Dealwright <\nreply+m-1.aa@localhost> wrote:\n\n"
    "> Hello Dora,\n> this waits for your decision:\n> approve or reject\n"
)
GMAIL_PT = plain(
    "Sim.\n\nPode seguir\n\nEm seg., 2 de mar. de 2026 às 12:00, Dealwright <reply+m-1.aa@localhost> escreveu:\n> não\n",
    encoding="quoted-printable",
)
GMAIL_IS = plain(
    "Samþykkt!\n\nÞann mán., 2. mars 2026 kl. 12:00 skrifaði Dealwright <reply+m-1.aa@localhost>:\n> hafna\n",
    encoding="base64",
)
GMAIL_HTML = html(
    '<div dir="ltr">No<div><br></div><div>Too deep for this customer.</div></div><br>'
    '<div class="gmail_quote"><div class="gmail_attr">On Mon Dealwright wrote:</div>'
    "<blockquote>approve</blockquote></div>"
)
OUTLOOK = html(
    "<html><head><style>p {color: red}</style></head><body><div class=WordSection1><p class=MsoNormal>Reject<o:p></o:p></p>"
    "<p class=MsoNormal>Margin is&nbsp;too low</p><div id=divRplyFwdMsg><b>From:</b> Dealwright<br><b>Sent:</b> Monday<br>"
    "<b>Subject:</b> Please decide</div><p>approve</p></div></body></html>"
)
OUTLOOK_PLAIN = plain(
    "yes\n\nThanks\n\n________________________________\nFrom: Dealwright <reply+m-1.aa@localhost>\nSent: Monday\nreject\n",
    charset="iso-8859-1",
)
OUTLOOK_PT = plain(
    "NÃO\n\nDesconto alto demais.\n\nDe: Dealwright <reply+m-1.aa@localhost>\nEnviada em: segunda-feira\nsim\n",
    charset="windows-1252",
    encoding="quoted-printable",
)
APPLE = plain(
    "Approve.\n\nBest\nDora\n\nSent from my iPhone\n\n> On 2 Mar 2026, at 12:00, Dealwright wrote:\n> \n> reject\n",
    encoding="quoted-printable",
)


@pytest.mark.parametrize(
    ("raw", "language", "verb", "comment"),
    [
        (GMAIL, EN, "approve", "Go ahead, good margin."),
        (GMAIL_PT, PT, "approve", "Pode seguir"),
        (GMAIL_IS, IS, "approve", ""),
        (GMAIL_HTML, EN, "reject", "Too deep for this customer."),
        (OUTLOOK, EN, "reject", "Margin is too low"),
        (OUTLOOK_PLAIN, EN, "approve", "Thanks"),
        (OUTLOOK_PT, PT, "reject", "Desconto alto demais."),
        (APPLE, EN, "approve", "Best\nDora"),
        (plain("\n\n  YES!!  \n"), IS, "approve", ""),
        (plain("já"), IS, "approve", ""),
        (plain("*Approved*"), EN, "approve", ""),
    ],
)
def test_what_people_write_is_understood(raw: bytes, language: Language, verb: str, comment: str) -> None:
    reply = read_mail(raw, "dora@example.com")
    assert meaning(reply.first_line, language) == verb, reply.text
    assert reply.comment == comment
    assert (reply.sender, reply.automatic) == ("dora@example.com", False)


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("Já falei com o cliente", PT),
        ("já", PT),
        ("No problem, approved", EN),
        ("Approved if they sign today", EN),
        ("yes and no", EN),
        ("not approved", EN),
        ("", EN),
        ("sim", EN),
        ("hafna", PT),
        ("👍", EN),
        ("no\u200bo", EN),
    ],
)
def test_what_is_not_clear_is_never_guessed(line: str, language: Language) -> None:
    assert meaning(line, language) is None


def test_a_quoted_word_is_not_an_answer() -> None:
    only_quoted = plain("On Mon, 2 Mar 2026, Dealwright wrote:\n> approve\n")
    assert meaning(read_mail(only_quoted, "d@e").first_line, EN) is None
    assert meaning(read_mail(html("<blockquote>approve</blockquote>"), "d@e").first_line, EN) is None


@pytest.mark.parametrize(
    ("more", "sender"),
    [
        ({"Auto_Submitted": "auto-replied"}, "dora@example.com"),
        ({"Precedence": "bulk"}, "dora@example.com"),
        ({"List_Id": "<x.y>"}, "dora@example.com"),
        ({"X_Autoreply": "yes"}, "dora@example.com"),
        ({}, ""),
    ],
)
def test_what_machines_send_is_known_as_such(more: dict[str, str], sender: str) -> None:
    assert read_mail(plain("Approved", **more), sender).automatic


def test_a_bounce_is_automatic() -> None:
    bounce = headers(Content_Type="multipart/report; boundary=x").encode() + b"\r\n--x\r\n\r\nApproved\r\n--x--\r\n"
    assert read_mail(bounce, "mailer@x").automatic


def test_a_letter_with_attachments_is_read_by_its_text() -> None:
    mail = EmailMessage()
    mail["From"], mail["To"] = "dora@example.com", "reply+m-1.aa@localhost"
    mail.set_content("Approved\n\nsee attached")
    mail.add_attachment(b"\x00" * 1000, maintype="application", subtype="pdf", filename="approve.pdf")
    assert read_mail(mail.as_bytes(), "dora@example.com").comment == "see attached"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\xff\xfe", b"From: x\r\n\r\n", headers(Content_Type="text/plain; charset=klingon").encode() + b"\r\nyes",
        headers(Content_Type="multipart/mixed").encode() + b"\r\nno boundary", headers(Subject="only").encode(),
        headers(Content_Type="text/html").encode() + b"\r\n" + b"<div>" * 5000, b"From: " + b"a" * 100_000 + b"\r\n\r\nyes",
    ],
)  # fmt: skip
def test_broken_mail_is_read_as_nothing_clear(raw: bytes) -> None:
    read_mail(raw, None)


@given(st.binary(max_size=400))
def test_reading_is_total(noise: bytes) -> None:
    read_mail(noise, None)
    read_mail(headers().encode() + b"\r\n" + noise, "x")


@given(st.text(max_size=300))
def test_cutting_quotes_never_adds_words(text: str) -> None:
    assert set(own_text(text).split()) <= set(text.replace("\xa0", " ").split())


CORPUS = Path(__file__).parent / "replies"
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load((CORPUS / "expected.yaml").read_text())


def test_every_mail_of_the_corpus_has_its_expected_reading() -> None:
    assert {file.stem for file in CORPUS.glob("*.eml")} == set(EXPECTED)
    assert len(EXPECTED) >= 60


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_replies_of_the_mail_programs_of_this_world(name: str) -> None:
    reply, expected = read_mail((CORPUS / f"{name}.eml").read_bytes(), "approver@example.com"), EXPECTED[name]
    verb = meaning(reply.first_line, Language(expected["language"]))
    assert (verb, reply.comment) == (expected["verb"], expected["comment"])
    assert (reply.sender, reply.automatic) == ("approver@example.com", False)


# --- hostile mail: twice as much is at most twice the work --------------------------------------------------------------


def steps(raw: bytes) -> int:
    """How many lines of Python reading a mail takes; its patterns are bounded, so that no line takes long."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        reply = read_mail(raw, "x@example.com")
        assert isinstance(reply.first_line, str)
    finally:
        sys.settrace(before)
    return count


def body(text: str, kind: str = "plain") -> bytes:
    return headers(Content_Type=f"text/{kind}; charset=utf-8").encode() + b"\r\n" + text.encode()


MOST_STEPS = 2_000_000
HOSTILE: dict[str, Callable[[int], bytes]] = {
    "attributions": lambda n: body("On " * n),
    "attributions by line": lambda n: body("On 1\n" * n),
    "attribution with brackets": lambda n: body("On 1 <" * n),
    "wrote": lambda n: body("On 1 wrote " * n),
    "addresses": lambda n: headers(Cc=", ".join(f"a{i}@example.com" for i in range(n))).encode() + b"\r\nyes",
    "open groups": lambda n: headers(Cc="a:" * n).encode() + b"\r\nyes",
    "parameters": lambda n: headers(Content_Type="text/plain; " + "; ".join(f"a{i}=b" for i in range(n))).encode() + b"\r\nyes",
    "continued parameters": lambda n: headers(
        Content_Type="text/plain; " + "; ".join(f"charset*{i}=u" for i in range(n))).encode() + b"\r\nyes",
    "headers": lambda n: b"".join(b"X-%d: y\r\n" % i for i in range(n)) + headers().encode() + b"\r\nyes",
    "folded header": lambda n: b"Subject: x\r\n" + b" y\r\n" * n + headers().encode() + b"\r\nyes",
    "quotes in From": lambda n: headers(From='"' * n).encode() + b"\r\nyes",
    "comments in From": lambda n: headers(From="(" * n).encode() + b"\r\nyes",
    "encoded words": lambda n: headers(From="=?utf-8?q?a?= " * n).encode() + b"\r\nyes",
    "unclosed HTML": lambda n: body("<div>" * n, "html"),
    "broken tags": lambda n: body("<a " * n, "html"),
    "comments": lambda n: body("<!--" * n, "html"),
    "declarations": lambda n: body("<![CDATA[" * n, "html"),
    "attributes": lambda n: body('<p class="' * n, "html"),
    "entities": lambda n: body("&amp" * n, "html"),
    "blockquotes": lambda n: body("<blockquote>" * n + "</blockquote>" * n, "html"),
    "header lines": lambda n: body("From: a\n" * n),
    "signatures": lambda n: body("Approved\n" + "Sent from my iPhone\n" * n),
    "underscores": lambda n: body("_" * n + "x"),
    "one long line": lambda n: body("x" * n),
    "base64": lambda n: headers(Content_Transfer_Encoding="base64").encode() + b"\r\n" + b"QUFB\r\n" * n,
    "nested parts": lambda n: b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (i, i) for i in range(n)) + b"\r\nyes",
    "boundaries": lambda n: headers(Content_Type='multipart/mixed; boundary="b"').encode() + b"\r\n" + b"--b\r\n\r\n" * n,
}  # fmt: skip


@pytest.mark.parametrize("shape", HOSTILE)
def test_twice_as_much_of_a_hostile_mail_is_at_most_about_twice_the_work(shape: str) -> None:
    make = HOSTILE[shape]
    size = max(1, 20_000 // max(1, len(make(200)) // 200))
    one, two, four = (steps(make(size * n)) for n in (1, 2, 4))
    assert two <= 2.3 * one + 500
    assert four <= 2.3 * two + 500


@pytest.mark.parametrize("shape", HOSTILE)
def test_a_hostile_mail_of_the_largest_size_is_read_in_bounded_work(shape: str) -> None:
    make = HOSTILE[shape]
    most = MAX_BYTES // max(1, len(make(200)) // 200)
    assert steps(make(most)) <= MOST_STEPS
