"""What follows from an order's new state: lists, ledger, documents for the back office, and what other runs must do."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, update
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.customers.contracts import Grouping
from domain.orders.documents import Message, answered, messages
from domain.orders.order import Hold, Order, OrderStatus, Phase, order_run, with_instants
from domain.orders.settle import claims, not_charged, settle
from domain.runs import CLOCK, PARKED, AppliedCommand, Command, Outcome, RejectedByRecord, refused
from domain.sentences import Sentence
from storage.approvals import rounds
from storage.customers import fulfilment_facts
from storage.database import execute
from storage.orders.orders import ledger, load, move
from storage.quotes import quotes
from storage.runs.runs import enqueue_followup
from storage.tables import ErpDocumentRow, OrderRow

ORDERS, DOCUMENTS = OrderRow.__table__, ErpDocumentRow.__table__  # type: ignore[attr-defined]
CHANGE_ORDER = update(ORDERS).where(ORDERS.c.id == bindparam("of"))
ADD_DOCUMENT = insert(DOCUMENTS)
DROP_DOCUMENT = delete(DOCUMENTS).where(DOCUMENTS.c.order == bindparam("of"), DOCUMENTS.c.version == bindparam("at"))


async def complete_order(
    session: AsyncSession, was: Order, now: Order, at: datetime, grouping: Grouping = "single"
) -> Order:
    """The order with its instants and amounts; the ledger, facts, contracts and books follow.

    Raises RejectedByRecord, before anything is written, when another order or the ledger forbids it."""
    now = await _awaiting(session, was, now, at)
    if now.phase is Phase.ACTIVATING and was.phase is not Phase.ACTIVATING:
        now = await fulfilment_facts.coterminate(session, now, at)
    now = await _settle(session, was, now, at)  # last of what may refuse: it updates the ledger
    return await fulfilment_facts.by_order(session, was, with_instants(now, at), at, grouping)


async def project_order(
    session: AsyncSession, steps: Sequence[tuple[Order, Order, AppliedCommand]], at: datetime
) -> None:
    """The lists, the documents for the ERP and what other runs must do follow the order's steps."""
    for was, now, applied in steps:
        await _tell_back_office(session, was, now, at)
        await _tell_rounds(session, was, now, [applied], at)
        await _tell_followers(session, was, now, at)
    now = steps[-1][1]
    changes: dict[str, Any] = {**list_columns(now), "changed_at": at}
    for was, after, _ in steps:
        changes |= _for_figures(was, after, at)
    await execute(session, CHANGE_ORDER, {"of": now.id, **changes})


def list_columns(order: Order) -> dict[str, Any]:
    """What lists say of an order."""
    return {
        "status": order.status.value, "version": order.version, "starts_at": order.starts_at,
        "starts_on": order.starts_on, "net_total": order.net_total,
        "after": order.slot.trigger.after, "tasks": len(order.tasks),
        "place": order.slot.ship_to.city if order.slot.ship_to else "",
    }  # fmt: skip


def _for_figures(was: Order, now: Order, at: datetime) -> dict[str, Any]:
    """When it started, was refused and was fulfilled, as the figures count it."""
    today, missing = now.day_at(at), sum(1 for line in now.lines if line.backordered)
    found: dict[str, Any] = {"promised": now.slot.promised, "backordered": missing}
    if now.phase is not was.phase:
        found["fallout_at"] = at if now.phase is Phase.FALLOUT else None
        if now.phase is Phase.ACTIVE:
            found["started_on"] = today
    if now.status is OrderStatus.FULFILLED and was.status is not OrderStatus.FULFILLED:
        found["fulfilled_on"] = today
    return found


async def _settle(session: AsyncSession, was: Order, now: Order, at: datetime) -> Order:
    if not now.unsettled and claims(was) == claims(now) and not_charged(was) == not_charged(now):
        return now
    before = await ledger(session, now.quote, lock=True)
    quote = await quotes.load(session, now.quote)
    assert quote is not None
    settled, after = settle(was, now, before, quote.quote, at.date())
    await move(session, now.quote, before, after)
    return settled


async def _awaiting(session: AsyncSession, was: Order, now: Order, at: datetime) -> Order:
    """An order that waits for another starts with it, if that is done; and never waits for itself in the end."""
    if now.phase is not Phase.WAITING or now.slot.trigger.after is None or now.starts_at is not None:
        return now
    if was.phase is Phase.WAITING and was.slot.trigger == now.slot.trigger:
        return now
    awaited = await predecessors(session, now.slot.trigger.after)
    problem = await waits_in_vain(session, now, awaited)
    if problem and was.phase is Phase.NEW:  # what it was split to wait for is gone meanwhile
        hold = Hold(id=f"h{now.seq}", reason=problem.sentence, owner="desk", by=CLOCK, at=at)
        return now.evolve(holds=(*now.holds, hold))
    if problem:
        raise RejectedByRecord(problem)
    starts = at if awaited[0].status == OrderStatus.FULFILLED else None
    return now.evolve(starts_at=starts)


async def waits_in_vain(session: AsyncSession, order: Order, awaited: list[OrderRow]) -> Outcome | None:
    """Why it would wait for ever, if it would."""
    customer = (await session.exec(select(OrderRow.customer_id).where(OrderRow.id == order.id))).one()
    if not awaited or awaited[0].customer_id != customer:
        return refused(
            "unknown_order",
            Sentence("This customer has no order {order}.", order=order.slot.trigger.after),
            field="after",
        )
    if any(row.id == order.id for row in awaited):
        return refused("cycle", Sentence("Order {order} waits for this one.", order=awaited[0].id), field="after")
    if awaited[0].status == OrderStatus.CANCELLED:
        return refused("cancelled", Sentence("Order {order} was cancelled.", order=awaited[0].id), field="after")
    return None


async def predecessors(session: AsyncSession, id: str | None) -> list[OrderRow]:
    """The order, the one it waits for, and so on."""
    found: list[OrderRow] = []
    while id is not None and len(found) < LONGEST_CHAIN:
        query = select(OrderRow).where(OrderRow.id == id).with_for_update()
        row = (await session.exec(query)).first()
        if row is None or row in found:
            break
        found.append(row)
        id = row.after if row.status in BEFORE_START else None
    return found


LONGEST_CHAIN = 200
BEFORE_START = (OrderStatus.DRAFT, OrderStatus.SCHEDULED, OrderStatus.HELD)


async def _tell_back_office(session: AsyncSession, was: Order, now: Order, at: datetime) -> None:
    """What it is asked is a document of its own version; what it answered stands on the newest."""
    for message in messages(was, now):
        await put_document(session, now, message, at)
    if (answer := answered(was, now)) is None:
        return
    query = select(ErpDocumentRow).where(ErpDocumentRow.order == now.id, ErpDocumentRow.status == "waiting")
    for row in (await session.exec(query)).all():
        row.status, row.reference, row.words, row.changed_at = answer.status, answer.reference, answer.words, at
        session.add(row)


async def put_document(session: AsyncSession, order: Order, message: Message, at: datetime) -> None:
    """A document of the order's version; what was refused is asked again in its place."""
    await execute(session, DROP_DOCUMENT, {"of": order.id, "at": order.version})
    row = {
        "order": order.id, "version": order.version, "kind": message.kind, "status": "waiting", "body": message.body,
        "reference": "", "words": "", "next_at": at, "created_at": at, "changed_at": at,
    }  # fmt: skip
    await execute(session, ADD_DOCUMENT, row)


async def _tell_rounds(
    session: AsyncSession, was: Order, now: Order, applied: Sequence[AppliedCommand], at: datetime
) -> None:
    """A change that needs approval opens its round; one that is gone takes its round back."""
    before, after = (order.change.round if order.change else None for order in (was, now))
    ended = {str(a.command.payload.get("round")) for a in applied if a.command.verb == "approval"}
    if after and after != before:
        await enqueue_followup(session, follow_up(after, "open", now.changed_by, {"digest": ""}), at)
    if before and before != after and before not in ended:
        facts = {"comment": "the change was taken back", "authority": "approvals_admin"}
        await enqueue_followup(session, follow_up(before, "recall", now.changed_by, facts), at)
    for act in applied:
        wanted = act.command.payload.get("round") if act.command.verb == "amend" else None
        if wanted and not act.outcome.applied and act.outcome.code != PARKED and wanted != after:
            await rounds.discard(session, str(wanted))


async def change_decided(session: AsyncSession, run: str, approved: bool, at: datetime) -> None:
    """A round has ended: the order whose change waits for it is told."""
    order = await load(session, rounds.round_subject(run).removeprefix("order:"))
    if order and order.change and order.change.round == run:
        payload = {"round": run, "approved": approved}
        command = Command(
            id=f"{run}:ended", run=order_run(order.id), actor=CLOCK, verb="approval", channel="timer", payload=payload
        )
        await enqueue_followup(session, command, at)


def follow_up(run: str, verb: str, actor: str, payload: dict[str, Any]) -> Command:
    return Command(id=f"{run}:{verb}", run=run, actor=actor, verb=verb, channel="api", payload=payload)


async def _tell_followers(session: AsyncSession, was: Order, now: Order, at: datetime) -> None:
    """Orders that wait for this one learn that it is fulfilled, or will never be."""
    ended = now.status if now.status in (OrderStatus.FULFILLED, OrderStatus.CANCELLED) else None
    if ended is None or ended == was.status:
        return
    for id in (await session.exec(select(OrderRow.id).where(OrderRow.after == now.id))).all():
        payload = {"order": now.id, "ended": ended.value}
        command = Command(
            id=f"{order_run(id)}:after:{now.id}",
            run=order_run(id),
            actor=CLOCK,
            verb="follow",
            channel="timer",
            payload=payload,
        )
        await enqueue_followup(session, command, at)
