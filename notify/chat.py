"""Chat rooms and direct messages, by the address of a person's channel: Slack, Teams, Matrix and others."""

import asyncio
import ipaddress
import socket

from apprise import Apprise, AppriseAsset, NotifyFormat

from domain.errors import Invalid
from notify.port import Letter, Refused, Unavailable

LONGEST = 500
NO_REDIRECTS = AppriseAsset(http_redirects=False)
"""A service could else send a message on to an address that nobody checked."""


def check_address(url: str, schemes: tuple[str, ...]) -> None:
    """Raises Invalid unless the scheme is allowed and its service understands the address."""
    scheme = url.partition("://")[0].lower()
    if scheme not in schemes:
        raise Invalid.field("url", "must begin with one of {schemes}, and ://", schemes=", ".join(schemes))
    room = Apprise(asset=NO_REDIRECTS)
    if len(url) > LONGEST or not room.add(url):
        raise Invalid.field("url", "is not an address that this service understands")
    if _follows_redirects(room):
        raise Invalid.field("url", "must not ask to follow redirects")


def _follows_redirects(room: Apprise) -> bool:
    return any(getattr(service, "redirects", False) for service in room)


async def is_public(url: str) -> bool:
    """Whether every host that a message to this address would go to is on the public internet.

    Somebody could else have us ask our own network on their behalf."""
    room = Apprise(asset=NO_REDIRECTS)
    room.add(url)
    hosts = [host for service in room if isinstance(host := getattr(service, "host", None), str) and host]
    loop = asyncio.get_running_loop()
    for host in hosts:
        try:
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return False
        if not found or not all(
            ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found
        ):
            return False
    return True


class Chat:
    def __init__(self, to_private_addresses: bool = False) -> None:
        self._to_private_addresses = to_private_addresses

    async def send(self, url: str, letter: Letter) -> None:
        """Raises Refused when the address is of no use, Unavailable when its service did not take it."""
        room = Apprise(asset=NO_REDIRECTS)
        if not room.add(url) or _follows_redirects(room):
            raise Refused("the chat address is not understood")
        if not self._to_private_addresses and not await is_public(url):
            raise Refused("the chat address is not on the public internet")
        if not await room.async_notify(title=letter.subject, body=letter.text, body_format=NotifyFormat.TEXT):
            raise Unavailable("the chat service did not take it")
