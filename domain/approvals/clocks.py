"""When time itself acts on a round: reminders, escalations and expiries, in the holders' own business time.

Kept out of the round's rules, which workflows run: holiday tables and zones change, and a replay must not."""

from collections.abc import Mapping
from decimal import Decimal

from domain.approvals.path import with_timers
from domain.approvals.round import Approval, ApprovalStatus, Round, next_due
from domain.calendars import Calendar, after_hours, hours_between
from domain.values import Instant, Value


class Working(Value):
    """How a person or a group works."""

    calendar: Calendar | None = None
    time_zone: str = "UTC"


def clock_keepers(was: Round, now: Round) -> set[str]:
    """Whose calendars decide about what changed: people by id, groups as `group:id`."""
    return {_keeper(a) for a in now.requested if a != was.approval(a.id) and _timed(a)}


def with_clocks(was: Round, now: Round, working: Mapping[str, Working]) -> Round:
    """The round with the instants of what was asked, handed over or reminded since `was`."""
    approvals = tuple(
        _clocked(a, working.get(_keeper(a), Working()))
        if a.status is ApprovalStatus.REQUESTED and a != was.approval(a.id) and _timed(a)
        else a
        for a in now.approvals
    )
    after = now.evolve(approvals=approvals)
    return after.evolve(due=next_due(after))


def _timed(approval: Approval) -> bool:
    return any((approval.remind_every_hours, approval.escalate_after_hours, approval.expire_after_hours))


def _keeper(approval: Approval) -> str:
    holders = approval.holders or [seat.holder for seat in approval.seats]
    return f"group:{approval.group}" if approval.group else holders[0]


def _clocked(approval: Approval, working: Working) -> Approval:
    def later(start: Instant, hours: Decimal) -> Instant:
        return after_hours(start, hours, working.calendar, working.time_zone)

    def between(start: Instant, end: Instant) -> Decimal:
        return hours_between(start, end, working.calendar, working.time_zone)

    return with_timers(approval, later, between)
