"""Mail that came in, and what came of it."""

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.values import Value
from storage.tables import InboundRow


class Received(Value):
    id: str
    at: datetime
    sender: str
    person: str | None
    message: str
    run: str | None
    result: str
    detail: str


async def is_known(session: AsyncSession, id: str) -> bool:
    return await session.get(InboundRow, id) is not None


async def add(session: AsyncSession, received: Received) -> bool:
    """False when it is there already."""
    if await is_known(session, received.id):
        return False
    session.add(InboundRow(**received.model_dump()))
    return True


async def list_page(session: AsyncSession, after: str, limit: int) -> list[Received]:
    query = select(InboundRow).where(InboundRow.id > after).order_by(col(InboundRow.id)).limit(limit)
    return [Received.model_validate(row.model_dump()) for row in (await session.exec(query)).all()]
