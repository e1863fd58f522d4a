"""What waits on people: their inboxes, straight from the seats."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.delegation import Principals
from domain.values import Value
from storage.approvals.rounds import ABOUT, APPROVALS, CONSULTED, SEATS, held_by_kind, round_subject
from storage.database import execute
from storage.tables import ApprovalRow, QuoteRow, SeatRow
from storage.types import Moment

QUOTES = QuoteRow.__table__.c  # type: ignore[attr-defined]


class Waiting(Value):
    """One line of an inbox."""

    approval: str
    subject: str
    run: str
    title: str
    chain: str
    step: int
    rule: str
    reasons: list[str]
    requested_at: datetime
    due: datetime | None
    digest: str
    quote: dict[str, Any]
    on_behalf_of: str | None = None
    """Whom the reader decides it for, when it is not theirs."""
    question: str | None = None
    """What the reader is asked for advice on; the decision is not theirs then."""


async def page(
    session: AsyncSession, reader: str, others: Principals, after: tuple[datetime, str] | None, limit: int
) -> list[Waiting]:
    """What waits on the reader and on those they decide for, longest waiting first: one query, whatever the length of
    the list. An approval that waits on several of them is listed once."""
    one = not any(others.values())
    asked_at = SEATS.asked_at if one else func.min(SEATS.asked_at, type_=Moment())
    holder = SEATS.holder if one else func.min(SEATS.holder)
    own = literal(True) if one else func.max(case((SEATS.holder == reader, 1), else_=0))
    question = case((SEATS.vote == CONSULTED, SEATS.comment))
    if not one:  # who may decide it for somebody is not asked for advice on it
        question = case((func.count(SEATS.holder) == func.count(SEATS.vote), func.min(question)))
    seats = (
        select(
            SEATS.approval,
            asked_at.label("asked_at"),
            holder.label("holder"),
            own.label("own"),
            question.label("question"),
        )
        .where(*_waits(reader, others), SEATS.subject_kind.in_(ABOUT["quote"]))
        .order_by(asked_at, SEATS.approval)
        .limit(limit)
    )
    if not one:
        seats = seats.join(ApprovalRow, APPROVALS.id == SEATS.approval).where(_may_decide(reader))
        seats = seats.group_by(SEATS.approval)
    if after:
        at, approval = after
        later = (asked_at > at) | ((asked_at == at) & (SEATS.approval > approval))
        seats = seats.where(later) if one else seats.having(later)
    # The page is cut before it is joined: a planner without statistics would join everything first.
    cut = seats.subquery()
    query = (
        select(ApprovalRow, QuoteRow, cut.c.holder, cut.c.own, cut.c.question)
        .join_from(cut, ApprovalRow, APPROVALS.id == cut.c.approval)
        .join(QuoteRow, QUOTES.id == APPROVALS.subject_id)
        .order_by(cut.c.asked_at, cut.c.approval)
    )
    return [
        Waiting(
            approval=a.id,
            subject=round_subject(a.run),
            run=a.run,
            title=a.title,
            chain=a.chain,
            step=a.step,
            rule=a.rule,
            reasons=a.reasons,
            requested_at=a.requested_at or q.changed_at,
            due=a.due,
            digest=a.digest or q.digest,
            quote={
                "id": q.id,
                "customer": q.customer,
                "currency": q.currency,
                "net_total": q.net_total,
                "discount_percent": q.discount_percent,
                "owner": q.owner,
            },
            on_behalf_of=None if own else holder,
            question=question,
        )
        for a, q, holder, own, question in (await session.exec(query)).all()  # type: ignore[call-overload]
    ]


def _may_decide(reader: str) -> ColumnElement[bool]:
    """Nobody is shown for others what they submitted, own or edited themselves, or voted on already."""
    other = aliased(SeatRow)
    voted = select(literal(1)).where(col(other.approval) == SEATS.approval, col(other.decided_by) == reader)
    decides = and_(~APPROVALS.barred.contains(f"|{reader}|", autoescape=True), ~voted.exists())
    return or_(SEATS.holder == reader, decides)


def _waits(reader: str, others: Principals) -> list[ColumnElement[bool]]:
    """What the reader is asked, and what those are asked for whom they decide; of these no advice."""
    asked = SEATS.asked_at.is_not(None)
    if not any(others.values()):
        return [SEATS.holder.in_([reader]), asked]
    both = {kind: [reader, *people] for kind, people in others.items()}
    return [
        held_by_kind(SEATS.subject_kind, SEATS.holder, both),
        asked,
        or_(SEATS.vote.is_(None), SEATS.holder == reader),
    ]


async def waiting_count(session: AsyncSession, reader: str, others: Principals, most: int) -> int:
    """How many approvals wait on the reader and on those they decide for, counted up to `most`."""
    asked = select(SEATS.approval).where(*_waits(reader, others)).limit(most)
    if any(others.values()):
        asked = asked.join(ApprovalRow, APPROVALS.id == SEATS.approval).where(_may_decide(reader)).distinct()
    return int((await execute(session, select(func.count()).select_from(asked.subquery()))).scalar_one())
