"""The books, added up: databases sum whole minor units, exactly."""

from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import Select, case, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.customers.revenue import Entry
from domain.money import minor_unit
from domain.orders.ledger import ZERO
from domain.values import Amount, Instant, Value
from storage.customers.facts import BOOKED
from storage.database import execute
from storage.tables import FactRow

FACTS = FactRow.__table__  # type: ignore[attr-defined]
By = Literal["company", "product", "customer"]


class Sums(Value):
    """What a month brought, in one currency."""

    month: date
    of: str
    """The product or customer; empty for the company."""
    currency: str
    price: Amount
    earned: Amount


class Booked(Entry):
    """An entry with what it is about, and the fact behind it."""

    order: str
    line: str
    product: str
    currency: str
    at: Instant
    because: str
    """What brought the fact: a shipment, a milestone, a return, the order itself."""
    on: date


async def by_month(
    session: AsyncSession,
    by: By,
    last: date,
    known_at: datetime | None,
    customer: str | None = None,
    first: date = date.min,
) -> list[Sums]:
    """Price and earned of each month up to the last; what is before the first, as one month of its own."""
    month = case((BOOKED.c.month < first, date.min), else_=BOOKED.c.month).label("month")
    of: tuple[Any, ...] = () if by == "company" else (BOOKED.c[by],)
    sums = [
        func.sum(case((BOOKED.c.kind == kind, BOOKED.c.amount), else_=0)).label(kind) for kind in ("price", "earned")
    ]
    query = select(month, *of, BOOKED.c.currency, *sums).where(BOOKED.c.month <= last)
    query = query.group_by(month, *of, BOOKED.c.currency).order_by(*of, BOOKED.c.currency, month)
    found = []
    for row in await execute(session, _limited(query, known_at, customer)):
        unit = minor_unit(row.currency)
        found.append(
            Sums(
                month=row.month,
                of=getattr(row, by) if of else "",
                currency=row.currency,
                price=int(row.price) * unit,
                earned=int(row.earned) * unit,
            )
        )
    return found


def _limited(query: Select[Any], known_at: datetime | None, customer: str | None) -> Select[Any]:
    if known_at:
        query = query.where(BOOKED.c.at <= known_at)
    return query.where(BOOKED.c.customer == customer) if customer else query


async def of_order(session: AsyncSession, order: str) -> list[Booked]:
    """Every entry of an order with the fact that earned it, as they were booked."""
    query = (
        select(BOOKED, FACTS.c.body)
        .join(FACTS, FACTS.c.id == BOOKED.c.fact)
        .where(BOOKED.c.order == order)
        .order_by(BOOKED.c.number)
    )
    found = []
    for row in await execute(session, query):
        told = {name: getattr(row, name) for name in Booked.model_fields if name not in ("because", "on", "amount")}
        found.append(
            Booked(**told, amount=row.amount * minor_unit(row.currency), because=row.body["source"], on=row.body["on"])
        )
    return found


def total(entries: list[Booked], kind: str, last: date | None = None) -> Amount:
    return sum((e.amount for e in entries if e.kind == kind and (last is None or e.month <= last)), ZERO)
