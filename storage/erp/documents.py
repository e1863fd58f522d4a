"""Documents on their way to the ERP, and how far its reports were read."""

from datetime import datetime

from sqlalchemy import ColumnElement, update
from sqlalchemy import select as core_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.erp import Document
from domain.orders.order import Order
from domain.runs import ErpMessage
from storage.database import execute
from storage.tables import ErpCursorRow, ErpDocumentRow, OrderRow, RunRow

RUNS = RunRow.__table__  # type: ignore[attr-defined]
WAITING = "waiting"


async def next_message(session: AsyncSession, order: Order, now: datetime) -> ErpMessage | None:
    """The document that an order's run sends next: the lowest version that waits. None where nothing does."""
    if not order.asks_back_office:
        return None
    columns = (col(ErpDocumentRow.version), col(ErpDocumentRow.created_at), col(ErpDocumentRow.next_at))
    query = select(*columns).where(ErpDocumentRow.order == order.id, ErpDocumentRow.status == WAITING)
    row = (await session.exec(query.order_by(col(ErpDocumentRow.version)).limit(1))).first()
    if row is None:
        return None
    version, asked_at, next_at = row
    wait = max(0.0, (next_at - now).total_seconds()) if next_at else 0.0
    return ErpMessage(order=order.id, version=version, asked_at=asked_at, wait=wait)


async def load_waiting(session: AsyncSession, message: ErpMessage) -> Document | None:
    """The document that a message names; None where it was answered meanwhile."""
    this = (*this_version(message.order, message.version), col(ErpDocumentRow.created_at) == message.asked_at)
    found = await list_waiting(session, 1, *this)
    return found[0] if found else None


async def list_waiting(session: AsyncSession, limit: int, *only: ColumnElement[bool] | bool) -> list[Document]:
    """Documents that nobody answered yet, by order and version."""
    query = (
        select(ErpDocumentRow, OrderRow.customer_id, OrderRow.customer)
        .join(OrderRow, col(OrderRow.id) == col(ErpDocumentRow.order))
        .where(ErpDocumentRow.status == WAITING, *only)
        .order_by(col(ErpDocumentRow.order), col(ErpDocumentRow.version))
        .limit(limit)
    )
    return [
        Document(
            order=row.order,
            version=row.version,
            kind=row.kind,
            customer=customer,
            customer_name=name,
            asked_at=row.created_at,
            body=row.body,
        )
        for row, customer, name in (await session.exec(query)).all()
    ]


def this_order(order: str) -> tuple[ColumnElement[bool], ...]:
    return (col(ErpDocumentRow.order) == order,)


def this_version(order: str, version: int) -> tuple[ColumnElement[bool], ...]:
    return (*this_order(order), col(ErpDocumentRow.version) == version)


async def note_attempt(
    session: AsyncSession, document: Document, next_at: datetime, attempts: int = 0, error: str = ""
) -> None:
    """The ERP did not answer: how often it was tried in vain, why, and when it is tried again."""
    this = this_version(document.order, document.version)
    values = {"next_at": next_at, "attempts": attempts, "error": error[:1_000]}
    await execute(session, update(ErpDocumentRow).where(*this, col(ErpDocumentRow.status) == WAITING).values(**values))


async def list_overdue(session: AsyncSession, before: datetime, limit: int) -> list[str]:
    """Orders with a document that should have been tried before an instant and was not; the oldest first."""
    query = select(ErpDocumentRow.order).where(ErpDocumentRow.status == WAITING, col(ErpDocumentRow.next_at) < before)
    return list((await session.exec(query.order_by(col(ErpDocumentRow.next_at)).limit(limit))).all())


async def list_running(session: AsyncSession, after: str, limit: int) -> list[Order]:
    """Orders that run, by the ids of their runs after one."""
    running = (RUNS.c.kind == "order_fulfilment", RUNS.c.running.is_(True), RUNS.c.id > after)
    rows = await execute(session, core_select(RUNS.c.state).where(*running).order_by(RUNS.c.id).limit(limit))
    return [Order.model_validate(row.state) for row in rows]


async def withdraw(session: AsyncSession, document: Document, words: str, at: datetime) -> None:
    """Nobody waits for its answer, so it must not be sent."""
    this = this_version(document.order, document.version)
    values = {"status": "rejected", "words": words, "changed_at": at}
    await execute(session, update(ErpDocumentRow).where(*this, col(ErpDocumentRow.status) == WAITING).values(**values))


async def postpone(session: AsyncSession, order: str, until: datetime) -> None:
    """The order's run was woken; it is looked at again then."""
    this = (*this_order(order), col(ErpDocumentRow.status) == WAITING)
    await execute(session, update(ErpDocumentRow).where(*this).values(next_at=until))


async def cursor(session: AsyncSession, adapter: str) -> str:
    row = await session.get(ErpCursorRow, adapter)
    return row.cursor if row else ""


async def move_cursor(session: AsyncSession, adapter: str, cursor: str) -> None:
    await session.merge(ErpCursorRow(adapter=adapter, cursor=cursor))


async def note_trouble(session: AsyncSession, adapter: str, error: str, at: datetime) -> None:
    """The ERP did not answer, or does again where `error` is empty."""
    row = await session.get(ErpCursorRow, adapter) or ErpCursorRow(adapter=adapter)
    row.failed_at = None if not error else row.failed_at or at
    row.error = error[:1_000]
    session.add(row)


async def last_trouble(session: AsyncSession, adapter: str) -> str:
    """Why the ERP does not answer now; empty where it does."""
    row = await session.get(ErpCursorRow, adapter)
    return row.error if row else ""
