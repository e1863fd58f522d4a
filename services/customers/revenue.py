"""Finance's questions: what is recognised and what remains, by month, as known when; and closing months."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from domain.customers.proration import months_after
from domain.customers.revenue import check_closing, month_of
from domain.errors import Invalid
from domain.orders.ledger import ZERO
from domain.people import Person
from domain.values import Amount, Value
from services.context import ServiceContext, authorise
from services.imports.records import csv_of, spreadsheet_safe
from services.runs.commands import Caller
from storage.customers import facts, revenue
from storage.customers.revenue import Booked, By, Sums

MOST_MONTHS = 240
WEST = timedelta(hours=12)
"""A day ends last where clocks are so far behind UTC: a month closes once it is over everywhere."""


class RevenueMonth(Value):
    """What one month recognised, and what of everything sold by its end is still to be."""

    month: str
    of: str
    currency: str
    sold: Amount
    """By how much the price of what is on order grew in it."""
    recognised: Amount
    remaining: Amount


class OrderRevenue(Value):
    price: Amount
    recognised: Amount
    """Up to and with this month."""
    remaining: Amount
    entries: list[Booked]


class Revenue:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def by_month(
        self, person: Person, first: date, last: date, by: By, known_at: datetime | None, customer: str | None = None
    ) -> list[RevenueMonth]:
        """Each month between two in which something was sold or recognised, of the company or by product or customer.

        Raises Invalid."""
        authorise(person, "revenue.read")
        first, last = month_of(first), month_of(last)
        if last < first or months_after(first, MOST_MONTHS) < last:
            raise Invalid.field("to", "is a month from the first on, at most {most} later", most=MOST_MONTHS)
        async with self._context.database.reading() as session:
            sums = await revenue.by_month(session, by, last, known_at, customer, first)
        return list(with_remaining(sums))

    async def of_order(self, person: Person, order: str) -> OrderRevenue:
        """Every amount that was booked for an order, with what earned it."""
        authorise(person, "revenue.read")
        async with self._context.database.reading() as session:
            entries = await revenue.of_order(session, order)
        price = revenue.total(entries, "price")
        recognised = revenue.total(entries, "earned", self._context.company_day())
        return OrderRevenue(price=price, recognised=recognised, remaining=price - recognised, entries=entries)

    async def closed_through(self, person: Person) -> date | None:
        authorise(person, "revenue.read")
        async with self._context.database.reading() as session:
            return await facts.closed_through(session)

    async def close(self, caller: Caller, month: date) -> None:
        """Nothing is booked into this month any more. Raises Locked, Invalid."""
        authorise(caller.person, "periods.close")
        context = self._context
        async with context.database.writing() as session:
            closed = await facts.closed_through(session, closing=True)
            check_closing(month, closed, min(context.company_day(), (context.clock() - WEST).date()))
            await facts.close(session, month)
            await context.audit(session, caller, "books", "close_period", month=f"{month:%Y-%m}")


def with_remaining(sums: Iterable[Sums]) -> Iterable[RevenueMonth]:
    """The months in order, each with what is left of everything before it; those before the first are not shown."""
    left: dict[tuple[str, str], Amount] = {}
    for s in sums:
        key = s.of, s.currency
        left[key] = left.get(key, ZERO) + s.price - s.earned
        if s.month != date.min:
            yield RevenueMonth(
                month=f"{s.month:%Y-%m}",
                of=s.of,
                currency=s.currency,
                sold=s.price,
                recognised=s.earned,
                remaining=left[key],
            )


COLUMNS = tuple(RevenueMonth.model_fields)


def as_csv(months: Iterable[RevenueMonth]) -> str:
    """A row for each month; amounts as numbers, texts safe to open."""
    rows = ((m.month, spreadsheet_safe(m.of), m.currency, m.sold, m.recognised, m.remaining) for m in months)
    return csv_of([COLUMNS, *rows])
