"""Figures of orders: on time, not in stock, refused, and to come."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, and_, func
from sqlalchemy import select as sql_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.orders.order import OrderStatus
from domain.values import Value
from storage.database import execute
from storage.tables import OrderRow

MOST_LISTED = 100
TO_COME_COLUMNS: tuple[Any, ...] = (col(OrderRow.starts_on).label("day"), OrderRow.currency, OrderRow.net_total)
TO_COME = (OrderStatus.SCHEDULED.value, OrderStatus.HELD.value)


class OnTime(Value):
    """Of the orders that started between two days, and of the promises that fell between them."""

    started: int
    started_on_their_day: int
    promised: int
    kept: int
    overdue: int
    """Promised for a day that is over, and not fulfilled yet."""


class Waiting(Value):
    """An order that waits for stock, or for somebody to look at a refusal."""

    order: str
    customer: str
    since: datetime
    lines: int


class Future(Value):
    day: date
    currency: str
    net_total: Decimal


async def on_time(session: AsyncSession, first: date, last: date, today: date) -> OnTime:
    started, planned = col(OrderRow.started_on), col(OrderRow.starts_on)
    promised, fulfilled = col(OrderRow.promised), col(OrderRow.fulfilled_on)
    live = col(OrderRow.status) != OrderStatus.CANCELLED.value
    begun, due = started.between(first, last), and_(promised.between(first, last), live)
    wanted = {
        "started": begun,
        "started_on_their_day": and_(begun, started <= planned),
        "promised": due,
        "kept": and_(due, fulfilled <= promised),
        "overdue": and_(due, promised < today, fulfilled.is_(None)),
    }
    counts = [func.count().filter(condition).label(name) for name, condition in wanted.items()]
    row = (await execute(session, sql_select(*counts).select_from(OrderRow))).one()
    return OnTime(**row._mapping)


async def not_in_stock(session: AsyncSession) -> list[Waiting]:
    """Those that wait the longest first."""
    query = select(OrderRow).where(col(OrderRow.backordered) > 0).order_by(col(OrderRow.starts_at), col(OrderRow.id))
    rows = (await session.exec(query.limit(MOST_LISTED))).all()
    return [
        Waiting(order=row.id, customer=row.customer, since=row.starts_at or row.created_at, lines=row.backordered)
        for row in rows
    ]


async def refused(session: AsyncSession) -> list[Waiting]:
    """Orders that the back office will not have, the oldest first."""
    query = select(OrderRow).where(col(OrderRow.status) == OrderStatus.FALLOUT.value)
    rows = (await session.exec(query.order_by(col(OrderRow.fallout_at), col(OrderRow.id)).limit(MOST_LISTED))).all()
    return [
        Waiting(order=row.id, customer=row.customer, since=row.fallout_at or row.changed_at, lines=0) for row in rows
    ]


async def to_come(session: AsyncSession, last: date) -> list[Future]:
    """What starts on each day up to the last."""
    query: Select[Any] = sql_select(*TO_COME_COLUMNS).where(
        col(OrderRow.status).in_(TO_COME), col(OrderRow.starts_on) <= last
    )
    return [Future.model_validate(row._mapping) for row in await execute(session, query)]
