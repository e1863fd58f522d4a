"""Reading what a command carries: never trusting, never raising."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from domain.orders.ledger import ZERO
from domain.orders.order import Order
from domain.runs import Outcome, refused, text_of
from domain.sentences import Sentence
from domain.values import number_of

Decided = tuple[Order, Outcome]


def too_late(order: Order) -> Decided:
    return order, refused("too_late", Sentence("The order is {state} already.", state=order.status), state=order.status)


def day_of(value: object) -> date | None:
    try:
        return date.fromisoformat(text_of(value, 10))
    except ValueError:
        return None


def amounts(value: object, least: Decimal | None = None) -> dict[str, Decimal] | None:
    """How much of which line; None unless every quantity is a number above 0, or not below `least`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return None
    found: dict[str, Decimal] = {}
    for name, quantity in value.items():
        number = number_of(str(quantity))
        if number is None or not number < 10**9 or number != round(number, 6):
            return None
        if number <= ZERO and (least is None or number < least):
            return None
        found[str(name)] = number
    return found
