"""Deciding by a signed link: no signing in where the company allows it, one approval, one decision."""

import secrets
from datetime import timedelta
from typing import Literal

from domain.errors import Invalid, NotFound, NotSignedIn, TooMany
from domain.people import Person
from domain.values import short_id
from notify.links import Claim, Links
from services.approvals.approvals import ApprovalDetail, Approvals
from services.context import ServiceContext
from services.runs.commands import Caller, CommandReceipt
from storage.letters import codes, messages
from storage.people import people

CODES_A_DAY, TRIES, CODE_LIFE = 5, 5, timedelta(minutes=10)


class ByLink:
    def __init__(self, context: ServiceContext, approvals: Approvals, links: Links, login: bool) -> None:
        self._context = context
        self._approvals = approvals
        self._links = links
        self.requires_login = login

    async def shown(self, token: str, signed_in: Person | None, device: str = "") -> tuple[Person, ApprovalDetail]:
        """What the link is about, for the person it was sent to. Raises NotFound, NotSignedIn."""
        claim, person = await self._authenticate(token, signed_in, device)
        return person, await self._approvals.get(person, claim.approval)

    async def decide(
        self, token: str, verb: Literal["approve", "reject"], comment: str, signed_in: Person | None, device: str = ""
    ) -> tuple[Person, CommandReceipt]:
        """Carry out the decision on what the letter showed; a link decides once, whatever is asked of it again."""
        claim, person = await self._authenticate(token, signed_in, device)
        caller = Caller(person=person, channel="link", key=claim.key)
        shown = await self._approvals.get(person, claim.approval)
        act = self._approvals.approve if verb == "approve" else self._approvals.reject
        return person, await act(caller, claim.approval, claim.digest or shown.round.digest, comment)

    async def send_code(self, token: str, signed_in: Person | None) -> Person:
        """Mail a one-time code to whom the link was sent to. Raises NotFound, TooMany."""
        claim, person = await self._owner(token, signed_in)
        context = self._context
        async with context.database.writing() as session:
            now = context.clock()
            if await messages.count_since(session, person.id, "code", now - timedelta(days=1)) >= CODES_A_DAY:
                raise TooMany("Too many codes were sent today. Sign in instead, or try again tomorrow.")
            about = await messages.load(session, claim.message)
            if about is None:
                raise NotFound("This link is not valid any more.")
            nonce = secrets.token_hex(16)
            await codes.replace(session, person.id, nonce, now + CODE_LIFE)
            data = {"approvals": [], "nonce": nonce}
            await messages.queue(session, short_id("m", "code", nonce), about, "code", data, now)
        return person

    async def verify_code(self, token: str, code: str, signed_in: Person | None) -> str:
        """What the browser keeps after the right code. A code works once, for ten minutes and five tries.

        Raises Invalid, NotFound."""
        _, person = await self._owner(token, signed_in)
        async with self._context.database.writing() as session:
            nonce = await codes.take_try(session, person.id, self._context.clock(), TRIES)
            right = nonce is not None and secrets.compare_digest(self._links.code(person.id, nonce), code.strip())
            if right:
                await codes.delete_code(session, person.id)
        if not right:
            raise Invalid.field("code", "is not right, or too old. Ask for a new one.")
        return self._links.device(person.id)

    async def _authenticate(self, token: str, signed_in: Person | None, device: str) -> tuple[Claim, Person]:
        claim, person = await self._owner(token, signed_in)
        known = signed_in is not None or self._links.person_of_device(device) == person.id
        if self.requires_login and not known:
            raise NotSignedIn("Sign in first, or ask for a code by mail.")
        return claim, person

    async def _owner(self, token: str, signed_in: Person | None) -> tuple[Claim, Person]:
        """Whom the link was sent to: nobody decides in somebody else's name."""
        claim = self._links.claim(token)
        if claim is None:
            raise NotFound("This link is not valid, or too old. Open your inbox instead.")
        if signed_in is not None and signed_in.id != claim.person:
            raise NotFound("This link was sent to somebody else. Open your own inbox.")
        async with self._context.database.reading() as session:
            person = await people.load_person(session, claim.person)
        if person is None or not person.active:
            raise NotFound("This link is not valid any more.")
        return claim, person
