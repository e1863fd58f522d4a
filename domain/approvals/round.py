"""One round of approvals: its state, and what of it is remembered. `acts` are its rules, `path` who is next."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import StrEnum

from domain.approvals.plan import Ask, Plan, PlannedApproval
from domain.approvals.policy import OnRejection
from domain.approvals.smart import Decision, Given, Refused
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

    @property
    def settled(self) -> bool:
        return self in SETTLED

    @property
    def open(self) -> bool:
        return self in (ApprovalStatus.WAITING, ApprovalStatus.REQUESTED)


SETTLED = (ApprovalStatus.APPROVED, ApprovalStatus.CARRIED, ApprovalStatus.COVERED, ApprovalStatus.INFORMED)


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
    escalated: bool = False
    """Asked too because time passed: may decide, and does not raise how many must agree."""


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
    added_by: str | None = None
    """Who asked for it, where no rule does."""
    added_for: str = ""

    @property
    def order(self) -> tuple[int, int]:
        return self.step, self.tier

    @property
    def holders(self) -> list[str]:
        """Who is still asked."""
        return [seat.holder for seat in self.seats if seat.vote is None]

    @property
    def consulted(self) -> Consultation | None:
        """The advice that is awaited."""
        last = self.consultations[-1] if self.consultations and self.status is ApprovalStatus.REQUESTED else None
        return last if last and last.ended_at is None else None

    def seat_of(self, person: str) -> Seat | None:
        return next((seat for seat in self.seats if seat.holder == person), None)


class Round(RunState):
    subject_kind: str
    subject_id: str
    number: int
    digest: str
    title: str
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
        return self.closed_at + timedelta(days=self.valid_for_days)

    def approval(self, wanted: object) -> Approval | None:
        return next((a for a in self.approvals if a.id == wanted), None)


def round_run(kind: str, subject: str, number: int | str) -> str:
    """The workflow id of a round. `:` separates: the engine's HTTP API cannot find an id with a slash."""
    return f"{kind}:{subject}:approval:{number}"


def new_round(
    run: str, plan: Plan, *, kind: str, id: str, number: int, digest: str, title: str, customer: str,
    submitter: str, barred: tuple[str, ...], policy_version: int, on_rejection: OnRejection = "end",
    valid_for_days: int | None = None, submitted_at: Instant | None = None,
) -> Round:  # fmt: skip
    """The round at sequence number 0: everything waits until it is opened."""
    approvals = tuple(
        Approval(
            id=short_id("a", run, n), seats=tuple(Seat(holder=s) for s in p.seats),
            **{name: getattr(p, name) for name in Ask.model_fields},
            **({"status": ApprovalStatus.CARRIED, "carried_from": p.carried.number} if p.carried else {}),
        )
        for n, p in enumerate(plan.approvals)
    )  # fmt: skip
    return Round(
        subject_kind=kind, subject_id=id, number=number, digest=digest, title=title, customer=customer,
        submitter=submitter, barred=barred, policy_version=policy_version, approvals=approvals, after=plan.after,
        on_rejection=on_rejection, valid_for_days=valid_for_days, submitted_at=submitted_at,
    )  # fmt: skip


def explained(round: Round, plan: Plan) -> Iterator[tuple[Approval, PlannedApproval]]:
    """Each approval with what was planned for it; one that somebody added speaks for itself."""
    yield from zip(round.approvals, plan.approvals, strict=False)
    for approval in round.approvals[len(plan.approvals) :]:
        why = f"{approval.added_by} asked for it" + (f": {approval.added_for}" if approval.added_for else "")
        yield approval, PlannedApproval(
            **{name: getattr(approval, name) for name in Ask.model_fields}, reasons=(why,),
            asked=f"group {approval.group}" if approval.group else "", seats=tuple(s.holder for s in approval.seats),
        )  # fmt: skip


def decisions(rounds: Iterable[tuple[Round, Plan]]) -> list[Decision]:
    """What people decided in a subject's earlier rounds, newest first, as smart approvals remember it."""
    found: list[Decision] = []
    for round, plan in sorted(rounds, key=lambda pair: -pair[0].number):
        for approval, planned in zip(round.approvals, plan.approvals, strict=False):
            if decision := _remembered(round.number, approval, planned):
                found.append(decision)
    return found


def _remembered(number: int, approval: Approval, planned: PlannedApproval) -> Decision | None:
    if approval.status is ApprovalStatus.CARRIED:
        return planned.carried
    if approval.status is ApprovalStatus.REJECTED:
        return Refused(rule=planned.rule, approver=planned.approver, number=number)
    if not approval.status.settled or approval.decided_at is None:
        return None
    by = [seat.by or seat.holder for seat in approval.seats if seat.vote is Vote.APPROVED]
    return Given(
        rule=planned.rule, approver=planned.approver, basis=planned.basis, number=number,
        by=tuple(by or (s.holder for s in approval.seats)), at=approval.decided_at, saw=planned.smart,
    )  # fmt: skip


def next_due(round: Round) -> Instant | None:
    """The next instant at which time itself acts on the round."""
    instants = (i for a in round.requested for i in (a.due, a.remind_at, a.escalate_at) if i)
    return min(instants, default=None) if round.running else None
