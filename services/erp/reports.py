"""Reads the ERP's reports. Each is one, however often it is told."""

from collections.abc import Iterable

import structlog

from domain.erp import Report
from domain.runs.contracts import Synced
from erp.port import Erp, ErpError
from services.erp.callbacks import store_reports
from services.erp.reconciliation import Reconciliation
from services.runs.commands import CommandPath
from storage.erp import documents

log = structlog.get_logger()


class ErpReports:
    def __init__(self, path: CommandPath, erp: Erp, adapter: str) -> None:
        self._path = path
        self._erp = erp
        self._adapter = adapter
        self.reconciliation = Reconciliation(path.database, erp, path.clock, self._store)

    async def read_reports(self) -> Synced:
        """What happened at the ERP's since it was last asked; the cursor moves with the commands it brought."""
        async with self._path.database.reading() as session:
            cursor = await documents.cursor(session, self._adapter)
        try:
            found = await self._erp.reports(cursor)
        except ErpError as error:
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
