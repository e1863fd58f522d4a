"""The plan: which approvals a subject needs, from whom, in which order, and why."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

from domain.approvals.evaluation import Finding, evaluate
from domain.approvals.policy import Policy, Rule, Who
from domain.approvals.smart import Asked, Decision, Given, Refused, Snapshot, again, newest
from domain.approvals.subject import Subject, testable
from domain.people import Directory, Person, Role
from domain.values import Value


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


class _Seats(Value):
    """Who was found for one `Who`: one entry per approval to be made, in order."""

    approvals: tuple[tuple[tuple[str, ...], int], ...] = ()
    any_decides: bool = False
    group: str | None = None
    notes: tuple[str, ...] = ()


def plan(
    policy: Policy, subject: Subject, directory: Directory, submitter: str, status: str, today: date,
    earlier: Sequence[Decision] = (),
) -> tuple[Plan, list[Finding]]:  # fmt: skip
    """The approvals that `subject` needs when `submitter` submits it, and what every rule said.

    `earlier` are the decisions of its earlier rounds, newest first: what of them carries over is marked."""
    findings = evaluate(policy, subject, status, today)
    barred = barred_people(subject, submitter)
    approvals: list[PlannedApproval] = []
    unresolved: list[Nobody] = []
    for rule, finding in zip(policy.rules, findings, strict=True):
        if not finding.fired:
            continue
        found = _ask(rule, subject, directory, submitter, barred)
        if not found.approvals:
            unresolved.append(Nobody(rule=rule.name, title=rule.heading, why="; ".join(found.notes)))
        basis = policy.bases[rule.name]
        for planned in _planned(rule, finding, found, basis):
            if rule.escalate_after_hours is not None:
                to = _escalation(rule, planned.seats, directory, barred)
                planned = planned.model_copy(update={"escalate_to": to})
            approvals.append(_carried(planned, rule, earlier, barred))
    approvals.sort(key=lambda a: (a.chain, a.step, a.tier))
    chains = {approval.chain for approval in approvals}
    after = {chain: tuple(c for c in policy.after(chain) if c in chains) for chain in sorted(chains)}
    return Plan(approvals=tuple(approvals), unresolved=tuple(unresolved), after=after), findings


def barred_people(subject: Subject, submitter: str) -> tuple[str, ...]:
    """Separation of duties: nobody approves what they submitted, own or edited."""
    return tuple(dict.fromkeys((submitter, subject.owner, *subject.editors)))


def _planned(rule: Rule, finding: Finding, found: _Seats, basis: str) -> Iterable[PlannedApproval]:
    for tier, (seats, needed) in enumerate(found.approvals):
        yield PlannedApproval(
            rule=rule.name,
            title=rule.heading,
            chain=rule.chain_name,
            step=rule.step,
            tier=tier,
            asked=rule.ask.label if rule.ask else "",
            seats=seats,
            needed=needed,
            any_decides=found.any_decides,
            explicit=rule.explicit,
            group=found.group,
            remind_every_hours=rule.remind_every_hours,
            escalate_after_hours=rule.escalate_after_hours,
            expire_after_hours=rule.expire_after_hours,
            reasons=finding.reasons,
            notes=found.notes,
            basis=basis,
            smart=finding.smart,
        )


def _carried(
    planned: PlannedApproval, rule: Rule, earlier: Sequence[Decision], barred: tuple[str, ...]
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
    why = again(asked, last, barred)
    return planned.model_copy(update={"again": why} if why else {"carried": last})


def _ask(rule: Rule, subject: Subject, directory: Directory, submitter: str, barred: tuple[str, ...]) -> _Seats:
    """The rule's own approver, else its fallback."""
    notes: tuple[str, ...] = ()
    for who in (rule.ask, rule.fallback):
        if who is None:
            continue
        found = _find(who, subject, directory, submitter, barred)
        notes += found.notes
        if found.approvals:
            return found.model_copy(update={"notes": notes})
    return _Seats(notes=notes or ("the rule names no approver",))


def _find(who: Who, subject: Subject, directory: Directory, submitter: str, barred: tuple[str, ...]) -> _Seats:
    if who.group:
        return _group(who, directory, barred)
    if who.manager:
        return _managers(who.manager, subject, directory, submitter, barred)
    named = who.user or testable(subject.fields.get(who.field or ""))
    if not isinstance(named, str) or not named:
        return _Seats(notes=(f"field {who.field} names nobody",))
    return _person(named, directory, barred)


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


def _person(named: str, directory: Directory, barred: tuple[str, ...]) -> _Seats:
    """The person, or their nearest fit manager when separation of duties forbids them."""
    why = _unfit(directory.active(named), barred)
    if why is None:
        return _Seats(approvals=(((named,), 1),))
    notes = (f"{named} {why}",)
    if named not in barred:
        return _Seats(notes=notes)
    manager = next((m for m in directory.managers(named) if _unfit(m, barred) is None), None)
    if manager is None:
        return _Seats(notes=notes)
    return _Seats(approvals=(((manager.id,), 1),), notes=(f"{notes[0]}: goes to their manager {manager.id}",))


def _group(who: Who, directory: Directory, barred: tuple[str, ...]) -> _Seats:
    group = directory.groups.get(who.group or "")
    if group is None:
        return _Seats(notes=(f"group {who.group} does not exist",))
    notes = {member: _unfit(directory.active(member), barred) for member in group.members}
    seats = tuple(member for member, why in notes.items() if why is None)
    needed = {"any": 1, "all": len(seats)}.get(str(who.quorum)) if isinstance(who.quorum, str) else who.quorum
    said = tuple(f"{member} of group {group.id} {why}" for member, why in notes.items() if why)
    if not seats or needed is None or needed > len(seats):
        return _Seats(notes=(*said, f"group {group.id} has {len(seats)} who can decide, {who.quorum} needed"))
    return _Seats(approvals=((seats, needed),), any_decides=who.quorum == "any", group=group.id, notes=said)


def _managers(field: str, subject: Subject, directory: Directory, submitter: str, barred: tuple[str, ...]) -> _Seats:
    """One approval for each manager up to the first whose limit covers the amount, one after another."""
    amount = testable(subject.fields.get(field))
    if not isinstance(amount, Decimal):
        return _Seats(notes=(f"field {field} holds no amount",))
    seats: list[tuple[tuple[str, ...], int]] = []
    notes: list[str] = []
    for manager in directory.managers(submitter):
        why = _unfit(manager, barred)
        if why:
            notes.append(f"manager {manager.id} {why}")
            continue
        seats.append(((manager.id,), 1))
        if manager.approval_limit is not None and manager.approval_limit >= amount:
            return _Seats(approvals=tuple(seats), notes=tuple(notes))
    notes.append(f"no manager above {submitter} has a limit that covers {field} {amount}")
    return _Seats(notes=tuple(notes))
