"""Appends to the audit trail, and reads it back."""

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import bindparam, func, insert, text, tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.audit import FIRST, Entry, HeadMark, seal
from storage.database import execute, on_sqlite
from storage.tables import EventRow

EVENTS = EventRow.__table__  # type: ignore[attr-defined]
NEWEST = (
    select(EVENTS.c.seq, EVENTS.c.mac)
    .where(EVENTS.c.subject == bindparam("subject"))
    .order_by(EVENTS.c.seq.desc())
    .limit(1)
)
NEWEST_LOCKED = text("SELECT seq, mac FROM newest_event(:subject)")
"""The same on PostgreSQL, once nobody else writes about the subject: with a lock in one statement it would be stale."""
ADD = insert(EVENTS)


async def append(session: AsyncSession, key: bytes, entries: list[Entry]) -> list[str]:
    """Seal and store entries of one subject, in order, and give each its `seq`; their MACs."""
    if not entries:
        return []
    subject = entries[0].subject
    newest = (await execute(session, NEWEST if on_sqlite(session) else NEWEST_LOCKED, {"subject": subject})).first()
    seq, mac = (newest.seq, newest.mac) if newest else (0, FIRST)
    rows = []
    for entry in entries:
        seq += 1
        numbered = entry.evolve(seq=seq)
        mac = seal(key, mac, numbered)
        rows.append({**numbered.model_dump(), "mac": mac})
    await execute(session, ADD, rows)
    return [row["mac"] for row in rows]


def entry_of(row: EventRow) -> Entry:
    return Entry.model_validate(row.model_dump(exclude={"mac"}))


async def of_subject(session: AsyncSession, subject: str, after: int, limit: int) -> list[Entry]:
    query = select(EventRow).where(EventRow.subject == subject, EventRow.seq > after).order_by(col(EventRow.seq))
    return [entry_of(row) for row in (await session.exec(query.limit(limit))).all()]


async def everything(session: AsyncSession, page: int = 1_000) -> AsyncIterator[tuple[Entry, str]]:
    """All entries with their MACs, by subject and number, a page at a time."""
    at: tuple[str, int] = ("", 0)
    while True:
        later = (EventRow.subject > at[0]) | ((EventRow.subject == at[0]) & (EventRow.seq > at[1]))
        query = select(EventRow).where(later).order_by(col(EventRow.subject), col(EventRow.seq)).limit(page)
        rows = (await session.exec(query)).all()
        for row in rows:
            yield entry_of(row), row.mac
        if len(rows) < page:
            return
        at = (rows[-1].subject, rows[-1].seq)


async def heads(session: AsyncSession, page: int = 1_000) -> AsyncIterator[HeadMark]:
    """The last entry of every subject, one after another."""
    newest = select(EVENTS.c.subject, func.max(EVENTS.c.seq).label("seq")).group_by(EVENTS.c.subject)
    after = ""
    while True:
        some = newest.where(EVENTS.c.subject > after).order_by(EVENTS.c.subject).limit(page).subquery()
        query = select(EVENTS.c.subject, EVENTS.c.seq, EVENTS.c.mac).join_from(
            some, EVENTS, (EVENTS.c.subject == some.c.subject) & (EVENTS.c.seq == some.c.seq)
        )
        rows = (await execute(session, query.order_by(EVENTS.c.subject))).all()
        for row in rows:
            yield HeadMark(subject=row.subject, seq=row.seq, mac=row.mac)
        if len(rows) < page:
            return
        after = rows[-1].subject


async def find_missing(session: AsyncSession, marks: Sequence[HeadMark]) -> list[HeadMark]:
    """Those of these entries that were there once, and are not there or not the same now."""
    places = [(mark.subject, mark.seq) for mark in marks]
    query = select(EVENTS.c.subject, EVENTS.c.seq, EVENTS.c.mac)
    rows = await execute(session, query.where(tuple_(EVENTS.c.subject, EVENTS.c.seq).in_(places)))
    macs = {(row.subject, row.seq): row.mac for row in rows}
    return [mark for mark in marks if macs.get((mark.subject, mark.seq)) != mark.mac]


async def newest_states(session: AsyncSession, subjects: Sequence[str]) -> dict[str, str]:
    """For each of these subjects the digest of the record that its newest entry about it left behind."""
    about = (EVENTS.c.subject.in_(subjects), EVENTS.c.run.is_(None), EVENTS.c.state != "")
    last = select(EVENTS.c.subject, func.max(EVENTS.c.seq).label("seq")).where(*about).group_by(EVENTS.c.subject)
    newest = last.subquery()
    query = select(EVENTS.c.subject, EVENTS.c.state).join_from(
        newest, EVENTS, (EVENTS.c.subject == newest.c.subject) & (EVENTS.c.seq == newest.c.seq)
    )
    return {row.subject: row.state for row in await execute(session, query)}


async def run_states(session: AsyncSession, runs: Sequence[str]) -> dict[str, tuple[int, str]]:
    """For each of these runs the number of its newest act, and the digest of the state after it."""
    last = select(EVENTS.c.run, func.max(EVENTS.c.run_seq).label("seq")).where(EVENTS.c.run.in_(runs))
    newest = last.group_by(EVENTS.c.run).subquery()
    query = select(EVENTS.c.run, EVENTS.c.run_seq, EVENTS.c.state).join_from(
        newest, EVENTS, (EVENTS.c.run == newest.c.run) & (EVENTS.c.run_seq == newest.c.seq)
    )
    return {row.run: (row.run_seq, row.state) for row in await execute(session, query)}
