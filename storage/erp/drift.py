"""How orders stand that the ERP should have, and in what it was found to differ."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, insert, literal, or_, update
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.drift import Drift, DriftKind, Standing
from domain.erp import Document
from domain.orders.documents import order_body
from domain.orders.ledger import ZERO
from domain.orders.order import Order, OrderStatus, Phase, order_run
from domain.values import Instant, Value
from storage.database import execute
from storage.orders import orders
from storage.tables import CommandRow, ErpDocumentRow, ErpDriftRow, OrderRow

OVER = (OrderStatus.FULFILLED.value, OrderStatus.CANCELLED.value)
COMPARED_AFTER = timedelta(days=30)
"""So long an order that is over is compared still."""


class DriftFound(Drift):
    """With what became of it since."""

    kind: DriftKind
    found_at: Instant
    mend_at: Instant | None = None
    words: str = ""


class Asked(Value):
    """An order that somebody wants mended, as it stands and as it can be sent again."""

    standing: Standing
    document: Document


async def standings(
    session: AsyncSession, now: datetime, after: str = "", limit: int = 100, only: Sequence[str] | None = None
) -> list[Standing]:
    """Orders by id that the ERP took over, and of which nothing is on its way to either side."""
    taken = func.max(ErpDocumentRow.version).filter(col(ErpDocumentRow.status) == "accepted")
    waiting = func.count().filter(col(ErpDocumentRow.status) == "waiting")
    known = (
        select(ErpDocumentRow.order, taken.label("version"))
        .group_by(col(ErpDocumentRow.order))
        .having(waiting == 0, taken.is_not(None))
        .subquery()
    )
    recent = or_(col(OrderRow.status).not_in(OVER), col(OrderRow.changed_at) > now - COMPARED_AFTER)
    query = select(OrderRow.id, known.c.version).join(known, known.c.order == OrderRow.id)
    on_its_way = exists().where(
        col(CommandRow.run) == literal(order_run("")) + OrderRow.id, col(CommandRow.answered).is_(False)
    )
    query = query.where(OrderRow.id > after, recent, ~on_its_way).order_by(col(OrderRow.id)).limit(limit)
    if only is not None:
        query = query.where(col(OrderRow.id).in_(only))
    versions: dict[str, int] = dict((await session.exec(query)).all())
    return [_standing(order, versions[order.id]) for order in await orders.load_many(session, list(versions))]


def _standing(order: Order, version: int) -> Standing:
    cancelled = order.phase is Phase.CANCELLED
    goods = [line for line in order.lines if line.shipped_goods]
    return Standing(
        order=order.id,
        version=version,
        cancelled=cancelled,
        quantities={line.line: ZERO if cancelled else line.share.quantity for line in order.lines},
        shipped={line.line: line.shipped for line in goods},
        delivered={line.line: line.delivered + line.excess for line in goods},
    )


async def strangers(session: AsyncSession, found: Sequence[str]) -> set[str]:
    """Those of these orders that we do not have, or that the back office was not asked to take over, or did not."""
    ours = (col(ErpDocumentRow.order).in_(found), col(ErpDocumentRow.status) != "rejected")
    query = select(ErpDocumentRow.order).where(*ours).distinct()
    return set(found) - set((await session.exec(query)).all())


async def put(session: AsyncSession, found: Iterable[Drift], at: datetime) -> None:
    """What was found takes the place of what was found before; what somebody wants mended is still wanted."""
    before = {(row.order, row.kind, row.line): row for row in (await session.exec(select(ErpDriftRow))).all()}
    await execute(session, delete(ErpDriftRow))
    rows = []
    for drift in found:
        old = before.get((drift.order, drift.kind, drift.line))
        kept = {"found_at": old.found_at, "mend_at": old.mend_at, "words": old.words} if old else {}
        rows.append({"found_at": at, "mend_at": None, "words": "", **kept, **drift.model_dump()})
    if rows:
        await execute(session, insert(ErpDriftRow), rows)


async def list_page(session: AsyncSession, after: tuple[str, str, str] | None, limit: int) -> list[DriftFound]:
    """By order, kind and line."""
    keys = (col(ErpDriftRow.order), col(ErpDriftRow.kind), col(ErpDriftRow.line))
    query = select(ErpDriftRow).order_by(*keys).limit(limit)
    if after is not None:
        same = (keys[0] == after[0]) & ((keys[1] > after[1]) | ((keys[1] == after[1]) & (keys[2] > after[2])))
        query = query.where(or_(keys[0] > after[0], same))
    return [DriftFound.model_validate(row.model_dump()) for row in (await session.exec(query)).all()]


async def want_mended(session: AsyncSession, order: str, at: datetime) -> list[Drift]:
    """Note it; what there is to mend."""
    rows = (await session.exec(select(ErpDriftRow).where(ErpDriftRow.order == order))).all()
    await execute(session, update(ErpDriftRow).where(col(ErpDriftRow.order) == order).values(mend_at=at, words=""))
    return [Drift.model_validate(row.model_dump(include=set(Drift.model_fields))) for row in rows]


async def list_wanted(session: AsyncSession, limit: int) -> list[str]:
    """Orders that somebody wants mended."""
    query = select(ErpDriftRow.order).where(col(ErpDriftRow.mend_at).is_not(None)).distinct().limit(limit)
    return list((await session.exec(query)).all())


async def load_mending(session: AsyncSession, order: str, now: datetime) -> Asked | None:
    """None for an order that we do not have, or of which something is on its way."""
    found = await standings(session, now, only=[order])
    row, state = await session.get(OrderRow, order), await orders.load(session, order)
    if not found or row is None or state is None:
        return None
    document = Document(
        order=order,
        version=found[0].version,
        kind="restate",
        customer=row.customer_id,
        customer_name=row.customer,
        asked_at=now,
        body=_body(state),
    )
    return Asked(standing=found[0], document=document)


def _body(order: Order) -> dict[str, object]:
    body = order_body(order)
    if order.phase is Phase.CANCELLED:
        body["lines"] = [{**line, "quantity": "0"} for line in body["lines"]]
    return body


async def save_mended(session: AsyncSession, order: str, left: Sequence[Drift], words: str, at: datetime) -> None:
    """What is still different of this order, and why."""
    await execute(session, delete(ErpDriftRow).where(col(ErpDriftRow.order) == order))
    rows = [{**drift.model_dump(), "found_at": at, "mend_at": None, "words": words} for drift in left]
    if rows:
        await execute(session, insert(ErpDriftRow), rows)
