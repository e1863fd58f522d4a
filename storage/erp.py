"""Documents on their way to the ERP, and how far its reports were read."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.erp import Document
from domain.values import Value
from storage.database import execute
from storage.tables import ErpCursorRow, ErpDocumentRow, OrderRow

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(hours=1)


class Due(Value):
    """A document that should be sent now, and how often that failed."""

    document: Document
    attempts: int
    next_at: datetime


async def due(session: AsyncSession, now: datetime, limit: int) -> list[Due]:
    """What should have been sent by now, the oldest first; of one order its lowest version."""
    query = (
        select(ErpDocumentRow, OrderRow.customer_id, OrderRow.customer)
        .join(OrderRow, col(OrderRow.id) == col(ErpDocumentRow.order))
        .where(ErpDocumentRow.status == "waiting", col(ErpDocumentRow.next_at) <= now)
        .order_by(col(ErpDocumentRow.next_at), col(ErpDocumentRow.order), col(ErpDocumentRow.version))
        .limit(limit)
    )
    found: dict[str, Due] = {}
    for row, customer, name in (await session.exec(query)).all():
        document = Document(order=row.order, version=row.version, kind=row.kind, customer=customer, customer_name=name,
                            asked_at=row.created_at, body=row.body)  # fmt: skip
        if row.order not in found or found[row.order].document.version > row.version:
            found[row.order] = Due(document=document, attempts=row.attempts, next_at=row.next_at or now)
    return list(found.values())


async def claim(session: AsyncSession, due: Due, until: datetime) -> bool:
    """It is ours until then; False when somebody else took it, or it was answered meanwhile."""
    this = (*_this(due.document), col(ErpDocumentRow.status) == "waiting", col(ErpDocumentRow.next_at) == due.next_at)
    done = await execute(session, update(ErpDocumentRow).where(*this).values(next_at=until))
    return done.rowcount == 1


async def again(session: AsyncSession, document: Document, at: datetime, attempts: int = 0, error: str = "") -> None:
    """It is tried again then."""
    values = {"next_at": at, "attempts": attempts, "error": error[:1_000]}
    await execute(session, update(ErpDocumentRow).where(*_this(document)).values(**values))


def pause(attempts: int) -> timedelta:
    """How long to wait after so many attempts in vain."""
    doubled: int = 2 ** min(attempts - 1, 20)
    return min(FIRST_PAUSE * doubled, LONGEST_PAUSE)


def _this(document: Document) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return col(ErpDocumentRow.order) == document.order, col(ErpDocumentRow.version) == document.version


async def cursor(session: AsyncSession, adapter: str) -> str:
    row = await session.get(ErpCursorRow, adapter)
    return row.cursor if row else ""


async def move_cursor(session: AsyncSession, adapter: str, cursor: str) -> None:
    await session.merge(ErpCursorRow(adapter=adapter, cursor=cursor))
