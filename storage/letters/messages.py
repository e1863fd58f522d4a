"""The queue of messages to people."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy import select as core_select
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.values import Value
from storage.database import execute
from storage.tables import MessageRow
from storage.types import Moment

GIVE_UP_AFTER = timedelta(days=1)
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)


MESSAGES = MessageRow.__table__  # type: ignore[attr-defined]
QUEUED = MESSAGES.c.status == "queued"
DUE = (
    core_select(MESSAGES)
    .where(QUEUED, MESSAGES.c.next_at <= bindparam("now", type_=Moment()))
    .order_by(MESSAGES.c.next_at)
    .limit(bindparam("most"))
)
CHANGE = update(MESSAGES).where(MESSAGES.c.id == bindparam("of"))
CLAIM = (
    update(MESSAGES)
    .where(MESSAGES.c.id.in_(bindparam("these", expanding=True)))
    .where(QUEUED, MESSAGES.c.next_at <= bindparam("at", type_=Moment()))
    .values(next_at=bindparam("until", type_=Moment()))
    .returning(MESSAGES.c.id)
)


class Message(Value):
    id: str
    person: str
    template: str
    subject: str
    run: str
    data: dict[str, Any]
    channel: str = "mail"
    status: str
    attempts: int
    created_at: datetime
    next_at: datetime
    sent_at: datetime | None
    error: str


def message_of(row: MessageRow) -> Message:
    return Message.model_validate(row.model_dump())


async def due(session: AsyncSession, now: datetime, limit: int) -> list[Message]:
    rows = await execute(session, DUE, {"now": now, "most": limit})
    return [Message.model_validate(dict(row)) for row in rows.mappings()]


async def load(session: AsyncSession, id: str) -> Message | None:
    row = await session.get(MessageRow, id)
    return message_of(row) if row else None


async def queue(
    session: AsyncSession, id: str, about: Message, template: str, data: dict[str, Any], at: datetime
) -> None:
    """Another message to the person of `about`, on the same subject."""
    await tell(session, id, about.person, template, about.subject, about.run, data, at)


async def count_since(session: AsyncSession, person: str, template: str, since: datetime) -> int:
    query = select(func.count()).where(
        MessageRow.person == person, MessageRow.template == template, MessageRow.created_at >= since
    )
    return (await session.exec(query)).one()


async def tell(
    session: AsyncSession,
    id: str,
    person: str,
    template: str,
    subject: str,
    run: str,
    data: dict[str, Any],
    at: datetime,
) -> None:
    """Queue a message; one of the same id is there already."""
    if await session.get(MessageRow, id) is None:
        row = MessageRow(id=id, person=person, template=template, subject=subject, run=run, data=data)
        row.next_at = row.created_at = at
        session.add(row)


async def claim(session: AsyncSession, these: list[str], at: datetime, until: datetime) -> set[str]:
    """Take messages to send them, all that nobody took already; nobody else takes them before `until`."""
    return set((await execute(session, CLAIM, {"these": these, "at": at, "until": until})).scalars())


class Undelivered(Value):
    """A message that did not reach its reader, or not yet after a failure."""

    person: str
    channel: str
    template: str
    status: str
    attempts: int
    error: str


async def undelivered(session: AsyncSession, run: str) -> list[Undelivered]:
    """What a run should have told people and could not."""
    query = select(MessageRow).where(MessageRow.run == run, MessageRow.error != "").order_by(col(MessageRow.id))
    return [
        Undelivered(**row.model_dump(include=set(Undelivered.model_fields)))
        for row in (await session.exec(query.limit(50))).all()
    ]


async def also_by_chat(session: AsyncSession, message: Message, at: datetime) -> None:
    """The same message by chat, beside the mail: each is sent, and fails, on its own."""
    id = f"{message.id}-chat"
    if await session.get(MessageRow, id) is None:
        copied = message.model_dump(include={"person", "template", "subject", "run", "data"})
        session.add(MessageRow(id=id, channel="chat", next_at=at, created_at=at, **copied))


async def mark_sent(session: AsyncSession, these: list[str], at: datetime) -> None:
    await execute(session, CHANGE, [{"of": id, "status": "sent", "sent_at": at, "error": ""} for id in these])


async def mark_failed(session: AsyncSession, id: str, error: str, at: datetime, for_good: bool = False) -> None:
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


async def list_page(session: AsyncSession, status: str | None, after: str, limit: int) -> list[Message]:
    query = select(MessageRow).where(MessageRow.id > after).order_by(col(MessageRow.id)).limit(limit)
    if status:
        query = query.where(MessageRow.status == status)
    return [message_of(row) for row in (await session.exec(query)).all()]
