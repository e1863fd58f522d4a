"""People, groups, keys and rates."""

from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, String, bindparam, cast, func, or_
from sqlalchemy import select as core_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.clocks import Working
from domain.money import Rates
from domain.people import Directory, Group, Person, Role
from storage.database import execute
from storage.tables import ApiKeyRow, GroupRow, PersonRow, RateRow

PEOPLE, GROUPS, RATES = PersonRow.__table__, GroupRow.__table__, RateRow.__table__  # type: ignore[attr-defined]
BY_ID = core_select(PEOPLE).where(PEOPLE.c.id == bindparam("id"))
LOCKED = BY_ID.with_for_update()
THESE = core_select(PEOPLE).where(PEOPLE.c.id.in_(bindparam("these", expanding=True)))
WITH_MANAGERS = core_select(PEOPLE.c.id, PEOPLE.c.manager)
NAMED = WITH_MANAGERS.where(PEOPLE.c.id.in_(bindparam("these", expanding=True))).cte("named", recursive=True)
ABOVE = NAMED.union(WITH_MANAGERS.where(PEOPLE.c.id == NAMED.c.manager))
THESE_AND_ABOVE = core_select(PEOPLE).where(PEOPLE.c.id.in_(core_select(ABOVE.c.id)))
ALL_RATES = core_select(RATES)
THESE_GROUPS = core_select(GROUPS).where(GROUPS.c.id.in_(bindparam("these", expanding=True)))


def person_of(row: PersonRow | Row[Any]) -> Person:
    return Person.model_validate({name: getattr(row, name) for name in Person.model_fields})


def group_of(row: GroupRow | Row[Any]) -> Group:
    return Group.model_validate({name: getattr(row, name) for name in Group.model_fields})


async def load_person(session: AsyncSession, id: str, lock: bool = False) -> Person | None:
    row = (await execute(session, LOCKED if lock else BY_ID, {"id": id})).first()
    return person_of(row) if row else None


async def save_person(session: AsyncSession, person: Person) -> None:
    """Store the person as given; a password and issued tokens stay as they are."""
    row = await session.get(PersonRow, person.id) or PersonRow(id=person.id, name=person.name, roles=[])
    for name, value in person.model_dump(mode="python", exclude={"id", "calendar"}).items():
        setattr(row, name, [str(r) for r in value] if name == "roles" else value)
    row.calendar = person.calendar.model_dump(mode="json") if person.calendar else None
    session.add(row)


async def login_of(session: AsyncSession, id: str) -> tuple[Person, str | None, datetime | None] | None:
    """A person with their password's hash and the instant before which tokens no longer count."""
    row = (await execute(session, BY_ID, {"id": id})).first()
    if row is None:
        return None
    return person_of(row), row.password_hash, row.tokens_valid_from


async def set_password(session: AsyncSession, id: str, hash: str, at: datetime) -> None:
    """A new password also ends every token issued before."""
    row = await session.get_one(PersonRow, id)
    row.password_hash, row.tokens_valid_from = hash, at


async def set_chat(session: AsyncSession, id: str, url: str) -> None:
    (await session.get_one(PersonRow, id)).chat_url = url


async def find_readers(session: AsyncSession, ids: set[str]) -> dict[str, tuple[Person, str]]:
    """These people, each with the address of their chat; empty without one."""
    rows = await execute(session, THESE, {"these": sorted(ids)})
    return {row.id: (person_of(row), row.chat_url) for row in rows}


async def list_people(session: AsyncSession, after: str, limit: int, active: bool | None = None) -> list[Person]:
    query = select(PersonRow).where(PersonRow.id > after).order_by(col(PersonRow.id)).limit(limit)
    if active is not None:
        query = query.where(PersonRow.active == active)
    return [person_of(row) for row in (await session.exec(query)).all()]


async def load_group(session: AsyncSession, id: str, lock: bool = False) -> Group | None:
    row = await session.get(GroupRow, id, with_for_update=lock)
    return group_of(row) if row else None


async def save_group(session: AsyncSession, group: Group) -> None:
    row = await session.get(GroupRow, group.id) or GroupRow(id=group.id, name=group.name, members=[])
    row.name, row.members, row.version = group.name, list(group.members), group.version
    row.time_zone, row.calendar = group.time_zone, group.calendar.model_dump(mode="json") if group.calendar else None
    session.add(row)


async def list_groups(session: AsyncSession, after: str, limit: int) -> list[Group]:
    query = select(GroupRow).where(GroupRow.id > after).order_by(col(GroupRow.id)).limit(limit)
    return [group_of(row) for row in (await session.exec(query)).all()]


async def directory(session: AsyncSession, people: set[str], groups: set[str]) -> Directory:
    """These people and groups, the groups' members, and everybody's managers above them: what a plan needs to know."""
    found = await execute(session, THESE_GROUPS, {"these": sorted(groups)}) if groups else ()
    named = {row.id: group_of(row) for row in found}
    wanted = people.union(*(group.members for group in named.values()))
    rows = await execute(session, THESE_AND_ABOVE, {"these": sorted(wanted)}) if wanted else ()
    return Directory(people={row.id: person_of(row) for row in rows}, groups=named)


async def owner_of_email(session: AsyncSession, email: str, but: str) -> str | None:
    """The active person who has an e-mail address, whatever its case, other than `but`."""
    if not email.isascii():  # of which SQLite knows no case
        others = core_select(PEOPLE.c.id, PEOPLE.c.email).where(PEOPLE.c.active.is_(True), PEOPLE.c.id != but)
        rows = (await execute(session, others)).all()
        return next((row.id for row in rows if row.email.lower() == email.lower()), None)
    same = (func.lower(PEOPLE.c.email) == email.lower(), PEOPLE.c.active.is_(True), PEOPLE.c.id != but)
    found: str | None = (await execute(session, core_select(PEOPLE.c.id).where(*same).limit(1))).scalar()
    return found


async def with_roles(session: AsyncSession, roles: Collection[Role]) -> list[str]:
    """Active people who hold one of these roles."""
    held = or_(*(cast(PEOPLE.c.roles, String).contains(f'"{role.value}"') for role in roles))
    return list((await execute(session, core_select(PEOPLE.c.id).where(held, PEOPLE.c.active.is_(True)))).scalars())


async def working(session: AsyncSession, keepers: set[str]) -> dict[str, Working]:
    """How these people, and groups named `group:id`, work."""
    groups = {k.removeprefix("group:") for k in keepers if k.startswith("group:")}
    found: dict[str, Working] = {}
    for table, prefix, ids in ((PEOPLE, "", keepers), (GROUPS, "group:", groups)):
        if ids:
            query = select(table.c.id, table.c.calendar, table.c.time_zone).where(table.c.id.in_(ids))
            for row in await execute(session, query):
                found[prefix + row.id] = Working(calendar=row.calendar, time_zone=row.time_zone)
    return found


async def add_key(session: AsyncSession, prefix: str, secret_hash: str, person: str, note: str, at: datetime) -> None:
    session.add(ApiKeyRow(prefix=prefix, secret_hash=secret_hash, person=person, note=note, created_at=at))


async def key_owner(session: AsyncSession, prefix: str) -> tuple[str, str] | None:
    """The person and the secret's hash of a key that is not revoked."""
    row = await session.get(ApiKeyRow, prefix)
    return (row.person, row.secret_hash) if row and row.revoked_at is None else None


async def revoke_key(session: AsyncSession, prefix: str, at: datetime) -> bool:
    row = await session.get(ApiKeyRow, prefix)
    if row is None:
        return False
    row.revoked_at = row.revoked_at or at
    return True


async def rates(session: AsyncSession, company_currency: str) -> Rates:
    table: dict[str, dict[date, Decimal]] = {}
    for row in await execute(session, ALL_RATES):
        table.setdefault(row.currency, {})[date.fromisoformat(row.valid_from)] = row.rate
    return Rates(company_currency, table)


async def set_rate(session: AsyncSession, currency: str, valid_from: date, rate: Decimal) -> None:
    await session.merge(RateRow(currency=currency, valid_from=valid_from.isoformat(), rate=rate))
