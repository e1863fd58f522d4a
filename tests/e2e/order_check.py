"""What must hold for every order, whatever died on the way. Says the violations in words."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.container import Application
from domain.audit import flaws
from domain.orders.ledger import NOTHING
from domain.orders.order import Order, Phase
from domain.orders.settle import claims
from domain.runs import Outcome
from storage.orders import orders
from storage.runs import audit_log
from storage.tables import CommandRow, ErpDocumentRow, EventRow, OrderRow, RunRow
from tests.e2e.check import engine_differs


async def violations(container: Application, acknowledged: dict[str, str | None]) -> list[str]:
    """`acknowledged`: command id -> the code its caller was given, None for a 202."""
    found: list[str] = []
    states: dict[str, list[Order]] = {}
    async with container.database.reading() as session:
        for run in (await session.exec(select(RunRow).where(RunRow.kind == "order_fulfilment"))).all():
            order = Order.model_validate(run.state)
            states.setdefault(order.quote, []).append(order)
            found += await engine_differs(container, run)
            found += await _history(session, run, order)
        for quote, made in states.items():
            found += await _ledger(session, quote, made)
        entries = [item async for item in audit_log.everything(session)]
        commands = {row.id: row for row in (await session.exec(select(CommandRow))).all()}
    found += [f"audit {f.subject} #{f.seq}: {f.what}" for f in flaws(container.context.audit_key, entries)]
    for id, code in acknowledged.items():
        row = commands.get(id)
        final = Outcome.model_validate(row.outcome).code if row and row.outcome else None
        if row is None or (final is None and not row.parked) or code not in (None, final):
            found.append(f"{id}: acknowledged with {code}, now {final}")
    return found


async def _history(session: AsyncSession, run: RunRow, order: Order) -> list[str]:
    """Every act has its number, no command has two effects, and it started once, neither held nor early."""
    query = select(EventRow).where(EventRow.run == run.id, col(EventRow.run_seq).is_not(None))
    events = sorted((await session.exec(query)).all(), key=lambda event: event.run_seq or 0)
    found = []
    if [event.run_seq for event in events] != list(range(1, order.seq + 1)):
        found.append(f"{run.id}: its events are not numbered 1 to {order.seq}")
    if len({event.command for event in events}) != len(events):
        found.append(f"{run.id}: a command took effect twice")
    applied = [(event.verb, event.code) for event in events if event.applied]
    starts = [n for n, (_, code) in enumerate(applied) if code == "activating"]
    begun = order.phase in (Phase.ACTIVATING, Phase.ACTIVE)
    if len(starts) != begun:
        found.append(f"{run.id}: {order.status}, and started {len(starts)} times")
    held = sum({"held": 1, "released": -1}.get(code, 0) for _, code in applied[: starts[0]]) if starts else 0
    if held:
        found.append(f"{run.id}: started while held")
    after = [verb for verb, _ in applied[starts[0] + 1 :]] if starts else []
    if any(verb in ("reschedule", "hold", "go_live") for verb in after):
        found.append(f"{run.id}: moved or held after it started")
    row = await session.get_one(OrderRow, order.id)
    if (row.status, row.version, row.net_total) != (order.status.value, order.version, order.net_total):
        found.append(f"{run.id}: the list says {row.status}, the state {order.status}")
    documents = (await session.exec(select(ErpDocumentRow).where(ErpDocumentRow.order == order.id))).all()
    if len([document for document in documents if document.kind == "order"]) != begun:
        found.append(f"{run.id}: {order.status}, with {len(documents)} documents")
    return found


async def _ledger(session: AsyncSession, quote: str, made: list[Order]) -> list[str]:
    found = []
    for name, entry in (await orders.ledger(session, quote)).items():
        held, ended = NOTHING, NOTHING
        for order in made:
            mine, gone = claims(order).get(name, (NOTHING, NOTHING))
            held, ended = held.plus(mine), ended.plus(gone)
        if not entry.balanced or (held, ended) != (entry.allocated, entry.cancelled):
            found.append(f"{quote} line {name}: {held} held, {entry.allocated} allocated")
    return found
