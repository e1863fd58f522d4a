"""People and groups."""

from typing import Any, TypeVar
from zoneinfo import available_timezones

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import Invalid, NotAllowed, NotFound, problem
from domain.people import Group, Person, Role
from domain.quotes import unknown_zone
from domain.sentences import Sentence
from notify.chat import check_address, is_public
from services.context import ServiceContext, authorise
from services.runs.commands import Caller
from services.versions import next_version
from storage.people import people, replacements

T = TypeVar("T")
NO_USER, NO_GROUP = "There is no user {id!r}.", "There is no group {id!r}."


class People:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def get(self, person: Person, id: str) -> Person:
        authorise(person, "people.read")
        async with self._context.database.reading() as session:
            return _found(await people.load_person(session, id), NO_USER, id)

    async def list_page(self, person: Person, after: str, limit: int) -> list[Person]:
        authorise(person, "people.read")
        async with self._context.database.reading() as session:
            return await people.list_people(session, after, limit)

    async def put(self, caller: Caller, wanted: Person, expected: int | None) -> Person:
        """Create or change a person. Raises Invalid, Stale, VersionRequired."""
        authorise(caller.person, "people.write")
        context = self._context
        async with context.database.writing() as session:
            known = await people.load_person(session, wanted.id, lock=True)
            stored = wanted.evolve(version=next_version(known.version if known else None, expected))
            _check_zone(wanted)
            if wanted.manager:
                await self._check_manager(session, wanted)
            if known and known.has(Role.APPROVER) and not stored.has(Role.APPROVER):
                await self._check_leaving(session, stored.id, "roles" if stored.active else "active")
            await self._check_email(session, stored)
            await people.save_person(session, stored)
            changes = changed(known, stored)
            await context.audit(
                session, caller, f"user:{wanted.id}", "edited" if known else "created", record=stored, **changes
            )
        return stored

    async def set_chat(self, caller: Caller, id: str, url: str) -> None:
        """Where a person's chat messages go, beside their mail; empty for none. Raises Invalid, NotAllowed.

        Only they themselves say where: whoever set somebody else's would read their messages."""
        context, own = self._context, caller.person.id == id
        authorise(caller.person, "chat.write" if own else "people.write")
        if url and not own:
            raise NotAllowed(Sentence("Only {id} can set this address. You can remove it.", id=id))
        if url:
            check_address(url, context.chat_schemes)
            if not context.chat_to_private_addresses and not await is_public(url):
                raise Invalid.field("url", "must name a host on the public internet")
        async with context.database.writing() as session:
            _found(await people.load_person(session, id, lock=True), NO_USER, id)
            await people.set_chat(session, id, url)
            await context.audit(session, caller, f"user:{id}", "chat_set", kind=url.partition("://")[0])

    async def _check_leaving(self, session: AsyncSession, id: str, field: str) -> None:
        """Who still holds, may receive or hands on approvals is replaced first, so that nothing waits on nobody."""
        found = await replacements.places(session, id, self._context.clock())
        if not found.nowhere:
            wrong = problem(field, "{person} is still asked to approve. Replace them first.", person=id)
            raise Invalid.fields([wrong], places=found.model_dump(mode="json"))

    async def _check_email(self, session: AsyncSession, wanted: Person) -> None:
        """Replies are known by their sender: an address belongs to one person."""
        if wanted.active and wanted.email and (other := await people.owner_of_email(session, wanted.email, wanted.id)):
            raise Invalid.field("email", "is the address of {person} already", person=other)

    async def _check_manager(self, session: Any, wanted: Person) -> None:
        if wanted.manager == wanted.id:
            raise Invalid.field("manager", "nobody manages themselves")
        directory = await people.directory(session, {str(wanted.manager)}, set())
        if wanted.manager not in directory.people:
            raise Invalid.field("manager", "there is no user {person!r}", person=wanted.manager)
        if any(m.id == wanted.id for m in directory.managers(str(wanted.manager))):
            raise Invalid.field(
                "manager", "{manager} is managed by {person} already", manager=wanted.manager, person=wanted.id
            )

    async def get_group(self, person: Person, id: str) -> Group:
        authorise(person, "groups.read")
        async with self._context.database.reading() as session:
            return _found(await people.load_group(session, id), NO_GROUP, id)

    async def list_groups(self, person: Person, after: str, limit: int) -> list[Group]:
        authorise(person, "groups.read")
        async with self._context.database.reading() as session:
            return await people.list_groups(session, after, limit)

    async def put_group(self, caller: Caller, wanted: Group, expected: int | None) -> Group:
        """Create or change a group. Raises Invalid when a member is unknown or named twice."""
        authorise(caller.person, "groups.write")
        context = self._context
        async with context.database.writing() as session:
            known = await people.load_group(session, wanted.id, lock=True)
            stored = wanted.evolve(version=next_version(known.version if known else None, expected))
            _check_zone(wanted)
            if len(set(wanted.members)) != len(wanted.members):
                raise Invalid.field("members", "a person is named twice")
            directory = await people.directory(session, set(wanted.members), set())
            if missing := [m for m in wanted.members if m not in directory.people]:
                raise Invalid.field("members", "there is no user {person!r}", person=missing[0])
            await people.save_group(session, stored)
            changes = changed(known, stored)
            await context.audit(
                session, caller, f"group:{wanted.id}", "edited" if known else "created", record=stored, **changes
            )
        return stored


def _check_zone(wanted: Person | Group) -> None:
    if wanted.time_zone not in available_timezones():
        raise unknown_zone("time_zone", wanted.time_zone)


def _found(value: T | None, sentence: str, id: str) -> T:
    if value is None:
        raise NotFound(Sentence(sentence, id=id))
    return value


def changed(known: Person | Group | None, stored: Person | Group) -> dict[str, Any]:
    """What the trail says of a change: each field that differs, before and after."""
    was, now = (known.model_dump(mode="json") if known else {}), stored.model_dump(mode="json")
    return {"changed": {name: [was.get(name), value] for name, value in now.items() if was.get(name) != value}}
