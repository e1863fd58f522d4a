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
    return MEASURES[policy](span, _cycle(span[0], cycle_day))


def prorated(net: Decimal, whole: Span, part: Span, policy: ProrationPolicy, currency: str) -> Decimal:
    """What a part is worth of a net for the whole, rounded once, half up; more than the net where it is longer.

    Months are those that begin on the first day of the whole."""
    measured, of = (MEASURES[policy](span, whole[0]) for span in (part, whole))
    return rounded(net * measured / of, currency)


def _days(span: Span, anchor: date) -> Decimal:
    return Decimal((span[1] - span[0]).days)


def _billing_months(span: Span, anchor: date) -> Decimal:
    """Whole billing months, and of those at the ends as many days as they share, of as many as each has."""
    total, n = Decimal(0), _months_until(anchor, span[0])
    while (begins := months_after(anchor, n)) < span[1]:
        ends = months_after(anchor, n + 1)
        shared = (min(ends, span[1]) - max(begins, span[0])).days
        total, n = total + Decimal(shared) / (ends - begins).days, n + 1
    return total


def _thirtieths(span: Span, anchor: date) -> Decimal:
    """Whole months from the first day on, and each day that is left as a thirtieth, thirty at most.

    A span that begins with a month of the anchor keeps its day: from 28 February to 31 August are six months, where
    months end on the 31st."""
    first = _months_until(anchor, span[0])
    start, n = (anchor, first) if months_after(anchor, first) == span[0] else (span[0], 0)
    months = 0
    while months_after(start, n + months + 1) <= span[1]:
        months += 1
    left = (span[1] - months_after(start, n + months)).days
    return months + Decimal(min(left, 30)) / 30


def _months_until(anchor: date, day: date) -> int:
    """How many months of the anchor have begun by a day."""
    months = (day.year - anchor.year) * 12 + day.month - anchor.month
    return months if months_after(anchor, months) <= day else months - 1


def _cycle(day: date, cycle_day: int) -> date:
    """The last first day of a billing month, up to this day."""
    this = day.replace(day=cycle_day)
    return this if this <= day else (this.replace(day=1) - timedelta(days=1)).replace(day=cycle_day)


MEASURES: dict[ProrationPolicy, Callable[[Span, date], Decimal]] = {
    "actual_days": _days,
    "months_and_days_of_billing_month": _billing_months,
    "months_and_thirtieths": _thirtieths,
}
