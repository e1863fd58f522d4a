"""A quote: what is offered to a customer, its sums, and the states it goes through."""

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal, localcontext
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import Field, model_validator

from domain.errors import Invalid, problem
from domain.money import converted, minor_unit, rounded
from domain.values import Amount, Custom, Id, Name, StorableText, Value, Word, canonical, digest, plain_number

MAX_LINES = 2_000
MAX_TOTAL = 10**15
HUNDRED = Decimal(100)

Quantity = Annotated[Amount, Field(gt=0, lt=10**9)]
Price = Annotated[Amount, Field(ge=0, lt=10**12)]
Percent = Annotated[Amount, Field(ge=0, le=100)]
Months = Annotated[int, Field(ge=1, le=1200)]


class Billing(StrEnum):
    ONE_TIME = "one_time"
    RECURRING = "recurring"


class LineKind(StrEnum):
    GOODS = "goods"
    """Shipped, and delivered when they arrive."""
    SERVICE = "service"
    """Done, and confirmed by somebody."""
    SUBSCRIPTION = "subscription"
    """Used over a time."""


class Recognition(StrEnum):
    DELIVERY = "delivery"
    RATABLE = "ratable"
    MILESTONE = "milestone"


ProrationPolicy = Literal["actual_days", "months_and_days_of_billing_month", "months_and_thirtieths"]


class Milestone(Value):
    """A step of a service, and how much of its price is earned when it is reached."""

    name: Id
    percent: Annotated[Amount, Field(gt=0, le=100)]


class QuoteStatus(StrEnum):
    DRAFT = "draft"
    IN_APPROVAL = "in_approval"
    APPROVED = "approved"
    REJECTED = "rejected"
    RECALLED = "recalled"
    EXPIRED = "expired"
    ACCEPTED = "accepted"
    ORDERING = "ordering"

    @property
    def submittable(self) -> bool:
        return self not in (QuoteStatus.IN_APPROVAL, QuoteStatus.APPROVED) and not self.frozen

    @property
    def frozen(self) -> bool:
        """The customer said yes: what they agreed to is changed by its orders, or by another quote."""
        return self in (QuoteStatus.ACCEPTED, QuoteStatus.ORDERING)


def gather_unknown(data: Any, known: Mapping[str, Any]) -> Any:
    """Fields we do not know are kept under `custom`: they may mean something to the company's policy."""
    if not isinstance(data, Mapping):
        return data
    unknown = {key: value for key, value in data.items() if key not in known}
    if not unknown:
        return data
    held = data.get("custom")
    kept = {key: value for key, value in data.items() if key in known}
    return {**kept, "custom": {**(held if isinstance(held, Mapping) else {}), **unknown}}


class Place(Value):
    """Where something is delivered."""

    name: StorableText = ""
    street: StorableText = ""
    city: StorableText = ""
    region: StorableText = ""
    postal_code: Word = ""
    country: Word = ""
    time_zone: Word = ""


def check_zone(place: Place | None, field: str) -> None:
    """A day begins in a zone that exists. Raises Invalid."""
    if place and place.time_zone and place.time_zone not in available_timezones():
        raise unknown_zone(f"{field}.time_zone", place.time_zone)


def _canonical_field(fields: Mapping[str, Any], name: str) -> str:
    return canonical(fields[name]) if name in fields else ""


def unknown_zone(field: str, zone: str) -> Invalid:
    return Invalid.field(field, "{zone!r} is no time zone; one is Europe/Lisbon", zone=zone)


class Acceptance(Value):
    """The customer's yes, as somebody wrote it down."""

    on: date
    po_number: Word = ""
    """The number of their purchase order."""
    document: StorableText = ""
    """Where the signed paper is."""


class Customer(Value):
    id: Id
    name: Name


class QuoteLine(Value):
    """One product on a quote. Its net total follows from quantity, list price, discount and term."""

    id: Id
    product: Id
    name: StorableText = ""
    family: Word | None = None
    kind: LineKind | None = None
    """What billing and recognition say, unless told."""
    quantity: Quantity
    unit: Word | None = None
    """What it is measured in: kg, t, h; pieces without it."""
    list_price: Price
    discount_percent: Percent | None = None
    """Blank where nobody stated one: then it counts as none, and not in an average."""
    net_price: Price | None = None
    net_total: Price | None = None
    billing: Billing = Billing.ONE_TIME
    term_months: Months | None = None
    recognition: Recognition = Recognition.DELIVERY
    requires: Id | None = None
    severable: bool = False
    step: Quantity | None = None
    """The smallest quantity that can be ordered; what the quoted one is counted in, unless told."""
    over_percent: Percent | None = None
    """How much more than ordered may arrive."""
    under_percent: Percent | None = None
    """How much less than ordered is enough."""
    group: Word | None = None
    ship_to: Place | None = None
    requested_date: date | None = None
    sla: Word | None = None
    """One of the company's levels of service."""
    milestones: Annotated[tuple[Milestone, ...], Field(min_length=1, max_length=50)] | None = None
    """Where it is recognised by milestones; they make up 100 percent."""
    acceptance_days: Annotated[int, Field(ge=0, le=366)] | None = None
    """The customer must accept what was delivered before it is recognised, and has when so many days have passed."""
    proration: ProrationPolicy | None = None
    """How a part of its term is priced; by actual days unless told."""
    fields: Custom = {}
    custom: Custom = {}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        return gather_unknown(data, cls.model_fields)

    @property
    def discount(self) -> Decimal:
        return self.discount_percent or Decimal(0)

    @property
    def counted_in(self) -> Decimal:
        """The step in which it can be ordered: 1 for a dozen, 0.01 for 1.25, unless the line says otherwise."""
        return self.step or Decimal(1).scaleb(min(0, int(self.quantity.normalize().as_tuple().exponent)))

    @property
    def milestones_agreed(self) -> tuple[Milestone, ...]:
        """Those of a service that is recognised by them, or confirmed once it is done: one, unless told."""
        done = self.sold_as is LineKind.SERVICE and self.recognition is Recognition.DELIVERY
        if self.billing is not Billing.ONE_TIME or not (done or self.recognition is Recognition.MILESTONE):
            return ()
        return self.milestones or (Milestone(name="done", percent=HUNDRED),)

    @property
    def sold_as(self) -> LineKind:
        """Goods, a service or a subscription."""
        if self.kind:
            return self.kind
        if self.billing is Billing.RECURRING:
            return LineKind.SUBSCRIPTION
        return LineKind.GOODS if self.recognition is Recognition.DELIVERY else LineKind.SERVICE

    @property
    def earned_by(self) -> Recognition:
        """What earns its price; a service that is recognised on delivery is earned when it is confirmed."""
        return Recognition.MILESTONE if self.milestones_agreed else self.recognition

    def given(self, name: str) -> Any:
        """What somebody wrote into one of the company's own fields."""
        return {**self.custom, **self.fields}.get(name)

    def periods(self, quote_term: int | None) -> int:
        """How many times the price is paid: once, or each month of the term."""
        return (self.term_months or quote_term or 1) if self.billing is Billing.RECURRING else 1


class LineSums(Value):
    list_total: Decimal
    net_total: Decimal
    list_exact: Decimal
    net_exact: Decimal
    """Before they are rounded to the minor unit: ratios are computed from these."""


class Quote(Value):
    id: Id
    customer: Customer
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    owner: Id
    order_by: date | None = None
    term_months: Months | None = None
    payment_terms: Word | None = None
    partner: Id | None = None
    fields: Custom = {}
    lines: Annotated[tuple[QuoteLine, ...], Field(max_length=MAX_LINES)] = ()
    custom: Custom = {}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        return gather_unknown(data, cls.model_fields)

    def changed(self, **update: Any) -> "Quote":
        """A copy with these fields, whose sums are worked out anew: `model_copy` would keep those of the original."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return Quote.model_construct(**{**fields, **update})

    @cached_property
    def line_sums(self) -> tuple[LineSums, ...]:
        """For each line its list and net total in the quote's currency, rounded once per line.

        33.45 × 0.85 × 24 is 682.38; rounding the unit price first would lose six cents."""
        return tuple(self._sums(line) for line in self.lines)

    def _sums(self, line: QuoteLine) -> LineSums:
        full = line.quantity * line.list_price * line.periods(self.term_months)
        net = full * (HUNDRED - line.discount) / HUNDRED
        stated = line.net_total
        follows = stated is None or abs(stated - net) < minor_unit(self.currency)
        return LineSums(
            list_total=rounded(full, self.currency),
            net_total=rounded(net if stated is None else stated, self.currency),
            list_exact=full,
            net_exact=net if follows or stated is None else stated,
        )

    @cached_property
    def list_total(self) -> Decimal:
        return sum((s.list_total for s in self.line_sums), Decimal(0))

    @cached_property
    def net_total(self) -> Decimal:
        return sum((s.net_total for s in self.line_sums), Decimal(0))

    @cached_property
    def discount_percent(self) -> Decimal | None:
        """Of all lines, from amounts that are not rounded: lines at 20 % make 20 %, whatever their prices."""
        full = sum((s.list_exact for s in self.line_sums), Decimal(0))
        return discount_of(full, sum((s.net_exact for s in self.line_sums), Decimal(0)))

    @cached_property
    def digest(self) -> str:
        """Binds an approval to exactly this content."""
        return self.digest_without(())

    def digest_without(self, neutral: Collection[str]) -> str:
        """Binds an approval to this content, but for those fields that may change without asking again."""
        body = self.model_dump()
        for line in body["lines"]:
            for name in UNSAID:
                if line[name] is None:
                    del line[name]
        for name in neutral:
            for held in (body, body["fields"], body["custom"]):
                held.pop(name, None)
        return digest(body)

    def given(self, name: str) -> Any:
        """What somebody wrote into a header field, of ours or of the company's own."""
        return {**self.custom, **self.fields, **{n: getattr(self, n) for n in OWN_FIELDS}}.get(name)

    def differing(self, other: "Quote") -> set[str]:
        """The names of the fields in which another quote differs; the company's own each by its name. 1 is not true."""
        own = {name for name in type(self).model_fields if name not in ("fields", "custom")}
        named = {*self.fields, *self.custom, *other.fields, *other.custom}
        found = {name for name in own if canonical(getattr(self, name)) != canonical(getattr(other, name))}
        return found | {
            name
            for name in named
            if any(
                _canonical_field(getattr(self, held), name) != _canonical_field(getattr(other, held), name)
                for held in ("fields", "custom")
            )
        }

    def checked(self, keep_source_figures: bool = False) -> Self:
        """The quote itself, or Invalid naming each field that contradicts another.

        An import may keep its source's line totals (`keep_source_figures`); everybody else's must agree with
        quantity × list price × (1 − discount) × term to less than a minor unit."""
        unit = minor_unit(self.currency)
        if self.list_total >= MAX_TOTAL or self.net_total >= MAX_TOTAL:
            raise Invalid.field("lines", "add up to {most} or more", most=f"{MAX_TOTAL:,}")
        for n, line in enumerate(self.lines):
            check_zone(line.ship_to, f"lines[{n}].ship_to")
        problems: list[dict[str, str]] = []
        if not self.lines and not keep_source_figures:
            problems.append(problem("lines", "a quote needs at least one line"))
        seen: dict[str, int] = {}
        for n, line in enumerate(self.lines):
            where = f"lines[{n}]"
            if line.id in seen:
                problems.append(
                    problem(f"{where}.id", "{line!r} is also the id of lines[{seen}]", line=line.id, seen=seen[line.id])
                )
            seen.setdefault(line.id, n)
            if line.quantity % line.counted_in:
                problems.append(problem(f"{where}.quantity", "is no multiple of its step {step:n}", step=line.step))
            if line.milestones is not None:
                problems.extend(_milestones(line, where))
            problems.extend(_kind(line, where))
            if line.acceptance_days is not None and line.recognition is not Recognition.DELIVERY:
                problems.append(problem(f"{where}.acceptance_days", "is for what is recognised on delivery"))
            if not keep_source_figures:
                problems.extend(self._contradictions(line, where, unit))
        problems.extend(
            problem(f"lines[{n}].requires", "there is no other line {line!r} in this quote", line=line.requires)
            for n, line in enumerate(self.lines)
            if line.requires and (line.requires not in seen or line.requires == line.id)
        )
        if problems:
            raise Invalid.fields(problems, "the quote cannot be stored")
        return self

    def contradictions(self) -> list[dict[str, str]]:
        """The figures an import kept although they do not follow from the line."""
        unit = minor_unit(self.currency)
        return [p for n, line in enumerate(self.lines) for p in self._contradictions(line, f"lines[{n}]", unit)]

    def _contradictions(self, line: QuoteLine, where: str, unit: Decimal) -> list[dict[str, str]]:
        unit_net = line.list_price * (HUNDRED - line.discount) / HUNDRED
        expected = unit_net * line.quantity * line.periods(self.term_months)
        found = []
        if line.net_price is not None and abs(line.net_price - unit_net) >= unit:
            found.append(
                problem(
                    f"{where}.net_price",
                    "{net_price:n} contradicts list price and discount ({unit_net:n})",
                    net_price=line.net_price,
                    unit_net=unit_net,
                )
            )
        if line.net_total is not None and line.net_total % unit:
            found.append(
                problem(
                    f"{where}.net_total",
                    "{net_total:n} is finer than {currency} has: {unit:n}",
                    net_total=line.net_total,
                    currency=self.currency,
                    unit=unit,
                )
            )
        elif line.net_total is not None and abs(line.net_total - expected) >= unit:
            found.append(
                problem(
                    f"{where}.net_total",
                    "{net_total:n} contradicts quantity × list price × (1 − discount) × term ({expected:n})",
                    net_total=line.net_total,
                    expected=rounded(expected, self.currency),
                )
            )
        return found

    def testable(self, rates: Mapping[str, Decimal]) -> dict[str, Any]:
        """The header fields a policy can test; amounts in the company's currency, `…_original` in the quote's."""
        return {
            **self.custom,
            **self.fields,
            "id": self.id,
            "customer": self.customer.name,
            "customer_id": self.customer.id,
            "currency": self.currency,
            "owner": self.owner,
            "order_by": self.order_by,
            "term_months": None if self.term_months is None else Decimal(self.term_months),
            "payment_terms": self.payment_terms,
            "partner": self.partner,
            "list_total": converted(self.list_total, self.currency, rates),
            "net_total": converted(self.net_total, self.currency, rates),
            "list_total_original": self.list_total,
            "net_total_original": self.net_total,
            "discount_percent": self.discount_percent,
            "line_count": Decimal(len(self.lines)),
        }

    def testable_lines(self, rates: Mapping[str, Decimal]) -> list[dict[str, Any]]:
        """The fields of each line that a variable can gather; amounts in the company's currency."""
        rate = converted(Decimal(1), self.currency, rates)
        return [
            {
                **line.custom,
                **line.fields,
                "id": line.id,
                "product": line.product,
                "name": line.name,
                "family": line.family,
                "quantity": line.quantity,
                "list_price": line.list_price * rate,
                "discount_percent": line.discount_percent,
                "list_total": sums.list_total * rate,
                "net_total": sums.net_total * rate,
                "_list_total": sums.list_exact * rate,
                "_net_total": sums.net_exact * rate,
                "billing": line.billing.value,
                "term_months": None if line.term_months is None else Decimal(line.term_months),
                "recognition": line.recognition.value,
                "kind": line.sold_as.value,
                "unit": line.unit,
                "requires": line.requires,
                "group": line.group,
                "requested_date": line.requested_date,
                "sla": line.sla,
                "~terms": digest(line.model_dump(include=LINE_TERMS)),
            }
            for line, sums in zip(self.lines, self.line_sums, strict=True)
        ]


UNSAID = ("kind", "unit", "step", "over_percent", "under_percent", "milestones", "acceptance_days", "proration")
"""What a line may leave out, and then binds nobody."""
LINE_TERMS = {
    "ship_to", "step", "severable", "over_percent", "under_percent", "milestones", "acceptance_days", "proration",
}  # fmt: skip
"""What no condition tests and all the same belongs to what somebody approves of a line."""
OWN_FIELDS = ("order_by", "term_months", "payment_terms", "partner")


def _kind(line: QuoteLine, where: str) -> list[dict[str, str]]:
    """Only subscriptions are billed again and again, and only goods are recognised because they arrive."""
    recurring, subscription = line.billing is Billing.RECURRING, line.sold_as is LineKind.SUBSCRIPTION
    if recurring is not subscription:
        return [problem(f"{where}.kind", "is a subscription exactly where its billing is recurring")]
    if line.sold_as is LineKind.GOODS and line.recognition is not Recognition.DELIVERY:
        return [problem(f"{where}.kind", "is goods only where it is recognised on delivery")]
    return []


def _milestones(line: QuoteLine, where: str) -> list[dict[str, str]]:
    named = line.milestones or ()
    if not line.milestones_agreed:
        return [problem(f"{where}.milestones", "go with a one-time line that is recognised by milestone")]
    if len({milestone.name for milestone in named}) != len(named):
        return [problem(f"{where}.milestones", "need a name each")]
    total = sum((milestone.percent for milestone in named), Decimal(0))
    return (
        [] if total == HUNDRED else [problem(f"{where}.milestones", "make up {total:n} percent, not 100", total=total)]
    )


PERCENT_STEP = Decimal("1e-20")
"""Finer than any discount can be given. What is finer still comes from dividing, and would decide at a threshold."""


def discount_of(full: Decimal, net: Decimal) -> Decimal | None:
    """(1 − net/list) × 100; null for a list of zero."""
    if full == 0:
        return None
    with localcontext(prec=80):
        return Decimal(plain_number(((full - net) * HUNDRED / full).quantize(PERCENT_STEP)))
