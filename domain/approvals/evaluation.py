"""Evaluating a policy: which rules fire on a subject, and why. A function of subject, policy, status and day only."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from domain.approvals import operators
from domain.approvals.operators import Operator
from domain.approvals.policy import Aggregate, Condition, Filter, Policy, Rule, Variable
from domain.approvals.smart import Snapshot, holds_by
from domain.approvals.subject import Subject, testable
from domain.approvals.words import shown
from domain.quotes import discount_of
from domain.values import Testable, Value

ZERO = Decimal(0)


class Tested(Value):
    """One condition's outcome, in words a person can check."""

    index: int
    name: str
    tested: str
    sign: str
    compared: str
    holds: bool


class Finding(Value):
    """Why a rule fired or did not, in words."""

    rule: str
    title: str
    fired: bool
    why: str
    tests: tuple[Tested, ...] = ()
    misfits: tuple[str, ...] = ()
    """What does not fit together, naming the lines."""


Figures = tuple[Condition, Testable, Testable, bool]
"""A condition, what it tested, what it compared that with, and whether it holds."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule says of a subject: `why` is conditions, no_conditions, does_not_fit, override, inactive,
    not_effective or excluded_status.

    Kept in figures: most rules do not fire, and words are made only of what somebody reads."""

    rule: Rule
    fired: bool
    why: str
    figures: Sequence[Figures] = ()
    misfits: tuple[str, ...] = ()
    misfit_lines: frozenset[int] = frozenset()
    """The lines that do not fit together, by their place on the subject."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The conditions that made it fire."""
        if self.misfits or self.why == "conditions":
            conditions = self.figures if self.why == "conditions" else ()
            held = tuple(sentence(figures) for figures in conditions if figures[3])
            return (*self.misfits, *held) or ("its condition does not hold",)
        return ({"no_conditions": "always", "override": "overridden by its field"}.get(self.why, self.why),)

    @property
    def forced(self) -> bool:
        return self.why == "override"

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """Every condition that the rule's logic uses, as it stands."""
        ways = self.rule.polarities
        return tuple(_snapshot(figures, ways[i]) for figures in self.figures if (i := figures[0].index) in ways)

    def finding(self) -> Finding:
        tests = tuple(_tested(figures) for figures in self.figures)
        misfits = self.misfits if self.fired else ()
        title = self.rule.heading
        return Finding(rule=self.rule.name, title=title, fired=self.fired, why=self.why, tests=tests, misfits=misfits)


def _tested(figures: Figures) -> Tested:
    condition, tested, compared, holds = figures
    against = "" if condition.operator in operators.UNARY else shown(compared)
    sign = operators.sign(condition.operator)
    return Tested(
        index=condition.index,
        name=condition.tested_name,
        tested=shown(tested),
        sign=sign,
        compared=against,
        holds=holds,
    )


def sentence(figures: Figures) -> str:
    """`discount_percent 27.5 > 20`."""
    said = _tested(figures)
    return f"{said.name} {said.tested} {said.sign} {said.compared}".rstrip()


def _snapshot(figures: Figures, ways: set[bool]) -> Snapshot:
    condition, tested, compared, holds = figures
    against = condition.other_field or condition.other_variable or ""
    negated = ways == {False}
    operator = operators.COMPLEMENTS.get(condition.operator, condition.operator) if negated else condition.operator
    return Snapshot(
        index=condition.index,
        name=condition.tested_name,
        operator=operator,
        smart=condition.smart and len(ways) == 1,
        holds=holds,
        contributes=holds in ways or len(ways) == 2,
        tested=tested,
        compared=compared if against else None,
        against=against,
    )


class Facts:
    """The figures of one subject under one policy.

    Lines are read by column and filtered once for all variables that filter alike: a policy has many variables over
    few columns."""

    def __init__(self, subject: Subject, policy: Policy) -> None:
        self._fields = subject.fields
        self._lines = subject.lines
        self._variables = {variable.name: variable for variable in policy.variables}
        self._gathered: dict[str, Decimal | None] = {}
        self._columns: dict[str, list[Testable]] = {}
        self._kept: dict[Filter, set[int]] = {}
        self._texts: dict[str, tuple[dict[str, set[int]], Sequence[int]]] = {}

    def field(self, name: str) -> Testable:
        return testable(self._fields.get(name))

    def variable(self, name: str) -> Decimal | None:
        if name not in self._gathered:
            self._gathered[name] = self._gather(self._variables[name])
        return self._gathered[name]

    def lines_with(self, what: str) -> list[int]:
        """The places of the lines of a product or a family."""
        return [n for n, line in enumerate(self._lines) if what in map(line.get, ("product", "family", "name"))]

    def ids(self, lines: Iterable[int]) -> list[str]:
        return [str(self._lines[n].get("id")) for n in lines]

    def _gather(self, variable: Variable) -> Decimal | None:
        found = aggregated(variable, self._column, self._rows(variable))
        if variable.plus is None:
            return found
        more = self.variable(variable.plus)
        return found if more is None else more if found is None else found + more

    def _column(self, name: str) -> list[Testable]:
        if name not in self._columns:
            values = [line.get(name) for line in self._lines]
            self._columns[name] = [value if type(value) is Decimal else testable(value) for value in values]
        return self._columns[name]

    def _rows(self, variable: Variable) -> Iterable[int]:
        """The lines that every filter keeps, in order."""
        if not variable.where:
            return range(len(self._lines))
        return sorted(set.intersection(*(self._keeps(kept) for kept in variable.where)))

    def _keeps(self, kept: Filter) -> set[int]:
        if kept not in self._kept:
            column = self._column(kept.field)
            rows: Sequence[int] = range(len(column))
            found: set[int] = set()
            if kept.operator is Operator.EQUALS and isinstance(kept.value, str) and kept.value:
                texts, rows = self._by_text(kept.field)
                found = texts.get(kept.value, found)
            self._kept[kept] = found | {n for n in rows if operators.holds(kept.operator, column[n], kept.value)}
        return self._kept[kept]

    def _by_text(self, name: str) -> tuple[dict[str, set[int]], Sequence[int]]:
        """The rows of each text in a column, and the rows that hold something else."""
        if name not in self._texts:
            texts: dict[str, set[int]] = {}
            others = []
            for n, value in enumerate(self._column(name)):
                if isinstance(value, str):
                    texts.setdefault(value, set()).add(n)
                else:
                    others.append(n)
            self._texts[name] = texts, others
        return self._texts[name]


def aggregated(variable: Variable, column: Callable[[str], list[Testable]], rows: Iterable[int]) -> Decimal | None:
    """Sum and count of nothing are 0; min, max and average of nothing and the discount of a zero list are null."""

    def numbers(name: str | None) -> list[Decimal]:
        values = column(name or "")
        found = (values[n] for n in rows)
        read = (value if type(value) is Decimal else operators.alike(value, ZERO)[0] for value in found)
        return [value for value in read if type(value) is Decimal]

    def exact(name: str | None) -> list[Decimal]:
        """Amounts before they were rounded, where the subject knows them."""
        return numbers(f"_{name}") or numbers(name)

    if variable.aggregate is Aggregate.DISCOUNT:
        full, net = (sum(exact(name), Decimal(0)) for name in (variable.list, variable.net))
        return discount_of(full, net)
    if variable.aggregate is Aggregate.COUNT:
        counted = None if variable.field is None else column(variable.field)
        return Decimal(sum(1 for n in rows if counted is None or counted[n] is not None))
    found = numbers(variable.field)
    if variable.aggregate is Aggregate.SUM:
        return sum(found, Decimal(0))
    if not found:
        return None
    if variable.aggregate is Aggregate.AVERAGE:
        return sum(found, Decimal(0)) / len(found)
    return min(found) if variable.aggregate is Aggregate.MIN else max(found)


def evaluate(policy: Policy, subject: Subject, status: str, today: date) -> list[Judgement]:
    """What every rule says about the subject, in the policy's order."""
    facts = Facts(subject, policy)
    return [_judged(rule, facts, status, today) for rule in policy.rules]


def _judged(rule: Rule, facts: Facts, status: str, today: date) -> Judgement:
    closed = _gate(rule, status, today)
    return Judgement(rule, False, closed) if closed else judge(rule, facts)


def judge(rule: Rule, facts: Facts) -> Judgement:
    """What the rule's conditions say of the subject, whether or not it is in force."""
    figures = [_figures(condition, facts) for condition in rule.conditions]
    overridden = rule.override_field is not None and facts.field(rule.override_field) is True
    fitting = rule.excludes is not None or rule.requires is not None
    misfits, lines = _misfits(rule, facts) if fitting else ((), frozenset())
    fired = overridden or ((bool(misfits) or not fitting) and _fires(rule, figures))
    plain = "conditions" if rule.conditions else "does_not_fit" if fitting else "no_conditions"
    return Judgement(rule, fired, "override" if overridden else plain, figures, misfits, lines)


def _misfits(rule: Rule, facts: Facts) -> tuple[tuple[str, ...], frozenset[int]]:
    found, lines = [], set[int]()
    if rule.excludes:
        one, other = (facts.lines_with(what) for what in rule.excludes)
        if one and other:
            these, those = lines_named(facts.ids(one)), lines_named(facts.ids(other))
            found.append(f"{rule.excludes[0]} ({these}) does not go with {rule.excludes[1]} ({those})")
            lines |= {*one, *other}
    if rule.requires:
        one, other = (facts.lines_with(what) for what in rule.requires)
        if one and not other:
            found.append(f"{rule.requires[0]} ({lines_named(facts.ids(one))}) needs {rule.requires[1]}")
            lines |= set(one)
    return tuple(found), frozenset(lines)


def lines_named(ids: Sequence[str]) -> str:
    return ("line " if len(ids) == 1 else "lines ") + ", ".join(ids[:5]) + (" …" if len(ids) > 5 else "")


def _gate(rule: Rule, status: str, today: date) -> str | None:
    if not rule.active:
        return "inactive"
    if (rule.effective_from and today < rule.effective_from) or (rule.effective_to and today > rule.effective_to):
        return "not_effective"
    return "excluded_status" if status in rule.excluded_statuses else None


def _fires(rule: Rule, figures: Sequence[Figures]) -> bool:
    return holds_by(rule.logic, {condition.index: holds for condition, _, _, holds in figures})


def _figures(condition: Condition, facts: Facts) -> Figures:
    tested = facts.field(condition.field) if condition.field else facts.variable(condition.variable or "")
    compared: Testable
    if condition.other_field:
        compared = facts.field(condition.other_field)
    elif condition.other_variable:
        compared = facts.variable(condition.other_variable)
    else:
        compared = condition.value
    return condition, tested, compared, operators.holds(condition.operator, tested, compared)
