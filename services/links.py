"""Deciding by a signed link: no signing in, one approval, one decision."""

from typing import Literal

from domain.errors import NotFound, NotSignedIn
from domain.people import Person
from notify.links import Claim, Links
from services.approvals import Approvals, Shown
from services.commands import Caller, CommandReceipt
from services.office import Office
from storage import people


class ByLink:
    def __init__(self, office: Office, approvals: Approvals, links: Links, login: bool) -> None:
        self._office = office
        self._approvals = approvals
        self._links = links
        self.requires_login = login

    async def shown(self, token: str, signed_in: Person | None) -> tuple[Person, Shown]:
        """What the link is about, for the person it was sent to. Raises NotFound, NotSignedIn."""
        claim, person = await self._claimed(token, signed_in)
        return person, await self._approvals.get(person, claim.approval)

    async def decide(
        self, token: str, verb: Literal["approve", "reject"], comment: str, signed_in: Person | None
    ) -> tuple[Person, CommandReceipt]:
        """Carry out the decision; a link decides once, whatever is asked of it again."""
        claim, person = await self._claimed(token, signed_in)
        caller = Caller(person=person, channel="link", key=claim.key)
        shown = await self._approvals.get(person, claim.approval)
        act = self._approvals.approve if verb == "approve" else self._approvals.reject
        return person, await act(caller, claim.approval, shown.round.digest, comment)

    async def _claimed(self, token: str, signed_in: Person | None) -> tuple[Claim, Person]:
        claim = self._links.claim(token)
        if claim is None:
            raise NotFound("This link is not valid, or too old. Open your inbox instead.")
        if self.requires_login and signed_in is None:
            raise NotSignedIn("Sign in first.")
        if signed_in is not None and self.requires_login and signed_in.id != claim.person:
            raise NotFound("This link was sent to somebody else. Open your own inbox.")
        async with self._office.database.reading() as session:
            person = await people.load_person(session, claim.person)
        if person is None or not person.active:
            raise NotFound("This link is not valid any more.")
        return claim, person
