"""Values as people read them in reasons."""

from decimal import Decimal
from functools import lru_cache

from domain.approvals import operators
from domain.values import Testable, plain_number

MOST_PLACES = 12
"""So many decimals an amount can have: a figure that was divided goes on for ever."""


def _looks_rounder(value: Decimal, places: int) -> bool:
    written = round(value, places)
    return written != value and written == round(written, 2)


@lru_cache(maxsize=8192, typed=True)
def shown(value: Testable) -> str:
    """A value in a reason; nothing is `blank`. Numbers have four places, or as many as it takes not to look like a
    rounder figure: 20.00001 is never 20."""
    if isinstance(value, Decimal):
        places = next((n for n in range(4, MOST_PLACES) if not _looks_rounder(value, n)), MOST_PLACES)
        return plain_number(round(value, places))
    if operators.is_blank(value):
        return "blank"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)
