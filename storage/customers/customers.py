"""Customers as the lists of their orders and quotes show them."""

from datetime import datetime

from sqlalchemy import case, func
from sqlalchemy import select as sql_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.orders.order import OrderStatus
from domain.values import Value
from storage.database import execute
from storage.orders.orders import OrderSummary, summary
from storage.tables import ApprovalRow, OrderRow, QuoteRow

MOST_SHOWN = 50
OVER = (OrderStatus.FULFILLED.value, OrderStatus.CANCELLED.value)


class CustomerSummary(Value):
    id: str
    name: str
    orders: int


class OpenApproval(Value):
    """An approval that somebody is asked for now, about something of this customer's."""

    id: str
    quote: str
    title: str
    requested_at: datetime | None


async def find_name(session: AsyncSession, id: str) -> str | None:
    """The name of a customer who has orders."""
    query = (
        select(col(OrderRow.customer)).where(col(OrderRow.customer_id) == id).order_by(col(OrderRow.created_at).desc())
    )
    row = (await execute(session, query.limit(1))).first()
    return str(row.customer) if row else None


async def list_page(session: AsyncSession, after: str, limit: int) -> list[CustomerSummary]:
    """Customers with orders, by id."""
    query = (
        sql_select(col(OrderRow.customer_id), func.max(OrderRow.customer).label("name"), func.count().label("orders"))
        .where(col(OrderRow.customer_id) > after)
        .group_by(col(OrderRow.customer_id))
        .order_by(col(OrderRow.customer_id))
        .limit(limit)
    )
    rows = await execute(session, query)
    return [CustomerSummary(id=row.customer_id, name=row.name, orders=row.orders) for row in rows]


async def orders_of(session: AsyncSession, id: str) -> list[OrderSummary]:
    """Open ones and those to come by their day, then the newest of those that are over."""
    over = case((col(OrderRow.status).in_(OVER), 1), else_=0)
    query = (
        select(OrderRow)
        .where(col(OrderRow.customer_id) == id)
        .order_by(over, col(OrderRow.starts_at), col(OrderRow.changed_at).desc(), col(OrderRow.id))
        .limit(MOST_SHOWN)
    )
    return [summary(row) for row in (await session.exec(query)).all()]


async def statuses(session: AsyncSession, id: str) -> dict[str, int]:
    """How many orders stand how."""
    query = sql_select(col(OrderRow.status), func.count().label("many")).where(col(OrderRow.customer_id) == id)
    return {row.status: row.many for row in await execute(session, query.group_by(col(OrderRow.status)))}


async def open_approvals(session: AsyncSession, id: str) -> list[OpenApproval]:
    query = (
        select(ApprovalRow)
        .join(QuoteRow, col(QuoteRow.id) == col(ApprovalRow.subject_id))
        .where(col(QuoteRow.customer_id) == id, col(ApprovalRow.status) == "requested")
        .order_by(col(ApprovalRow.requested_at), col(ApprovalRow.id))
        .limit(MOST_SHOWN)
    )
    return [
        OpenApproval(id=row.id, quote=row.subject_id, title=row.title, requested_at=row.requested_at)
        for row in (await session.exec(query)).all()
    ]
