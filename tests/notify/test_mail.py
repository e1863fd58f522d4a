"""Letters through a real mail server, read back as a mail reader reads them."""

from pathlib import Path

import pytest

from notify.catcher import Caught, catcher, caught
from notify.mail import Mail, SmtpServer
from notify.port import Letter
from stack import Ports

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
    assert [part.replace("\r\n", "\n") for part in (found.text, found.html)] == [text, f"<p>{text}</p>"]


async def test_names_and_subjects_of_every_language_stay_on_their_line(tmp_path: Path) -> None:
    name, subject = "Þórunn\r\nBcc: eve@example.com", "Decisão\nX-Other: 1"
    found = await sent(tmp_path / "mail", LETTER.model_copy(update={"to_name": name, "subject": subject}))
    assert (found.to, found.subject) == ('"Þórunn Bcc: eve@example.com" <dora@example.com>', "Decisão X-Other: 1")
