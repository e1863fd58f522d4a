"""How much a part of a term is worth: named policies, of which each line has one."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

from domain.money import rounded
from domain.orders.split import later
from domain.quotes import ProrationPolicy

USUAL: ProrationPolicy = "actual_days"
Span = tuple[date, date]
"""From a day up to, and without, another."""


def months_after(first: date, months: int) -> date:
    """The day a number of months later; the end of a month where it is shorter."""
    return later(first, "month", months)


def measure(span: Span, policy: ProrationPolicy, cycle_day: int) -> Decimal:
    """How long a span is: in days for `actual_days`, in months otherwise.

    Billing months begin on `cycle_day`, 1 to 28."""
    return MEASURES[policy](span, cycle_day)


def prorated(net: Decimal, whole: Span, part: Span, policy: ProrationPolicy, currency: str) -> Decimal:
    """What a part is worth of a net for the whole, rounded once, half up; more than the net where it is longer.

    Billing months are those that the whole begins with."""
    cycle_day = min(whole[0].day, 28)
    return rounded(net * measure(part, policy, cycle_day) / measure(whole, policy, cycle_day), currency)


def _days(span: Span, cycle_day: int) -> Decimal:
    return Decimal((span[1] - span[0]).days)


def _billing_months(span: Span, cycle_day: int) -> Decimal:
    """Whole billing months, and of those at the ends as many days as they share, of as many as each has."""
    total, begins = Decimal(0), _cycle(span[0], cycle_day)
    while begins < span[1]:
        ends = months_after(begins, 1)
        shared = (min(ends, span[1]) - max(begins, span[0])).days
        total += Decimal(shared) / (ends - begins).days
        begins = ends
    return total


def _thirtieths(span: Span, cycle_day: int) -> Decimal:
    """Whole months from the first day on, and each day that is left as a thirtieth, thirty at most."""
    months = 0
    while months_after(span[0], months + 1) <= span[1]:
        months += 1
    left = (span[1] - months_after(span[0], months)).days
    return months + Decimal(min(left, 30)) / 30


def _cycle(day: date, cycle_day: int) -> date:
    """The last first day of a billing month, up to this day."""
    this = day.replace(day=cycle_day)
    return this if this <= day else (this.replace(day=1) - timedelta(days=1)).replace(day=cycle_day)


MEASURES: dict[ProrationPolicy, Callable[[Span, int], Decimal]] = {
    "actual_days": _days,
    "months_and_days_of_billing_month": _billing_months,
    "months_and_thirtieths": _thirtieths,
}
