"""Mail over SMTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage

import aiosmtplib

from domain.values import Value
from notify.port import Letter, Refused, Unavailable

SECONDS = 10
LETTERS_PER_LINE, LINE_SECONDS = 50, 3.0


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
                await line.send_message(compose(letter, self._server.sender, datetime.now(UTC)))
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
            hostname=server.host,
            port=server.port,
            username=server.username or None,
            password=server.password or None,
            start_tls=server.start_tls,
            timeout=SECONDS,
        )
        await line.connect()
        return line


def compose(letter: Letter, sender: str, at: datetime) -> EmailMessage:
    """Text and HTML; the same Message-ID every time, so that a mailbox can tell a repetition.

    Raises Refused for an address that is none."""
    mail = EmailMessage()
    try:
        mail["From"] = Address("Dealwright", addr_spec=sender)
        mail["To"] = Address(_one_line(letter.to_name), addr_spec=_one_line(letter.to))
        if letter.reply_to:
            mail["Reply-To"] = Address(addr_spec=_one_line(letter.reply_to))
    except (ValueError, HeaderParseError):
        raise Refused("the address cannot be written to") from None
    mail["Subject"] = _one_line(letter.subject)
    mail["Date"] = at
    mail["Message-ID"] = f"<{letter.id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(letter.text, cte="quoted-printable")
    mail.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    return mail


def _one_line(text: str) -> str:
    """A line break would begin another header."""
    return " ".join(text.split())
