"""Replies as the mail programs of this world write them."""

import base64
import quopri
import re
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
from inbound.mail import MAX_BYTES, MIME_HEADER_BYTES, read_mail
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
        ("Approve?", EN),
        ("Approved - Dora", EN),
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


def forwarded(text: str, disposition: str | None) -> EmailMessage:
    """A mail that somebody received earlier, as a part of another."""
    part = EmailMessage()
    inside = EmailMessage()
    inside["From"], inside["Subject"] = "boss@example.com", "Another deal"
    inside.set_content(text)
    part.set_content(inside, disposition=disposition)
    return part


def text_part(text: str, disposition: str | None = None, filename: str | None = None) -> EmailMessage:
    part = EmailMessage()
    part.set_content(text, disposition=disposition, filename=filename)
    return part


REJECTION = ("reject", "Too deep.")


@pytest.mark.parametrize("kind", ["plain", "html"])
@pytest.mark.parametrize(
    "attached",
    [
        forwarded("Approved\n\nBoss", "attachment"),
        forwarded("Approved\n\nBoss", None),
        text_part("Yes\n", "attachment", "notes.txt"),
        text_part("Yes\n", "inline", "notes.txt"),
        text_part("Yes\n", None, "notes.txt"),
        text_part("This e-mail is confidential.\n", "inline"),
    ],
    ids=["attached mail", "inline mail", "attached file", "inline file", "named part", "disclaimer"],
)
@pytest.mark.parametrize("first", [True, False])
def test_only_the_body_of_a_reply_decides(kind: str, attached: EmailMessage, first: bool) -> None:
    written = EmailMessage()
    written.set_content("Reject\nToo deep.\n" if kind == "plain" else "<p>Reject</p><p>Too deep.</p>", subtype=kind)
    mail = EmailMessage()
    mail["From"], mail["To"] = "dora@example.com", "reply+m-1.aa@localhost"
    mail.make_mixed()
    disclaimer = "confidential" in str(attached)
    for part in (attached, written) if first and not disclaimer else (written, attached):
        mail.attach(part)
    reply = read_mail(mail.as_bytes(), "dora@example.com")
    assert (meaning(reply.first_line, EN), reply.comment) == REJECTION


def test_a_mail_that_is_only_forwarded_says_nothing() -> None:
    mail = headers(Content_Type="multipart/mixed; boundary=b") + (
        "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nApproved\r\n--b--\r\n"
    )
    assert read_mail(mail.encode(), "d@e").text == ""


def test_a_text_that_apple_mail_cut_at_a_picture_is_one_text() -> None:
    mail = headers(Content_Type="multipart/mixed; boundary=b") + (
        "\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nReject\r\n--b\r\nContent-Type: image/png\r\n\r\nxx"
        "\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nToo deep.\r\n--b--\r\n"
    )
    assert read_mail(mail.encode(), "d@e").comment == "Too deep."


@pytest.mark.parametrize(
    "charset", ["", "; charset=us-ascii", "; charset=unknown-8bit", "; charset=idna", '; charset="a\0b"']
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_missing_or_wrong_charset_loses_no_letter(charset: str, encoding: str) -> None:
    mail = headers(Content_Type=f"text/plain{charset}").encode() + b"\r\n" + "Não\r\né caro\r\n".encode(encoding)
    reply = read_mail(mail, "d@e")
    assert (meaning(reply.first_line, PT), reply.comment) == ("reject", "é caro")


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("Sent from my phone, please excuse typos", EN),
        ("Sent from my Apple Watch", EN),
        ("Sent from Outlook for Mac", EN),
        ("Sent via Superhuman", EN),
        ("Sent with Spark", EN),
        ("Sent with Aqua Mail for Android\nhttps://www.mobisystems.com/aqua-mail", EN),
        ("Get Outlook for iOS<https://aka.ms/o0ukef>", EN),
        ("Get BlueMail for Android", EN),
        ("Secured with Tuta Mail", EN),
        ("Virus-free. www.avast.com", EN),
        ("Enviado a partir do meu telemóvel", PT),
        ("Enviado do Yahoo Mail no Android", PT),
        ("Enviado do Correio para Windows", PT),
        ("Obter o Outlook para Android<https://aka.ms/AAb9ysg>", PT),
        ("Sent úr Galaxy símanum mínum", IS),
        ("Sent af iPhone", IS),
        ("Sækja Outlook fyrir Android<https://aka.ms/AAb9ysg>", IS),
        ("Quoting Dealwright <reply@example.com>:\n> Hello\n> decide", EN),
        ("* Dealwright [2026-03-02 13:05]:\n> Hello\n> decide", EN),
        (">>> Dealwright <reply@example.com> 3/2/2026 1:05 PM >>>\nHello", EN),
        ("-----Original Appointment-----\nFrom: x", EN),
        ("Subject: Please decide\nFrom: Dealwright <reply@example.com>\nTo: Dora\nDate: x\n\nHello", EN),
        ("From: Dealwright <reply@example.com>\nDate: x\n\nHello", EN),
        ("Às 13:05 de 02/03/2026, Dealwright escreveu:\n> Olá\n> decida", PT),
        ("Dealwright escreveu no dia 02/03/2026 às 13:05:\n> Olá\n> decida", PT),
        ("Citando Dealwright <reply@example.com>:\n> Olá\n> decida", PT),
        ("De: Dealwright <reply@example.com>\nPara: d\nEnviadas: x\nAssunto: y", PT),
        ("2026-03-02 13:05 skrifaði Dealwright:\n> Halló\n> ákveddu", IS),
        ("-------- Upprunalegt skeyti --------\nFrá: x", IS),
        ("Frá: Dealwright\nSent þann: mánudagur, 2. mars 2026 13:05\nTil: Dora\nEfni: x", IS),
    ],
)
def test_what_a_mail_program_adds_is_no_reason(line: str, language: Language) -> None:
    word = {EN: "Reject", PT: "Rejeitar", IS: "Hafna"}[language]
    assert own_text(f"{word}\n\n{line}\n") == word
    assert own_text(f"{word}\nA reason.\n\n{line}\n") == f"{word}\nA reason."


@pytest.mark.parametrize(
    "reason",
    [
        "Send the customer an e-mail first, then ask me again.",
        "Sent back: see my mail of Monday.",
        "Get a confirmation by mail from the customer.",
        "Get the Windows licences down to 10 %.",
        "Get Android tablets from the other supplier.",
        "Enviado por e-mail ao cliente o preço antigo.",
        "Enviada ontem por e-mail uma oferta de 15 %.",
        "Obter confirmação do cliente por e-mail.",
        "Desculpe, mas o prazo é muito breve.",
        "Senda þarf viðskiptavini póst fyrst.",
        "Fáðu staðfestingu í tölvupósti.",
        "Afsakaðu, en afslátturinn er of mikill.",
        "From: 40 %\nTo: 20 %\nDate: by Friday",
        "De: 40 %\nPara: 20 %\nData: até sexta",
        "From: dora@example.com asked 40\nTo: 20 %",
        "Discount must not be\n> 20 %",
        "Lines:\n____________\nthe second",
        "Too deep\n—\nsee the list",
        "Em 2 de março o cliente escreveu: não aceito",
        "Bruno wrote three times:\nno more than 20",
    ],
)
def test_a_reason_that_looks_like_a_mail_programs_words_is_kept(reason: str) -> None:
    assert own_text(f"Reject\n{reason}\n") == f"Reject\n{reason}"
    assert own_text(f"Reject\nToo deep.\n{reason}\n\nSent from my iPhone\n") == f"Reject\nToo deep.\n{reason}"


@pytest.mark.parametrize(
    "markup",
    [
        '<p title="a>b">Reject</p><p>Too deep</p>',
        "<head><title>x<body><p>Reject</p><p>Too deep</p>",
        "<section>Reject</section><section>Too deep</section>",
        "<pre>Reject\nToo deep</pre>",
        "<h4>Reject</h4><h4>Too deep</h4>",
        f'<p style="{"x" * 5_000}">Reject</p><p>Too deep</p>',
        '<div>Reject</div><div class="no-signature">Too deep</div>',
        '<div>Reject</div><div>Too deep</div><div class="tutanota_quote">x</div>',
        '<div id="ydp1yahoo_quoted_1" class="ydp1yahoo_quoted">x</div><div>Reject</div><div>Too deep</div>',
    ],
)
def test_markup_of_other_mail_programs_is_read(markup: str) -> None:
    reply = read_mail(html(markup), "d@e")
    assert (meaning(reply.first_line, EN), reply.comment) == ("reject", "Too deep")


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
    "folded parameters": lambda n: headers(Content_Type="text/plain;" + "\r\n a;" * n).encode() + b"\r\nyes",
    "folded open quote": lambda n: headers(Content_Type='text/plain; a="' + "\r\n b;" * n).encode() + b"\r\nyes",
    "carriage returns": lambda n: headers(Content_Type="text/plain;" + "\r a;" * n).encode() + b"\r\nyes",
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


@pytest.mark.parametrize("separator", ["\r\n ", "\n\t", "\r ", "; ", ' "; '])
@pytest.mark.parametrize("where", ["head", "part"])
def test_what_the_library_reads_in_quadratic_time_is_short(separator: str, where: str) -> None:
    described = "Content-Type: text/plain; a=" + f"{separator}b;" * 20_000
    head = described if where == "head" else "Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n" + described
    raw = read_mail(f"From: d@e\r\n{head}\r\n\r\nyes".encode(), "d@e").raw
    unfolded = re.sub(rb"\n[ \t]", b" ", raw)
    long = [line for line in unfolded.split(b"\n") if line.lower().startswith(b"content-")]
    assert long
    assert all(len(line) <= 2 * MIME_HEADER_BYTES for line in long)
