"""A policy: variables over lines, rules that fire on a subject, and the chains their approvals run in."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from domain.approvals.expression import parse
from domain.approvals.operators import Operator
from domain.sentences import Sentence
from domain.values import Id, Name, OneProblem, Value, Word, digest, plain_number


def _literal(value: Any) -> Any:
    """A written value as what it is: numbers as decimals, lists as tuples; text stays text."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return Decimal(str(value))
    if isinstance(value, list):
        return tuple(_item(item, n) for n, item in enumerate(value, 1))
    return value


def _item(item: Any, n: int) -> str:
    """One of a list of values, as the text that stands for it. Raises ValueError naming it."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str):
        return item
    if isinstance(item, int | float | Decimal):
        return plain_number(Decimal(str(item)))
    if isinstance(item, date):
        return item.isoformat()
    raise ValueError(Sentence("item {n} is no text or number; quote it, or test with is_blank for nothing", n=n))


Literal_ = Annotated[Decimal | bool | date | str | tuple[str, ...] | None, OneProblem, BeforeValidator(_literal)]
Hours = Annotated[Decimal, Field(gt=0, le=87_600)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,63}$")]


def _of_group(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        raise ValueError("must be any, all, or a number from 1 to 500") from None


OneOfGroup = WrapValidator(_of_group)


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


class Narrowing(Value):
    """Keeps those members of a group whose `unit` is the one that the subject's field holds."""

    unit: FieldName


class Who(Value):
    """Whom a rule asks: exactly one of a user, a group, a field or line field with a user id, or the managers."""

    user: Id | None = None
    group: Id | None = None
    quorum: Annotated[Literal["any", "all"] | Annotated[int, Field(ge=1, le=500)], OneOfGroup] = "any"
    where: Narrowing | None = None
    field: FieldName | None = None
    line_field: FieldName | None = None
    """One approval for each distinct person that the lines name."""
    manager: FieldName | None = None
    """Up the submitter's management chain to the first whose limit covers this field's amount."""

    @property
    def kinds(self) -> list[str]:
        return [kind for kind in ("user", "group", "field", "line_field", "manager") if getattr(self, kind)]

    @property
    def label(self) -> str:
        if self.group:
            narrowed = f" of {self.where.unit}" if self.where else ""
            return f"group {self.group}{narrowed} ({self.quorum})"
        if self.manager:
            return f"managers up to {self.manager}"
        return self.user or (f"line field {self.line_field}" if self.line_field else f"field {self.field}")


NOT_BINDING = (
    "title",
    "remind_every_hours",
    "escalate_after_hours",
    "escalate_to",
    "expire_after_hours",
    "consult_hours",
)
"""What a rule may change and still be the same rule: its title and its timers."""
Pair = tuple[Word, Word]
OnRejection = Literal["end", "collect"]
"""`end`: the first rejection ends the round. `collect`: whoever is asked already still answers, then it is rejected."""


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
    effect: Literal["approve", "inform"] = "approve"
    """`inform`: they are told when their step is reached, and nothing waits for them."""
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
    consult_hours: Hours | None = None
    """How long the clock waits for advice that the holder asks for; without it, it does not wait.

    Hours count in the business time of whoever holds the approval; all hours count where no calendar is known."""

    @property
    def chain_name(self) -> str:
        """A rule without a chain is a chain of its own."""
        return self.chain or f"rule.{self.name}"

    @property
    def polarities(self) -> dict[int, set[bool]]:
        """For each condition that the logic uses how it stands in it: True plain, False under NOT."""
        if self.logic in ("all", "any"):
            return {condition.index: {True} for condition in self.conditions}
        return parse(self.logic).polarities()

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
    on_rejection: OnRejection = "end"
    valid_for_days: Annotated[int, Field(ge=1, le=3_650)] | None = None
    """An approval is good for so long: what was not accepted by then is a draft again."""
    neutral: tuple[FieldName, ...] = Field(default=(), max_length=100)
    """Fields no rule looks at, which may be edited in and after approval without a new round."""
    identity: tuple[FieldName, ...] = Field(default=(), max_length=100)
    """Fields that must be the same for an earlier approval to carry; those of the kind where none is named."""
    routing: tuple[FieldName, ...] = Field(default=(), max_length=100)
    """Fields that only an admin's import may set, besides those by which a rule finds or forces its approvers."""

    @property
    def hash(self) -> str:
        return digest(self.model_dump(exclude_defaults=True))  # a later version may know more fields

    def with_rules(self, rules: tuple[Rule, ...]) -> "Policy":
        """The policy with other rules; `model_copy` would keep what was worked out of the old ones."""
        return Policy.model_construct(**{**{name: getattr(self, name) for name in Policy.model_fields}, "rules": rules})

    def with_part(self, place: str, was: str | None, part: Rule | Variable | Chain | None) -> "Policy":
        """The policy with a part of `rules`, `variables` or `chains` replaced, removed, or added at the end."""
        parts = list(getattr(self, place))
        at = next((n for n, known in enumerate(parts) if known.name == was), len(parts))
        parts[at : at + 1] = [part] if part else []
        return Policy.model_construct(**{**{n: getattr(self, n) for n in Policy.model_fields}, place: tuple(parts)})

    def after(self, chain: str) -> tuple[str, ...]:
        return next((c.after for c in self.chains if c.name == chain), ())

    @property
    def routing_fields(self) -> set[str]:
        """Fields that decide who approves, or that a rule fires regardless."""
        named = {name for _, who in self.people_named() for name in (who.field, who.where and who.where.unit) if name}
        return {*self.routing, *named, *(rule.override_field for rule in self.rules if rule.override_field)}

    @property
    def routing_line_fields(self) -> set[str]:
        return {who.line_field for _, who in self.people_named() if who.line_field}

    @property
    def looked_at(self) -> set[str]:
        """Every header field that decides which approvals a subject needs."""
        tested = {name for rule in self.rules for c in rule.conditions for name in (c.field, c.other_field) if name}
        limits = {who.manager for _, who in self.people_named() if who.manager}
        return tested | limits | self.routing_fields

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
        parts = [rule.model_dump(exclude={*NOT_BINDING}, exclude_defaults=True), figures]
        return digest(parts)[:16]

    def people_named(self) -> Iterable[tuple[str, Who]]:
        for rule in self.rules:
            for who in (rule.ask, rule.fallback, rule.escalate_to):
                if isinstance(who, Who):
                    yield rule.name, who
