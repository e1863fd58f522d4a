"""What every channel is given, and the two ways it can fail."""

from typing import Protocol

from domain.values import Value


class Letter(Value):
    """A message ready to be sent. `id` stays the same when it is sent again."""

    id: str
    to: str
    to_name: str
    subject: str
    text: str
    html: str
    reply_to: str = ""


class Refused(Exception):
    """The channel will not take this letter, now or later."""


class Unavailable(Exception):
    """The channel cannot take it now; try again."""


class Channel(Protocol):
    async def send(self, letter: Letter) -> None: ...
