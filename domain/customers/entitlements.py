"""What a customer may use or claim on a day, as far as it was known at an instant."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

from domain.customers.facts import Fact, by_line, known
from domain.customers.holdings import subscriptions, terms_by_line
from domain.customers.proration import months_after
from domain.customers.units import Delivered, delivered_units
from domain.orders.ledger import ZERO
from domain.values import Amount, Instant, Value


class Entitlement(Value):
    order: str
    line: str
    product: str
    name: str
    quantity: Amount
    sla: str | None
    response_hours: int | None
    starts: date
    ends: date | None
    because: tuple[str, ...]
    """The shipments and events that it follows from."""


def entitlements(
    facts: Iterable[Fact], on: date, at: Instant | None, response_hours: Mapping[str, int]
) -> list[Entitlement]:
    """Never more than what was delivered and did not come back, and only while it runs."""
    found, there = [], known(facts, on, at)
    terms = terms_by_line(there)
    units: dict[tuple[str, str], list[Delivered]] = {}
    for unit in delivered_units(there, terms):
        units.setdefault((unit.fact.order, unit.fact.line), []).append(unit)
    for key, some in by_line(there).items():
        if (agreed := terms.get(key)) is None:
            continue
        spans = _running(some, on) if agreed.runs else _handed_over(units.get(key, []), agreed.months)
        found += [
            Entitlement(
                order=key[0],
                line=key[1],
                product=some[0].product,
                name=some[0].name,
                quantity=quantity,
                sla=agreed.sla,
                response_hours=response_hours.get(agreed.sla or ""),
                starts=starts,
                ends=ends,
                because=tuple(dict.fromkeys(fact.source for fact in some)),
            )
            for starts, ends, quantity in spans
            if quantity > 0 and starts <= on and not (ends and ends <= on)
        ]
    return found


Entitled = tuple[date, date | None, Decimal]
"""From when, until when, and how much."""


def _running(facts: list[Fact], on: date) -> list[Entitled]:
    return [(one.starts, one.ends, one.quantity_on(on)) for one in subscriptions(facts)]


def _handed_over(units: Iterable[Delivered], months: int | None) -> list[Entitled]:
    """What arrived and stayed; where a term was agreed, each delivery has its own."""
    by_start: dict[date, Decimal] = {}
    for unit in units:
        for since, quantity in unit.covered:
            by_start[since] = by_start.get(since, ZERO) + quantity
    if months:
        return [(since, months_after(since, months), quantity) for since, quantity in sorted(by_start.items())]
    return [(min(by_start), None, sum(by_start.values(), ZERO))] if by_start else []
