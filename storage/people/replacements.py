"""Replacements of a person, and everything that still names somebody."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select, union, update
from sqlmodel import col
from sqlmodel import select as row_select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.replace import in_policy
from domain.values import Value
from storage.approvals import delegations, policies
from storage.approvals.rounds import CONSULTED
from storage.database import execute
from storage.tables import ApprovalRow, CommandRow, GroupRow, PolicyRow, ReplacementRow, SeatRow

APPROVALS, SEATS = ApprovalRow.__table__.c, SeatRow.__table__.c  # type: ignore[attr-defined]
COMMANDS = CommandRow.__table__.c  # type: ignore[attr-defined]


class Replacement(Value):
    """One person takes another's place everywhere; `prepared` counts the policies, groups and delegations changed."""

    id: str
    old: str
    new: str
    by: str
    status: str
    """running, paused or finished."""
    prepared: dict[str, int] = {}
    total: int = 0
    """How many open approvals it found to move."""
    created_at: datetime
    finished_at: datetime | None = None


class Places(Value):
    """Where somebody stands."""

    policies: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    delegations: int = 0
    approvals: int = 0

    @property
    def nowhere(self) -> bool:
        return not (self.policies or self.groups or self.delegations or self.approvals)


def replacement_of(row: ReplacementRow) -> Replacement:
    return Replacement.model_validate(row.model_dump())


def command_prefix(id: str) -> str:
    return f"{id}:"


async def load(session: AsyncSession, id: str, lock: bool = False) -> Replacement | None:
    row = await session.get(ReplacementRow, id, with_for_update=lock, populate_existing=True)
    return replacement_of(row) if row else None


async def add(session: AsyncSession, replacement: Replacement) -> None:
    session.add(ReplacementRow(**replacement.model_dump()))


async def change(session: AsyncSession, id: str, **values: Any) -> None:
    await execute(session, update(ReplacementRow).where(col(ReplacementRow.id) == id).values(**values))


async def list_page(session: AsyncSession, after: str, limit: int) -> list[Replacement]:
    query = row_select(ReplacementRow).where(ReplacementRow.id > after).order_by(col(ReplacementRow.id)).limit(limit)
    return [replacement_of(row) for row in (await session.exec(query)).all()]


async def followers(session: AsyncSession, people: Collection[str]) -> dict[str, str]:
    """Who took the place of each of these people in the end, where somebody did."""
    found: dict[str, str] = {}
    asked = set(people)
    while asked:
        query = row_select(ReplacementRow).where(col(ReplacementRow.old).in_(asked))
        rows = (await session.exec(query.order_by(col(ReplacementRow.created_at)))).all()
        newest = {row.old: row.new for row in rows}
        found |= newest
        asked = {new for new in newest.values() if new not in found}
    return {old: _last(found, old) for old in people if old in found}


def _last(found: dict[str, str], old: str) -> str:
    """The end of a chain of replacements; one that comes back to somebody ends there."""
    seen = {old}
    while (new := found.get(old)) and new not in seen:
        seen.add(new)
        old = new
    return old


async def unfinished(session: AsyncSession) -> list[str]:
    query = row_select(ReplacementRow.id).where(ReplacementRow.status == "running").limit(50)
    return list((await session.exec(query)).all())


OPEN = APPROVALS.status.in_(("waiting", "requested"))


def _open_approvals(person: str) -> Any:
    """The approvals that are not settled which somebody is yet to decide or to advise on, or would be asked when time
    has passed."""
    asked_for_advice = and_(SEATS.vote == CONSULTED, SEATS.asked_at.is_not(None))
    held = (
        select(SEATS.approval, APPROVALS.run)
        .join_from(SeatRow, ApprovalRow, APPROVALS.id == SEATS.approval)
        .where(SEATS.holder == person, or_(SEATS.vote.is_(None), asked_for_advice), OPEN)
    )
    escalates = select(APPROVALS.id.label("approval"), APPROVALS.run).where(
        APPROVALS.escalation == f"user:{person}", OPEN
    )
    return union(held, escalates).subquery()


async def places(session: AsyncSession, person: str, at: datetime) -> Places:
    """Everything in force that names a person."""
    named = []
    for kind in (await session.exec(row_select(PolicyRow.kind).distinct())).all():
        current = await policies.current(session, kind)
        if current and in_policy(current.policy, person, "").rules != current.policy.rules:
            named.append(kind)
    groups = [g.id for g in (await session.exec(row_select(GroupRow))).all() if person in g.members]
    standing = [d for d in await delegations.standing(session, at) if person in (d.person, d.delegate)]
    open_ = (await execute(session, select(func.count()).select_from(_open_approvals(person)))).scalar_one()
    return Places(policies=tuple(sorted(named)), groups=tuple(groups), delegations=len(standing), approvals=open_)


async def next_open(session: AsyncSession, replacement: Replacement, limit: int) -> list[tuple[str, str]]:
    """Approvals that the leaver holds and that nothing was sent to yet: approval and run."""
    found = _open_approvals(replacement.old)
    asked = select(COMMANDS.id).where(COMMANDS.id == command_prefix(replacement.id) + found.c.approval).exists()
    query = select(found).where(~asked).order_by(found.c.approval).limit(limit)
    return [(row.approval, row.run) for row in await execute(session, query)]


async def count_sent(session: AsyncSession, id: str) -> dict[str, int]:
    """How many moves were sent, and how many of them were answered."""
    mine = COMMANDS.id.startswith(command_prefix(id), autoescape=True)
    query = select(COMMANDS.answered, func.count().label("moves")).where(mine).group_by(COMMANDS.answered)
    found: dict[bool, int] = {row.answered: row.moves for row in await execute(session, query)}
    return {"sent": sum(found.values()), "answered": found.get(True, 0)}


async def list_refused(session: AsyncSession, id: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """The moves that were refused: approval and outcome."""
    mine = COMMANDS.id.startswith(command_prefix(id), autoescape=True)
    query = select(COMMANDS.id, COMMANDS.outcome).where(mine, COMMANDS.answered.is_(True))
    return [
        (row.id.partition(":")[2], row.outcome) for row in await execute(session, query) if not row.outcome["applied"]
    ]
