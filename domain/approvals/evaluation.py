"""Evaluating a policy: which rules fire on a subject, and why. A function of subject, policy, status and day only."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from domain.approvals import operators
from domain.approvals.expression import parse
from domain.approvals.policy import Aggregate, Condition, Filter, Policy, Rule, Variable
from domain.approvals.smart import Snapshot
from domain.approvals.subject import Subject, testable
from domain.approvals.words import shown
from domain.quotes import discount_of
from domain.values import Testable, Value


class Tested(Value):
    """One condition's outcome, in words a person can check."""

    index: int
    name: str
    tested: str
    sign: str
    compared: str
    holds: bool

    @property
    def sentence(self) -> str:
        return f"{self.name} {self.tested} {self.sign} {self.compared}".rstrip()


class Finding(Value):
    """Why a rule fired or did not: `why` is conditions, no_conditions, does_not_fit, override, inactive,
    not_effective or excluded_status."""

    rule: str
    title: str
    fired: bool
    why: str
    tests: tuple[Tested, ...] = ()
    smart: tuple[Snapshot, ...] = ()
    misfits: tuple[str, ...] = ()
    """What does not fit together, naming the lines."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The conditions that made it fire."""
        if self.misfits:
            held = [test.sentence for test in self.tests if test.holds] if self.why == "conditions" else []
            return (*self.misfits, *held)
        if self.why == "conditions":
            return tuple(test.sentence for test in self.tests if test.holds) or ("its condition does not hold",)
        return ({"no_conditions": "always", "override": "overridden by its field"}.get(self.why, self.why),)


class Facts:
    """The figures of one subject under one policy; each variable is gathered once, when first asked for."""

    def __init__(self, subject: Subject, policy: Policy) -> None:
        self._fields = subject.fields
        self._lines = subject.lines
        self._variables = {variable.name: variable for variable in policy.variables}
        self._gathered: dict[str, Decimal | None] = {}

    def field(self, name: str) -> Testable:
        return testable(self._fields.get(name))

    def variable(self, name: str) -> Decimal | None:
        if name not in self._gathered:
            self._gathered[name] = self._gather(self._variables[name])
        return self._gathered[name]

    def lines_with(self, what: str) -> list[str]:
        """The lines of a product or a family."""
        return [str(n.get("id")) for n in self._lines if what in (n.get("product"), n.get("family"), n.get("name"))]

    def _gather(self, variable: Variable) -> Decimal | None:
        lines = [line for line in self._lines if all(_keeps(f, line) for f in variable.where)]
        found = aggregated(variable, lines)
        if variable.plus is None:
            return found
        more = self.variable(variable.plus)
        return found if more is None else more if found is None else found + more


def _keeps(kept: Filter, line: Mapping[str, Any]) -> bool:
    return operators.holds(kept.operator, testable(line.get(kept.field)), kept.value)


def _numbers(lines: list[dict[str, Any]], field: str | None) -> list[Decimal]:
    values = (testable(line.get(field or "")) for line in lines)
    return [value for value in values if isinstance(value, Decimal)]


def aggregated(variable: Variable, lines: list[dict[str, Any]]) -> Decimal | None:
    """Sum and count of nothing are 0; min, max and average of nothing and the discount of a zero list are null."""
    if variable.aggregate is Aggregate.DISCOUNT:
        return discount_of(
            sum(_numbers(lines, variable.list), Decimal(0)), sum(_numbers(lines, variable.net), Decimal(0))
        )
    if variable.aggregate is Aggregate.COUNT:
        counted = lines if variable.field is None else [ln for ln in lines if ln.get(variable.field) is not None]
        return Decimal(len(counted))
    numbers = _numbers(lines, variable.field)
    if variable.aggregate is Aggregate.SUM:
        return sum(numbers, Decimal(0))
    if not numbers:
        return None
    if variable.aggregate is Aggregate.AVERAGE:
        return sum(numbers, Decimal(0)) / len(numbers)
    return min(numbers) if variable.aggregate is Aggregate.MIN else max(numbers)


def evaluate(policy: Policy, subject: Subject, status: str, today: date) -> list[Finding]:
    """What every rule says about the subject, in the policy's order."""
    facts = Facts(subject, policy)
    return [_finding(rule, facts, status, today) for rule in policy.rules]


def _finding(rule: Rule, facts: Facts, status: str, today: date) -> Finding:
    closed = _gate(rule, status, today)
    if closed:
        return Finding(rule=rule.name, title=rule.heading, fired=False, why=closed)
    tests = tuple(_tested(condition, facts) for condition in rule.conditions)
    overridden = rule.override_field is not None and facts.field(rule.override_field) is True
    misfits = _misfits(rule, facts)
    fitting = rule.excludes is not None or rule.requires is not None
    fired = overridden or ((bool(misfits) or not fitting) and _fires(rule, tests))
    plain = "conditions" if rule.conditions else "does_not_fit" if fitting else "no_conditions"
    why = "override" if overridden else plain
    smart = tuple(_snapshot(c, facts) for c in rule.conditions if c.smart) if fired else ()
    return Finding(rule=rule.name, title=rule.heading, fired=fired, why=why, tests=tests, smart=smart,
                   misfits=misfits if fired else ())  # fmt: skip


def _misfits(rule: Rule, facts: Facts) -> tuple[str, ...]:
    found = []
    if rule.excludes:
        one, other = (facts.lines_with(what) for what in rule.excludes)
        if one and other:
            found.append(f"{rule.excludes[0]} ({_lines(one)}) does not go with {rule.excludes[1]} ({_lines(other)})")
    if rule.requires:
        one, other = (facts.lines_with(what) for what in rule.requires)
        if one and not other:
            found.append(f"{rule.requires[0]} ({_lines(one)}) needs {rule.requires[1]}")
    return tuple(found)


def _lines(ids: list[str]) -> str:
    return ("line " if len(ids) == 1 else "lines ") + ", ".join(ids[:5]) + (" …" if len(ids) > 5 else "")


def _gate(rule: Rule, status: str, today: date) -> str | None:
    if not rule.active:
        return "inactive"
    if (rule.effective_from and today < rule.effective_from) or (rule.effective_to and today > rule.effective_to):
        return "not_effective"
    return "excluded_status" if status in rule.excluded_statuses else None


def _fires(rule: Rule, tests: tuple[Tested, ...]) -> bool:
    if not tests or rule.logic == "all":
        return all(test.holds for test in tests)
    if rule.logic == "any":
        return any(test.holds for test in tests)
    return parse(rule.logic).holds({test.index: test.holds for test in tests})


def _figures(condition: Condition, facts: Facts) -> tuple[Testable, Testable]:
    """What is tested, and what it is compared with."""
    tested = facts.field(condition.field) if condition.field else facts.variable(condition.variable or "")
    if condition.other_field:
        return tested, facts.field(condition.other_field)
    if condition.other_variable:
        return tested, facts.variable(condition.other_variable)
    return tested, condition.value


def _tested(condition: Condition, facts: Facts) -> Tested:
    tested, compared = _figures(condition, facts)
    return Tested(
        index=condition.index,
        name=condition.tested_name,
        tested=shown(tested),
        sign=operators.sign(condition.operator),
        compared="" if condition.operator in operators.UNARY else shown(compared),
        holds=operators.holds(condition.operator, tested, compared),
    )


def _snapshot(condition: Condition, facts: Facts) -> Snapshot:
    tested, compared = _figures(condition, facts)
    against = condition.other_field or condition.other_variable or ""
    return Snapshot(
        index=condition.index, name=condition.tested_name, operator=condition.operator, tested=tested,
        compared=compared if against else None, against=against,
    )  # fmt: skip
