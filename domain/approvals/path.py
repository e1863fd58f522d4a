"""Who is next in a round: steps and chains, what one decision covers, how a round ends, and its clocks."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal

from domain.approvals.round import Approval, ApprovalStatus, Round, RoundStatus
from domain.values import Instant

NO_TIMERS: dict[str, None] = {"due": None, "remind_at": None, "escalate_at": None}
"""An approval that nobody is asked for has no clocks."""


def with_approval(round: Round, changed: Approval) -> Round:
    return round.evolve(approvals=tuple(changed if a.id == changed.id else a for a in round.approvals))


# --- steps and chains -----------------------------------------------------------------------------------------------


def advance_steps(round: Round, at: Instant) -> Round:
    """Whatever follows from how the approvals stand now: the next are asked, or the round ends."""
    if not any(a.status is ApprovalStatus.REJECTED for a in round.approvals):
        return ask_next(round, at)
    if round.on_rejection == "end":
        return close(round, RoundStatus.REJECTED, at)
    for approval in round.approvals:
        if approval.status is ApprovalStatus.WAITING:
            round = with_approval(round, _revoked(approval, at))
    return round if round.requested else close(round, RoundStatus.REJECTED, at)


PROMPT = timedelta(minutes=1)


def opened(round: Round, at: Instant) -> Round:
    """A new round begins to ask. Time counts from the submission, unless the run could only begin much later."""
    sent = round.submitted_at
    since = sent if sent and timedelta(0) <= at - sent <= PROMPT else at
    return ask_next(round.evolve(status=RoundStatus.PENDING, opened_at=since), since)


def ask_next(round: Round, at: Instant) -> Round:
    """Ask whoever is next in each chain that is ready; approve the round when nothing is left."""
    while reached := [a for a in _reached(round) if a.status is ApprovalStatus.WAITING]:
        for approval in reached:
            round = with_approval(round, informed(approval, at) if approval.inform else requested(approval, at))
    if all(a.status.settled for a in round.approvals):
        return round.evolve(status=RoundStatus.APPROVED, closed_at=at)
    return round


def _reached(round: Round) -> list[Approval]:
    return [approval for chain in _chains(round) if _ready(round, chain) for approval in current(round, chain)]


def close(round: Round, status: RoundStatus, at: Instant) -> Round:
    """The round ends; what was still open is revoked."""
    approvals = tuple(_revoked(a, at) if a.status.open else a for a in round.approvals)
    return round.evolve(status=status, closed_at=at, approvals=approvals)


def _revoked(approval: Approval, at: Instant) -> Approval:
    return approval.evolve(status=ApprovalStatus.REVOKED, decided_at=at, **NO_TIMERS)


def current(round: Round, chain: str) -> list[Approval]:
    """The approvals of the chain's lowest step that is not settled."""
    return _lowest(a for a in round.approvals if a.chain == chain and not a.status.settled)


def _following(round: Round, chain: str) -> list[Approval]:
    """The approvals of the step directly after the chain's current one."""
    now = current(round, chain)
    return _lowest(a for a in _deciding(round, chain) if now and a.order > now[0].order)


def _lowest(approvals: Iterable[Approval]) -> list[Approval]:
    found = list(approvals)
    lowest = min((a.order for a in found), default=None)
    return [a for a in found if a.order == lowest]


def _deciding(round: Round, chain: str) -> list[Approval]:
    return [a for a in round.approvals if a.chain == chain and not a.inform]


def _chains(round: Round) -> list[str]:
    return list(dict.fromkeys(a.chain for a in round.approvals))


def complete(round: Round, chain: str) -> bool:
    return all(a.status.settled for a in round.approvals if a.chain == chain)


def _ready(round: Round, chain: str) -> bool:
    return all(complete(round, before) for before in round.after.get(chain, ()))


def waits_on(round: Round, later: Approval, earlier: Approval) -> bool:
    """Whether one approval's turn comes only after another is given."""
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


# --- one person, one decision ---------------------------------------------------------------------------------------


def cover(round: Round, decided: Approval, at: Instant) -> Round:
    """One decision covers its holders' other approvals of the same and the directly following step of any chain.

    A covered approval counts as given, so a run of steps of one person needs one decision; a step of somebody else in
    between ends the run. Only approvals that this person alone holds are covered, and none that is `explicit`."""
    for holder in _sole(decided):
        reach = [*_reach(round, decided)]
        while reach:
            approval = reach.pop()
            known = round.approval(approval.id)
            if known and known.status.open and not (known.explicit or known.inform) and _sole(known) == [holder]:
                update = {"status": ApprovalStatus.COVERED, "decided_at": at, **NO_TIMERS, "covered_by": decided.id}
                round = with_approval(round, known.evolve(**update))
                reach.extend(_next_in_chain(round, known))
    return round


def _reach(round: Round, decided: Approval) -> Iterable[Approval]:
    yield from _next_in_chain(round, decided)
    before = with_approval(round, decided.evolve(status=ApprovalStatus.REQUESTED))
    for chain in _chains(round):
        if chain != decided.chain and _ready(round, chain):
            yield from current(round, chain)
            if _ready(before, chain):  # else its first step is the one directly following
                yield from _following(round, chain)


def _next_in_chain(round: Round, approval: Approval) -> list[Approval]:
    """The same step's others, and the step directly after, in the approval's own chain."""
    same = [a for a in round.approvals if a.chain == approval.chain and a.order == approval.order]
    return [*same, *_lowest(a for a in _deciding(round, approval.chain) if a.order > approval.order)]


def _sole(approval: Approval) -> list[str]:
    return [approval.seats[0].holder] if len(approval.seats) == 1 else []


# --- clocks ---------------------------------------------------------------------------------------------------------


def requested(approval: Approval, at: Instant) -> Approval:
    """Asked now; every clock starts anew."""
    begun = {"requested_at": at, "reminded_at": None, "escalated_at": None}
    return with_timers(approval.evolve(status=ApprovalStatus.REQUESTED, **begun))


def informed(approval: Approval, at: Instant) -> Approval:
    update = {"status": ApprovalStatus.INFORMED, "requested_at": at, "decided_at": at}
    return approval.evolve(**update)


def _elapsed(start: Instant, hours: Decimal) -> Instant:
    return start + timedelta(seconds=float(hours * 3600))


def _between(start: Instant, end: Instant) -> Decimal:
    return Decimal((end - start) / timedelta(hours=1))


def with_timers(
    approval: Approval,
    later: Callable[[Instant, Decimal], Instant] = _elapsed,
    between: Callable[[Instant, Instant], Decimal] = _between,
) -> Approval:
    """The approval with the instants at which time acts on it.

    All hours count here; where it is stored, the holders' calendars are known, and clocks are set by working hours."""

    def after(start: Instant | None, hours: Decimal | None) -> Instant | None:
        if start is None or hours is None:
            return None
        paused = awaited(approval, start, between)
        return later(start, hours + paused if paused else hours)

    asked = approval.requested_at
    return approval.evolve(
        due=after(asked, approval.expire_after_hours),
        escalate_at=None if approval.escalated_at else after(asked, approval.escalate_after_hours),
        remind_at=after(approval.reminded_at or asked, approval.remind_every_hours),
    )


def awaited(approval: Approval, since: Instant, between: Callable[[Instant, Instant], Decimal]) -> Decimal:
    """Hours since an instant for which the clock stood still: never more than the rule allows.

    Advice that has not come yet counts with all that is left, so that nobody need restart the clock."""
    most, total, counted_until = approval.consult_hours, Decimal(0), since
    if most is None:
        return total
    for asked in sorted(approval.consultations, key=lambda consultation: consultation.at):
        if asked.at < since:
            continue
        if asked.ended_at is None:
            return most
        start = max(asked.at, counted_until)  # two who are asked at a time stop the clock once
        if asked.ended_at > start:
            total += between(start, asked.ended_at)
            counted_until = asked.ended_at
    return min(total, most)
