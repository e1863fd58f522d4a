"""Facts, made short."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from domain.customers.facts import Fact, Kind, Terms
from domain.quotes import Billing, Recognition

GOODS = Terms(recognition=Recognition.DELIVERY, billing=Billing.ONE_TIME, goods=True)
A_YEAR = Terms(recognition=Recognition.RATABLE, billing=Billing.RECURRING, goods=False, months=12)


def day(text: str) -> date:
    return date.fromisoformat(text)


def instant(text: str) -> datetime:
    return datetime.combine(day(text), time(12), tzinfo=UTC)


def a_fact(kind: Kind, on: str, quantity: str = "0", net: str = "0", known: str = "", **more: Any) -> Fact:
    """Something about line 1 of order O-1, known at noon of its own day unless told otherwise."""
    given = {
        "id": f"{kind}-{on}-{quantity}-{net}", "customer": "C-1", "order": "O-1", "line": "1", "product": "P-1",
        "name": "Pump", "currency": "EUR", "source": "S-1", **more,
    }  # fmt: skip
    return Fact(kind=kind, on=day(on), at=instant(known or on), quantity=Decimal(quantity), net=Decimal(net), **given)


def ordered(on: str, quantity: str, net: str, terms: Terms = GOODS, **more: Any) -> Fact:
    return a_fact(Kind.ORDERED, on, quantity, net, terms=terms, **more)


def delivered(on: str, quantity: str, **more: Any) -> Fact:
    return a_fact(Kind.DELIVERED, on, quantity, **more)


def subscribed(on: str, ends: str | None, quantity: str, net: str, **more: Any) -> Fact:
    terms = more.pop("terms", A_YEAR)
    return ordered(on, quantity, net, terms, starts=day(on), ends=day(ends) if ends else None, **more)
