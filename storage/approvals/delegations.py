"""Standing delegations: rows to domain and back."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, or_, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.delegation import Delegation
from storage.database import execute
from storage.tables import DelegationRow, PersonRow

ROWS, PEOPLE = DelegationRow.__table__.c, PersonRow.__table__.c  # type: ignore[attr-defined]
WITH_ZONE = select(DelegationRow.__table__, PEOPLE.time_zone).join(PersonRow, PEOPLE.id == ROWS.person)  # type: ignore[attr-defined]
STANDING = WITH_ZONE.where(ROWS.ended_at.is_(None), or_(ROWS.last.is_(None), ROWS.last >= bindparam("since")))


def delegation_of(row: Row[Any]) -> Delegation:
    return Delegation(
        id=row.id,
        person=row.person,
        delegate=row.delegate,
        first=row.first,
        last=row.last,
        kinds=tuple(row.kinds),
        note=row.note,
        time_zone=row.time_zone,
        ended_at=row.ended_at,
    )


async def standing(session: AsyncSession, at: datetime) -> list[Delegation]:
    """All delegations that hold at an instant, or will; a day of grace covers every time zone."""
    since = datetime.fromordinal(at.toordinal() - 1).date()
    return [delegation_of(row) for row in await execute(session, STANDING, {"since": since})]


async def add(session: AsyncSession, delegation: Delegation, by: str, at: datetime) -> None:
    data = delegation.model_dump(exclude={"time_zone"})
    session.add(DelegationRow(**{**data, "kinds": list(delegation.kinds)}, created_at=at, created_by=by))


async def load(session: AsyncSession, id: str) -> Delegation | None:
    row = (await execute(session, WITH_ZONE.where(ROWS.id == id))).first()
    return delegation_of(row) if row else None


async def end(session: AsyncSession, id: str, at: datetime) -> None:
    (await session.get_one(DelegationRow, id)).ended_at = at


async def list_page(session: AsyncSession, person: str | None, after: str, limit: int) -> list[Delegation]:
    """By id; with `person` those they gave or were given."""
    query = WITH_ZONE
    if person:
        query = query.where(or_(ROWS.person == person, ROWS.delegate == person))
    query = query.where(ROWS.id > after).order_by(col(ROWS.id)).limit(limit)
    return [delegation_of(row) for row in await execute(session, query)]
