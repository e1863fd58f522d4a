"""The figures that are kept of orders: on time, not in stock, refused, and what is to come week by week."""

from datetime import date, timedelta

from domain.errors import Invalid
from domain.money import rounded
from domain.orders.ledger import ZERO
from domain.people import Person
from domain.values import Amount, Value
from services.context import ServiceContext, authorise
from services.imports.records import BOM, csv_of, spreadsheet_safe
from storage.orders import figures
from storage.orders.figures import Future, OnTime, Waiting

WEEKS, USUAL_DAYS, MOST_DAYS = 13, 90, 3_660


class Week(Value):
    """Orders that start in one week, in one currency."""

    begins: date
    """Its Monday."""
    orders: int
    currency: str
    net_total: Amount


class OrderFigures(Value):
    first: date
    last: date
    on_time: OnTime
    not_in_stock: list[Waiting]
    refused: list[Waiting]
    weeks: list[Week]


class Figures:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def orders(self, person: Person, first: date | None, last: date | None) -> OrderFigures:
        """On time between two days, the last ninety unless told; the rest as of now. Raises Invalid."""
        authorise(person, "figures.read")
        today = self._context.today_of(person)
        last = last or today
        first = first or last - timedelta(days=USUAL_DAYS)
        if not first <= last <= first + timedelta(days=MOST_DAYS):
            raise Invalid.field("to", "is a day from the first on, at most {most} later", most=MOST_DAYS)
        async with self._context.database.reading() as session:
            return OrderFigures(
                first=first,
                last=last,
                on_time=await figures.on_time(session, first, last, today),
                not_in_stock=await figures.not_in_stock(session),
                refused=await figures.refused(session),
                weeks=_weeks(await figures.to_come(session, _monday(today) + timedelta(weeks=WEEKS, days=-1))),
            )


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _weeks(orders: list[Future]) -> list[Week]:
    found: dict[tuple[date, str], Week] = {}
    for order in orders:
        key = _monday(order.day), order.currency
        known = found.get(key, Week(begins=key[0], orders=0, currency=key[1], net_total=ZERO))
        more = {"orders": known.orders + 1, "net_total": known.net_total + rounded(order.net_total, order.currency)}
        found[key] = known.evolve(**more)
    return [found[key] for key in sorted(found)]


def as_csv(found: OrderFigures) -> str:
    """Everything in one list: what, of what, how much."""
    kept: list[tuple[object, ...]] = [(name, f"{found.first} – {found.last}", count) for name, count in found.on_time]
    for name, waiting in (("not_in_stock", found.not_in_stock), ("refused", found.refused)):
        kept += [(name, spreadsheet_safe(one.order), one.since.isoformat()) for one in waiting]
    kept += [(f"week_{week.currency}", week.begins, week.net_total) for week in found.weeks]
    return BOM + csv_of([("figure", "of", "value"), *kept])
