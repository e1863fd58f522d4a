"""One round of approvals: its state, and what of it is remembered. `acts` are its rules, `path` who is next."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Any

from domain.approvals.card import Card
from domain.approvals.plan import AddedApproval, Ask, Plan, PlannedApproval
from domain.approvals.policy import OnRejection
from domain.approvals.smart import Decision, PriorApproval, Refused
from domain.runs import RunState
from domain.values import Instant, Value, short_id


class RoundStatus(StrEnum):
    NEW = "new"
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    RECALLED = "recalled"
    EXPIRED = "expired"


class ApprovalStatus(StrEnum):
    WAITING = "waiting"
    REQUESTED = "requested"
    APPROVED = "approved"
    REJECTED = "rejected"
    CARRIED = "carried"
    COVERED = "covered"
    REVOKED = "revoked"
    EXPIRED = "expired"
    INFORMED = "informed"
    """Told, and nothing asked."""
    REMOVED = "removed"
    """Somebody added it, and took it off the subject again."""

    @property
    def settled(self) -> bool:
        return self in SETTLED

    @property
    def open(self) -> bool:
        return self in (ApprovalStatus.WAITING, ApprovalStatus.REQUESTED)


SETTLED = (
    ApprovalStatus.APPROVED,
    ApprovalStatus.CARRIED,
    ApprovalStatus.COVERED,
    ApprovalStatus.INFORMED,
    ApprovalStatus.REMOVED,
)
GIVEN = (ApprovalStatus.APPROVED, ApprovalStatus.COVERED)


class Vote(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"


class Seat(Value):
    """One person who may decide an approval, and their vote once it is given."""

    holder: str
    vote: Vote | None = None
    by: str | None = None
    """Who gave it, when it was not the holder."""
    at: Instant | None = None
    comment: str = ""
    handed_from: str | None = None
    """Who was asked first, where they handed it over."""
    escalated: bool = False
    """Asked too because time passed: may decide, and does not raise how many must agree."""

    def for_holder(self, holder: str) -> "Seat":
        """The same seat of another person."""
        return self.evolve(holder=holder, handed_from=self.handed_from or self.holder, **NO_VOTE)

    def without_vote(self) -> "Seat":
        """The same seat before its vote."""
        return self.evolve(**NO_VOTE)


NO_VOTE: dict[str, Any] = {"vote": None, "by": None, "at": None, "comment": ""}


class Consultation(Value):
    """Advice a holder asks of somebody before deciding: the clock waits for it, as long as the rule allows."""

    person: str
    by: str
    question: str
    at: Instant
    answer: str = ""
    ended_at: Instant | None = None


class Approval(Ask):
    id: str
    seats: tuple[Seat, ...]
    status: ApprovalStatus = ApprovalStatus.WAITING
    requested_at: Instant | None = None
    decided_at: Instant | None = None
    due: Instant | None = None
    """When it expires."""
    remind_at: Instant | None = None
    reminded_at: Instant | None = None
    escalate_at: Instant | None = None
    escalated_at: Instant | None = None
    covered_by: str | None = None
    carried_from: int | None = None
    """The number of the round in which people gave it."""
    consultations: tuple[Consultation, ...] = ()
    removed_by: str | None = None
    """Who removed it."""
    given_at: Instant | None = None
    """When it was given, where it carries."""

    @property
    def order(self) -> tuple[int, int]:
        return self.step, self.tier

    @property
    def holders(self) -> list[str]:
        """Who is still asked."""
        return [seat.holder for seat in self.seats if seat.vote is None]

    @property
    def awaited_advice(self) -> tuple[Consultation, ...]:
        """What the holders asked of others and wait for."""
        if self.status is not ApprovalStatus.REQUESTED:
            return ()
        return tuple(consultation for consultation in self.consultations if consultation.ended_at is None)

    def awaited_from(self, person: str) -> Consultation | None:
        return next((c for c in self.awaited_advice if c.person == person), None)

    @property
    def voters(self) -> list[str]:
        """Everybody who voted, for themselves or for somebody else."""
        return [seat.by or seat.holder for seat in self.seats if seat.vote]

    def seat_of(self, person: str) -> Seat | None:
        return next((seat for seat in self.seats if seat.holder == person), None)


class Round(RunState):
    subject_kind: str
    subject_id: str
    number: int
    digest: str
    title: str
    """In the company's language."""
    card: Card | None = None
    """What a title is made of, for readers of every language."""
    customer: str
    submitter: str
    barred: tuple[str, ...]
    policy_version: int
    approvals: tuple[Approval, ...]
    after: dict[str, tuple[str, ...]] = {}
    on_rejection: OnRejection = "end"
    valid_for_days: int | None = None
    """How long an approval of it is good for."""
    status: RoundStatus = RoundStatus.NEW
    submitted_at: Instant | None = None
    opened_at: Instant | None = None
    closed_at: Instant | None = None

    @property
    def running(self) -> bool:
        return self.status in (RoundStatus.NEW, RoundStatus.PENDING)

    @property
    def binding_due(self) -> Instant | None:
        """Reminders, escalations and expiries act on whatever is decided after them."""
        return self.due

    @property
    def requested(self) -> list[Approval]:
        return [a for a in self.approvals if a.status is ApprovalStatus.REQUESTED]

    @property
    def waiting_on(self) -> list[str]:
        """Everybody who is asked now, once each, in the order they were asked."""
        return list(dict.fromkeys(holder for a in self.requested for holder in a.holders))

    @property
    def valid_until(self) -> Instant | None:
        """When what was approved must be approved anew; None where it never must."""
        if self.status is not RoundStatus.APPROVED or self.closed_at is None or self.valid_for_days is None:
            return None
        given = [a.given_at for a in self.approvals if a.status is ApprovalStatus.CARRIED and a.given_at]
        return min([self.closed_at, *given]) + timedelta(days=self.valid_for_days)

    def approval(self, wanted: object) -> Approval | None:
        return next((a for a in self.approvals if a.id == wanted), None)


def round_run(kind: str, subject: str, number: int | str) -> str:
    """The workflow id of a round. `:` separates: Temporal's HTTP API cannot find an id with a slash."""
    return f"{kind}:{subject}:approval:{number}"


def new_round(
    run: str,
    plan: Plan,
    *,
    kind: str,
    id: str,
    number: int,
    digest: str,
    title: str,
    customer: str,
    submitter: str,
    barred: tuple[str, ...],
    policy_version: int,
    on_rejection: OnRejection = "end",
    valid_for_days: int | None = None,
    submitted_at: Instant | None = None,
    card: Card | None = None,
) -> Round:
    """The round at sequence number 0: everything waits until it is opened."""
    approvals = tuple(
        Approval(
            id=short_id("a", run, n),
            seats=tuple(Seat(holder=s) for s in p.seats),
            **{name: getattr(p, name) for name in Ask.model_fields},
            **(_carry_fields(p.carried) if p.carried else {}),
        )
        for n, p in enumerate(plan.approvals)
    )
    return Round(
        subject_kind=kind,
        subject_id=id,
        number=number,
        digest=digest,
        title=title,
        card=card,
        customer=customer,
        submitter=submitter,
        barred=barred,
        policy_version=policy_version,
        approvals=approvals,
        after=plan.after,
        on_rejection=on_rejection,
        valid_for_days=valid_for_days,
        submitted_at=submitted_at,
    )


def _carry_fields(given: PriorApproval) -> dict[str, Any]:
    return {"status": ApprovalStatus.CARRIED, "carried_from": given.number, "given_at": given.at}


def explained(round: Round, plan: Plan) -> Iterator[tuple[Approval, PlannedApproval]]:
    """Each approval with what was planned for it; one that somebody added in this round speaks for itself."""
    yield from zip(round.approvals, plan.approvals, strict=False)
    for approval in round.approvals[len(plan.approvals) :]:
        why = f"{approval.added_by} asked for it" + (f": {approval.added_for}" if approval.added_for else "")
        facts = {name: getattr(approval, name) for name in Ask.model_fields}
        facts |= {"added_as": approval.added_as or approval.id, "reasons": (why,), "basis": round.digest}
        asked = f"group {approval.group}" if approval.group else ""
        yield approval, PlannedApproval(**facts, asked=asked, seats=tuple(seat.holder for seat in approval.seats))


def past_decisions(rounds: Iterable[tuple[Round, Plan]]) -> list[Decision]:
    """What people decided in a subject's earlier rounds, newest first."""
    found: list[Decision] = []
    for round, plan in _newest_first(rounds):
        for approval, planned in explained(round, plan):
            if decision := _decision(round, approval, planned):
                found.append(decision)
    return found


def added_approvals(rounds: Iterable[tuple[Round, Plan]]) -> list[AddedApproval]:
    """Whom people added in a subject's earlier rounds and nobody removed since."""
    found: dict[str, AddedApproval | None] = {}
    for round, _ in _newest_first(rounds):
        for approval in round.approvals:
            id = approval.added_as or approval.id
            if approval.added_by is None or id in found:
                continue
            found[id] = (
                None
                if approval.removed_by
                else AddedApproval(
                    added_as=id,
                    added_by=approval.added_by,
                    added_for=approval.added_for,
                    chain=approval.chain,
                    step=approval.step,
                    group=approval.group,
                    people=tuple(seat.handed_from or seat.holder for seat in approval.seats if not seat.escalated),
                )
            )
    return [added for added in reversed(found.values()) if added]


def _newest_first(rounds: Iterable[tuple[Round, Plan]]) -> list[tuple[Round, Plan]]:
    return sorted(rounds, key=lambda pair: -pair[0].number)


def _decision(round: Round, approval: Approval, planned: PlannedApproval) -> Decision | None:
    """What people decided on one approval. A rejection that did not settle it is one too: somebody said no."""
    if approval.status is ApprovalStatus.CARRIED:
        return planned.carried
    if approval.status not in GIVEN or approval.decided_at is None:
        rejected = any(seat.vote is Vote.REJECTED for seat in approval.seats)
        return Refused(rule=planned.rule, approver=planned.approver, number=round.number) if rejected else None
    covering = round.approval(approval.covered_by) or approval
    votes = [seat for seat in covering.seats if seat.vote is Vote.APPROVED]
    return PriorApproval(
        rule=planned.rule,
        approver=planned.approver,
        basis=planned.basis,
        number=round.number,
        by=tuple(seat.by or seat.holder for seat in votes),
        seats=tuple(seat.holder for seat in votes),
        holders=tuple(seat.handed_from or seat.holder for seat in votes),
        at=approval.decided_at,
        grounds=planned.grounds,
    )


def next_due(round: Round) -> Instant | None:
    """The next instant at which time itself acts on the round."""
    instants = (i for a in round.requested for i in (a.due, a.remind_at, a.escalate_at) if i)
    return min(instants, default=None) if round.running else None
