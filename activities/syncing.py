"""The activities of the runs that read what the ERP reports, and compare what it has."""

import asyncio
import time
from datetime import timedelta

from temporalio import activity

from domain.runs.contracts import RECONCILE, SYNC_ERP, Reconciled, Synced
from services.erp.reports import ErpReports

RUN_FOR = timedelta(minutes=5)
"""So long one activity reads, so that the history stays short."""
POLL_EVERY = 5.0


class Syncing:
    def __init__(self, reports: ErpReports) -> None:
        self._reports = reports

    @activity.defn(name=SYNC_ERP)
    async def sync(self) -> Synced:
        """Mend what somebody wants mended, and read reports, again and again."""
        total, until = Synced(), time.monotonic() + RUN_FOR.total_seconds()
        while time.monotonic() < until and not activity.is_worker_shutdown():
            activity.heartbeat()
            await self._reports.reconciliation.mend()
            total = total.plus(await self._reports.read_reports())
            await asyncio.sleep(POLL_EVERY)
        return total

    @activity.defn(name=RECONCILE)
    async def reconcile(self) -> Reconciled:
        return await self._reports.reconciliation.reconcile(activity.heartbeat)
