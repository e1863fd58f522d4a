"""The plan: which approvals a subject needs, from whom, in which order, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from domain.approvals.evaluation import Judgement, evaluate, lines_named
from domain.approvals.policy import Policy, Rule, Who
from domain.approvals.smart import Asked, Decision, Given, Refused, Snapshot, again, newest
from domain.approvals.subject import Subject, testable
from domain.approvals.words import shown
from domain.people import Directory, Person, Role
from domain.values import Testable, Value


class Ask(Value):
    """What an approval asks for, in the plan and in the round alike: `needed` of its people must approve."""

    rule: str
    title: str
    chain: str
    step: int
    tier: int = 0
    """Orders managers of one chain of command within a step."""
    needed: int
    any_decides: bool = False
    """The first decision settles, whichever it is."""
    explicit: bool = False
    group: str | None = None
    """The group whose members are asked."""
    remind_every_hours: Decimal | None = None
    escalate_after_hours: Decimal | None = None
    escalate_to: tuple[str, ...] = ()
    expire_after_hours: Decimal | None = None
    consult_hours: Decimal | None = None
    inform: bool = False
    """Its people are told, and nothing waits for them."""


class PlannedApproval(Ask):
    """One required approval. `seats` are the people who may decide it."""

    asked: str
    seats: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was passed over on the way to these people, in words."""
    basis: str = ""
    smart: tuple[Snapshot, ...] = ()
    carried: Given | None = None
    """The approval given in an earlier round that stands for this one."""
    again: tuple[str, ...] = ()
    """Why one given in an earlier round does not."""

    @property
    def approver(self) -> str:
        """Whose approval it is, whoever of a group gives it."""
        return self.asked if self.asked.startswith("group ") else ", ".join(self.seats)


class Nobody(Value):
    """A rule that fired and found nobody to ask."""

    rule: str
    title: str
    why: str


class Plan(Value):
    approvals: tuple[PlannedApproval, ...] = ()
    unresolved: tuple[Nobody, ...] = ()
    after: dict[str, tuple[str, ...]] = {}
    """For each chain of the plan the chains it waits for."""


@dataclass(frozen=True, slots=True)
class _Seat:
    """One approval to be made: who may give it, how many must, and the lines it is about."""

    people: tuple[str, ...]
    needed: int = 1
    tier: int = 0
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seats:
    """Who was found for one `Who`."""

    approvals: tuple[_Seat, ...] = ()
    any_decides: bool = False
    group: str | None = None
    unit: str = ""
    """What the group was narrowed to."""
    notes: tuple[str, ...] = ()


def plan(
    policy: Policy, subject: Subject, directory: Directory, submitter: str, status: str, today: date,
    earlier: Sequence[Decision] = (),
) -> tuple[Plan, list[Judgement]]:  # fmt: skip
    """The approvals that `subject` needs when `submitter` submits it, and what every rule said.

    `earlier` are the decisions of its earlier rounds, newest first: what of them carries over is marked."""
    judgements = evaluate(policy, subject, status, today)
    barred = barred_people(subject, submitter)
    oldest = None if policy.valid_for_days is None else today - timedelta(days=policy.valid_for_days)
    approvals: list[PlannedApproval] = []
    unresolved: list[Nobody] = []
    for judged in judgements:
        if not judged.fired:
            continue
        rule = judged.rule
        telling = rule.effect == "inform"
        found = _ask(rule, _Search(subject, directory, submitter, () if telling else barred, telling))
        if not found.approvals and not telling:
            unresolved.append(Nobody(rule=rule.name, title=rule.heading, why="; ".join(found.notes)))
        basis = policy.bases[rule.name]
        for planned in _planned(judged, found, basis):
            if rule.escalate_after_hours is not None:
                to = _escalation(rule, planned.seats, directory, barred)
                planned = planned.model_copy(update={"escalate_to": to})
            approvals.append(planned if telling else _carried(planned, rule, earlier, barred, oldest))
    approvals.sort(key=lambda a: (a.chain, a.step, a.tier))
    chains = {approval.chain for approval in approvals}
    after = {chain: tuple(c for c in policy.after(chain) if c in chains) for chain in sorted(chains)}
    return Plan(approvals=tuple(approvals), unresolved=tuple(unresolved), after=after), judgements


def barred_people(subject: Subject, submitter: str) -> tuple[str, ...]:
    """Separation of duties: nobody approves what they submitted, own or edited."""
    return tuple(dict.fromkeys((submitter, subject.owner, *subject.editors)))


def _planned(judged: Judgement, found: _Seats, basis: str) -> Iterable[PlannedApproval]:
    rule, reasons, smart = judged.rule, judged.reasons, judged.smart
    asked = (rule.ask.label if rule.ask else "") + (f": {found.unit}" if found.unit else "")
    for seat in found.approvals:
        yield PlannedApproval(
            rule=rule.name, title=rule.heading, chain=rule.chain_name, step=rule.step, tier=seat.tier,
            asked=asked, seats=seat.people, needed=seat.needed,
            any_decides=found.any_decides, explicit=rule.explicit, group=found.group,
            remind_every_hours=rule.remind_every_hours, escalate_after_hours=rule.escalate_after_hours,
            expire_after_hours=rule.expire_after_hours, consult_hours=rule.consult_hours,
            inform=rule.effect == "inform", notes=found.notes, basis=basis, smart=smart,
            reasons=(*reasons, f"for {lines_named(seat.lines)}") if seat.lines else reasons,
        )  # fmt: skip


def _carried(
    planned: PlannedApproval, rule: Rule, earlier: Sequence[Decision], barred: tuple[str, ...], oldest: date | None
) -> PlannedApproval:
    """With the earlier approval that stands for it, or why the one there was does not."""
    if not earlier:
        return planned
    asked = Asked(rule=planned.rule, approver=planned.approver, basis=planned.basis, smart=planned.smart,
                  mode=rule.smart_mode)  # fmt: skip
    last = newest(earlier, asked)
    if last is None:
        return planned
    if isinstance(last, Refused):
        return planned.model_copy(update={"again": (f"rejected in round {last.number}",)})
    outlived = oldest is not None and last.at.date() < oldest
    why = ("it was given too long ago",) if outlived else again(asked, last, barred)
    return planned.model_copy(update={"again": why} if why else {"carried": last})


@dataclass(frozen=True)
class _Search:
    """Where approvers are looked for, and who cannot be one."""

    subject: Subject
    directory: Directory
    submitter: str
    barred: tuple[str, ...]
    telling: bool = False
    """Who is only told needs no right to approve."""

    def unfit(self, person: Person | None) -> str | None:
        if self.telling:
            return None if person else "is unknown or has left"
        return _unfit(person, self.barred)

    def value(self, field: str | None) -> Testable:
        return testable(self.subject.fields.get(field or ""))


def _ask(rule: Rule, search: _Search) -> _Seats:
    """The rule's own approver, else its fallback."""
    notes: tuple[str, ...] = ()
    for who in (rule.ask, rule.fallback):
        if who is None:
            continue
        found = _find(who, search)
        notes += found.notes
        if found.approvals:
            return replace(found, notes=notes)
    return _Seats(notes=notes or ("the rule names no approver",))


def _find(who: Who, search: _Search) -> _Seats:
    if who.group:
        return _group(who, search)
    if who.manager:
        return _managers(who.manager, search)
    if who.line_field:
        return _of_lines(who.line_field, search)
    named = who.user or search.value(who.field)
    if not isinstance(named, str) or not named:
        return _Seats(notes=(f"field {who.field} names nobody",))
    return _person(named, search)


def _of_lines(field: str, search: _Search) -> _Seats:
    """One approval for each person, all in the same step; nobody at all where one of those named cannot be found."""
    lines: dict[str, list[str]] = {}
    for line in search.subject.lines:
        named = testable(line.get(field))
        if isinstance(named, str) and named:
            lines.setdefault(named, []).append(str(line.get("id")))
    if not lines:
        return _Seats(notes=(f"no line names anybody in {field}",))
    found: dict[str, list[str]] = {}
    notes: tuple[str, ...] = ()
    for named, ids in lines.items():
        one = _person(named, search)
        notes += one.notes
        if not one.approvals:
            return _Seats(notes=(*notes, f"{lines_named(ids)} would be approved by nobody"))
        found.setdefault(one.approvals[0].people[0], []).extend(ids)
    return _Seats(approvals=tuple(_Seat(people=(p,), lines=tuple(ids)) for p, ids in found.items()), notes=notes)


def _escalation(rule: Rule, seats: tuple[str, ...], directory: Directory, barred: tuple[str, ...]) -> tuple[str, ...]:
    """Who is asked too when the holders let the time pass: none who holds it already or may not decide it."""
    if rule.escalate_to == "manager":
        named = [m.id for m in directory.managers(seats[0])]
        return tuple(m for m in named if m not in seats and _unfit(directory.active(m), barred) is None)[:1]
    group = directory.groups.get(rule.escalate_to.group or "")
    names = group.members if group else (rule.escalate_to.user,)
    return tuple(m for m in names if m and m not in seats and _unfit(directory.active(m), barred) is None)


def _unfit(person: Person | None, barred: tuple[str, ...]) -> str | None:
    """Why this person cannot approve; None when they can."""
    if person is None:
        return "is unknown or has left"
    if Role.APPROVER not in person.roles:
        return "does not have the role approver"
    return "submitted, owns or edited this" if person.id in barred else None


def _person(named: str, search: _Search) -> _Seats:
    """The person, or their nearest fit manager when separation of duties forbids them."""
    directory = search.directory
    why = search.unfit(directory.active(named))
    if why is None:
        return _Seats(approvals=(_Seat(people=(named,)),))
    notes = (f"{named} {why}",)
    if named not in search.barred:
        return _Seats(notes=notes)
    manager = next((m for m in directory.managers(named) if search.unfit(m) is None), None)
    if manager is None:
        return _Seats(notes=notes)
    return _Seats(approvals=(_Seat(people=(manager.id,)),), notes=(f"{notes[0]}: goes to their manager {manager.id}",))


def _group(who: Who, search: _Search) -> _Seats:
    group = search.directory.groups.get(who.group or "")
    if group is None:
        return _Seats(notes=(f"group {who.group} does not exist",))
    members = {member: search.directory.active(member) for member in group.members}
    if who.where:
        unit = search.value(who.where.unit)
        members = {id: person for id, person in members.items() if person and unit and person.unit == unit}
        if not members:
            where = f"{who.where.unit} is {shown(unit)}"
            return _Seats(notes=(f"nobody of group {group.id} is of that unit: {where}",))
    unfit = {member: search.unfit(person) for member, person in members.items()}
    seats = tuple(member for member, why in unfit.items() if why is None)
    needed = {"any": 1, "all": len(seats)}[who.quorum] if isinstance(who.quorum, str) else who.quorum
    said = tuple(f"{member} of group {group.id} {why}" for member, why in unfit.items() if why)
    if not seats or needed > len(seats):
        return _Seats(notes=(*said, f"group {group.id} has {len(seats)} who can decide, {who.quorum} needed"))
    seat = _Seat(people=seats, needed=needed)
    unit = shown(search.value(who.where.unit)) if who.where else ""
    return _Seats(approvals=(seat,), any_decides=who.quorum == "any", group=group.id, unit=unit, notes=said)


def _managers(field: str, search: _Search) -> _Seats:
    """One approval for each manager up to the first whose limit covers the amount, one after another."""
    amount = search.value(field)
    if not isinstance(amount, Decimal):
        return _Seats(notes=(f"field {field} holds no amount",))
    seats: list[_Seat] = []
    notes: list[str] = []
    for manager in search.directory.managers(search.submitter):
        if why := search.unfit(manager):
            notes.append(f"manager {manager.id} {why}")
            continue
        seats.append(_Seat(people=(manager.id,), tier=len(seats)))
        if manager.approval_limit is not None and manager.approval_limit >= amount:
            return _Seats(approvals=tuple(seats), notes=tuple(notes))
    notes.append(f"no manager above {search.submitter} has a limit that covers {field} {amount}")
    return _Seats(notes=tuple(notes))
