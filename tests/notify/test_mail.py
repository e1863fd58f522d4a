"""Letters through a real mail server, read back as a mail reader reads them."""

from email import message_from_bytes, policy
from pathlib import Path

import pytest

from cli.dev import Ports
from notify.catcher import Caught, catcher, caught
from notify.mail import Mail, SmtpServer, compose
from notify.port import Letter, Refused
from tests.support import NOW

LETTER = Letter(id="m-1", to="dora@example.com", to_name="Dora", subject="Please decide", text="", html="")
TEXTS = [
    "One line", "Two\nlines\n", "\n\nA gap before, and after\n\n", "blank at the end \nand a tab\t\n",
    "a line of " + "many words " * 40, "Þórunn á að ákveða þetta – já\n" * 9, ".\n..\n.hidden\n",
    "=\n--=_alternative--\nContent-Type: text/plain\n\nno part of its own\n",
    "one line\u2028still\x0bthe\x0csame\x85to us",
]  # fmt: skip


async def sent(folder: Path, letter: Letter) -> Caught:
    server = catcher(folder, port := Ports.free().mail)
    server.start()
    try:
        await Mail(SmtpServer(host="127.0.0.1", port=port)).send(letter)
    finally:
        server.stop()
    (found,) = caught(folder)
    return found


@pytest.mark.parametrize("text", TEXTS)
async def test_what_was_written_is_what_is_read(tmp_path: Path, text: str) -> None:
    found = await sent(tmp_path / "mail", LETTER.model_copy(update={"text": text, "html": f"<p>{text}</p>"}))
    written = [part if part.endswith("\n") else f"{part}\n" for part in (text, f"<p>{text}</p>")]
    assert [part.replace("\r\n", "\n") for part in (found.text, found.html)] == written


def test_a_letter_says_when_it_was_written_and_to_whom_to_reply() -> None:
    letter = LETTER.model_copy(update={"reply_to": "reply+m-1.aa@localhost"})
    mail = message_from_bytes(compose(letter, "dealwright@localhost", NOW).as_bytes(), policy=policy.default)
    assert mail["Date"].datetime == NOW
    assert (mail["Reply-To"], mail["Message-ID"]) == ("reply+m-1.aa@localhost", "<m-1@localhost>")


@pytest.mark.parametrize("address", ["no address", "a@b@c", "x@example.com, y@example.com", "<x@example.com>"])
def test_what_is_no_address_is_refused_for_good(address: str) -> None:
    with pytest.raises(Refused):
        compose(LETTER.model_copy(update={"to": address}), "dealwright@localhost", NOW)


async def test_names_and_subjects_of_every_language_stay_on_their_line(tmp_path: Path) -> None:
    name, subject = "Þórunn\r\nBcc: eve@example.com", "Decisão\nX-Other: 1"
    found = await sent(tmp_path / "mail", LETTER.model_copy(update={"to_name": name, "subject": subject}))
    assert (found.to, found.subject) == ('"Þórunn Bcc: eve@example.com" <dora@example.com>', "Decisão X-Other: 1")
