"""Orders of a quote: the ledger of its lines, the orders' lists, and what the back office is asked to take."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import and_, insert, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import Stale
from domain.orders.documents import answered, messages
from domain.orders.ledger import LineLedger
from domain.orders.order import Hold, Order, OrderStatus, Phase, day_at, order_run, with_instants
from domain.orders.settle import claims, settle
from domain.runs import CLOCK, PARKED, CannotSettle, Command, Head, Outcome, Proposal, refused
from domain.values import Value
from storage import quotes, rounds
from storage.database import execute
from storage.record import Run, follow, open_run
from storage.tables import ErpDocumentRow, LedgerRow, OrderRow, OrderSplitRow, RunRow

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
    now = await _settled(session, was, now, at)
    now = await _awaiting(session, was, now, at)
    now = with_instants(now, at)
    changes = {
        "status": now.status.value, "version": now.version, "starts_at": now.starts_at, "changed_at": at,
        "starts_on": day_at(now.starts_at, now.slot.ship_to), "net_total": now.net_total,
        "after": now.slot.trigger.after, "tasks": len(now.tasks),
        "place": now.slot.ship_to.city if now.slot.ship_to else "",
    }  # fmt: skip
    await execute(session, update(OrderRow).where(col(OrderRow.id) == now.id).values(**changes))
    await _tell_back_office(session, was, now, at)
    await _tell_rounds(session, was, now, proposal, at)
    await _tell_followers(session, was, now, at)
    return now


async def _settled(session: AsyncSession, was: Order, now: Order, at: datetime) -> Order:
    if not now.unsettled and claims(was) == claims(now):
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
    problem = await _waits_in_vain(session, now, awaited)
    if problem and was.phase is Phase.NEW:  # what it was split to wait for is gone meanwhile
        hold = Hold(id=f"h{now.seq}", reason=problem.sentence, owner="desk", by=CLOCK, at=at)
        return now.model_copy(update={"holds": (*now.holds, hold)})
    if problem:
        raise CannotSettle(problem)
    starts = at if awaited[0].status == OrderStatus.FULFILLED else None
    return now.model_copy(update={"starts_at": starts})


async def _waits_in_vain(session: AsyncSession, order: Order, awaited: list[OrderRow]) -> Outcome | None:
    """Why it would wait for ever, if it would."""
    customer = (await session.exec(select(OrderRow.customer_id).where(OrderRow.id == order.id))).one()
    if not awaited or awaited[0].customer_id != customer:
        return refused("unknown_order", f"This customer has no order {order.slot.trigger.after}.", field="after")
    if any(row.id == order.id for row in awaited):
        return refused("cycle", f"Order {awaited[0].id} waits for this one.", field="after")
    if awaited[0].status == OrderStatus.CANCELLED:
        return refused("cancelled", f"Order {awaited[0].id} was cancelled.", field="after")
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
        document = ErpDocumentRow(
            order=now.id, version=now.version, kind=message.kind, status="waiting", body=message.body, created_at=at,
            changed_at=at,
        )  # fmt: skip
        await session.merge(document)
    if (answer := answered(was, now)) is None:
        return
    query = select(ErpDocumentRow).where(ErpDocumentRow.order == now.id, ErpDocumentRow.status == "waiting")
    for row in (await session.exec(query)).all():
        row.status, row.reference, row.words, row.changed_at = answer.status, answer.reference, answer.words, at
        session.add(row)


async def _tell_rounds(session: AsyncSession, was: Order, now: Order, proposal: Proposal, at: datetime) -> None:
    """A change that needs approval opens its round; one that is gone takes its round back."""
    before, after = (order.change.round if order.change else None for order in (was, now))
    ended = {str(a.command.payload.get("round")) for a in proposal.acts if a.command.verb == "approval"}
    if after and after != before:
        await follow(session, follow_up(after, "open", now.changed_by, {"digest": ""}), at)
    if before and before != after and before not in ended:
        facts = {"comment": "the change was taken back", "authority": "approvals_admin"}
        await follow(session, follow_up(before, "recall", now.changed_by, facts), at)
    for act in proposal.acts:
        wanted = act.command.payload.get("round") if act.command.verb == "amend" else None
        if wanted and not act.outcome.applied and act.outcome.code != PARKED and wanted != after:
            await rounds.discard(session, str(wanted))


async def change_decided(session: AsyncSession, run: str, approved: bool, at: datetime) -> None:
    """A round has ended: the order whose change waits for it is told."""
    order = await load(session, rounds.round_subject(run).removeprefix("order:"))
    if order and order.change and order.change.round == run:
        payload = {"round": run, "approved": approved}
        await follow(session, Command(id=f"{run}:ended", run=order_run(order.id), actor=CLOCK, verb="approval",
                                      channel="timer", payload=payload), at)  # fmt: skip


def follow_up(run: str, verb: str, actor: str, payload: dict[str, Any]) -> Command:
    return Command(id=f"{run}:{verb}", run=run, actor=actor, verb=verb, channel="api", payload=payload)


async def _tell_followers(session: AsyncSession, was: Order, now: Order, at: datetime) -> None:
    """Orders that wait for this one learn that it is fulfilled, or will never be."""
    ended = now.status if now.status in (OrderStatus.FULFILLED, OrderStatus.CANCELLED) else None
    if ended is None or ended == was.status:
        return
    for id in (await session.exec(select(OrderRow.id).where(OrderRow.after == now.id))).all():
        payload = {"order": now.id, "ended": ended.value}
        command = Command(id=f"{order_run(id)}:after:{now.id}", run=order_run(id), actor=CLOCK, verb="follow",
                          channel="timer", payload=payload)  # fmt: skip
        await follow(session, command, at)


async def load(session: AsyncSession, id: str, lock: bool = False) -> Order | None:
    row = await session.get(RunRow, order_run(id), with_for_update=lock)
    return Order.model_validate(row.state) if row else None


async def split_of(session: AsyncSession, id: str) -> OrderSplitRow | None:
    return await session.get(OrderSplitRow, id)


async def add_split(session: AsyncSession, id: str, quote: str, way: str, made: list[str], at: datetime) -> int:
    """Note a split; its number among those of its quote."""
    numbers = select(OrderSplitRow.number).where(OrderSplitRow.quote == quote)
    number = max((await session.exec(numbers)).all(), default=0) + 1
    session.add(OrderSplitRow(id=id, quote=quote, number=number, way=way, orders=made, created_at=at))
    return number


async def waited_for(session: AsyncSession, ids: set[str], customer: str) -> set[str]:
    """Those of these orders that one of this customer may wait for."""
    query = select(OrderRow.id).where(col(OrderRow.id).in_(ids), OrderRow.customer_id == customer)
    return set((await session.exec(query.where(OrderRow.status != OrderStatus.CANCELLED.value))).all())


async def several(session: AsyncSession, ids: list[str]) -> list[Order]:
    """These orders, in this order."""
    query = select(RunRow.state).where(col(RunRow.id).in_([order_run(id) for id in ids]))
    states = {state["id"]: Order.model_validate(state) for state in (await session.exec(query)).all()}
    return [states[id] for id in ids if id in states]


async def listed(
    session: AsyncSession, *, owner: str | None, quote: str | None, status: str | None, after: str, limit: int,
    attention: bool = False,
) -> list[OrderSummary]:  # fmt: skip
    """Orders by id; with `owner`, theirs alone; with `attention`, what the order desk must look at."""
    query = select(OrderRow).where(OrderRow.id > after).order_by(col(OrderRow.id)).limit(limit)
    for column, wanted in ((OrderRow.owner, owner), (OrderRow.quote, quote), (OrderRow.status, status)):
        if wanted is not None:
            query = query.where(column == wanted)
    if attention:
        query = query.where(or_(col(OrderRow.tasks) > 0, col(OrderRow.status) == OrderStatus.FALLOUT.value))
    rows = (await session.exec(query)).all()
    return [_summary(row) for row in rows]


async def starting(session: AsyncSession, owner: str | None, first: date, last: date, limit: int) -> list[OrderSummary]:
    """Orders that start between two days, and have not yet."""
    waiting = (OrderStatus.SCHEDULED.value, OrderStatus.HELD.value)
    query = select(OrderRow).where(col(OrderRow.starts_on) >= first, col(OrderRow.starts_on) <= last)
    query = query.where(col(OrderRow.status).in_(waiting)).order_by(col(OrderRow.starts_on), OrderRow.id).limit(limit)
    rows = (await session.exec(query.where(OrderRow.owner == owner) if owner else query)).all()
    return [_summary(row) for row in rows]


def _summary(row: OrderRow) -> OrderSummary:
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
    return [ErpDocument.model_validate(row.model_dump()) for row in (await session.exec(query)).all()]
