"""Smart approvals: what people approved in an earlier round need not be approved again unless it got worse.

The rule for carrying is in `docs/decisions/0007`. Values are compared with what the person saw, never with a value that
was itself carried: small steps cannot creep."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal

from pydantic import ConfigDict

from domain.approvals import operators
from domain.approvals.expression import parse
from domain.approvals.operators import Operator
from domain.approvals.policy import Literal_, Rule
from domain.approvals.words import shown
from domain.values import Instant, Testable, Value


class Snapshot(Value):
    """One condition of a rule as it stood at a submission."""

    index: int
    name: str
    operator: Operator
    """As it works on the rule: `<= 10` under NOT is `> 10` here."""
    smart: bool = False
    """A change for the better carries. False also for a condition that stands both plain and under NOT."""
    holds: bool = False
    contributes: bool = False
    """Whether it is one of the reasons: it holds and stands plain, or does not hold and stands under NOT."""
    tested: Literal_ = None
    compared: Literal_ = None
    against: str = ""
    """The field or variable it is compared with, where that is not a written value."""


class Grounds(Value):
    """What makes a rule ask for one approval: an approver decides on this."""

    conditions: tuple[Snapshot, ...] = ()
    forced: bool = False
    """The override field made the rule fire."""
    lines: str = ""
    """A digest of the content of the lines that the approval names."""
    identity: dict[str, Literal_] = {}
    """The fields that make it the same subject: another customer is another decision."""
    rate: Decimal | None = None
    """The exchange rate by which amounts were converted."""

    def condition(self, index: int) -> Snapshot | None:
        return next((snapshot for snapshot in self.conditions if snapshot.index == index), None)


class PriorApproval(Value):
    """An approval that people gave: in which round, who they were, when, and what they saw."""

    model_config = ConfigDict(extra="ignore")  # stored with its round: an earlier version may know other fields

    rule: str
    approver: str
    basis: str
    number: int
    by: tuple[str, ...]
    """Who decided."""
    holders: tuple[str, ...] = ()
    """Whom the policy asked, for each of them: themselves, somebody they stood in for, or who handed it over."""
    seats: tuple[str, ...] = ()
    """Who held it when they decided: somebody else where it was handed over."""
    at: Instant
    grounds: Grounds = Grounds()


class Refused(Value):
    """A rejection: it ends what the same approver approved before."""

    rule: str
    approver: str
    number: int


Decision = PriorApproval | Refused


class Authority(Value):
    """Who could give an approval today, and how many must."""

    seats: tuple[str, ...]
    holders: tuple[str, ...] = ()
    """The seats, and those they would escalate to."""
    deciders: dict[str, tuple[str, ...]]
    """Everybody who may decide for each seat, for those it would escalate to, and for whom it was handed to."""
    needed: int = 1
    everybody: bool = False
    """Every seat must give it."""
    barred: tuple[str, ...] = ()

    def missing(self, given: PriorApproval) -> str | None:
        """Why those who gave it could not give it today; None when they could."""
        holders = given.holders or given.by
        votes = list(zip(holders, given.seats or holders, given.by, strict=False))
        if edited := [by for by in given.by if by in self.barred]:
            return f"{', '.join(edited)} approved it, and has submitted, owns or edited it since"
        able = [(holder, by) for holder, seat, by in votes if self._allows(holder, seat, by)]
        if len({by for _, by in able}) < self.needed:
            lost = [by for holder, _, by in votes if (holder, by) not in able]
            return f"{', '.join(lost or given.by)} approved it, and could not approve it today"
        absent = set(self.seats) - {holder for holder, _ in able} if self.everybody else ()
        return f"{', '.join(sorted(absent))} has not approved it" if absent else None

    def _allows(self, holder: str, seat: str, by: str) -> bool:
        """Whether `by` may decide for a holder who is asked today; what was handed over, while both could decide."""
        if holder not in self.holders:
            return False
        handed = seat != holder and holder in self.deciders[holder]
        return by in self.deciders.get(seat if handed else holder, ())


class Asked(Value):
    """What decides whether an approval carries."""

    rule: Rule
    basis: str
    grounds: Grounds
    """By today's exchange rates."""
    authority: Authority
    at: Instant | None = None
    """When it is submitted."""
    valid_for: timedelta | None = None
    """How long an approval is good for."""


TOO_LONG_AGO = "it was given too long ago"


def is_out_of_date(given: PriorApproval, at: Instant | None, valid_for: timedelta | None) -> bool:
    """Whether an approval is good no more when something is submitted at an instant."""
    return valid_for is not None and at is not None and given.at + valid_for <= at


def reasons_not_carried(asked: Asked, given: PriorApproval, at_rate: Callable[[Decimal], Grounds]) -> tuple[str, ...]:
    """Why an approval given before must be given again; empty when it carries.

    `at_rate` are the grounds with amounts converted by another exchange rate: that of the round people approved in."""
    if asked.basis != given.basis:
        return ("the rule changed",)
    if not any(snapshot.smart for snapshot in asked.grounds.conditions):
        return ("the rule has no smart condition",)
    if is_out_of_date(given, asked.at, asked.valid_for):
        return (TOO_LONG_AGO,)
    if missing := asked.authority.missing(given):
        return (missing,)
    rate = given.grounds.rate
    same_rate = rate is None or rate == asked.grounds.rate
    compared = asked.grounds if same_rate or rate is None else at_rate(rate)
    changed = [*_identity_changes(given.grounds.identity, asked.grounds.identity)]
    if asked.grounds.forced != given.grounds.forced:
        changed.append("it was not forced by its field then" if asked.grounds.forced else "it was forced by its field")
    if compared.lines != given.grounds.lines:
        changed.append("the lines it is about changed")
    literal = asked.rule.smart_mode == "literal"
    changed += (_literally if literal else _by_condition)(asked, given.grounds, compared)
    return tuple(changed)


def reasons_carried(asked: Asked, given: PriorApproval) -> tuple[str, ...]:
    """What was compared, for an approval that carries."""
    found = []
    for now in asked.grounds.conditions:
        if now.contributes and (saw := given.grounds.condition(now.index)):
            same = _same(saw.tested, now.tested)
            was = " as before" if same else f", and was {_shown(saw.tested)}"
            found.append(f"{now.name} is {_shown(now.tested)}{was}")
    return tuple(found)


def _identity_changes(saw: Mapping[str, Testable], now: Mapping[str, Testable]) -> Iterable[str]:
    for name in dict.fromkeys((*now, *saw)):
        if not _same(saw.get(name), now.get(name)):
            yield f"{name} went from {shown(saw.get(name))} to {shown(now.get(name))}"


def _by_condition(asked: Asked, saw: Grounds, compared: Grounds) -> Iterable[str]:
    """Every condition that contributes now must have contributed then, and be no worse."""
    for now in asked.grounds.conditions:
        if not now.contributes:
            continue
        then, at = saw.condition(now.index), compared.condition(now.index)
        if then is None or at is None or not then.contributes:
            yield f"{now.name} {_shown(now.tested)} is a reason now, and was none then"
        elif not _same(then.compared, at.compared) or _got_worse(then, at, _compared(asked.rule, at)):
            yield _sentence(then, at)


def _got_worse(saw: Snapshot, now: Snapshot, compared: Testable) -> bool:
    return worse(now.operator, saw.tested, now.tested, compared) if now.smart else not _same(saw.tested, now.tested)


def _compared(rule: Rule, snapshot: Snapshot) -> Testable:
    """What a condition compares with: a written value, or another figure."""
    if snapshot.against:
        return snapshot.compared
    return next((condition.value for condition in rule.conditions if condition.index == snapshot.index), None)


def _literally(asked: Asked, saw: Grounds, compared: Grounds) -> Iterable[str]:
    """Salesforce's reading: the rule's logic, where a smart condition counts only if its operator holds between the
    new value and the approved one. Asked again when the logic still holds."""
    outcomes: dict[int, bool] = {}
    sentences = []
    for condition in asked.rule.conditions:
        index = condition.index
        now, at, then = asked.grounds.condition(index), compared.condition(index), saw.condition(index)
        if now is None or at is None:
            continue
        value = _compared(asked.rule, at)
        further = then is None or operators.holds(condition.operator, _as(at.tested, value), _as(then.tested, value))
        outcomes[index] = now.holds and (further or not condition.smart)
        if outcomes[index]:
            sentences.append(_sentence(then, at) if then else f"{at.name} is {_shown(at.tested)}")
    return sentences if holds_by(asked.rule.logic, outcomes) else ()


def holds_by(logic: str, outcomes: Mapping[int, bool]) -> bool:
    """Whether a rule's logic holds for the outcomes of its conditions by their index."""
    if logic == "all" or not outcomes:
        return all(outcomes.values())
    if logic == "any":
        return any(outcomes.values())
    return parse(logic).holds(outcomes)


def worse(operator: Operator, saw: Testable, now: Testable, compared: Testable = None) -> bool:
    """Whether a value moved further in the direction that its condition watches; any change where there is none.

    Numbers and days out of texts are read as the condition reads them: like what it compares them with."""
    if operator in operators.ORDERINGS:
        a, b = operators.alike(_as(saw, compared), _as(now, compared))
        rising = operator in (Operator.GREATER_THAN, Operator.GREATER_OR_EQUALS)
        further = Operator.GREATER_THAN if rising else Operator.LESS_THAN
        comparable = type(a) is type(b) and isinstance(a, Decimal | date)
        return operators.holds(further, b, a) if comparable else not _same(a, b)
    return not _same(saw, now)


def _as(value: Testable, compared: Testable) -> Testable:
    """The value as a comparison with another one reads it."""
    return value if compared is None else operators.alike(value, compared)[0]


def _same(a: Testable, b: Testable) -> bool:
    return operators.holds(Operator.EQUALS, a, b)


def _sentence(saw: Snapshot, now: Snapshot) -> str:
    if not _same(saw.tested, now.tested):
        return f"{now.name} went from {_shown(saw.tested)} to {_shown(now.tested)}"
    if not _same(saw.compared, now.compared):
        return f"{now.against} went from {_shown(saw.compared)} to {_shown(now.compared)}"
    return f"{now.name} is {_shown(now.tested)} as before"


def _shown(value: Testable) -> str:
    number, _ = operators.alike(value, Decimal(0))
    return shown(number)


def newest(decisions: Iterable[Decision], rule: str, approver: str) -> Decision | None:
    """The newest decision by people on a rule and its approver, out of decisions newest first."""
    return next((d for d in decisions if (d.rule, d.approver) == (rule, approver)), None)
