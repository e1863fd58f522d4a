"""A policy: variables over lines, rules that fire on a subject, and the chains their approvals run in."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from domain.approvals.operators import Operator
from domain.values import Id, Name, Value, Word, digest


def _literal(value: Any) -> Any:
    """A written value as what it is: numbers as decimals, lists as tuples; text stays text."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return Decimal(str(value))
    if isinstance(value, list):
        return tuple(str(item) for item in value)
    return value


Literal_ = Annotated[Decimal | bool | date | str | tuple[str, ...] | None, BeforeValidator(_literal)]
Hours = Annotated[Decimal, Field(gt=0, le=87_600)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,63}$")]


class Aggregate(StrEnum):
    COUNT = "count"
    SUM = "sum"
    AVERAGE = "average"
    MIN = "min"
    MAX = "max"
    DISCOUNT = "discount"


class Filter(Value):
    """Keeps the lines for which it holds."""

    field: FieldName
    operator: Operator
    value: Literal_ = None


class Variable(Value):
    """A figure gathered from the lines: an aggregate of `field`, or the discount between `list` and `net`."""

    name: Id
    aggregate: Aggregate
    field: FieldName | None = None
    list: FieldName | None = None
    net: FieldName | None = None
    where: tuple[Filter, ...] = Field(default=(), max_length=50)
    plus: Id | None = None


class Condition(Value):
    """Tests one field or variable against one value, variable or field."""

    index: int = Field(ge=1, le=9999)
    field: FieldName | None = None
    variable: Id | None = None
    operator: Operator
    value: Literal_ = None
    other_field: FieldName | None = None
    other_variable: Id | None = None
    smart: bool = False

    @property
    def tested_name(self) -> str:
        return self.field or self.variable or ""


class Who(Value):
    """Whom a rule asks: exactly one of a user, a group, a field that holds a user id, or the management chain."""

    user: Id | None = None
    group: Id | None = None
    quorum: Literal["any", "all"] | Annotated[int, Field(ge=1, le=500)] = "any"
    field: FieldName | None = None
    manager: FieldName | None = None
    """Up the submitter's management chain to the first whose limit covers this field's amount."""

    @property
    def kinds(self) -> list[str]:
        return [kind for kind in ("user", "group", "field", "manager") if getattr(self, kind)]

    @property
    def label(self) -> str:
        if self.group:
            return f"group {self.group} ({self.quorum})"
        if self.manager:
            return f"managers up to {self.manager}"
        return self.user or f"field {self.field}"


Pair = tuple[Word, Word]


class Rule(Value):
    """When it fires, whom it asks, and where that stands in the path."""

    name: Id
    title: Name | None = None
    chain: Id | None = None
    step: int = Field(default=1, ge=1, le=10_000)
    logic: Annotated[str, Field(max_length=2_000)] = "all"
    conditions: tuple[Condition, ...] = Field(default=(), max_length=200)
    excludes: Pair | None = None
    """Fires where both are on the quote: products or families that do not fit together."""
    requires: Pair | None = None
    """Fires where the first is on the quote without the second."""
    ask: Who | None = None
    fallback: Who | None = None
    active: bool = True
    effective_from: date | None = None
    effective_to: date | None = None
    excluded_statuses: tuple[Word, ...] = Field(default=(), max_length=50)
    override_field: FieldName | None = None
    explicit: bool = False
    """Wants a decision of its own, even from a person who just gave one."""
    smart_mode: Literal["worse", "literal"] = "worse"
    """When an earlier approval must be given again; `literal` keeps Salesforce's reading of the operator."""
    remind_every_hours: Hours | None = None
    escalate_after_hours: Hours | None = None
    escalate_to: Who | Literal["manager"] = "manager"
    """Who is asked too, beside the holder, when the holder does not decide in time."""
    expire_after_hours: Hours | None = None
    """Hours count in the business time of whoever holds the approval; all hours count where no calendar is known."""

    @property
    def chain_name(self) -> str:
        """A rule without a chain is a chain of its own."""
        return self.chain or f"rule.{self.name}"

    @property
    def heading(self) -> str:
        return self.title or self.name.replace("-", " ").replace("_", " ").capitalize()


class Chain(Value):
    name: Id
    after: tuple[Id, ...] = Field(default=(), max_length=100)


class Policy(Value):
    kind: Word
    variables: tuple[Variable, ...] = Field(default=(), max_length=500)
    chains: tuple[Chain, ...] = Field(default=(), max_length=500)
    rules: tuple[Rule, ...] = Field(default=(), max_length=5_000)

    @property
    def hash(self) -> str:
        return digest(self.model_dump(exclude_defaults=True))  # a later version may know more fields

    def with_rules(self, rules: tuple[Rule, ...]) -> "Policy":
        """The policy with other rules; `model_copy` would keep what was worked out of the old ones."""
        return Policy.model_construct(kind=self.kind, variables=self.variables, chains=self.chains, rules=rules)

    def after(self, chain: str) -> tuple[str, ...]:
        return next((c.after for c in self.chains if c.name == chain), ())

    @property
    def routing_fields(self) -> set[str]:
        """Fields that decide who approves, or that a rule fires regardless."""
        named = {who.field for _, who in self.people_named() if who.field}
        return named | {rule.override_field for rule in self.rules if rule.override_field}

    @cached_property
    def bases(self) -> dict[str, str]:
        """For each rule what it says, with the variables it tests: equal as long as it means the same."""
        return {rule.name: self._basis(rule) for rule in self.rules}

    def _basis(self, rule: Rule) -> str:
        named = {v.name: v for v in self.variables}
        wanted = [n for c in rule.conditions for n in (c.variable, c.other_variable) if n]
        used: dict[str, Variable] = {}
        while wanted:
            variable = named.get(wanted.pop())
            if variable and variable.name not in used:
                used[variable.name] = variable
                wanted.extend([variable.plus] if variable.plus else [])
        figures = [used[name].model_dump(exclude_defaults=True) for name in sorted(used)]
        parts = [rule.model_dump(exclude={"title"}, exclude_defaults=True), figures]
        return digest(parts)[:16]

    def people_named(self) -> Iterable[tuple[str, Who]]:
        for rule in self.rules:
            for who in (rule.ask, rule.fallback, rule.escalate_to):
                if isinstance(who, Who):
                    yield rule.name, who
