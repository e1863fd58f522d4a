"""Who must be told what when a round moves on: one notice per person and wave, however many rules ask them."""

from collections.abc import Sequence

from domain.approvals.round import Approval, ApprovalStatus, Round, RoundStatus
from domain.runs import AppliedCommand, text_of
from domain.values import Id, Value, short_id

ASKING = ("requested", "delegated", "reminder")
"""What a reader can answer with a decision."""


class Notice(Value):
    """`id` is the same however often it is worked out, so that nobody is told twice."""

    id: Id
    person: str
    template: str
    """requested, delegated, reminder, informed, consulted, advised, nobody_to_ask, recalled or finished."""
    approvals: tuple[str, ...] = ()
    facts: dict[str, str] = {}
    """What somebody said, and who."""


def notices(run: str, before: Round, after: Round, acts: Sequence[AppliedCommand]) -> list[Notice]:
    """What the step from `before` to `after` gives people to know."""
    handed = {str(act.outcome.facts.get("to")): act for act in acts if act.outcome.code in ("delegated", "reassigned")}
    waiting: dict[str, list[str]] = {}
    for approval in after.requested:
        earlier = before.approval(approval.id)
        for holder in approval.holders:
            if holder not in _asked(earlier):
                waiting.setdefault(holder, []).append(approval.id)
    found = [
        _notice(run, after.seq, person, "delegated", approvals, _handover_facts(handed[person]))
        if person in handed
        else _notice(run, after.seq, person, "requested", approvals)
        for person, approvals in waiting.items()
    ]
    found += [
        _notice(run, after.seq, person, "reminder", approvals)
        for person, approvals in _reminded(before, after).items()
        if person not in waiting
    ]
    found += _informed(run, before, after)
    found += _advice(run, before, after)
    if before.running and not after.running:
        found += _ending(run, before, after)
    return found


def _handover_facts(act: AppliedCommand) -> dict[str, str]:
    """Who handed it over, and why."""
    return {"by": act.command.actor, "text": text_of(act.command.payload.get("comment"))}


def _informed(run: str, before: Round, after: Round) -> list[Notice]:
    """Whoever is told and not asked: once, when their step is reached."""
    told: dict[str, list[str]] = {}
    for approval in after.approvals:
        earlier = before.approval(approval.id)
        if approval.status is ApprovalStatus.INFORMED and earlier and earlier.status is not ApprovalStatus.INFORMED:
            for seat in approval.seats:
                told.setdefault(seat.holder, []).append(approval.id)
    return [_notice(run, after.seq, person, "informed", approvals) for person, approvals in told.items()]


def _advice(run: str, before: Round, after: Round) -> list[Notice]:
    """Who is asked for advice, and who asked and has it now: each question is told by itself."""
    found = []
    for approval in after.approvals:
        earlier = before.approval(approval.id)
        known = earlier.consultations if earlier else ()
        for n, now in enumerate(approval.consultations):
            was = known[n] if n < len(known) else None
            of = f"{approval.id}.{n}"
            if (was is None or was.person != now.person) and now in approval.awaited_advice:
                said = {"text": now.question, "by": now.by}
                found.append(_notice(run, after.seq, now.person, "consulted", [approval.id], said, of))
            if now.answer and (was is None or not was.answer):
                said = {"text": now.answer, "by": now.person}
                found.append(_notice(run, after.seq, now.by, "advised", [approval.id], said, of))
    return found


def _reminded(before: Round, after: Round) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for approval in after.requested:
        earlier = before.approval(approval.id)
        if approval.reminded_at and earlier and approval.reminded_at != earlier.reminded_at:
            for holder in approval.holders:
                found.setdefault(holder, []).append(approval.id)
    return found


def asked(run: str, seq: int, person: str, approvals: list[str], acts_for: list[str]) -> Notice:
    """A request to somebody who decides for those asked."""
    facts = {"acts_for": ",".join(dict.fromkeys(acts_for))}
    return _notice(run, seq, person, "requested", list(dict.fromkeys(approvals)), facts)


def inform_of(run: str, seq: int, person: str, template: str, approvals: list[str]) -> Notice:
    """Something about approvals that asks nothing of its reader."""
    return _notice(run, seq, person, template, approvals)


def _ending(run: str, before: Round, after: Round) -> list[Notice]:
    told = [
        _notice(run, after.seq, person, "finished", []) for person in dict.fromkeys((after.submitter, *_owner(after)))
    ]
    if after.status is RoundStatus.RECALLED:
        told += [_notice(run, after.seq, person, "recalled", []) for person in before.waiting_on]
    return told


def _owner(round: Round) -> tuple[str, ...]:
    return round.barred[1:2]


def _asked(approval: Approval | None) -> list[str]:
    return approval.holders if approval and approval.status is ApprovalStatus.REQUESTED else []


def _notice(
    run: str,
    seq: int,
    person: str,
    template: str,
    approvals: list[str],
    facts: dict[str, str] | None = None,
    of: str = "",
) -> Notice:
    id = short_id("m", run, seq, person, template, *([of] if of else []))
    return Notice(id=id, person=person, template=template, approvals=tuple(approvals), facts=facts or {})
