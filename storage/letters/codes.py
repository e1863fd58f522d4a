"""One-time codes: one for each person at most, with the tries that are left."""

from datetime import datetime

from sqlalchemy import bindparam, delete, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.database import execute
from storage.tables import CodeRow
from storage.types import Moment

CODES = CodeRow.__table__.c  # type: ignore[attr-defined]
TAKE_TRY = (
    update(CodeRow)
    .where(CODES.person == bindparam("of"), CODES.tries < bindparam("most"))
    .where(CODES.expires_at > bindparam("now", type_=Moment()))
    .values(tries=CODES.tries + 1)
    .returning(CODES.nonce)
)
DELETE = delete(CodeRow).where(CODES.person == bindparam("of"))


async def replace(session: AsyncSession, person: str, nonce: str, expires_at: datetime) -> None:
    """The code that counts from now on; the one before does not any more."""
    await delete_code(session, person)
    session.add(CodeRow(person=person, nonce=nonce, expires_at=expires_at, tries=0))


async def take_try(session: AsyncSession, person: str, now: datetime, most: int) -> str | None:
    """The nonce of the person's code, one try less; None where there is none, or none is left."""
    found: str | None = (await execute(session, TAKE_TRY, {"of": person, "now": now, "most": most})).scalar()
    return found


async def delete_code(session: AsyncSession, person: str) -> None:
    await execute(session, DELETE, {"of": person})
