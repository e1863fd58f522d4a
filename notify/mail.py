"""Mail over SMTP."""

import asyncio
import time
from binascii import b2a_qp
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.header import Header
from email.message import Message
from email.utils import formataddr

import aiosmtplib

from domain.values import Value
from notify.port import Letter, Refused, Unavailable

SECONDS = 10
LETTERS_PER_LINE, LINE_SECONDS = 50, 3.0
BOUNDARY = "=_alternative"
"""Between text and HTML: quoted-printable cannot contain it, so nobody has to look for one that the texts have not."""


class SmtpServer(Value):
    host: str
    port: int
    username: str = ""
    password: str = ""
    start_tls: bool = False
    sender: str = "dealwright@localhost"


class Mail:
    """A channel over one SMTP server."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._turn = asyncio.Lock()
        self._line: aiosmtplib.SMTP | None = None
        self._used, self._last = 0, 0.0

    async def send(self, letter: Letter) -> None:
        """Raises Refused when the server says no for good, Unavailable for everything else."""
        try:
            async with self._turn, self._open_line() as line:
                await line.send_message(compose(letter, self._server.sender))
        except aiosmtplib.SMTPRecipientsRefused as error:
            answers = [recipient.code for recipient in error.recipients]
            raise (Refused if all(code >= 500 for code in answers) else Unavailable)(f"SMTP {answers}") from None
        except aiosmtplib.SMTPResponseException as error:
            raise (Refused if error.code >= 550 else Unavailable)(f"SMTP {error.code}") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unavailable(type(error).__name__) from None

    @asynccontextmanager
    async def _open_line(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """A connection for one letter: the one before's while it is fresh, for greeting costs more than a letter."""
        fresh = self._used < LETTERS_PER_LINE and time.monotonic() - self._last < LINE_SECONDS
        line, self._line = self._line, None
        if line and not (fresh and line.is_connected):
            line.close()
            line = None
        if line is None:
            line, self._used = await self._connect(), 0
        try:
            yield line
        except BaseException:
            line.close()
            raise
        self._line, self._used, self._last = line, self._used + 1, time.monotonic()

    async def _connect(self) -> aiosmtplib.SMTP:
        server = self._server
        line = aiosmtplib.SMTP(
            hostname=server.host, port=server.port, username=server.username or None,
            password=server.password or None, start_tls=server.start_tls, timeout=SECONDS,
        )  # fmt: skip
        await line.connect()
        return line


def compose(letter: Letter, sender: str) -> Message:
    """Text and HTML; the same Message-ID every time, so that a mailbox can tell a repetition.

    The parts are put together here: of the standard library's classes the newer ones parse every header that they are
    given, and the older ones quote in Python what `binascii` does at once."""
    mail = Message()
    mail["MIME-Version"] = "1.0"
    mail["Content-Type"] = f'multipart/alternative; boundary="{BOUNDARY}"'
    mail["From"] = formataddr(("Dealwright", sender))
    mail["To"] = formataddr((_one_line(letter.to_name), _one_line(letter.to)))
    mail["Subject"] = Header(_one_line(letter.subject), "us-ascii" if letter.subject.isascii() else "utf-8")  # type: ignore[assignment]
    mail["Message-ID"] = f"<{letter.id}@{sender.rpartition('@')[2]}>"
    if letter.reply_to:
        mail["Reply-To"] = _one_line(letter.reply_to)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_payload(f"{_part('plain', letter.text)}{_part('html', letter.html)}--{BOUNDARY}--\n")
    return mail


def _part(kind: str, text: str) -> str:
    body = b2a_qp(text.encode(), istext=True).decode()
    head = f'Content-Type: text/{kind}; charset="utf-8"\nContent-Transfer-Encoding: quoted-printable\n'
    return f"--{BOUNDARY}\n{head}\n{body}\n"


def _one_line(text: str) -> str:
    """A line break would begin another header."""
    return " ".join(text.split())
