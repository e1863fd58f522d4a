"""Approval rounds: opening one, and keeping its lists true."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, false, insert, or_, update
from sqlalchemy import select as core_select
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.clocks import clock_keepers, with_clocks
from domain.approvals.escalation import escalation_targets
from domain.approvals.expected import Past
from domain.approvals.notices import ASKING, Notice, asked, inform_of, notices
from domain.approvals.path import with_approval
from domain.approvals.plan import Plan
from domain.approvals.round import Approval, ApprovalStatus, Round, RoundStatus, Vote
from domain.approvals.subject import Subject, read_subject
from domain.delegation import Principals, delegates_of
from domain.people import Role
from domain.quotes import QuoteStatus
from domain.runs import AppliedCommand
from domain.values import Value
from storage.approvals import delegations
from storage.database import execute, readable
from storage.people import people
from storage.quotes import quotes
from storage.runs.runs import RunSnapshot, insert_run
from storage.tables import ApprovalRow, MessageRow, PersonRow, RunRow, SeatRow
from storage.types import Moment


def round_subject(run: str) -> str:
    """What a round's history stands beside: `quote:Q-1`, `order:Q-1-2`."""
    return run.rsplit(":approval:", 1)[0]


async def prepare_round(
    session: AsyncSession, run: str, round: Round, plan: Plan, subject: Subject, at: datetime
) -> None:
    """Store a round at sequence number 0, with a row for each approval; it is opened by a command."""
    new = new_run(run, round, plan, subject)
    await insert_run(session, new, at)
    await insert_approvals(session, run, round, plan)


def new_run(run: str, round: Round, plan: Plan, subject: Subject) -> RunSnapshot:
    """A round that nobody knows yet, with the plan and the subject it is opened with."""
    opening = {
        "plan": plan.model_dump(mode="json", exclude_defaults=True),
        "subject": subject.model_dump(mode="json"),
    }
    return RunSnapshot(
        id=run, kind="approval_round", subject=round_subject(run), seq=0, state=round.stored(), opening=opening
    )


async def insert_approvals(session: AsyncSession, run: str, round: Round, plan: Plan) -> None:
    approvals = [
        _row(run, round, n, approval, planned.reasons)
        for n, (approval, planned) in enumerate(zip(round.approvals, plan.approvals, strict=True))
    ]
    seats = [row for approval in round.approvals for row in _seats(round, approval)]
    if approvals:
        await execute(session, ADD_APPROVAL, approvals)
    if seats:
        await execute(session, ADD_SEAT, seats)


def _row(run: str, round: Round, n: int, approval: Approval, reasons: Sequence[str]) -> dict[str, Any]:
    return {
        "id": approval.id, "run": run, "subject_kind": round.subject_kind, "subject_id": round.subject_id,
        "number": n, "rule": approval.rule, "title": approval.title, "chain": approval.chain,
        "step": approval.step, "tier": approval.tier, "needed": approval.needed,
        "status": approval.status.value, "reasons": list(reasons), "digest": round.digest,
        "requested_at": approval.requested_at,
        "decided_at": approval.decided_at, "due": approval.due, "escalation": approval.escalation,
        "barred": barred_text(round.barred),
    }  # fmt: skip


def barred_text(people: Iterable[str]) -> str:
    """`|rita|snorri|`: whoever may not decide an approval, as text that both databases can search."""
    return "".join(f"|{person}" for person in people) + "|"


def _seats(round: Round, approval: Approval) -> Iterable[dict[str, Any]]:
    asked = approval.status is ApprovalStatus.REQUESTED
    told = approval.requested_at if approval.status is ApprovalStatus.INFORMED else None
    for seat in approval.seats:
        asked_at = approval.requested_at if asked and seat.vote is None else None
        yield {
            "approval": approval.id, "holder": seat.holder, "subject_kind": round.subject_kind,
            "subject_id": round.subject_id, "vote": seat.vote and seat.vote.value,
            "decided_by": seat.by or (seat.holder if seat.vote else None), "decided_at": seat.at,
            "comment": seat.comment, "asked_at": asked_at, "first_asked_at": asked_at or told,
        }  # fmt: skip


async def complete_round(session: AsyncSession, was: Round, now: Round, at: datetime) -> Round:
    """The round with the instants at which time acts on it, in the holders' own business time."""
    keepers = clock_keepers(was, now)
    return with_clocks(was, now, await people.working(session, keepers)) if keepers else now


async def prepare_escalation(session: AsyncSession, round: Round, due: datetime) -> Round:
    """The round with whom its late approvals escalate to, as people and groups are now."""
    late = [a for a in round.requested if a.escalation and a.escalate_at and a.escalate_at <= due]
    if not late:
        return round
    named = [a.escalation.partition(":") for a in late]
    asked = {holder for a in late for holder in a.holders} | {name for kind, _, name in named if kind == "user"}
    directory = await people.directory(session, asked, {name for kind, _, name in named if kind == "group"})
    for approval in late:
        excluded = {*round.barred, *approval.voters, *(seat.holder for seat in approval.seats)}
        targets = escalation_targets(approval.escalation, approval.holders, directory, excluded)
        round = with_approval(round, approval.evolve(escalate_to=targets))
    return round


async def project_round(
    session: AsyncSession, run: RunSnapshot, was: Round, now: Round, applied: Sequence[AppliedCommand], at: datetime
) -> None:
    """Approvals, seats, messages and the subject's status follow the round's new state."""
    if run.opening is None:
        await _update_approvals(session, run.id, was, now)
    else:
        await insert_approvals(session, run.id, now, Plan.model_validate(run.opening["plan"]))
    notices = await compute_notices(session, run.id, was, now, applied, at)
    await insert_messages(session, run.id, notices, at, now.digest)
    if was.running and not now.running and now.subject_kind == "quote":
        await quotes.set_status(session, now.subject_id, ENDED[now.status], at, now.valid_until)


async def insert_messages(
    session: AsyncSession, run: str, notices: Sequence[Notice], at: datetime, digest: str = ""
) -> None:
    """`digest` is of what the letters show: an answer to one binds to it."""
    messages = [
        {
            "id": notice.id,
            "person": notice.person,
            "template": notice.template,
            "subject": round_subject(run),
            "run": run,
            "channel": "mail",
            "data": {"approvals": list(notice.approvals), "digest": digest, **notice.facts},
            "status": "queued",
            "attempts": 0,
            "next_at": at,
            "created_at": at,
            "sent_at": None,
            "error": "",
        }
        for notice in notices
    ]
    if messages:
        await execute(session, ADD_MESSAGE, messages)


async def compute_notices(
    session: AsyncSession, run: str, was: Round, now: Round, applied: Sequence[AppliedCommand], at: datetime
) -> list[Notice]:
    """What people are told, and those who decide for the people asked, once for all they are asked in this wave."""
    found = notices(run, was, now, applied)
    asking = [notice for notice in found if notice.template in ASKING]
    standing = await delegations.standing(session, at) if asking else []
    stand_ins: dict[str, list[Notice]] = {}
    for notice in asking if standing else ():
        for delegate in delegates_of(notice.person, standing, at, now.subject_kind):
            stand_ins.setdefault(delegate, []).append(notice)
    known = {notice.person for notice in asking}
    nobody = [id for act in applied for id in act.outcome.facts.get("nobody_to_ask", ())]
    if nobody:
        watchers = await people.with_roles(session, WATCHERS)
        found = [*found, *(inform_of(run, now.seq, person, "nobody_to_ask", nobody) for person in watchers)]
    more = []
    for person, theirs in stand_ins.items():
        if person in known or person in now.barred:
            continue
        voted = {a.id for a in now.approvals if person in a.voters}
        left = [(id, notice.person) for notice in theirs for id in notice.approvals if id not in voted]
        if left:
            more.append(asked(run, now.seq, person, [id for id, _ in left], list(dict.fromkeys(by for _, by in left))))
    return [*found, *more]


WATCHERS = (Role.APPROVALS_ADMIN, Role.OPS)
"""Who is told when nobody can decide."""
ENDED = {
    RoundStatus.APPROVED: QuoteStatus.APPROVED,
    RoundStatus.REJECTED: QuoteStatus.REJECTED,
    RoundStatus.RECALLED: QuoteStatus.RECALLED,
    RoundStatus.EXPIRED: QuoteStatus.EXPIRED,
}


APPROVALS, SEATS = ApprovalRow.__table__.c, SeatRow.__table__.c  # type: ignore[attr-defined]
ADD_APPROVAL, ADD_SEAT, ADD_MESSAGE = insert(ApprovalRow), insert(SeatRow), insert(MessageRow)
ASKED, FIRST = bindparam("asked_at", type_=Moment()), bindparam("first_asked_at", type_=Moment())
RUNS, PEOPLE = RunRow.__table__.c, PersonRow.__table__.c  # type: ignore[attr-defined]
OPENED = core_select(RUNS.state, RUNS.opening).where(RUNS.id == bindparam("of"))
THESE = core_select(RUNS.id, RUNS.state, RUNS.opening).where(RUNS.id.in_(bindparam("these", expanding=True)))
ROUNDS_OF = (
    core_select(RUNS.state, RUNS.opening)
    .where(RUNS.subject == bindparam("about"), RUNS.kind == "approval_round")
    .order_by(RUNS.opened_at.desc())
    .limit(100)
)
NAMES = core_select(PEOPLE.id, PEOPLE.name).where(PEOPLE.id.in_(bindparam("these", expanding=True)))
DECIDING = (
    core_select(APPROVALS.run, APPROVALS.subject_kind, SEATS.holder, SEATS.asked_at, SEATS.vote)
    .join_from(ApprovalRow, SeatRow, SEATS.approval == APPROVALS.id)
    .where(APPROVALS.id == bindparam("of"))
)
CHANGE_APPROVAL = (
    update(ApprovalRow)
    .where(APPROVALS.id == bindparam("of"))
    .values({name: bindparam(name) for name in ("status", "due", "requested_at", "decided_at", "escalation")})
)
THE_SEAT = (SEATS.approval == bindparam("of"), SEATS.holder == bindparam("by"))
WAITS_FOR_VOTE = and_(SEATS.asked_at.is_not(None), SEATS.vote.is_(None))
MOST_REQUESTED = 1_000
VOTES, REMEMBERED = (Vote.APPROVED.value, Vote.REJECTED.value), 500
LEFT = "left"
"""The vote of who handed an approval over: it is not theirs to decide any more."""
CONSULTED = "consulted"
"""The vote of whom a holder asks for advice: it waits on them, and is not theirs to decide."""
SEAT_CHANGES = ("vote", "decided_by", "decided_at", "comment", "asked_at", "first_asked_at")
CHANGE_SEAT = (
    update(SeatRow)
    .where(*THE_SEAT)
    .values({name: bindparam(name) for name in SEAT_CHANGES[:-2]})
    .values(asked_at=ASKED, first_asked_at=func.coalesce(SEATS.first_asked_at, FIRST))
)
LEAVE_SEAT = (
    update(SeatRow)
    .where(SEATS.approval == bindparam("of"), SEATS.holder == bindparam("by"))
    .values(asked_at=None, vote=LEFT)
)
END_CONSULTATION = update(SeatRow).where(*THE_SEAT, SEATS.vote == CONSULTED).values(asked_at=None)


async def _update_approvals(session: AsyncSession, run: str, was: Round, now: Round) -> None:
    """Write what differs, without reading first: every record passes here while others wait for the writer."""
    approvals: list[dict[str, Any]] = []
    seats: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []
    for n, approval in enumerate(now.approvals):
        earlier = was.approval(approval.id)
        if approval == earlier:
            continue
        if earlier is None:
            await execute(session, ADD_APPROVAL, _row(run, now, n, approval, [approval.added_for]))
            await execute(session, ADD_SEAT, list(_seats(now, approval)))
            continue
        await _consult(session, now, earlier, approval)
        approvals.append(
            {
                "of": approval.id,
                "status": approval.status.value,
                "due": approval.due,
                "requested_at": approval.requested_at,
                "decided_at": approval.decided_at,
                "escalation": approval.escalation,
            }
        )
        rows = {row["holder"]: row for row in _seats(now, approval)}
        before = {seat.holder for seat in earlier.seats}
        # Who handed an approval over keeps sight of the subject: the row stays, and nothing is asked of it.
        left += [{"of": approval.id, "by": holder} for holder in before if holder not in rows]
        for holder, row in rows.items():
            if holder in before:
                seats.append({"of": approval.id, "by": holder, **{name: row[name] for name in SEAT_CHANGES}})
            else:
                await session.merge(SeatRow(**row))  # who handed it over before may hold it again
    for statement, values in ((CHANGE_APPROVAL, approvals), (CHANGE_SEAT, seats), (LEAVE_SEAT, left)):
        if values:
            await execute(session, statement, values)


async def _consult(session: AsyncSession, now: Round, earlier: Approval, approval: Approval) -> None:
    """Whom a holder asks for advice sees it in their inbox until they gave it, or it is decided without."""
    was = {consultation.person: consultation for consultation in earlier.awaited_advice}
    asked = {consultation.person: consultation for consultation in approval.awaited_advice}
    for person in was.keys() - asked.keys():
        await execute(session, END_CONSULTATION, {"of": approval.id, "by": person})
    for person, consultation in asked.items():
        if person in was:
            continue
        seat = SeatRow(
            approval=approval.id,
            holder=person,
            vote=CONSULTED,
            comment=consultation.question,
            asked_at=consultation.at,
            first_asked_at=consultation.at,
            subject_kind=now.subject_kind,
            subject_id=now.subject_id,
        )
        await session.merge(seat)


async def discard(session: AsyncSession, run: str) -> None:
    """Remove a round that was prepared and never opened."""
    of_it = select(ApprovalRow.id).where(ApprovalRow.run == run)
    await execute(session, delete(SeatRow).where(col(SeatRow.approval).in_(of_it)))
    await execute(session, delete(ApprovalRow).where(col(ApprovalRow.run) == run))
    await execute(session, delete(RunRow).where(col(RunRow.id) == run, col(RunRow.seq) == 0))


class RoundStanding(Value):
    """How a round stands, as stored."""

    status: RoundStatus
    running: bool


async def standings(session: AsyncSession, runs: Collection[str]) -> dict[str, RoundStanding]:
    """How these rounds stand, by their run."""
    query = core_select(RUNS.id, RUNS.state, RUNS.running).where(RUNS.id.in_(runs))
    return {
        row.id: RoundStanding(status=row.state.get("status", RoundStatus.NEW), running=row.running)
        for row in await execute(session, query)
    }


async def run_of_approval(session: AsyncSession, approval: str) -> tuple[ApprovalRow, RunRow] | None:
    query = select(ApprovalRow, RunRow).join(RunRow, col(RunRow.id) == col(ApprovalRow.run))
    return (await session.exec(query.where(ApprovalRow.id == approval))).first()


async def requests_waiting_on(session: AsyncSession, holders: Collection[str]) -> list[tuple[str, Round, str]]:
    """The approvals that wait on one of these people: each with its round and the round's run."""
    query = (
        core_select(APPROVALS.id, RUNS.id.label("run"), RUNS.state)
        .join_from(ApprovalRow, RunRow, RUNS.id == APPROVALS.run)
        .where(APPROVALS.id.in_(core_select(SEATS.approval).where(SEATS.holder.in_(holders), WAITS_FOR_VOTE)))
        .limit(MOST_REQUESTED)
    )
    return [(row.id, Round.model_validate(row.state), row.run) for row in await execute(session, query)]


class Deciding(Value):
    """Where a decision goes: the approval's run, and whom it still asks."""

    run: str
    kind: str
    holders: tuple[str, ...]


async def deciding(session: AsyncSession, approval: str) -> Deciding | None:
    rows = (await execute(session, DECIDING, {"of": approval})).all()
    if not rows:
        return None
    holders = tuple(row.holder for row in rows if row.asked_at is not None and row.vote is None)
    return Deciding(run=rows[0].run, kind=rows[0].subject_kind, holders=holders)


ABOUT = {"quote": ("quote", "order_change")}
"""Which rounds are about a subject: who decides a change of an order sees the quote it is of."""


def held_by_kind(kind: Any, holder: Any, principals: Principals) -> ColumnElement[bool]:
    """Whether a seat is held by one of those whom somebody decides for, in what its round is about."""
    several = set(map(tuple, principals.values()))
    if len(several) == 1:  # one condition, which an index answers
        return holder.in_(several.pop())  # type: ignore[no-any-return]
    return or_(false(), *(and_(kind == each, holder.in_(list(people))) for each, people in principals.items()))


async def is_involved(session: AsyncSession, person: str, principals: Principals, kind: str, id: str) -> bool:
    """Whether the subject waits or waited on this person, or waits on one of those they decide for.

    A later step counts only once it was asked; what was decided for somebody stays in sight of who decided it."""
    seat = (SeatRow.subject_id == id, col(SeatRow.subject_kind).in_(ABOUT.get(kind, (kind,))))
    own = (col(SeatRow.holder) == person, col(SeatRow.first_asked_at).is_not(None))
    held = held_by_kind(col(SeatRow.subject_kind), col(SeatRow.holder), principals)
    for_others = (held, col(SeatRow.asked_at).is_not(None))
    reached = or_(and_(*own), and_(*for_others), col(SeatRow.decided_by) == person)
    return (await session.exec(select(SeatRow.approval).where(*seat, reached).limit(1))).first() is not None


async def rounds_of(session: AsyncSession, subject: str) -> list[tuple[Round, Plan]]:
    """Every round of a subject, newest first, each with the plan it was opened with."""
    found = [_opened(row) for row in await execute(session, ROUNDS_OF, {"about": subject})]
    return sorted(found, key=lambda pair: pair[0].number, reverse=True)


def _opened(row: Row[Any]) -> tuple[Round, Plan]:
    return Round.model_validate(row.state), Plan.model_validate(row.opening["plan"])


async def submissions(session: AsyncSession, kind: str, most: int) -> AsyncIterator[tuple[Subject, datetime]]:
    """The newest submissions of a kind as they were submitted, a page at a time."""
    before: datetime | None = None
    while most > 0:
        query = select(RunRow.opening, RunRow.opened_at).where(
            col(RunRow.id).startswith(f"{kind.removesuffix('_change')}:", autoescape=True)
        )
        query = query.where(col(RunRow.opened_at) < before) if before else query
        rows = (await session.exec(query.order_by(col(RunRow.opened_at).desc()).limit(min(most, 200)))).all()
        if not rows:
            return
        for opening, at in rows:
            if "subject" in opening:
                yield read_subject(opening["subject"]), at
        most, before = most - len(rows), rows[-1][1]


async def names(session: AsyncSession, ids: Iterable[str]) -> dict[str, str]:
    return {row.id: row.name for row in await execute(session, NAMES, {"these": sorted(set(ids))})}


async def round_of(session: AsyncSession, run: str) -> tuple[Round, Plan]:
    return _opened((await execute(session, OPENED, {"of": run})).one())


async def load_many(session: AsyncSession, runs: set[str]) -> dict[str, tuple[Round, Plan]]:
    """Those of these rounds that can be read, by run."""
    return readable(await execute(session, THESE, {"these": sorted(runs)}), _opened)


async def past_hours(session: AsyncSession, plan: Plan) -> Past:
    """How long each approver of the plan took lately, from being asked to deciding."""
    open_ones = [a for a in plan.approvals if a.carried is None and not a.inform]
    people, rules = {seat for a in open_ones for seat in a.seats}, {a.rule for a in open_ones}
    if not people:
        return {}
    query = (
        core_select(SEATS.holder, APPROVALS.rule, APPROVALS.requested_at, SEATS.decided_at)
        .join_from(SeatRow, ApprovalRow, APPROVALS.id == SEATS.approval)
        .where(SEATS.holder.in_(people), APPROVALS.rule.in_(rules))
        .where(SEATS.vote.in_(VOTES), SEATS.decided_at.is_not(None), APPROVALS.requested_at.is_not(None))
        .order_by(SEATS.decided_at.desc())
        .limit(REMEMBERED)
    )
    found: dict[tuple[str, str], list[Decimal]] = {}
    for row in await execute(session, query):
        hours = Decimal((row.decided_at - row.requested_at).total_seconds()) / 3600
        found.setdefault((row.holder, row.rule), []).append(hours)
    return found
