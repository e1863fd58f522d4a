"""The rules of one round: who may do what, when, and what follows. Values in, values out.

`apply` is total: the workflow applies a command before anybody has checked that it is genuine."""

from collections.abc import Callable
from typing import Any

from domain.approvals.path import (
    NO_TIMERS,
    advance_steps,
    close,
    complete,
    cover,
    opened,
    requested,
    waits_on,
    with_approval,
    with_timers,
)
from domain.approvals.plan import ADDED
from domain.approvals.round import Approval, ApprovalStatus, Consultation, Round, RoundStatus, Seat, Vote, next_due
from domain.runs import Command, Outcome, clock_of, done, is_expiry, refused, text_of
from domain.sentences import Sentence
from domain.values import Instant, short_id

Decided = tuple[Round, Outcome]
MOST_ADDED, MOST_STEPS, MOST_CONSULTED = 50, 10_000, 20


def apply(round: Round, command: Command, at: Instant) -> Decided:
    """The round after the command, and what came of it. Every command takes a sequence number, refused or not."""
    after, outcome = _apply(round, command, at)
    after = after.evolve(seq=round.seq + 1)
    return after.evolve(due=next_due(after)), outcome


def _apply(round: Round, command: Command, at: Instant) -> Decided:
    if command.verb == "open" and round.status is RoundStatus.NEW:
        begun = opened(round, at)
        carried = {a.rule: a.carried_from for a in begun.approvals if a.status is ApprovalStatus.CARRIED}
        seen = command.payload.get("version_seen")
        facts: dict[str, Any] = {"version_seen": seen if isinstance(seen, int) else "not_stated"}
        facts |= {"carried": carried} if carried else {}
        return begun, done("opened", state=begun.status, waiting_on=begun.waiting_on, **facts)
    if round.status is not RoundStatus.PENDING:
        return round, refused(
            "round_closed",
            "This round is not open for decisions."
            if round.running
            else Sentence("This round already ended: {state}.", state=round.status),
            state=round.status,
            closed_at=round.closed_at and round.closed_at.isoformat(),
        )
    handler = HANDLERS.get(command.verb)
    if handler is None or (command.verb == "expire" and not is_expiry(command)):
        return round, refused("unknown_verb", "This round does not know that act.")
    return handler(round, command, at)


# --- deciding -------------------------------------------------------------------------------------------------------


def _addressed(round: Round, command: Command) -> Approval | Outcome:
    """The approval a decision names, if it is this actor's turn to decide it."""
    approval = round.approval(command.payload.get("approval"))
    if approval is None:
        return refused("unknown_approval", "This round has no such approval.")
    shown = command.payload.get("digest")
    if shown is not None and shown != round.digest:
        return refused("stale_version", "What you saw is not what is in approval now. Open it again.")
    holder = command.on_behalf_of or command.actor
    if command.actor in round.barred:
        return refused("own_submission", "You submitted, own or edited this, so somebody else must decide it.")
    seat = approval.seat_of(holder)
    if seat is None:
        return refused("not_an_approver", "This approval is not yours to decide.")
    if seat.vote or not approval.status.open:
        return _already(approval, seat)
    if approval.status is ApprovalStatus.WAITING:
        return refused("not_your_turn", "An earlier step must be decided first.", step=approval.step)
    return approval


def _already(approval: Approval, seat: Seat | None) -> Outcome:
    last = seat if seat and seat.vote else max((s for s in approval.seats if s.at), key=_when, default=None)
    return refused(
        "already_decided",
        Sentence("This was already decided: {state}.", state=approval.status)
        if not approval.status.open
        else "You already decided this.",
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
    given["comment"] = text_of(command.payload.get("comment"))
    seats = tuple(s.evolve(**given) if s.holder == holder else s for s in approval.seats)
    return _settle(approval.evolve(seats=seats), at)


def _settle(approval: Approval, at: Instant) -> Approval:
    """Approved when enough approved; rejected when too many rejected for enough to be left."""
    votes = [s.vote for s in approval.seats]
    left = len([s for s in approval.seats if not s.escalated]) - votes.count(Vote.REJECTED)
    if votes.count(Vote.APPROVED) >= approval.needed:
        status = ApprovalStatus.APPROVED
    elif left < approval.needed or (approval.any_decides and Vote.REJECTED in votes):
        status = ApprovalStatus.REJECTED
    else:
        return approval
    return approval.evolve(status=status, decided_at=at, **NO_TIMERS)


def _vote_of(round: Round, command: Command) -> Approval | Outcome:
    """The approval that this actor may vote on: nobody votes twice, however many seats they could vote for."""
    addressed = _addressed(round, command)
    if isinstance(addressed, Approval) and command.actor in addressed.voters:
        others = [holder for holder in addressed.holders if holder != command.actor]
        sentence = Sentence(
            "You voted on this already, and everybody votes once. {others} can still vote.", others=", ".join(others)
        )
        return refused("already_voted", sentence, holders=others)
    return addressed


def _approve(round: Round, command: Command, at: Instant) -> Decided:
    addressed = _vote_of(round, command)
    if isinstance(addressed, Outcome):
        return round, addressed
    decided = _voted(addressed, command, Vote.APPROVED, at)
    after = with_approval(round, decided)
    if decided.status is ApprovalStatus.APPROVED:
        after = advance_steps(cover(after, decided, at), at)
    return after, done("approved", approval=decided.id, approval_state=decided.status, state=after.status)


def _reject(round: Round, command: Command, at: Instant) -> Decided:
    addressed = _vote_of(round, command)
    if isinstance(addressed, Outcome):
        return round, addressed
    if not text_of(command.payload.get("comment")).strip():
        return round, refused("comment_required", "Say why you reject: a comment is required.", field="comment")
    decided = _voted(addressed, command, Vote.REJECTED, at)
    after = with_approval(round, decided)
    if decided.status is ApprovalStatus.REJECTED:
        after = advance_steps(after, at)
    return after, done("rejected", approval=decided.id, approval_state=decided.status, state=after.status)


IRREVERSIBLE = (ApprovalStatus.CARRIED, ApprovalStatus.INFORMED, ApprovalStatus.REMOVED)
"""Given before this round, told to people who cannot forget it, or removed: none of it is undone."""


def _take_back(round: Round, command: Command, at: Instant) -> Decided:
    """An approval is undone while nothing that waited on it is decided; what came after waits again."""
    approval = round.approval(command.payload.get("approval"))
    if approval is None:
        return round, refused("unknown_approval", "This round has no such approval.")
    given = next((s for s in approval.seats if s.vote is Vote.APPROVED and command.actor in (s.by or s.holder,)), None)
    if given is None:
        return round, refused("not_an_approver", "You have not approved this, so there is nothing to take back.")
    if approval.status not in (ApprovalStatus.REQUESTED, ApprovalStatus.APPROVED):
        return round, _already(approval, given)
    covered = [a for a in round.approvals if a.covered_by == approval.id]
    undone = [approval, *covered]
    later = [
        a
        for a in round.approvals
        if a not in undone and a.status not in IRREVERSIBLE and any(waits_on(round, a, earlier) for earlier in undone)
    ]
    decided = [a for a in later if a.status is not ApprovalStatus.REVOKED]
    if built := [a for a in decided if a.decided_at or any(s.vote for s in a.seats)]:
        titles = ", ".join(a.title for a in built)
        return round, refused(
            "built_on",
            Sentence("{titles} came after it and is decided already.", titles=titles),
            decided=[a.id for a in built],
        )
    seats = tuple(s.without_vote() if s is given else s for s in approval.seats)
    reopened = approval.evolve(seats=seats, decided_at=None)
    round = with_approval(round, reopened if approval.status is ApprovalStatus.REQUESTED else requested(reopened, at))
    for waiting in (*later, *covered):
        again = {"status": ApprovalStatus.WAITING, "requested_at": None, "decided_at": None, "covered_by": None}
        round = with_approval(round, waiting.evolve(**again, **NO_TIMERS))
    after = advance_steps(round, at)  # what was covered may be next in a chain of its own
    return after, done("taken_back", approval=approval.id, waiting_on=after.waiting_on)


# --- handing over ---------------------------------------------------------------------------------------------------


def _delegate(round: Round, command: Command, at: Instant) -> Decided:
    addressed = _addressed(round, command)
    if isinstance(addressed, Outcome):
        return round, addressed
    return _hand_over(round, addressed, command.on_behalf_of or command.actor, command, at, "delegated")


def _reassign(round: Round, command: Command, at: Instant) -> Decided:
    approval = round.approval(command.payload.get("approval"))
    if approval is None:
        return round, refused("unknown_approval", "This round has no such approval.")
    if not approval.status.open:
        return round, _already(approval, None)
    wanted = command.payload.get("from")
    if isinstance(wanted, str) and approval.escalation == f"user:{wanted}":
        return _move_escalation(round, approval, wanted, command, at)
    if isinstance(wanted, str) and approval.awaited_from(wanted):
        return _move_consultation(round, approval, wanted, command, at)
    holders = approval.holders
    holder = wanted if isinstance(wanted, str) else holders[0] if len(holders) == 1 else None
    if holder not in holders:
        return round, refused(
            "not_an_approver", "Say in `from` whose place is taken: one who has not decided yet.", holders=holders
        )
    if _joins(approval, holder, text_of(command.payload.get("to"), 64)):
        return _join(round, approval, holder, command, at)
    return _hand_over(round, approval, holder, command, at, "reassigned")


def _joins(approval: Approval, holder: str, to: str) -> bool:
    """Whether `to` is asked already, and enough people are left without the holder."""
    if approval.seat_of(to) is None or to == holder:
        return False
    left = len([seat for seat in _seats_left(approval, holder, to) if not seat.escalated])
    return left > 0 and (approval.everybody or left >= approval.needed)


def _seats_left(approval: Approval, holder: str, to: str) -> tuple[Seat, ...]:
    """The seats without the holder's; who was only asked late takes an ordinary place over."""
    gone = approval.seat_of(holder)
    ordinary = gone is not None and not gone.escalated
    left = [seat for seat in approval.seats if seat.holder != holder]
    return tuple(s.evolve(escalated=False) if s.holder == to and ordinary else s for s in left)


def _join(round: Round, approval: Approval, holder: str, command: Command, at: Instant) -> Decided:
    """Who takes over holds a place of their own: the leaver's place goes, and nobody votes twice."""
    to = text_of(command.payload.get("to"), 64)
    seats = _seats_left(approval, holder, to)
    ordinary = len([seat for seat in seats if not seat.escalated])
    needed = min(approval.needed, ordinary) if approval.everybody else approval.needed
    after = _settle(approval.evolve(seats=seats, needed=needed), at)
    round = with_approval(round, after)
    if after.status is not approval.status:
        round = advance_steps(round, at)
    facts = {"from": holder, "to": to, "approval": approval.id}
    return round, done("reassigned", f"{to} is asked already; {holder} is asked no more.", **facts)


def _move_escalation(round: Round, approval: Approval, old: str, command: Command, at: Instant) -> Decided:
    """Another person is asked when the time has passed; where they hold the approval too, that seat goes along."""
    to = text_of(command.payload.get("to"), 64)
    if not to:
        return round, refused("invalid", "Say in `to` who takes over.", field="to")
    later = tuple(to if name == old else name for name in approval.escalate_to)
    moved = approval.evolve(escalation=f"user:{to}", escalate_to=later)
    after = with_approval(round, moved)
    if old in moved.holders:
        if _joins(moved, old, to):
            return _join(after, moved, old, command, at)
        handed, outcome = _hand_over(after, moved, old, command, at, "reassigned")
        return (handed, outcome) if outcome.applied else (round, outcome)
    facts = {"from": old, "to": to, "approval": moved.id}
    return after, done("reassigned", f"{to} is asked instead of {old} when the time has passed.", **facts)


def _move_consultation(round: Round, approval: Approval, old: str, command: Command, at: Instant) -> Decided:
    """Somebody else is asked for the advice; nobody is, where they decide it or are asked already."""
    to = text_of(command.payload.get("to"), 64)
    if not to:
        return round, refused("invalid", "Say in `to` who takes over.", field="to")
    needless = approval.seat_of(to) is not None or approval.awaited_from(to) is not None
    changed = {"ended_at": at} if needless else {"person": to, "at": at}
    asked = approval.awaited_from(old)
    moved = tuple(one.evolve(**changed) if one is asked else one for one in approval.consultations)
    after = with_timers(approval.evolve(consultations=moved))
    return with_approval(round, after), done("reassigned", **{"from": old, "to": to, "approval": approval.id})


def _hand_over(round: Round, approval: Approval, holder: str, command: Command, at: Instant, code: str) -> Decided:
    """`holder`'s seat goes to another person, and the clock restarts."""
    to = text_of(command.payload.get("to"), 64)
    if not to:
        return round, refused("invalid", "Say in `to` who takes over.", field="to")
    if to in round.barred:
        return round, refused(
            "own_submission", Sentence("{to} submitted, owns or edited this and cannot decide it.", to=to), to=to
        )
    if approval.seat_of(to) or to in approval.voters:
        return round, refused("already_an_approver", Sentence("{to} is asked for this approval already.", to=to), to=to)
    seats = tuple(s.for_holder(to) if s.holder == holder else s for s in approval.seats)
    moved = approval.evolve(seats=seats)
    if moved.status is ApprovalStatus.REQUESTED:
        moved = requested(moved, at)
    facts = {"from": holder, "to": to, "approval": moved.id}
    return with_approval(round, moved), done(code, f"{to} is asked instead of {holder}.", **facts)


# --- asking others --------------------------------------------------------------------------------------------------


def _add_approver(round: Round, command: Command, at: Instant) -> Decided:
    """One more approval, in a step of the chain that is not reached yet; what the rules ask for stays as it is."""
    payload = command.payload
    beside = round.approval(payload.get("approval"))
    if beside is None:
        return round, refused("unknown_approval", "This round has no such approval.")
    if command.actor != round.submitter and (command.on_behalf_of or command.actor) not in round.waiting_on:
        return round, refused("not_an_approver", "Only the submitter, or who is asked now, can add an approver.")
    wanted = payload.get("seats")
    people = tuple(dict.fromkeys(p for p in wanted if text_of(p, 64))) if isinstance(wanted, list) else ()
    if not people or len(people) > MOST_ADDED:
        return round, refused("invalid", "Say in `to` or `group` who is asked too.", field="to")
    if forbidden := [person for person in people if person in round.barred]:
        return round, refused(
            "own_submission", Sentence("{to} submitted, owns or edited this.", to=forbidden[0]), to=forbidden[0]
        )
    chain = [a for a in round.approvals if a.chain == beside.chain]
    begun = (a for a in chain if a.status not in (ApprovalStatus.WAITING, ApprovalStatus.REMOVED))
    reached = max((a.step for a in begun), default=0)
    step = payload.get("step")
    step = step if isinstance(step, int) and not isinstance(step, bool) else _next_step(chain, reached)
    ended = any(a.status is ApprovalStatus.REJECTED for a in round.approvals) or complete(round, beside.chain)
    if ended or not reached < step <= MOST_STEPS:
        return round, refused("step_reached", "That step was reached already; choose a later one.", reached=reached)
    if any(a.step == step and a.seat_of(person) for a in chain for person in people):
        return round, refused("already_an_approver", "They are asked in that step already.", step=step)
    group = text_of(payload.get("group"), 64) or None
    id = short_id("a", command.run, len(round.approvals))
    added = Approval(
        id=id,
        added_as=id,
        rule=ADDED,
        title=f"Added by {command.actor}",
        chain=beside.chain,
        step=step,
        needed=1,
        any_decides=True,
        explicit=True,
        group=group,
        seats=tuple(Seat(holder=person) for person in people),
        added_by=command.actor,
        added_for=text_of(payload.get("comment"), 500),
    )
    after = round.evolve(approvals=(*round.approvals, added))
    facts = {"approval": added.id, "to": group or people[0], "chain": added.chain, "step": step}
    return after, done("added", f"{group or people[0]} will be asked in step {step}.", **facts)


def _remove_approver(round: Round, command: Command, at: Instant) -> Decided:
    """Whoever added an approver takes them off the subject again, unless they rejected it: only an admin may then."""
    approval = round.approval(command.payload.get("approval"))
    if approval is None or approval.added_by is None:
        return round, refused("unknown_approval", "Nobody added such an approver.")
    admin = command.payload.get("authority") == "approvals_admin"
    if approval.added_by not in (command.actor, command.on_behalf_of) and not admin:
        return round, refused(
            "not_yours", Sentence("Only {person}, who added it, or an approvals admin can.", person=approval.added_by)
        )
    if not approval.status.open:
        return round, _already(approval, None)
    if approval.rejected_before and not admin:
        return round, refused("rejected_before", "They rejected it: only they, or an approvals admin, can lift that.")
    removed = {"status": ApprovalStatus.REMOVED, "decided_at": at, "removed_by": command.actor, **NO_TIMERS}
    after = advance_steps(with_approval(round, approval.evolve(**removed)), at)
    return after, done("removed", approval=approval.id, state=after.status)


def _next_step(chain: list[Approval], reached: int) -> int:
    return min((a.step for a in chain if a.step > reached), default=reached + 1)


def _consult(round: Round, command: Command, at: Instant) -> Decided:
    """Somebody is asked for advice: the holder still decides, and the clock waits as long as the rule allows."""
    addressed = _addressed(round, command)
    if isinstance(addressed, Outcome):
        return round, addressed
    to, question = text_of(command.payload.get("to"), 64), text_of(command.payload.get("comment")).strip()
    if not to:
        return round, refused("invalid", "Say in `to` whom you ask.", field="to")
    if not question:
        return round, refused("comment_required", "Say what you want to know.", field="comment")
    if addressed.seat_of(to) or to == command.actor:
        return round, refused("already_an_approver", Sentence("{to} is asked for this approval already.", to=to), to=to)
    if addressed.awaited_from(to):
        return round, refused(
            "already_consulted", Sentence("{to} was asked already, and has not answered yet.", to=to), to=to
        )
    if len(addressed.consultations) >= MOST_CONSULTED:
        return round, refused("too_many", Sentence("Advice was asked for {most} times already.", most=MOST_CONSULTED))
    asked = Consultation(person=to, by=command.actor, question=question, at=at)
    after = with_timers(addressed.evolve(consultations=(*addressed.consultations, asked)))
    return with_approval(round, after), done("consulted", f"{to} is asked for advice.", approval=after.id, to=to)


def _advise(round: Round, command: Command, at: Instant) -> Decided:
    """The advice asked for; the clock goes on when nothing else is awaited."""
    approval = round.approval(command.payload.get("approval"))
    if approval is None:
        return round, refused("unknown_approval", "This round has no such approval.")
    asked = approval.awaited_from(command.actor)
    if asked is None:
        return round, refused("not_consulted", "Nobody waits for your advice on this.")
    answer = text_of(command.payload.get("comment")).strip()
    if not answer:
        return round, refused("comment_required", "Say what you advise.", field="comment")
    ended = asked.evolve(ended_at=at, answer=answer)
    consultations = tuple(ended if c is asked else c for c in approval.consultations)
    after = with_timers(approval.evolve(consultations=consultations))
    return with_approval(round, after), done("advised", approval=after.id, to=asked.by)


# --- ending ---------------------------------------------------------------------------------------------------------


def _recall(round: Round, command: Command, at: Instant) -> Decided:
    if command.actor != round.submitter and command.payload.get("authority") != "approvals_admin":
        return round, refused("not_the_submitter", "Only the submitter or an approvals admin can recall it.")
    after = close(round, RoundStatus.RECALLED, at)
    return after, done("recalled", state=after.status)


def _expire(round: Round, command: Command, at: Instant) -> Decided:
    """Time acts: what expired ends the round; else what is late is escalated, and who was not reminded is."""
    clock = clock_of(command, at)
    if late := [a for a in round.requested if a.due and a.due <= clock]:
        for approval in late:
            round = with_approval(round, approval.evolve(status=ApprovalStatus.EXPIRED, decided_at=at, **NO_TIMERS))
        rejected = any(a.status is ApprovalStatus.REJECTED for a in round.approvals)
        after = advance_steps(round, at) if rejected else close(round, RoundStatus.EXPIRED, at)
        return after, done("expired", state=after.status, approvals=[a.id for a in late])
    escalated = [a for a in round.requested if a.escalate_at and a.escalate_at <= clock]
    nobody = [a.id for a in escalated if not _targets(a)]
    for approval in escalated:
        round = with_approval(round, _escalated(approval, at))
    reminded = [a for a in round.requested if a.remind_at and a.remind_at <= clock]
    for approval in reminded:
        round = with_approval(round, _reminded(approval, at))
    if not escalated and not reminded:
        return round, refused("not_due", "Nothing is due yet.")
    asked = [a.id for a in escalated if a.id not in nobody]
    facts: dict[str, Any] = {"escalated": asked, "reminded": [a.id for a in reminded]}
    facts |= {"nobody_to_ask": nobody} if nobody else {}
    return round, done("escalated" if asked else "nobody_to_ask" if nobody else "reminded", **facts)


def _targets(approval: Approval) -> list[str]:
    return [to for to in approval.escalate_to if approval.seat_of(to) is None and to not in approval.voters]


def _escalated(approval: Approval, at: Instant) -> Approval:
    """Others are asked too, and whoever held it keeps it."""
    added = tuple(Seat(holder=to, escalated=True) for to in _targets(approval))
    return with_timers(approval.evolve(seats=(*approval.seats, *added), escalated_at=at))


def _reminded(approval: Approval, at: Instant) -> Approval:
    return with_timers(approval.evolve(reminded_at=at))


HANDLERS: dict[str, Callable[[Round, Command, Instant], Decided]] = {
    "approve": _approve,
    "reject": _reject,
    "take_back": _take_back,
    "add_approver": _add_approver,
    "remove_approver": _remove_approver,
    "consult": _consult,
    "advise": _advise,
    "delegate": _delegate,
    "reassign": _reassign,
    "recall": _recall,
    "expire": _expire,
}


class RoundMachine:
    """The approval round as a kind of run."""

    kind = "approval_round"
    state = Round
    verbs: tuple[str, ...] = ("open", *(verb for verb in HANDLERS if verb != "expire"))

    @staticmethod
    def apply(state: Round, command: Command, at: Instant) -> Decided:
        return apply(state, command, at)
