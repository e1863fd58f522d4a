"""The rules of one round: who may decide what, when, and what follows. Values in, values out.

`apply` is total: the workflow applies a command before anybody has checked that it is genuine."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from domain.approvals.plan import Ask, Plan, PlannedApproval
from domain.approvals.smart import Decision, Given, Refused
from domain.runs import Command, Outcome, RunState, is_expiry
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

    @property
    def settled(self) -> bool:
        return self in (ApprovalStatus.APPROVED, ApprovalStatus.CARRIED, ApprovalStatus.COVERED)

    @property
    def open(self) -> bool:
        return self in (ApprovalStatus.WAITING, ApprovalStatus.REQUESTED)


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

    @property
    def order(self) -> tuple[int, int]:
        return self.step, self.tier

    @property
    def holders(self) -> list[str]:
        """Who is still asked."""
        return [seat.holder for seat in self.seats if seat.vote is None]

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
    status: RoundStatus = RoundStatus.NEW
    opened_at: Instant | None = None
    closed_at: Instant | None = None

    @property
    def running(self) -> bool:
        return self.status in (RoundStatus.NEW, RoundStatus.PENDING)

    @property
    def requested(self) -> list[Approval]:
        return [a for a in self.approvals if a.status is ApprovalStatus.REQUESTED]

    @property
    def waiting_on(self) -> list[str]:
        """Everybody who is asked now, once each, in the order they were asked."""
        return list(dict.fromkeys(holder for a in self.requested for holder in a.holders))

    def approval(self, wanted: object) -> Approval | None:
        return next((a for a in self.approvals if a.id == wanted), None)


def round_run(kind: str, subject: str, number: int | str) -> str:
    """The workflow id of a round. `:` separates: the engine's HTTP API cannot find an id with a slash."""
    return f"{kind}:{subject}:approval:{number}"


def new_round(
    run: str, plan: Plan, *, kind: str, id: str, number: int, digest: str, title: str, customer: str,
    submitter: str, barred: tuple[str, ...], policy_version: int,
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
    )  # fmt: skip


Decided = tuple[Round, Outcome]
OFF: dict[str, None] = {"due": None, "remind_at": None, "escalate_at": None}
"""An approval that nobody is asked for has no clocks."""


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


def apply(round: Round, command: Command, at: Instant) -> Decided:
    """The round after the command, and what came of it. Every command takes a sequence number, refused or not."""
    after, outcome = _apply(round, command, at)
    after = after.model_copy(update={"seq": round.seq + 1})
    return after.model_copy(update={"due": next_due(after)}), outcome


def _apply(round: Round, command: Command, at: Instant) -> Decided:
    if command.verb == "open" and round.status is RoundStatus.NEW:
        opened = _request_next(round.model_copy(update={"status": RoundStatus.PENDING, "opened_at": at}), at)
        carried = {a.rule: a.carried_from for a in opened.approvals if a.status is ApprovalStatus.CARRIED}
        facts: dict[str, Any] = {"carried": carried} if carried else {}
        return opened, _done("opened", state=opened.status, waiting_on=opened.waiting_on, **facts)
    if round.status is not RoundStatus.PENDING:
        return round, _refused(
            "round_closed",
            "This round is not open for decisions." if round.running else f"This round already ended: {round.status}.",
            state=round.status,
            closed_at=round.closed_at and round.closed_at.isoformat(),
        )
    handler = HANDLERS.get(command.verb)
    if handler is None or (command.verb == "expire" and not is_expiry(command)):
        return round, _refused("unknown_verb", "This round does not know that act.")
    return handler(round, command, at)


def _done(code: str, sentence: str = "", **facts: Any) -> Outcome:
    return Outcome(applied=True, code=code, sentence=sentence, facts=facts)


def _refused(code: str, sentence: str, **facts: Any) -> Outcome:
    return Outcome(applied=False, code=code, sentence=sentence, facts=facts)


def _text(value: object, longest: int = 4000) -> str:
    return value[:longest] if isinstance(value, str) else ""


# --- deciding -------------------------------------------------------------------------------------------------------


def _addressed(round: Round, command: Command) -> Approval | Outcome:
    """The approval a decision names, if it is this actor's turn to decide it."""
    approval = round.approval(command.payload.get("approval"))
    if approval is None:
        return _refused("unknown_approval", "This round has no such approval.")
    shown = command.payload.get("digest")
    if shown is not None and shown != round.digest:
        return _refused("stale_version", "What you saw is not what is in approval now. Open it again.")
    holder = command.on_behalf_of or command.actor
    if command.actor in round.barred:
        return _refused("own_submission", "You submitted, own or edited this, so somebody else must decide it.")
    seat = approval.seat_of(holder)
    if seat is None:
        return _refused("not_an_approver", "This approval is not yours to decide.")
    if seat.vote or not approval.status.open:
        return _already(approval, seat)
    if approval.status is ApprovalStatus.WAITING:
        return _refused("not_your_turn", "An earlier step must be decided first.", step=approval.step)
    return approval


def _already(approval: Approval, seat: Seat | None) -> Outcome:
    last = seat if seat and seat.vote else max((s for s in approval.seats if s.at), key=_when, default=None)
    return _refused(
        "already_decided",
        f"This was already decided: {approval.status}." if not approval.status.open else "You already decided this.",
        state=approval.status,
        by=last and (last.by or last.holder),
        at=last and last.at and last.at.isoformat(),
    )


def _when(seat: Seat) -> float:
    return seat.at.timestamp() if seat.at else 0.0


def _voted(approval: Approval, command: Command, vote: Vote, at: Instant) -> Approval:
    """The approval with this vote, settled when enough approved or too many rejected."""
    holder = command.on_behalf_of or command.actor
    given = {"vote": vote, "by": command.actor if command.on_behalf_of else None, "at": at}
    given["comment"] = _text(command.payload.get("comment"))
    seats = tuple(s.model_copy(update=given) if s.holder == holder else s for s in approval.seats)
    votes = [s.vote for s in seats]
    update: dict[str, Any] = {"seats": seats}
    if votes.count(Vote.APPROVED) >= approval.needed:
        update |= {"status": ApprovalStatus.APPROVED, "decided_at": at, **OFF}
    elif len([s for s in seats if not s.escalated]) - votes.count(Vote.REJECTED) < approval.needed or (
        approval.any_decides and Vote.REJECTED in votes
    ):
        update |= {"status": ApprovalStatus.REJECTED, "decided_at": at, **OFF}
    return approval.model_copy(update=update)


def _approve(round: Round, command: Command, at: Instant) -> Decided:
    addressed = _addressed(round, command)
    if isinstance(addressed, Outcome):
        return round, addressed
    decided = _voted(addressed, command, Vote.APPROVED, at)
    after = _with(round, decided)
    if decided.status is ApprovalStatus.APPROVED:
        after = _request_next(_cover(after, decided, at), at)
    return after, _done("approved", approval=decided.id, approval_state=decided.status, state=after.status)


def _reject(round: Round, command: Command, at: Instant) -> Decided:
    addressed = _addressed(round, command)
    if isinstance(addressed, Outcome):
        return round, addressed
    if not _text(command.payload.get("comment")).strip():
        return round, _refused("comment_required", "Say why you reject: a comment is required.", field="comment")
    decided = _voted(addressed, command, Vote.REJECTED, at)
    after = _with(round, decided)
    if decided.status is ApprovalStatus.REJECTED:
        after = _close(after, RoundStatus.REJECTED, at)
    return after, _done("rejected", approval=decided.id, approval_state=decided.status, state=after.status)


def _take_back(round: Round, command: Command, at: Instant) -> Decided:
    """An approval is undone while nothing that waited on it is decided; what came after waits again."""
    approval = round.approval(command.payload.get("approval"))
    if approval is None:
        return round, _refused("unknown_approval", "This round has no such approval.")
    given = next((s for s in approval.seats if s.vote is Vote.APPROVED and command.actor in (s.by or s.holder,)), None)
    if given is None:
        return round, _refused("not_an_approver", "You have not approved this, so there is nothing to take back.")
    carried = ApprovalStatus.CARRIED  # was given before this round, so it was not built on anything in it
    later = [a for a in round.approvals if _waits_on(round, a, approval) and a.status is not carried]
    if built := [a for a in later if a.covered_by != approval.id and (a.decided_at or any(s.vote for s in a.seats))]:
        titles = ", ".join(a.title for a in built)
        return round, _refused(
            "built_on", f"{titles} came after it and is decided already.", decided=[a.id for a in built]
        )
    seats = tuple(Seat(holder=s.holder, escalated=s.escalated) if s is given else s for s in approval.seats)
    reopened = approval.model_copy(update={"seats": seats, "decided_at": None})
    round = _with(round, reopened if approval.status is ApprovalStatus.REQUESTED else _requested(reopened, at))
    for waiting in [a for a in round.approvals if a in later or a.covered_by == approval.id]:
        undone = {"status": ApprovalStatus.WAITING, "requested_at": None, "decided_at": None, "covered_by": None}
        round = _with(round, waiting.model_copy(update={**undone, **OFF}))
    after = _request_next(round, at)  # what was covered may be next in a chain of its own
    return after, _done("taken_back", approval=approval.id, waiting_on=after.waiting_on)


def _waits_on(round: Round, later: Approval, earlier: Approval) -> bool:
    if later.chain == earlier.chain:
        return later.order > earlier.order
    chains, seen = [later.chain], set[str]()
    while chains:
        before = round.after.get(chains.pop(), ())
        if earlier.chain in before:
            return True
        chains += [chain for chain in before if chain not in seen]
        seen.update(before)
    return False


# --- handing over ---------------------------------------------------------------------------------------------------


def _delegate(round: Round, command: Command, at: Instant) -> Decided:
    addressed = _addressed(round, command)
    if isinstance(addressed, Outcome):
        return round, addressed
    return _hand_over(round, addressed, command.on_behalf_of or command.actor, command, at, "delegated")


def _reassign(round: Round, command: Command, at: Instant) -> Decided:
    approval = round.approval(command.payload.get("approval"))
    if approval is None:
        return round, _refused("unknown_approval", "This round has no such approval.")
    if not approval.status.open:
        return round, _already(approval, None)
    wanted = command.payload.get("from")
    holders = approval.holders
    holder = wanted if isinstance(wanted, str) else holders[0] if len(holders) == 1 else None
    if holder not in holders:
        return round, _refused(
            "not_an_approver",
            "Say in `from` whose place is taken: one who has not decided yet.",
            holders=holders,
        )
    return _hand_over(round, approval, holder, command, at, "reassigned")


def _hand_over(round: Round, approval: Approval, holder: str, command: Command, at: Instant, code: str) -> Decided:
    """`holder`'s seat goes to another person, and the clock restarts."""
    to = _text(command.payload.get("to"), 64)
    if not to:
        return round, _refused("invalid", "Say in `to` who takes over.", field="to")
    if to in round.barred:
        return round, _refused("own_submission", f"{to} submitted, owns or edited this and cannot decide it.", to=to)
    if approval.seat_of(to):
        return round, _refused("already_an_approver", f"{to} is asked for this approval already.", to=to)
    seats = tuple(Seat(holder=to) if s.holder == holder else s for s in approval.seats)
    moved = approval.model_copy(update={"seats": seats})
    if moved.status is ApprovalStatus.REQUESTED:
        moved = _requested(moved, at)
    facts = {"from": holder, "to": to, "approval": moved.id}
    return _with(round, moved), _done(code, f"{to} is asked instead of {holder}.", **facts)


# --- ending ---------------------------------------------------------------------------------------------------------


def _recall(round: Round, command: Command, at: Instant) -> Decided:
    if command.actor != round.submitter and command.payload.get("authority") != "approvals_admin":
        return round, _refused("not_the_submitter", "Only the submitter or an approvals admin can recall it.")
    after = _close(round, RoundStatus.RECALLED, at)
    return after, _done("recalled", state=after.status)


def _expire(round: Round, command: Command, at: Instant) -> Decided:
    """Time acts: what expired ends the round; else what is late is escalated, and who was not reminded is."""
    if late := [a for a in round.requested if a.due and a.due <= at]:
        for approval in late:
            round = _with(
                round, approval.model_copy(update={"status": ApprovalStatus.EXPIRED, "decided_at": at, **OFF})
            )
        after = _close(round, RoundStatus.EXPIRED, at)
        return after, _done("expired", state=after.status, approvals=[a.id for a in late])
    escalated = [a for a in round.requested if a.escalate_at and a.escalate_at <= at]
    for approval in escalated:
        round = _with(round, _escalated(approval, at))
    reminded = [a for a in round.requested if a.remind_at and a.remind_at <= at]
    for approval in reminded:
        round = _with(round, _reminded(approval, at))
    if not escalated and not reminded:
        return round, _refused("not_due", "Nothing is due yet.")
    facts: dict[str, Any] = {"escalated": [a.id for a in escalated], "reminded": [a.id for a in reminded]}
    return round, _done("escalated" if escalated else "reminded", **facts)


def _escalated(approval: Approval, at: Instant) -> Approval:
    """Others are asked too, and whoever held it keeps it."""
    added = tuple(Seat(holder=to, escalated=True) for to in approval.escalate_to if approval.seat_of(to) is None)
    return approval.model_copy(update={"seats": (*approval.seats, *added), "escalated_at": at, "escalate_at": None})


def _reminded(approval: Approval, at: Instant) -> Approval:
    hours = approval.remind_every_hours or Decimal(0)
    return approval.model_copy(update={"reminded_at": at, "remind_at": _later(at, hours)})


HANDLERS: dict[str, Callable[[Round, Command, Instant], Decided]] = {
    "approve": _approve,
    "reject": _reject,
    "take_back": _take_back,
    "delegate": _delegate,
    "reassign": _reassign,
    "recall": _recall,
    "expire": _expire,
}


def _close(round: Round, status: RoundStatus, at: Instant) -> Round:
    """The round ends; what was still open is revoked."""
    approvals = tuple(
        a.model_copy(update={"status": ApprovalStatus.REVOKED, "decided_at": at, **OFF}) if a.status.open else a
        for a in round.approvals
    )
    return round.model_copy(update={"status": status, "closed_at": at, "approvals": approvals})


# --- the path -------------------------------------------------------------------------------------------------------


def _with(round: Round, changed: Approval) -> Round:
    return round.model_copy(update={"approvals": tuple(changed if a.id == changed.id else a for a in round.approvals)})


def _current(round: Round, chain: str) -> list[Approval]:
    """The approvals of the chain's lowest step that is not settled."""
    unsettled = [a for a in round.approvals if a.chain == chain and not a.status.settled]
    lowest = min((a.order for a in unsettled), default=None)
    return [a for a in unsettled if a.order == lowest]


def _following(round: Round, chain: str) -> list[Approval]:
    """The approvals of the step directly after the chain's current one."""
    current = _current(round, chain)
    later = [a for a in round.approvals if a.chain == chain and current and a.order > current[0].order]
    lowest = min((a.order for a in later), default=None)
    return [a for a in later if a.order == lowest]


def _chains(round: Round) -> list[str]:
    return list(dict.fromkeys(a.chain for a in round.approvals))


def _complete(round: Round, chain: str) -> bool:
    return all(a.status.settled for a in round.approvals if a.chain == chain)


def _ready(round: Round, chain: str) -> bool:
    return all(_complete(round, before) for before in round.after.get(chain, ()))


def _requested(approval: Approval, at: Instant) -> Approval:
    """Asked now; every clock starts anew. The record sets the clocks by its holders' calendars where it knows them."""
    return approval.model_copy(
        update={
            "status": ApprovalStatus.REQUESTED, "requested_at": at, "reminded_at": None, "escalated_at": None,
            "due": _later(at, approval.expire_after_hours), "remind_at": _later(at, approval.remind_every_hours),
            "escalate_at": _later(at, approval.escalate_after_hours),
        }
    )  # fmt: skip


def _later(at: Instant, hours: Decimal | None) -> Instant | None:
    return at + timedelta(seconds=float(hours * 3600)) if hours is not None else None


def _request_next(round: Round, at: Instant) -> Round:
    """Ask whoever is next in each chain that is ready; approve the round when nothing is left."""
    for chain in _chains(round):
        if _ready(round, chain):
            for approval in _current(round, chain):
                if approval.status is ApprovalStatus.WAITING:
                    round = _with(round, _requested(approval, at))
    if all(a.status.settled for a in round.approvals):
        return round.model_copy(update={"status": RoundStatus.APPROVED, "closed_at": at})
    return round


def _cover(round: Round, decided: Approval, at: Instant) -> Round:
    """One decision covers its holders' other approvals of the same and the directly following step of any chain.

    A covered approval counts as given, so a run of steps of one person needs one decision; a step of somebody else in
    between ends the run. Only approvals that this person alone holds are covered, and none that is `explicit`."""
    for holder in _sole(decided):
        reach = [*_reach(round, decided)]
        while reach:
            approval = reach.pop()
            known = round.approval(approval.id)
            if known and known.status.open and not known.explicit and _sole(known) == [holder]:
                update = {
                    "status": ApprovalStatus.COVERED,
                    "decided_at": at,
                    **OFF,
                    "covered_by": decided.id,
                }
                round = _with(round, known.model_copy(update=update))
                reach.extend(_next_in_chain(round, known))
    return round


def _reach(round: Round, decided: Approval) -> Iterable[Approval]:
    yield from _next_in_chain(round, decided)
    before = _with(round, decided.model_copy(update={"status": ApprovalStatus.REQUESTED}))
    for chain in _chains(round):
        if chain != decided.chain and _ready(round, chain):
            yield from _current(round, chain)
            if _ready(before, chain):  # else its first step is the one directly following
                yield from _following(round, chain)


def _next_in_chain(round: Round, approval: Approval) -> list[Approval]:
    """The same step's others, and the step directly after, in the approval's own chain."""
    same = [a for a in round.approvals if a.chain == approval.chain and a.order == approval.order]
    later = [a for a in round.approvals if a.chain == approval.chain and a.order > approval.order]
    lowest = min((a.order for a in later), default=None)
    return [*same, *(a for a in later if a.order == lowest)]


def _sole(approval: Approval) -> list[str]:
    return [approval.seats[0].holder] if len(approval.seats) == 1 else []


def next_due(round: Round) -> Instant | None:
    """The next instant at which time itself acts on the round."""
    instants = (i for a in round.requested for i in (a.due, a.remind_at, a.escalate_at) if i)
    return min(instants, default=None) if round.running else None


class RoundMachine:
    """The approval round as a kind of run."""

    kind = "approval_round"
    state = Round
    verbs: tuple[str, ...] = ("open", "approve", "reject", "take_back", "delegate", "reassign", "recall")

    @staticmethod
    def apply(state: Round, command: Command, at: Instant) -> Decided:
        return apply(state, command, at)
