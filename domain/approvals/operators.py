"""The operators of a condition. Numbers compare as decimals, dates as dates, text exactly; a negated operator is the
exact complement of its positive; ordering against nothing is false; a blank equals a blank."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cache

from domain.values import Testable, number_of


class Operator(StrEnum):
    EQUALS = "equals"
    NOT_EQUALS = "not_equals"
    LESS_THAN = "less_than"
    LESS_OR_EQUALS = "less_or_equals"
    GREATER_THAN = "greater_than"
    GREATER_OR_EQUALS = "greater_or_equals"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    CONTAINS = "contains"
    DOES_NOT_CONTAIN = "does_not_contain"
    IN = "in"
    NOT_IN = "not_in"
    IS_BLANK = "is_blank"
    IS_NOT_BLANK = "is_not_blank"


O = Operator  # noqa: E741 - the tables below read as tables
NEGATIONS = {
    O.NOT_EQUALS: O.EQUALS,
    O.DOES_NOT_CONTAIN: O.CONTAINS,
    O.NOT_IN: O.IN,
    O.IS_NOT_BLANK: O.IS_BLANK,
}
COMPLEMENTS = {
    **NEGATIONS,
    **{positive: negative for negative, positive in NEGATIONS.items()},
    O.LESS_THAN: O.GREATER_OR_EQUALS,
    O.GREATER_OR_EQUALS: O.LESS_THAN,
    O.GREATER_THAN: O.LESS_OR_EQUALS,
    O.LESS_OR_EQUALS: O.GREATER_THAN,
}
"""What an operator watches under NOT."""
ORDERINGS = (O.LESS_THAN, O.LESS_OR_EQUALS, O.GREATER_THAN, O.GREATER_OR_EQUALS)
TEXT_ONLY = (O.STARTS_WITH, O.ENDS_WITH)
CONTAININGS = (O.CONTAINS, O.DOES_NOT_CONTAIN)
LISTINGS = (O.IN, O.NOT_IN)
UNARY = (O.IS_BLANK, O.IS_NOT_BLANK)
SIGNS = {
    O.EQUALS: "=", O.NOT_EQUALS: "≠", O.LESS_THAN: "<", O.LESS_OR_EQUALS: "≤",
    O.GREATER_THAN: ">", O.GREATER_OR_EQUALS: "≥",
}  # fmt: skip


@cache
def sign(operator: Operator) -> str:
    """How the operator is written in a reason."""
    return SIGNS.get(operator, operator.value.replace("_", " "))


def is_blank(value: Testable) -> bool:
    return value is None or value == "" or value == ()


def holds(operator: Operator, tested: Testable, compared: Testable) -> bool:
    if operator in NEGATIONS:
        return not holds(NEGATIONS[operator], tested, compared)
    return POSITIVES[operator](tested, compared)


def alike(a: Testable, b: Testable) -> tuple[Testable, Testable]:
    """Both as numbers or both as dates where one of them is; `"2.0"` out of an export equals 2."""
    if isinstance(a, bool) or isinstance(b, bool):
        return _truth(a), _truth(b)
    if isinstance(a, Decimal) or isinstance(b, Decimal):
        return _number(a), _number(b)
    if isinstance(a, date) or isinstance(b, date):
        return _day(a), _day(b)
    return a, b


def _truth(value: Testable) -> Testable:
    words = {"true": True, "false": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


def _number(value: Testable) -> Testable:
    """A text that is a number as one."""
    number = number_of(value) if isinstance(value, str) else None
    return value if number is None else number


def _day(value: Testable) -> Testable:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        return value


def _equals(tested: Testable, compared: Testable) -> bool:
    if is_blank(tested) or is_blank(compared):
        return is_blank(tested) and is_blank(compared)
    a, b = (tested, compared) if type(tested) is type(compared) else alike(tested, compared)
    return type(a) is type(b) and a == b


def _ordered(compare: Callable[[Decimal, Decimal], bool]) -> Callable[[Testable, Testable], bool]:
    def outcome(tested: Testable, compared: Testable) -> bool:
        if type(tested) is Decimal and type(compared) is Decimal:
            return compare(tested, compared)
        a, b = alike(tested, compared)
        if isinstance(a, Decimal) and isinstance(b, Decimal):
            return compare(a, b)
        if isinstance(a, date) and isinstance(b, date):
            return compare(Decimal(a.toordinal()), Decimal(b.toordinal()))
        return False

    return outcome


def _textual(compare: Callable[[str, str], bool]) -> Callable[[Testable, Testable], bool]:
    def outcome(tested: Testable, compared: Testable) -> bool:
        return isinstance(tested, str) and isinstance(compared, str) and compare(tested, compared)

    return outcome


def _contains(tested: Testable, compared: Testable) -> bool:
    if isinstance(tested, tuple):
        return isinstance(compared, str) and compared in tested
    return isinstance(tested, str) and isinstance(compared, str) and compared in tested


def _in(tested: Testable, compared: Testable) -> bool:
    return isinstance(compared, tuple) and any(_equals(tested, option) for option in compared)


POSITIVES: dict[Operator, Callable[[Testable, Testable], bool]] = {
    O.EQUALS: _equals,
    O.LESS_THAN: _ordered(lambda a, b: a < b),
    O.LESS_OR_EQUALS: _ordered(lambda a, b: a <= b),
    O.GREATER_THAN: _ordered(lambda a, b: a > b),
    O.GREATER_OR_EQUALS: _ordered(lambda a, b: a >= b),
    O.STARTS_WITH: _textual(str.startswith),
    O.ENDS_WITH: _textual(str.endswith),
    O.CONTAINS: _contains,
    O.IN: _in,
    O.IS_BLANK: lambda tested, _: is_blank(tested),
}
