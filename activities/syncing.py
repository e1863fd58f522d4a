"""Reads the ERP's reports. Each is one, however often it is told."""

import asyncio
import time
from collections.abc import Iterable
from datetime import timedelta

import structlog
from temporalio import activity

from activities.reconciling import Reconciling
from domain.erp import Report
from domain.runs.contracts import SYNC_ERP, Synced
from erp.port import Erp, Trouble
from services.commands import CommandPath
from services.erp import store_reports
from storage import erp as documents

log = structlog.get_logger()
RUN_FOR = timedelta(minutes=5)
POLL_EVERY = 5.0


class Syncing:
    def __init__(self, path: CommandPath, erp: Erp, adapter: str) -> None:
        self._path = path
        self._erp = erp
        self._adapter = adapter
        self.reconciling = Reconciling(path.database, erp, path.clock, self._store)

    @activity.defn(name=SYNC_ERP)
    async def sync(self) -> Synced:
        """Read for some minutes, so that the history stays short."""
        total, until = Synced(), time.monotonic() + RUN_FOR.total_seconds()
        while time.monotonic() < until and not activity.is_worker_shutdown():
            activity.heartbeat()
            await self.reconciling.mend()
            total = total.plus(await self.read_reports())
            await asyncio.sleep(POLL_EVERY)
        return total

    async def read_reports(self) -> Synced:
        """What happened at the ERP's since it was last asked; the cursor moves with the commands it brought."""
        async with self._path.database.reading() as session:
            cursor = await documents.cursor(session, self._adapter)
        try:
            found = await self._erp.reports(cursor)
        except Trouble as error:
            log.warning("erp_away", error=str(error))
            await self._note_trouble(str(error) or type(error).__name__)
            return Synced(failed=1)
        await self._note_trouble("")
        if found.cursor == cursor and not found.reports:
            return Synced()
        await store_reports(self._path, found.reports, self._adapter, found.cursor)
        return Synced(read=len(found.reports))

    async def _note_trouble(self, error: str) -> None:
        """Kept where readiness, pages and the doctor see it; written when it changes."""
        async with self._path.database.reading() as session:
            known = await documents.last_trouble(session, self._adapter)
        if known != error[:1_000]:
            async with self._path.database.writing() as session:
                await documents.note_trouble(session, self._adapter, error, self._path.clock())

    async def _store(self, reports: Iterable[Report]) -> int:
        return await store_reports(self._path, reports)
