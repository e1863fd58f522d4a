"""Orders of a quote: the ledger of its lines, the orders' lists, and what the back office is asked to take."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import insert, literal, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import Stale
from domain.orders.ledger import LineLedger
from domain.orders.order import Order, OrderStatus, Phase, order_run, with_start
from domain.runs import Head, Proposal
from domain.values import Value
from storage.database import execute
from storage.record import Run, open_run
from storage.tables import CommandRow, ErpDocumentRow, LedgerRow, OrderRow, RunRow

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
    starts_at: datetime | None


class ErpDocument(Value):
    """An order as the back office is asked to take it over."""

    order: str
    version: int
    status: str
    body: dict[str, Any]
    reference: str
    words: str
    created_at: datetime
    changed_at: datetime


# --- the ledger -------------------------------------------------------------------------------------------------------


async def ledger(session: AsyncSession, quote: str, lock: bool = False) -> dict[str, LineLedger]:
    """Line by line; empty before the quote was accepted."""
    query = select(LedgerRow).where(LedgerRow.quote == quote).order_by(col(LedgerRow.line))
    rows = (await session.exec(query.with_for_update() if lock else query)).all()
    return {row.line: LineLedger.model_validate(row.body) for row in rows}


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


async def add(session: AsyncSession, order: Order, customer_id: str, at: datetime) -> Head:
    """The order's run at sequence number 0, and its line in the lists."""
    head = Head(run=order_run(order.id), kind="order_fulfilment", state=order.stored())
    await open_run(session, head, f"order:{order.id}", {}, at)
    place = order.slot.ship_to.city if order.slot.ship_to else ""
    session.add(
        OrderRow(
            id=order.id, quote=order.quote, number=order.number, owner=order.owner, customer_id=customer_id,
            customer=order.customer, status=order.status.value, version=order.version, currency=order.currency,
            net_total=order.net_total, place=place, created_at=at, changed_at=at,
        )
    )  # fmt: skip
    return head


async def project_order(session: AsyncSession, run: Run, proposal: Proposal, at: datetime) -> Order:
    """The lists, the ledger and the back office's documents follow the order's new state."""
    was, now = Order.model_validate(run.state), Order.model_validate(proposal.after)
    now = with_start(was, now, at)
    changes = {"status": now.status.value, "version": now.version, "starts_at": now.starts_at, "changed_at": at}
    await execute(session, update(OrderRow).where(col(OrderRow.id) == now.id).values(**changes))
    if now.phase is Phase.CANCELLED and was.phase is not Phase.CANCELLED:
        await _give_back(session, now)
    await _tell_back_office(session, was, now, at)
    return now


async def _give_back(session: AsyncSession, order: Order) -> None:
    before = await ledger(session, order.quote, lock=True)
    after = dict(before)
    for line in order.lines:
        entry = after[line.line]
        after[line.line] = entry.cancel(line.share) if order.for_good else entry.give_back(line.share)
    await move(session, order.quote, before, after)


async def _tell_back_office(session: AsyncSession, was: Order, now: Order, at: datetime) -> None:
    if was.phase is now.phase:
        return
    row = await session.get(ErpDocumentRow, now.id)
    if now.phase is Phase.ACTIVATING:
        row = row or ErpDocumentRow(order=now.id, version=0, status="", body={}, created_at=at)
        row.version, row.status, row.body, row.words = now.version, "waiting", document(now), ""
    elif row is None:
        return
    elif now.phase is Phase.ACTIVE:
        row.status, row.reference = "accepted", now.erp_reference
    elif now.phase is Phase.FALLOUT:
        row.status, row.words = "rejected", now.erp_words
    elif now.phase is Phase.CANCELLED:
        row.status = "withdrawn"
    row.changed_at = at
    session.add(row)


def document(order: Order) -> dict[str, Any]:
    """The order in the words of an ERP: its key, for whom, where to, and what."""
    return {
        "order": order.id, "quote": order.quote, "customer": order.customer, "currency": order.currency,
        "net_total": str(order.net_total), "contact": order.slot.contact, "note": order.slot.note,
        "ship_to": order.slot.ship_to.model_dump(mode="json") if order.slot.ship_to else None,
        "lines": [
            {"line": n.line, "product": n.product, "name": n.name, "quantity": str(n.share.quantity),
             "net_total": str(n.share.net), "ships": n.shipped_goods}
            for n in order.lines
        ],
    }  # fmt: skip


async def load(session: AsyncSession, id: str) -> Order | None:
    row = await session.get(RunRow, order_run(id))
    return Order.model_validate(row.state) if row else None


async def of_split(session: AsyncSession, quote: str, split: str) -> list[Order]:
    """The orders that one split made, in their order."""
    query = (
        select(CommandRow.run, CommandRow.payload)
        .join(OrderRow, literal("order:") + col(OrderRow.id) == col(CommandRow.run))
        .where(OrderRow.quote == quote, CommandRow.verb == "open")
        .order_by(col(OrderRow.number))
    )
    made = [run for run, payload in (await session.exec(query)).all() if payload.get("split") == split]
    rows = (await session.exec(select(RunRow).where(col(RunRow.id).in_(made)))).all() if made else []
    states = {row.id: Order.model_validate(row.state) for row in rows}
    return [states[run] for run in made]


async def listed(
    session: AsyncSession, *, owner: str | None, quote: str | None, status: str | None, after: str, limit: int
) -> list[OrderSummary]:
    """Orders by id; with `owner`, theirs alone."""
    query = select(OrderRow).where(OrderRow.id > after).order_by(col(OrderRow.id)).limit(limit)
    for column, wanted in ((OrderRow.owner, owner), (OrderRow.quote, quote), (OrderRow.status, status)):
        if wanted is not None:
            query = query.where(column == wanted)
    rows = (await session.exec(query)).all()
    return [OrderSummary(**row.model_dump(include=set(OrderSummary.model_fields))) for row in rows]


async def documents(session: AsyncSession, status: str | None, after: str, limit: int) -> list[ErpDocument]:
    query = select(ErpDocumentRow).where(ErpDocumentRow.order > after).order_by(col(ErpDocumentRow.order)).limit(limit)
    if status is not None:
        query = query.where(ErpDocumentRow.status == status)
    return [ErpDocument.model_validate(row.model_dump()) for row in (await session.exec(query)).all()]
