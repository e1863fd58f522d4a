"""Chat rooms and direct messages, by the address of a person's channel: Slack, Teams, Matrix and others."""

from apprise import Apprise, NotifyFormat

from domain.errors import Invalid
from notify.port import Letter, Refused, Unavailable

LONGEST = 500


def checked(url: str, schemes: tuple[str, ...]) -> str:
    """The address itself. Raises Invalid unless its scheme is allowed and its service understands it."""
    scheme = url.partition("://")[0].lower()
    if scheme not in schemes:
        raise Invalid.field("url", f"must begin with one of {', '.join(schemes)}, and ://")
    if len(url) > LONGEST or not Apprise().add(url):
        raise Invalid.field("url", "is not an address that this service understands")
    return url


class Chat:
    async def send(self, url: str, letter: Letter) -> None:
        """Raises Refused when the address is of no use, Unavailable when its service did not take it."""
        room = Apprise()
        if not room.add(url):
            raise Refused("the chat address is not understood")
        if not await room.async_notify(title=letter.subject, body=letter.text, body_format=NotifyFormat.TEXT):
            raise Unavailable("the chat service did not take it")
