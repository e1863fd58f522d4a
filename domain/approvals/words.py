"""Values as people read them in reasons."""

from decimal import Decimal
from functools import lru_cache

from domain.approvals import operators
from domain.money import legible
from domain.values import Testable, plain_number

DECIMALS = range(4, 13)
"""Twelve is as many as an amount can have: a figure that was divided goes on for ever."""


@lru_cache(maxsize=8192, typed=True)
def shown(value: Testable) -> str:
    """A value in a reason; nothing is `blank`. Numbers have four places, or as many as it takes not to look like a
    rounder figure: 20.00001 is never 20."""
    if isinstance(value, Decimal):
        return plain_number(legible(value, DECIMALS))
    if operators.is_blank(value):
        return "blank"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)
