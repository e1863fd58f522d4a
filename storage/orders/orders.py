"""Orders of a quote: the ledger of its lines, the orders' lists, and what the back office is asked to take."""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import and_, insert, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import Stale
from domain.orders.ledger import LineLedger
from domain.orders.order import Order, OrderStatus, order_run
from domain.values import Value
from storage.database import execute
from storage.runs.runs import RunSnapshot, insert_run
from storage.tables import ErpDocumentRow, LedgerRow, OrderRow, OrderSplitRow, RunRow

PAGE = 500
AWAY_FOR = timedelta(hours=1)
"""So long the ERP may be away before the order desk is told."""
LEDGER = LedgerRow.__table__  # type: ignore[attr-defined]


class OrderSummary(Value):
    id: str
    quote: str
    number: int
    owner: str
    customer: str
    status: OrderStatus
    version: int
    currency: str
    net_total: Decimal
    place: str
    after: str | None
    tasks: int
    starts_at: datetime | None
    starts_on: date | None


class ErpDocument(Value):
    """An order as the back office is asked to take it over."""

    order: str
    version: int
    kind: str
    status: str
    body: dict[str, Any]
    reference: str
    words: str
    attempts: int
    """How often it was sent in vain, where an ERP is connected."""
    error: str
    created_at: datetime
    changed_at: datetime


# --- the ledger -------------------------------------------------------------------------------------------------------


async def ledger(session: AsyncSession, quote: str, lock: bool = False) -> dict[str, LineLedger]:
    """Line by line; empty before the quote was accepted."""
    query = select(LedgerRow).where(LedgerRow.quote == quote).order_by(col(LedgerRow.line))
    rows = (await session.exec(query.with_for_update() if lock else query)).all()
    return {row.line: LineLedger.model_validate(row.body) for row in rows}


async def ledgers(session: AsyncSession) -> AsyncIterator[tuple[str, LineLedger]]:
    """Every line of every quote that was ordered from."""
    quote, line = "", ""
    while True:
        later = or_(col(LedgerRow.quote) > quote, and_(col(LedgerRow.quote) == quote, col(LedgerRow.line) > line))
        query = select(LedgerRow).where(later).order_by(col(LedgerRow.quote), col(LedgerRow.line)).limit(PAGE)
        rows = (await session.exec(query)).all()
        for row in rows:
            yield row.quote, LineLedger.model_validate(row.body)
        if len(rows) < PAGE:
            return
        quote, line = rows[-1].quote, rows[-1].line


async def open_ledger(session: AsyncSession, quote: str, entries: Iterable[LineLedger]) -> None:
    rows = [{"quote": quote, "line": e.line, "version": 1, "body": e.model_dump(mode="json")} for e in entries]
    if rows:
        await execute(session, insert(LedgerRow), rows)


async def move(
    session: AsyncSession, quote: str, before: Mapping[str, LineLedger], after: Mapping[str, LineLedger]
) -> None:
    """Write what differs, only where it still stands as it was read. Raises Stale otherwise."""
    for line, entry in after.items():
        if entry == before[line]:
            continue
        where = (LEDGER.c.quote == quote, LEDGER.c.line == line, LEDGER.c.version == _version(before[line]))
        values = {"body": entry.model_dump(mode="json"), "version": _version(entry)}
        if (await execute(session, update(LedgerRow).where(*where).values(**values))).rowcount != 1:
            raise Stale("The quote was ordered from meanwhile. Look again.", field=f"lines.{line}")


def _version(entry: LineLedger) -> int:
    return entry.moves + 1


# --- orders -----------------------------------------------------------------------------------------------------------


async def next_number(session: AsyncSession, quote: str) -> int:
    query = select(OrderRow.number).where(OrderRow.quote == quote).order_by(col(OrderRow.number).desc()).limit(1)
    return ((await session.exec(query)).first() or 0) + 1


async def add(session: AsyncSession, order: Order, customer_id: str, at: datetime) -> None:
    """The order's run at sequence number 0, and its line in the lists."""
    run = RunSnapshot(
        id=order_run(order.id), kind="order_fulfilment", subject=f"order:{order.id}", seq=0, state=order.stored()
    )
    await insert_run(session, run, at)
    place = order.slot.ship_to.city if order.slot.ship_to else ""
    session.add(
        OrderRow(
            id=order.id,
            quote=order.quote,
            number=order.number,
            owner=order.owner,
            customer_id=customer_id,
            customer=order.customer,
            status=order.status.value,
            version=order.version,
            currency=order.currency,
            net_total=order.net_total,
            place=place,
            extends=order.extends,
            created_at=at,
            changed_at=at,
        )
    )


async def load(session: AsyncSession, id: str, lock: bool = False) -> Order | None:
    row = await session.get(RunRow, order_run(id), with_for_update=lock)
    return Order.model_validate(row.state) if row else None


async def customer_of(session: AsyncSession, id: str) -> str | None:
    return (await session.exec(select(OrderRow.customer_id).where(OrderRow.id == id))).first()


async def split_of(session: AsyncSession, id: str) -> OrderSplitRow | None:
    return await session.get(OrderSplitRow, id)


async def add_split(session: AsyncSession, id: str, quote: str, way: str, made: list[str], at: datetime) -> int:
    """Note a split; its number among those of its quote."""
    numbers = select(OrderSplitRow.number).where(OrderSplitRow.quote == quote)
    number = max((await session.exec(numbers)).all(), default=0) + 1
    session.add(OrderSplitRow(id=id, quote=quote, number=number, way=way, orders=made, created_at=at))
    return number


async def find_awaited(session: AsyncSession, ids: set[str], customer: str) -> set[str]:
    """Those of these orders that one of this customer may wait for."""
    query = select(OrderRow.id).where(col(OrderRow.id).in_(ids), OrderRow.customer_id == customer)
    return set((await session.exec(query.where(OrderRow.status != OrderStatus.CANCELLED.value))).all())


async def load_many(session: AsyncSession, ids: list[str]) -> list[Order]:
    """These orders, in this order."""
    query = select(RunRow.state).where(col(RunRow.id).in_([order_run(id) for id in ids]))
    states = {state["id"]: Order.model_validate(state) for state in (await session.exec(query)).all()}
    return [states[id] for id in ids if id in states]


async def of_quote(session: AsyncSession, quote: str) -> list[Order]:
    """Every order of a quote, in the order of their numbers."""
    query = select(OrderRow.id).where(OrderRow.quote == quote).order_by(col(OrderRow.number))
    return await load_many(session, list((await session.exec(query)).all()))


async def extensions_of(session: AsyncSession, customer: str) -> list[Order]:
    """The orders of a customer that let subscriptions of others run on, but for cancelled ones."""
    query = select(OrderRow.id).where(OrderRow.customer_id == customer, col(OrderRow.extends).is_not(None))
    query = query.where(OrderRow.status != OrderStatus.CANCELLED.value)
    return await load_many(session, list((await session.exec(query)).all()))


async def list_page(
    session: AsyncSession,
    *,
    owner: str | None,
    quote: str | None,
    status: str | None,
    after: str,
    limit: int,
    attention_at: datetime | None = None,
) -> list[OrderSummary]:
    """Orders by id; with `owner`, theirs alone; with `attention_at`, what the order desk must look at then."""
    query = select(OrderRow).where(OrderRow.id > after).order_by(col(OrderRow.id)).limit(limit)
    for column, wanted in ((OrderRow.owner, owner), (OrderRow.quote, quote), (OrderRow.status, status)):
        if wanted is not None:
            query = query.where(column == wanted)
    if attention_at:
        away = select(ErpDocumentRow.order).where(
            ErpDocumentRow.status == "waiting",
            ErpDocumentRow.attempts > 0,
            ErpDocumentRow.created_at <= attention_at - AWAY_FOR,
        )
        refused = col(OrderRow.status) == OrderStatus.FALLOUT.value
        query = query.where(or_(col(OrderRow.tasks) > 0, refused, col(OrderRow.id).in_(away)))
    rows = (await session.exec(query)).all()
    return [summary(row) for row in rows]


async def starting(session: AsyncSession, owner: str | None, first: date, last: date, limit: int) -> list[OrderSummary]:
    """Orders that start between two days, and have not yet."""
    waiting = (OrderStatus.SCHEDULED.value, OrderStatus.HELD.value)
    query = select(OrderRow).where(col(OrderRow.starts_on) >= first, col(OrderRow.starts_on) <= last)
    query = query.where(col(OrderRow.status).in_(waiting)).order_by(col(OrderRow.starts_on), OrderRow.id).limit(limit)
    rows = (await session.exec(query.where(OrderRow.owner == owner) if owner else query)).all()
    return [summary(row) for row in rows]


def summary(row: OrderRow) -> OrderSummary:
    return OrderSummary(**row.model_dump(include=set(OrderSummary.model_fields)))


async def documents(
    session: AsyncSession, status: str | None, after: tuple[str, int] | None, limit: int
) -> list[ErpDocument]:
    """By order and version."""
    keys = (col(ErpDocumentRow.order), col(ErpDocumentRow.version))
    query = select(ErpDocumentRow).order_by(*keys).limit(limit)
    if after is not None:
        query = query.where(or_(keys[0] > after[0], and_(keys[0] == after[0], keys[1] > after[1])))
    if status is not None:
        query = query.where(ErpDocumentRow.status == status)
    return [
        ErpDocument.model_validate(row.model_dump(exclude={"next_at"})) for row in (await session.exec(query)).all()
    ]
