"""Replacing a person everywhere: tried first, then done by a durable run that can be paused."""

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import CommandIdReused, Invalid, Locked, NotFound
from domain.people import Person, check_approver
from domain.runs import Outcome
from domain.sentences import Sentence
from domain.values import Value, short_id
from services.context import ServiceContext, authorise
from services.runs.commands import Caller
from storage.people import people, replacements
from storage.people.replacements import Places, Replacement


class RefusedMove(Outcome):
    """Why an approval did not change hands."""

    approval: str


class Progress(Value):
    """A replacement and how far it is: `answered` of `sent` moves, and those that were refused with the reason."""

    replacement: Replacement
    sent: int
    answered: int
    refused: list[RefusedMove]


class Replacements:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def preview(self, person: Person, old: str, new: str) -> Places:
        """What a replacement would touch. Raises Invalid."""
        authorise(person, "replacements.write")
        async with self._context.database.reading() as session:
            await self._check(session, old, new)
            return await replacements.places(session, old, self._context.clock())

    async def start(self, caller: Caller, old: str, new: str) -> Replacement:
        """Put `new` in `old`'s place everywhere. The same key starts it once."""
        authorise(caller.person, "replacements.write")
        context = self._context
        async with context.database.writing() as session:
            await self._check(session, old, new)
            wanted = Replacement(
                id=short_id("p", caller.command_id),
                old=old,
                new=new,
                by=caller.person.id,
                status="running",
                created_at=context.clock(),
            )
            known = await replacements.load(session, wanted.id)
            if known and (known.old, known.new, known.by) != (old, new, caller.person.id):
                raise CommandIdReused
            if known is None:
                await replacements.add(session, wanted)
                await context.audit(
                    session, caller, f"user:{old}", "replacement_started", by=new, replacement=wanted.id
                )
        await self._wake(wanted.id)
        return known or wanted

    async def pause(self, caller: Caller, id: str) -> Replacement:
        return await self._set(caller, id, "running", "paused")

    async def resume(self, caller: Caller, id: str) -> Replacement:
        found = await self._set(caller, id, "paused", "running")
        await self._wake(id)
        return found

    async def _set(self, caller: Caller, id: str, before: str, after: str) -> Replacement:
        """Raises Locked when it has ended; asking for what is so already changes nothing."""
        authorise(caller.person, "replacements.write")
        context = self._context
        async with context.database.writing() as session:
            found = _found(await replacements.load(session, id, lock=True), id)
            if found.status == after:
                return found
            if found.status != before:
                raise Locked(Sentence("The replacement is {state}.", state=found.status), state=found.status)
            await replacements.change(session, id, status=after)
            await context.audit(session, caller, f"user:{found.old}", f"replacement_{after}", replacement=id)
            return found.evolve(status=after)

    async def get(self, person: Person, id: str) -> Progress:
        authorise(person, "replacements.read")
        async with self._context.database.reading() as session:
            found = _found(await replacements.load(session, id), id)
            refused = [
                RefusedMove.model_validate({**outcome, "approval": approval})
                for approval, outcome in await replacements.list_refused(session, id)
            ]
            return Progress(replacement=found, refused=refused, **await replacements.count_sent(session, id))

    async def list_page(self, person: Person, after: str, limit: int) -> list[Replacement]:
        authorise(person, "replacements.read")
        async with self._context.database.reading() as session:
            return await replacements.list_page(session, after, limit)

    async def _check(self, session: AsyncSession, old: str, new: str) -> None:
        leaver, follower = await people.load_person(session, old), await people.load_person(session, new)
        if leaver is None:
            raise Invalid.field("old", "there is no user {person!r}", person=old)
        if old == new:
            raise Invalid.field("new", "is the same person")
        check_approver(follower, new, "new")

    async def _wake(self, id: str) -> None:
        """With Temporal away the row is safe, and the sweep starts its run."""
        path = self._context.path
        path.in_background(path.quietly(id, path.engine.replace(id)))


def _found(replacement: Replacement | None, id: str) -> Replacement:
    if replacement is None:
        raise NotFound(Sentence("There is no replacement {id!r}.", id=id))
    return replacement
