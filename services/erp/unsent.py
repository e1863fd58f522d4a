"""Documents that nobody would send: found, and mended. An order never waits for an answer that nobody asks for."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Literal

import structlog

from domain.audit import Entry
from domain.orders.documents import open_message
from domain.orders.order import Order, order_run
from domain.runs import CLOCK
from domain.values import Value
from services.runs.engine import Engine
from storage.database import Database
from storage.erp import documents
from storage.orders import completion, orders
from storage.runs import audit_log, runs

log = structlog.get_logger()
OVERDUE_AFTER = timedelta(minutes=6)
"""Longer than one attempt may take: a run that sends has noted the next one by then."""
MOST_WOKEN, PAGE = 50, 500
NOBODY_WAITS = "No order waits for this answer."


class UnsentDocument(Value):
    """What is wrong with an order's document."""

    kind: Literal["missing", "stray", "overdue"]
    """The order waits and has none, nobody waits for it, or nobody tries it."""
    order: str
    version: int


class UnsentDocuments:
    def __init__(
        self, database: Database, engine: Engine, clock: Callable[[], datetime], audit_key: bytes, erp_carries: bool
    ) -> None:
        self._database = database
        self._engine = engine
        self._clock = clock
        self._audit_key = audit_key
        self._erp_carries = erp_carries

    async def wake(self) -> int:
        """Wake the run of every document that nobody has tried for too long. Says how many."""
        if not self._erp_carries:
            return 0
        async with self._database.reading() as session:
            overdue = await documents.list_overdue(session, self._clock() - OVERDUE_AFTER, MOST_WOKEN)
        for order in overdue:
            await self._wake(order)
        return len(overdue)

    async def _wake(self, order: str) -> None:
        async with self._database.reading() as session:
            run = await runs.get_run(session, order_run(order))
        log.warning("erp_document_unsent", order=order)
        try:
            if run is not None:
                await self._engine.signal(run, None)
        except Exception as error:
            log.warning("temporal_away", run=order_run(order), error=type(error).__name__)
        async with self._database.writing() as session:
            await documents.postpone(session, order, self._clock())

    # --- everything, for the doctor ---------------------------------------------------------------------------------

    async def find(self) -> AsyncIterator[UnsentDocument]:
        """Every document that is neither sent, nor answered, nor waiting to be sent."""
        async for order in self._running():
            if order.asks_back_office and not await self._waits(order.id, order.version):
                yield UnsentDocument(kind="missing", order=order.id, version=order.version)
        async with self._database.reading() as session:
            waiting = await documents.list_waiting(session, PAGE)
            states = {order.id: order for order in await orders.load_many(session, [each.order for each in waiting])}
            overdue = await documents.list_overdue(session, self._clock() - OVERDUE_AFTER, PAGE)
        for document in waiting:
            state = states.get(document.order)
            if state is None or not state.asks_back_office or state.version != document.version:
                yield UnsentDocument(kind="stray", order=document.order, version=document.version)
            elif self._erp_carries and document.order in overdue:
                yield UnsentDocument(kind="overdue", order=document.order, version=document.version)

    async def _running(self) -> AsyncIterator[Order]:
        after = ""
        while True:
            async with self._database.reading() as session:
                page = await documents.list_running(session, after, PAGE)
            for order in page:
                yield order
            if len(page) < PAGE:
                return
            after = order_run(page[-1].id)

    async def _waits(self, order: str, version: int) -> bool:
        async with self._database.reading() as session:
            return bool(await documents.list_waiting(session, 1, *documents.this_version(order, version)))

    async def mend(self, order: str) -> None:
        """Ask what the order waits for, withdraw what nobody waits for, and wake the run that sends."""
        async with self._database.writing() as session:
            run = await runs.lock_run(session, order_run(order))
            state = await orders.load(session, order)
            if run is None or state is None:
                return
            waiting, now = await documents.list_waiting(session, PAGE, *documents.this_order(order)), self._clock()
            asked = open_message(state)
            stray = [each for each in waiting if asked is None or each.version != state.version]
            for document in stray:
                await documents.withdraw(session, document, NOBODY_WAITS, now)
            missing = asked is not None and len(stray) == len(waiting)
            if asked and missing:
                await completion.put_document(session, state, asked, now)
            if stray or missing:
                facts = {"withdrawn": [each.version for each in stray], "asked": state.version if missing else None}
                entry = Entry(
                    subject=run.subject,
                    seq=0,
                    at=now,
                    actor=CLOCK,
                    verb="erp_mend",
                    channel="cli",
                    applied=True,
                    code="document_mended",
                    run=run.id,
                    facts=facts,
                )
                await audit_log.append(session, self._audit_key, [entry])
        await self._wake(order)
