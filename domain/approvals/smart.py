"""Smart approvals: what a person approved in an earlier round need not be approved again unless it got worse.

Compared is always with what the person saw, never with a value that was itself carried: small steps cannot creep."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

from domain.approvals import operators
from domain.approvals.operators import Operator
from domain.approvals.policy import Literal_
from domain.approvals.words import shown
from domain.values import Instant, Testable, Value

Mode = Literal["worse", "literal"]
"""`literal` is Salesforce's own reading: the condition's operator, applied to the new value against the old."""


class Snapshot(Value):
    """A smart condition's figures as they stood at a submission."""

    index: int
    name: str
    operator: Operator
    tested: Literal_ = None
    compared: Literal_ = None
    against: str = ""
    """The field or variable it is compared with, where that is not a written value."""


class Given(Value):
    """An approval that people gave: in which round, who they were, when, and what they saw."""

    rule: str
    approver: str
    basis: str
    number: int
    by: tuple[str, ...]
    at: Instant
    saw: tuple[Snapshot, ...] = ()


class Refused(Value):
    """A rejection: it ends what the same approver approved before."""

    rule: str
    approver: str
    number: int


Decision = Given | Refused


class Asked(Value):
    """What decides whether an approval carries: its rule and approver, the rule's definition, and its figures now."""

    rule: str
    approver: str
    basis: str
    smart: tuple[Snapshot, ...] = ()
    mode: Mode = "worse"


def again(asked: Asked, given: Given, barred: tuple[str, ...]) -> tuple[str, ...]:
    """Why an approval given before must be given again; empty when it carries."""
    if asked.basis != given.basis:
        return ("the rule changed",)
    if not asked.smart:
        return ("the rule has no smart condition",)
    if edited := [person for person in given.by if person in barred]:
        return (f"{', '.join(edited)} approved it, and has submitted, owns or edited it since",)
    saw = {snapshot.index: snapshot for snapshot in given.saw}
    return tuple(_sentence(saw[now.index], now) for now in asked.smart if _counts(saw[now.index], now, asked.mode))


def _counts(saw: Snapshot, now: Snapshot, mode: Mode) -> bool:
    if mode == "literal":
        return operators.holds(now.operator, now.tested, saw.tested)
    return worse(now.operator, saw.tested, now.tested) or not _same(saw.compared, now.compared)


def worse(operator: Operator, saw: Testable, now: Testable) -> bool:
    """Whether a value moved further in the direction that its condition watches; any change where there is none."""
    if operator in operators.ORDERINGS:
        a, b = operators.alike(saw, now)
        rising = operator in (Operator.GREATER_THAN, Operator.GREATER_OR_EQUALS)
        further = Operator.GREATER_THAN if rising else Operator.LESS_THAN
        comparable = isinstance(a, Decimal) if isinstance(b, Decimal) else type(a) is type(b) and a is not None
        return operators.holds(further, b, a) if comparable else not _same(a, b)
    return not _same(saw, now)


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


def newest(decisions: Iterable[Decision], asked: Asked) -> Decision | None:
    """The newest decision on what is asked, out of decisions newest first."""
    return next((d for d in decisions if (d.rule, d.approver) == (asked.rule, asked.approver)), None)
