"""Standing delegations: out of office, and who decides meanwhile."""

from datetime import date, timedelta

from domain.approvals.subject import KINDS
from domain.delegation import Delegation, circle, zone_of
from domain.errors import CommandIdReused, Invalid, NotFound, problem
from domain.people import Person, check_approver, no_approver
from domain.permissions import Reach
from domain.sentences import Sentence
from domain.values import short_id
from services.context import ServiceContext, authorise
from services.runs.commands import Caller
from storage.approvals import delegations
from storage.people import people

LONGEST = timedelta(days=366 * 5)


class Delegations:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def give(
        self,
        caller: Caller,
        person: str,
        delegate: str,
        first: date,
        last: date | None,
        kinds: tuple[str, ...] = (),
        note: str = "",
    ) -> Delegation:
        """Let somebody decide for a person; an admin may do so for others. Raises Invalid naming the field."""
        reach = authorise(caller.person, "delegations.write")
        context = self._context
        if person != caller.person.id and Reach.ALL not in reach:
            raise NotFound(Sentence("There is no user {person!r} whose approvals you can hand on.", person=person))
        async with context.database.writing() as session:
            giver, taker = await people.load_person(session, person), await people.load_person(session, delegate)
            giver = check_approver(giver, person, "person")
            if taker is None:
                raise no_approver(delegate, "delegate")
            today = context.clock().astimezone(zone_of(giver.time_zone)).date()
            wanted = Delegation(
                id=short_id("d", caller.command_id),
                person=person,
                delegate=delegate,
                first=first,
                last=last,
                kinds=kinds,
                note=note,
                time_zone=giver.time_zone,
            )
            if known := await delegations.load(session, wanted.id):
                if known.evolve(ended_at=None) != wanted:
                    raise CommandIdReused
                return known
            _check(wanted, taker, today)
            if way := circle(wanted, await delegations.standing(session, context.clock())):
                what = "delegations would go round in a circle: {way}"
                found = problem("delegate", what, way=" → ".join(way))
                raise Invalid.fields([found], reason="delegation_cycle", way=way)
            await delegations.add(session, wanted, caller.person.id, context.clock())
            facts = wanted.model_dump(mode="json", include={"delegate", "first", "last", "kinds", "note"})
            await context.audit(session, caller, f"user:{person}", "delegated_standing", **facts)
        return wanted

    async def end(self, caller: Caller, id: str) -> Delegation:
        """End it now. Ending what has ended changes nothing."""
        reach = authorise(caller.person, "delegations.write")
        context = self._context
        async with context.database.writing() as session:
            found = await delegations.load(session, id)
            if found is None or (Reach.ALL not in reach and found.person != caller.person.id):
                raise NotFound(Sentence("There is no delegation {id!r} of yours.", id=id))
            if found.ended_at is None:
                await delegations.end(session, id, context.clock())
                await context.audit(
                    session, caller, f"user:{found.person}", "delegation_ended", delegate=found.delegate
                )
            return found.evolve(ended_at=found.ended_at or context.clock())

    async def list_page(self, person: Person, after: str, limit: int) -> list[Delegation]:
        """Those the person gave or was given; an admin sees all."""
        everything = Reach.ALL in authorise(person, "delegations.read")
        async with self._context.database.reading() as session:
            return await delegations.list_page(session, None if everything else person.id, after, limit)


def _check(wanted: Delegation, taker: Person, today: date) -> None:
    if wanted.delegate == wanted.person:
        raise Invalid.field("delegate", "nobody can stand in for themselves")
    check_approver(taker, wanted.delegate, "delegate")
    if wanted.last and wanted.last < wanted.first:
        raise Invalid.field("last", "is before the first day")
    if wanted.last and wanted.last < today:
        raise Invalid.field("last", "is in the past")
    if wanted.first > today + LONGEST or (wanted.last and wanted.last > today + LONGEST):
        raise Invalid.field("last" if wanted.last else "first", "is more than five years away")
    for kind in wanted.kinds:
        if kind not in KINDS:
            raise Invalid.field("kinds", "{kind!r} is not one of {kinds}", kind=kind, kinds=", ".join(KINDS))
