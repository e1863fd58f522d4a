"""Mail over SMTP."""

from email.headerregistry import Address
from email.message import EmailMessage

import aiosmtplib

from domain.values import Value
from notify.port import Letter, Refused, Unavailable

SECONDS = 10


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

    async def send(self, letter: Letter) -> None:
        """Raises Refused when the server says no for good, Unavailable for everything else."""
        server = self._server
        try:
            await aiosmtplib.send(
                compose(letter, server.sender),
                hostname=server.host,
                port=server.port,
                username=server.username or None,
                password=server.password or None,
                start_tls=server.start_tls,
                timeout=SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            answers = [recipient.code for recipient in error.recipients]
            raise (Refused if all(code >= 500 for code in answers) else Unavailable)(f"SMTP {answers}") from None
        except aiosmtplib.SMTPResponseException as error:
            raise (Refused if error.code >= 550 else Unavailable)(f"SMTP {error.code}") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unavailable(type(error).__name__) from None


def compose(letter: Letter, sender: str) -> EmailMessage:
    """Text and HTML; the same Message-ID every time, so that a mailbox can tell a repetition."""
    mail = EmailMessage()
    address = Address(display_name="Dealwright", addr_spec=sender)
    mail["From"] = address
    mail["To"] = Address(display_name=letter.to_name, addr_spec=letter.to)
    mail["Subject"] = letter.subject
    mail["Message-ID"] = f"<{letter.id}@{address.domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(letter.text)
    mail.add_alternative(letter.html, subtype="html")
    return mail
