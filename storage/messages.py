"""The queue of messages to people."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.values import Value
from storage.tables import MessageRow

GIVE_UP_AFTER = timedelta(days=1)
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)


class Message(Value):
    id: str
    person: str
    template: str
    subject: str
    run: str
    data: dict[str, Any]
    status: str
    attempts: int
    created_at: datetime
    next_at: datetime
    sent_at: datetime | None
    error: str


def message_of(row: MessageRow) -> Message:
    return Message.model_validate(row.model_dump())


async def due(session: AsyncSession, now: datetime, limit: int) -> list[Message]:
    query = select(MessageRow).where(MessageRow.status == "queued", MessageRow.next_at <= now)
    rows = (await session.exec(query.order_by(col(MessageRow.next_at)).limit(limit))).all()
    return [message_of(row) for row in rows]


async def claim(session: AsyncSession, id: str, at: datetime, until: datetime) -> bool:
    """Take a message to send it; nobody else takes it before `until`. False when somebody already did."""
    mine = update(MessageRow).where(
        col(MessageRow.id) == id, col(MessageRow.status) == "queued", col(MessageRow.next_at) <= at
    )
    connection = await session.connection()
    return (await connection.execute(mine.values(next_at=until))).rowcount == 1


async def sent(session: AsyncSession, id: str, at: datetime) -> None:
    row = await session.get_one(MessageRow, id)
    row.status, row.sent_at, row.error = "sent", at, ""


async def failed(session: AsyncSession, id: str, error: str, at: datetime, for_good: bool = False) -> None:
    """Try again after a pause that doubles, for a day; a failure for good is not tried again."""
    row = await session.get_one(MessageRow, id)
    row.attempts += 1
    row.error = error[:500]
    pause = min(FIRST_PAUSE * 2 ** min(row.attempts, 12), LONGEST_PAUSE)
    row.next_at = at + pause
    if for_good or row.next_at > row.created_at + GIVE_UP_AFTER:
        row.status = "failed"


async def retry(session: AsyncSession, id: str, at: datetime) -> bool:
    row = await session.get(MessageRow, id)
    if row is None or row.status != "failed":
        return False
    row.status, row.next_at, row.created_at, row.attempts = "queued", at, at, 0
    return True


async def listed(session: AsyncSession, status: str | None, after: str, limit: int) -> list[Message]:
    query = select(MessageRow).where(MessageRow.id > after).order_by(col(MessageRow.id)).limit(limit)
    if status:
        query = query.where(MessageRow.status == status)
    return [message_of(row) for row in (await session.exec(query)).all()]
