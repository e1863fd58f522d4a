"""What really happened to the lines of a customer's orders. Facts are appended and never changed.

Each has two times: the day it is true from, and the instant it became known. Everything else follows from them."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum

from domain.customers.proration import USUAL, Span, months_after
from domain.orders.ledger import NOTHING, ZERO, Share
from domain.orders.order import Line, Order, Phase
from domain.quotes import Billing, LineKind, Milestone, ProrationPolicy, Quote, QuoteLine, Recognition
from domain.values import Amount, Instant, Value, short_id


class Kind(StrEnum):
    ORDERED = "ordered"
    """So much more is on order for so much more money; less where negative."""
    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    """The customer accepts what was delivered."""
    MILESTONE = "milestone"
    RETURNED = "returned"
    REPLACED = "replaced"
    """Something else was delivered for what came back; less where that came back too."""
    EXTENDED = "extended"
    """A subscription runs longer, or ends with others."""
    ENDED = "ended"
    """A subscription that went on from month to month does not go on any more."""


class Terms(Value):
    """What was agreed for a line, as far as anything follows from it."""

    recognition: Recognition
    billing: Billing
    goods: bool
    months: int | None = None
    sla: str | None = None
    proration: ProrationPolicy = USUAL
    acceptance_days: int | None = None
    milestones: tuple[Milestone, ...] = ()

    @property
    def subscribed(self) -> bool:
        return self.billing is Billing.RECURRING

    @property
    def runs(self) -> bool:
        """Whether it is used over a time, rather than handed over."""
        return not self.goods and (self.subscribed or (self.recognition is Recognition.RATABLE and bool(self.months)))


class Fact(Value):
    id: str
    customer: str
    order: str
    line: str
    product: str
    name: str
    currency: str
    kind: Kind
    on: date
    """The day from which it is true."""
    at: Instant
    """When it became known."""
    quantity: Amount = ZERO
    net: Amount = ZERO
    starts: date | None = None
    ends: date | None = None
    """The first day on which it runs no more."""
    terms: Terms | None = None
    """With everything that is ordered."""
    contract: str | None = None
    source: str
    """What brought it: a shipment, a milestone, a return, a command."""
    serials: tuple[str, ...] = ()
    by: str | None = None
    """The order that replaced it."""

    @property
    def span(self) -> Span | None:
        """When it runs; a service without an end is paid by the month."""
        return (self.starts, self.ends or months_after(self.starts, 1)) if self.starts else None


def terms_of(line: QuoteLine, quote: Quote) -> Terms:
    goods = line.sold_as is LineKind.GOODS
    months = line.term_months or quote.term_months
    return Terms(
        recognition=line.earned_by,
        billing=line.billing,
        goods=goods,
        months=line.term_months if goods else months,
        sla=line.sla,
        proration=line.proration or USUAL,
        acceptance_days=line.acceptance_days,
        milestones=line.milestones_agreed,
    )


def known(facts: Iterable[Fact], on: date | None = None, at: Instant | None = None) -> list[Fact]:
    """Those that are true by a day, as far as they were known at an instant."""
    return [f for f in facts if (on is None or f.on <= on) and (at is None or f.at <= at)]


def by_line(facts: Iterable[Fact]) -> dict[tuple[str, str], list[Fact]]:
    """For each line of each order what happened to it, in the order in which it became known."""
    found: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        found.setdefault((fact.order, fact.line), []).append(fact)
    return found


def awaits_acceptance(facts: Iterable[Fact]) -> bool:
    """Whether the customer has yet to accept the newest delivery of a line that asks for it."""
    waits = asked = False
    for fact in facts:
        asked = asked or bool(fact.terms and fact.terms.acceptance_days is not None)
        waits = fact.kind is Kind.DELIVERED or (waits and fact.kind is not Kind.ACCEPTED)
    return asked and waits


# --- from the steps of an order ---------------------------------------------------------------------------------------


def held(order: Order) -> dict[str, Share]:
    """What is with the back office of each line."""
    if order.phase is not Phase.ACTIVE:
        return {}
    return {line.line: line.share.minus(line.renewed) for line in order.lines}


def needs_terms(was: Order, now: Order) -> bool:
    """Whether what happened can only be told by someone who has read the quote."""
    return held(was) != held(now)


def happened(
    was: Order,
    now: Order,
    terms: Mapping[str, Terms],
    customer: str,
    today: date,
    at: Instant,
    original: str | None = None,
) -> list[Fact]:
    """What a step of an order brings about. `today` is the day at the ship-to; co-termination comes after.

    `original` is the order that was paid for, where this one replaces goods of it."""
    facts: list[Fact] = []
    before, after = held(was), held(now)
    for name in {**before, **after}:
        share, old = after.get(name, NOTHING), before.get(name, NOTHING)
        if share == old:
            continue
        line = now.line(name) or was.line(name)
        assert line is not None
        facts.append(_ordered(now, line, share.minus(old), terms.get(name), customer, today, at))
        if handed := _handed_over(was, now, name, terms.get(name)):
            facts.append(_of(now, line, Kind.DELIVERED, customer, today, at, quantity=handed, source="activation"))
    for news in now.news:
        line = now.line(news.line)
        assert line is not None
        kind = Kind(news.kind)
        starts = news.on if kind is Kind.EXTENDED else None
        facts.append(
            _of(
                now,
                line,
                kind,
                customer,
                news.on or today,
                at,
                quantity=news.quantity,
                source=news.source,
                serials=news.serials,
                net=news.net,
                starts=starts,
                ends=news.ends,
            )
        )
        if kind is Kind.DELIVERED and original:
            facts.append(replacement_fact(facts[-1], original, news.quantity))
    return [
        fact.evolve(id=short_id("f", now.id, now.seq, n), source=fact.source or "order") for n, fact in enumerate(facts)
    ]


def replacement_fact(fact: Fact, original: str, quantity: Decimal) -> Fact:
    """What a delivery of a replacement, or its return, means for the order that was paid for."""
    update = {"kind": Kind.REPLACED, "order": original, "quantity": quantity, "serials": (), "by": fact.order}
    return fact.evolve(**update)


def _ordered(
    order: Order, line: Line, more: Share, terms: Terms | None, customer: str, today: date, at: Instant
) -> Fact:
    runs = bool(terms and terms.runs)
    starts = line.starts or today
    own_end = months_after(starts, terms.months) if terms and terms.runs and terms.months else None
    ends = line.ends if runs and line.ends and line.ends > starts else own_end
    return _of(
        order,
        line,
        Kind.ORDERED,
        customer,
        today,
        at,
        quantity=more.quantity,
        net=more.net,
        terms=terms,
        starts=starts if runs else None,
        ends=ends,
        source="",
    )


def _handed_over(was: Order, now: Order, name: str, terms: Terms | None) -> Decimal:
    """Services that take no time are delivered as soon as they are on order."""
    line, old = now.line(name), was.line(name)
    if line is None or line.shipped_goods or line.milestones or (terms and terms.runs):
        return ZERO
    return max(ZERO, line.delivered - (old.delivered if old and was.phase is Phase.ACTIVE else ZERO))


def _of(order: Order, line: Line, kind: Kind, customer: str, on: date, at: Instant, **more: object) -> Fact:
    given = {"source": "", **more}
    return Fact(
        id="",
        customer=customer,
        order=order.id,
        line=line.line,
        product=line.product,
        name=line.name,
        currency=order.currency,
        kind=kind,
        on=on,
        at=at,
        **given,
    )
