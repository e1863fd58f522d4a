"""Documents that the ERP should have been asked for and was not: the runs that send them are woken."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from domain.orders.order import order_run
from services.engine import Engine
from storage import erp as documents
from storage import runs
from storage.database import Database

log = structlog.get_logger()
OVERDUE_AFTER = timedelta(minutes=6)
"""Longer than one attempt may take: a run that sends has noted the next one by then."""
MOST_WOKEN = 50


class UnsentDocuments:
    def __init__(self, database: Database, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._engine = engine
        self._clock = clock

    async def wake(self) -> int:
        """Wake the run of every document that nobody has tried for too long. Says how many."""
        now = self._clock()
        async with self._database.reading() as session:
            overdue = await documents.list_overdue(session, now - OVERDUE_AFTER, MOST_WOKEN)
        for order in overdue:
            await self._wake(order, now)
        return len(overdue)

    async def _wake(self, order: str, now: datetime) -> None:
        async with self._database.reading() as session:
            run = await runs.get_run(session, order_run(order))
        log.warning("erp_document_unsent", order=order)
        try:
            if run is not None:
                await self._engine.signal(run, None)
        except Exception as error:
            log.warning("temporal_away", run=order_run(order), error=type(error).__name__)
        async with self._database.writing() as session:
            await documents.postpone(session, order, now)
