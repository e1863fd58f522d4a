"""The plan: which approvals a subject needs, from whom, in which order, and why."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal

from pydantic import ConfigDict

from domain.approvals.escalation import escalation_of, escalation_targets
from domain.approvals.evaluation import Facts, Judgement, evaluate, judge, lines_named
from domain.approvals.matching import most_votes
from domain.approvals.policy import Policy, Rule, Who
from domain.approvals.smart import (
    TOO_LONG_AGO,
    Asked,
    Authority,
    Decision,
    Grounds,
    PriorApproval,
    Refused,
    is_out_of_date,
    newest,
    reasons_carried,
    reasons_not_carried,
)
from domain.approvals.subject import IDENTITY_FIELDS, Subject, testable
from domain.approvals.words import shown
from domain.people import Directory, Person, Role
from domain.values import Testable, Value, digest

ADDED = "added"
"""The rule of an approval that no rule asks for."""


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
    everybody: bool = False
    """Everybody asked must approve."""
    explicit: bool = False
    group: str | None = None
    """The group whose members are asked."""
    remind_every_hours: Decimal | None = None
    escalate_after_hours: Decimal | None = None
    escalate_to: tuple[str, ...] = ()
    """Who that would be as things stand; it is worked out anew when the time has passed."""
    escalation: str = ""
    """How that is found: `manager`, `user:x` or `group:x`."""
    expire_after_hours: Decimal | None = None
    consult_hours: Decimal | None = None
    inform: bool = False
    """Its people are told, and nothing waits for them."""
    added_as: str = ""
    """The id it had when somebody added it: it stays on the subject from round to round."""
    added_by: str | None = None
    """Who asked for it, where no rule does."""
    added_for: str = ""
    rejected_before: bool = False
    """Whoever was added rejected it in an earlier round."""


class PlannedApproval(Ask):
    """One required approval. `seats` are the people who may decide it."""

    model_config = ConfigDict(extra="ignore")  # stored with its round: an earlier version may know other fields

    asked: str
    seats: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was passed over on the way to these people, in words."""
    basis: str = ""
    grounds: Grounds = Grounds()
    carried: PriorApproval | None = None
    """The approval given in an earlier round that stands for this one."""
    carried_because: tuple[str, ...] = ()
    """What was compared with it, in words."""
    again: tuple[str, ...] = ()
    """Why one given in an earlier round does not stand for it."""

    @property
    def approver(self) -> str:
        """Whose approval it is, whoever of a group gives it."""
        if self.added_as:
            return self.added_as
        group = self.asked.partition(" (")[0]  # another quorum, or another unit, asks the same group
        return group if group.startswith("group ") else ", ".join(self.seats)


class AddedApproval(Value):
    """An approver whom somebody added in an earlier round: they stay on the subject until they approve it."""

    added_as: str
    added_by: str
    added_for: str = ""
    chain: str
    step: int
    group: str | None = None
    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier rounds of the subject left behind."""

    decisions: Sequence[Decision] = ()
    """Of people, newest first."""
    added: Sequence[AddedApproval] = ()
    at_rate: Callable[[Decimal], Subject] | None = None
    """The subject with amounts converted by another exchange rate."""
    replaced: Mapping[str, str] = field(default_factory=dict)
    """Who took whose place, for people who were added and are not there any more."""


NO_PAST = Past()


class UnresolvedRule(Value):
    """A rule that fired and found nobody to ask."""

    rule: str
    title: str
    why: str


class Plan(Value):
    approvals: tuple[PlannedApproval, ...] = ()
    unresolved: tuple[UnresolvedRule, ...] = ()
    after: dict[str, tuple[str, ...]] = {}
    """For each chain of the plan the chains it waits for."""


@dataclass(frozen=True, slots=True)
class _Seat:
    """One approval to be made: who may give it, how many must, and the lines it is about."""

    people: tuple[str, ...]
    needed: int = 1
    tier: int = 0
    lines: tuple[int, ...] = ()
    """Their places on the subject."""


@dataclass(frozen=True, slots=True)
class _Seats:
    """Who was found for one `Who`."""

    approvals: tuple[_Seat, ...] = ()
    any_decides: bool = False
    everybody: bool = False
    group: str | None = None
    unit: str = ""
    """What the group was narrowed to."""
    notes: tuple[str, ...] = ()


def plan(
    policy: Policy,
    subject: Subject,
    directory: Directory,
    submitter: str,
    status: str,
    today: date,
    past: Past = NO_PAST,
) -> tuple[Plan, list[Judgement]]:
    """The approvals that `subject` needs when `submitter` submits it, and what every rule said.

    What of its `past` carries over is marked."""
    judgements = evaluate(policy, subject, status, today)
    planner = _Planner(policy, subject, directory, submitter, past)
    approvals: list[PlannedApproval] = []
    unresolved: list[UnresolvedRule] = []
    for judged in (judged for judged in judgements if judged.fired):
        found = planner.find(judged.rule)
        if not found.approvals and judged.rule.effect != "inform":
            unresolved.append(
                UnresolvedRule(rule=judged.rule.name, title=judged.rule.heading, why="; ".join(found.notes))
            )
        approvals += [planner.plan_approval(judged, found, seat) for seat in found.approvals]
    for added in past.added:
        again = planner.plan_added(added)
        (approvals if isinstance(again, PlannedApproval) else unresolved).append(again)  # type: ignore[arg-type]
    approvals.sort(key=lambda a: (a.chain, a.step, a.tier))
    chains = {approval.chain for approval in approvals}
    after = {chain: tuple(c for c in policy.after(chain) if c in chains) for chain in sorted(chains)}
    return Plan(approvals=tuple(approvals), unresolved=tuple(unresolved), after=after), judgements


def barred_people(subject: Subject, submitter: str) -> tuple[str, ...]:
    """Separation of duties: nobody approves what they submitted, own or edited."""
    return tuple(dict.fromkeys((submitter, subject.owner, *subject.editors)))


def identity_fields(policy: Policy) -> tuple[str, ...]:
    """What makes it the same subject. Amounts of two currencies are never compared, whatever a policy lists."""
    usual = IDENTITY_FIELDS.get(policy.kind, ())
    if not policy.identity:
        return usual
    return tuple(dict.fromkeys((*policy.identity, *(name for name in usual if name == "currency"))))


class _Planner:
    """Plans the approvals of one submission."""

    def __init__(self, policy: Policy, subject: Subject, directory: Directory, submitter: str, past: Past) -> None:
        self.policy, self.subject, self.directory = policy, subject, directory
        self.submitter, self.past = submitter, past
        self.barred = barred_people(subject, submitter)
        self.valid_for = None if policy.valid_for_days is None else timedelta(days=policy.valid_for_days)
        names = identity_fields(policy)
        self.identity = {name: testable(subject.fields.get(name)) for name in names}
        self._facts: dict[Decimal, Facts] = {}

    def find(self, rule: Rule) -> _Seats:
        informs = rule.effect == "inform"
        barred = () if informs else self.barred
        return _ask(rule, _Search(self.subject, self.directory, self.submitter, barred, informs))

    def plan_approval(self, judged: Judgement, found: _Seats, seat: _Seat) -> PlannedApproval:
        rule, reasons, ids = judged.rule, judged.reasons, [str(self.subject.lines[n].get("id")) for n in seat.lines]
        escalation = escalation_of(rule)
        approval = PlannedApproval(
            rule=rule.name,
            title=rule.heading,
            chain=rule.chain_name,
            step=rule.step,
            tier=seat.tier,
            asked=(rule.ask.label if rule.ask else "") + (f": {found.unit}" if found.unit else ""),
            seats=seat.people,
            needed=seat.needed,
            any_decides=found.any_decides,
            everybody=found.everybody,
            explicit=rule.explicit,
            group=found.group,
            remind_every_hours=rule.remind_every_hours,
            escalate_after_hours=rule.escalate_after_hours,
            escalation=escalation,
            escalate_to=escalation_targets(escalation, seat.people, self.directory, (*seat.people, *self.barred)),
            expire_after_hours=rule.expire_after_hours,
            consult_hours=rule.consult_hours,
            inform=rule.effect == "inform",
            notes=found.notes,
            basis=self.policy.bases[rule.name],
            grounds=self._grounds(judged, seat, self.subject),
            reasons=(*reasons, f"for {lines_named(ids)}") if ids else reasons,
        )
        return approval if approval.inform else self._with_earlier(approval, judged, seat)

    def _with_earlier(self, approval: PlannedApproval, judged: Judgement, seat: _Seat) -> PlannedApproval:
        """With the earlier approval that stands for it, or why the one there was does not."""
        last = newest(self.past.decisions, approval.rule, approval.approver)
        if last is None:
            return approval
        if isinstance(last, Refused):
            return approval.evolve(again=(f"rejected in round {last.number}",))
        asked = Asked(
            rule=judged.rule,
            basis=approval.basis,
            grounds=approval.grounds,
            authority=self._authority(approval, last),
            at=self.directory.at,
            valid_for=self.valid_for,
        )
        why = reasons_not_carried(asked, last, lambda rate: self._grounds_at(judged.rule, seat, rate))
        if why:
            return approval.evolve(again=why)
        return approval.evolve(carried=last, carried_because=reasons_carried(asked, last))

    def _authority(self, approval: PlannedApproval, given: PriorApproval) -> Authority:
        holders = (*approval.seats, *approval.escalate_to)
        people = (*holders, *given.seats)
        deciders = {one: self.directory.deciders(one, self.subject.kind, self.barred) for one in people}
        return Authority(
            seats=approval.seats,
            holders=holders,
            deciders=deciders,
            needed=approval.needed,
            everybody=approval.everybody,
            barred=self.barred,
        )

    def _grounds(self, judged: Judgement, seat: _Seat, subject: Subject) -> Grounds:
        lines = judged.misfit_lines.union(seat.lines)
        return Grounds(
            conditions=judged.snapshots,
            forced=judged.forced,
            identity=self.identity,
            rate=subject.rate,
            lines=_content(subject, lines) if lines else "",
        )

    def _grounds_at(self, rule: Rule, seat: _Seat, rate: Decimal) -> Grounds:
        """The same, with amounts converted by another rate."""
        if self.past.at_rate is None:
            return self._grounds(judge(rule, Facts(self.subject, self.policy)), seat, self.subject)
        subject = self.past.at_rate(rate)
        if rate not in self._facts:
            self._facts[rate] = Facts(subject, self.policy)
        return self._grounds(judge(rule, self._facts[rate]), seat, subject)

    def _not_given_for_this(self, given: PriorApproval) -> str | None:
        """Why an approval of somebody added is not good for what is submitted now; None where it is."""
        if given.basis != self.subject.digest:
            return f"other content was approved in round {given.number}"
        return TOO_LONG_AGO if is_out_of_date(given, self.directory.at, self.valid_for) else None

    def plan_added(self, added: AddedApproval) -> PlannedApproval | UnresolvedRule:
        """Asked again until they approved this very content."""
        title = f"Added by {added.added_by}"
        search = _Search(self.subject, self.directory, self.submitter, self.barred)
        found = _find_added(added, search, self.past.replaced)
        if not found.approvals:
            return UnresolvedRule(rule=ADDED, title=title, why="; ".join(found.notes))
        why = f"{added.added_by} asked for it" + (f": {added.added_for}" if added.added_for else "")
        approval = PlannedApproval(
            rule=ADDED,
            title=title,
            chain=added.chain,
            step=added.step,
            needed=1,
            any_decides=True,
            explicit=True,
            group=added.group,
            asked=f"group {added.group}" if added.group else "",
            seats=found.approvals[0].people,
            reasons=(why,),
            notes=found.notes,
            basis=self.subject.digest,
            added_as=added.added_as,
            added_by=added.added_by,
            added_for=added.added_for,
        )
        for decision in self.past.decisions:
            if (decision.rule, decision.approver) != (ADDED, added.added_as):
                continue
            if isinstance(decision, Refused):
                again = (f"rejected in round {decision.number}",)
                rejected = approval.evolve(again=again, rejected_before=True)
                return approval if approval.again else rejected
            other = self._not_given_for_this(decision)
            if other is None and self._authority(approval, decision).missing(decision) is None:
                return approval.evolve(carried=decision, carried_because=("nothing changed",))
            if not approval.again:
                why = other or f"other content was approved in round {decision.number}"
                approval = approval.evolve(again=(why,))
        return approval


def _content(subject: Subject, lines: Iterable[int]) -> str:
    """What these lines say, in whatever order they stand and whatever they are called."""
    bodies = ({k: v for k, v in subject.lines[n].items() if k not in LINE_NAMES} for n in lines)
    return digest(sorted(digest(body) for body in bodies))[:32]


LINE_NAMES = ("id", "Id", "requires")
"""Fields that name lines, and say nothing of their content."""


def _find_added(added: AddedApproval, search: "_Search", replaced: Mapping[str, str]) -> _Seats:
    """The members of the group, or the person; where they cannot decide any more, who took their place, or manages
    them."""
    if added.group:
        return _group(Who(group=added.group), search)
    people = tuple(p for p in added.people if search.unfit(search.directory.active(p)) is None)
    if people:
        return _Seats(approvals=(_Seat(people=people),))
    named = added.people[0]
    follower = replaced.get(named)
    if follower and search.unfit(search.directory.active(follower)) is None:
        note = f"{named} was replaced by {follower}"
        return _Seats(approvals=(_Seat(people=(follower,)),), notes=(note,))
    manager = next((m for m in search.directory.managers(named) if search.unfit(m) is None), None)
    note = f"{named} {search.unfit(search.directory.active(named))}"
    if manager is None:
        return _Seats(notes=(f"{note}: replace them by somebody who can",))
    return _Seats(approvals=(_Seat(people=(manager.id,)),), notes=(f"{note}: goes to their manager {manager.id}",))


@dataclass(frozen=True)
class _Search:
    """Where approvers are looked for, and who cannot be one."""

    subject: Subject
    directory: Directory
    submitter: str
    barred: tuple[str, ...]
    informs: bool = False
    """Who is only told needs no right to approve."""

    def present(self, person: str) -> tuple[str, ...]:
        """Who is there to decide for a person."""
        return self.directory.present(person, self.subject.kind, self.barred)

    def absence(self, person: str) -> str:
        """`ana is away until 2026-03-14`; empty where they are not."""
        away = self.directory.absence(person, self.subject.kind)
        if away is None:
            return ""
        return f"{person} is away" + (f" until {away.last}" if away.last else "") + f", and {away.delegate} stands in"

    def unfit(self, person: Person | None) -> str | None:
        if self.informs:
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
    lines: dict[str, list[int]] = {}
    for n, line in enumerate(search.subject.lines):
        named = testable(line.get(field))
        if isinstance(named, str) and named:
            lines.setdefault(named, []).append(n)
    if not lines:
        return _Seats(notes=(f"no line names anybody in {field}",))
    found: dict[str, list[int]] = {}
    notes: tuple[str, ...] = ()
    for named, places in lines.items():
        one = _person(named, search)
        notes += one.notes
        if not one.approvals:
            ids = [str(search.subject.lines[n].get("id")) for n in places]
            return _Seats(notes=(*notes, f"{lines_named(ids)} would be approved by nobody"))
        found.setdefault(one.approvals[0].people[0], []).extend(places)
    return _Seats(approvals=tuple(_Seat(people=(p,), lines=tuple(ns)) for p, ns in found.items()), notes=notes)


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
        absent = search.absence(named) if not search.informs and not search.present(named) else ""
        notes = (f"{absent}, who may not decide this: nobody can until they are back",) if absent else ()
        return _Seats(approvals=(_Seat(people=(named,)),), notes=notes)
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
    present = {member: () if search.informs else search.present(member) for member in seats}
    if not search.informs and (can := most_votes(present)) < needed:
        away = tuple(search.absence(member) for member in seats if member not in present[member])
        short = f"{can} of group {group.id} can vote now, {needed} needed"
        return _Seats(notes=(*said, *(note for note in away if note), short))
    seat = _Seat(people=seats, needed=needed)
    unit = shown(search.value(who.where.unit)) if who.where else ""
    return _Seats(
        approvals=(seat,),
        any_decides=who.quorum == "any",
        everybody=who.quorum == "all",
        group=group.id,
        unit=unit,
        notes=said,
    )


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
