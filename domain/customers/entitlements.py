"""What a customer may use or claim on a day, as far as it was known at an instant."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

from domain.customers.facts import Fact, Kind, by_line, known
from domain.customers.holdings import subscriptions, terms_of_line
from domain.customers.proration import months_after
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
    found = []
    for (order, line), some in by_line(known(facts, on, at)).items():
        terms = terms_of_line(some)
        if terms is None:
            continue
        quantity, starts, ends = _running(some, on) if terms.runs else _handed_over(some, terms.months)
        if starts is None or quantity <= 0 or on < starts or (ends and ends <= on):
            continue
        found.append(
            Entitlement(
                order=order, line=line, product=some[0].product, name=some[0].name, quantity=quantity, sla=terms.sla,
                response_hours=response_hours.get(terms.sla or ""), starts=starts, ends=ends,
                because=tuple(dict.fromkeys(fact.source for fact in some)),
            )
        )  # fmt: skip
    return found


def _running(facts: list[Fact], on: date) -> tuple[Decimal, date | None, date | None]:
    for one in subscriptions(facts):
        return one.quantity_on(on), one.starts, one.ends
    return ZERO, None, None


def _handed_over(facts: list[Fact], months: int | None) -> tuple[Decimal, date | None, date | None]:
    """What arrived less what came back; a service is claimed for as many months as were agreed."""
    arrived = [fact for fact in facts if fact.kind is Kind.DELIVERED]
    if not arrived:
        return ZERO, None, None
    starts = min(fact.on for fact in arrived)
    back = sum((fact.quantity for fact in facts if fact.kind is Kind.RETURNED), ZERO)
    quantity = sum((fact.quantity for fact in arrived), ZERO) - back
    return quantity, starts, months_after(starts, months) if months else None
