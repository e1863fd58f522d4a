"""Values as people read them in reasons."""

from decimal import Decimal
from functools import lru_cache

from domain.approvals import operators
from domain.values import Testable, plain_number


@lru_cache(maxsize=8192, typed=True)
def shown(value: Testable) -> str:
    """A value in a reason: numbers to at most four places, nothing as `blank`."""
    if isinstance(value, Decimal):
        return plain_number(round(value, 4))
    if operators.is_blank(value):
        return "blank"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)
