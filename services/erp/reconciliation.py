"""Compares our orders with the ERP's, and mends what somebody wants mended."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

import structlog

from domain.drift import OURS_TO_MEND, Drift, catching_up, drift
from domain.erp import Entry, Report
from domain.runs.contracts import Reconciled
from erp.port import Erp, ErpError
from services.clock import Heartbeat, no_heartbeat
from storage.database import Database
from storage.erp import drift as drifts

log = structlog.get_logger()
AT_ONCE = 100
SETTLE = 15.0
"""So long what looks different may still be on its way, in seconds."""
Tell = Callable[[Iterable[Report]], Awaitable[int]]
"""Tells orders what the ERP reports; how many had not been told."""


class Reconciliation:
    def __init__(
        self, database: Database, erp: Erp, clock: Callable[[], datetime], tell: Tell, settle: float = SETTLE
    ) -> None:
        self._database = database
        self._erp = erp
        self._clock = clock
        self._tell = tell
        self._settle = settle

    async def reconcile(self, heartbeat: Heartbeat = no_heartbeat) -> Reconciled:
        """What differs now, and still did a moment later."""
        compared, suspects = await self._find_differing(heartbeat)
        if suspects:
            await asyncio.sleep(self._settle)
        found = []
        for order in suspects:
            heartbeat()
            found += await self._compare_again(order)
        async with self._database.writing() as session:
            await drifts.put(session, found, self._clock())
        log.info("erp_compared", orders=compared, drift=len(found))
        return Reconciled(compared=compared, drift=len(found))

    async def _find_differing(self, heartbeat: Heartbeat) -> tuple[int, list[str]]:
        """How many of our orders were compared, and those of either side that differ."""
        compared, suspects, after = 0, list[str](), ""
        while True:
            heartbeat()
            async with self._database.reading() as session:
                page = await drifts.standings(session, self._clock(), after, AT_ONCE)
            if not page:
                break
            entries = await self._erp.find([ours.order for ours in page])
            suspects += [ours.order for ours in page if drift(ours, entries.get(ours.order))]
            compared, after = compared + len(page), page[-1].order
        return compared, [*suspects, *await self._find_strangers(heartbeat)]

    async def _find_strangers(self, heartbeat: Heartbeat) -> list[str]:
        """Orders that the ERP has and we never asked it to take over."""
        place, found = "", list[str]()
        while True:
            heartbeat()
            place, entries = await self._erp.list_page(place)
            if not entries:
                return found
            running = [entry.order for entry in entries if not entry.cancelled]
            async with self._database.reading() as session:
                found += sorted(await drifts.strangers(session, running))

    async def _compare_again(self, order: str) -> list[Drift]:
        theirs = (await self._erp.find([order])).get(order)
        return await self._compare(order, theirs)

    async def _compare(self, order: str, theirs: Entry | None) -> list[Drift]:
        async with self._database.reading() as session:
            ours = await drifts.standings(session, self._clock(), only=[order])
            stranger = order in await drifts.strangers(session, [order])
        if ours:
            return drift(ours[0], theirs)
        if stranger and theirs and not theirs.cancelled:
            return [Drift(order=order, kind="unknown", theirs=theirs.reference)]
        return []

    # --- mending ----------------------------------------------------------------------------------------------------

    async def mend(self) -> None:
        """What somebody wants mended: our side of it is sent again, what the ERP knows better is told again."""
        async with self._database.reading() as session:
            orders = await drifts.list_wanted(session, AT_ONCE)
        for order in orders:
            try:
                await self._mend(order)
            except ErpError as trouble:  # it is tried again, while it is wanted
                log.warning("erp_away", order=order, error=str(trouble))

    async def _mend(self, order: str) -> None:
        words = ""
        async with self._database.reading() as session:
            asked = await drifts.load_mending(session, order, self._clock())
            stranger = order in await drifts.strangers(session, [order])
        if asked is None and not stranger:
            return  # something of it is on its way: what is left afterwards is mended then
        theirs = (await self._erp.find([order])).get(order)
        if asked:
            differing = {each.kind for each in drift(asked.standing, theirs)}
            if differing & set(OURS_TO_MEND):
                (outcome,) = await self._erp.put([asked.document])
                words = str(outcome) if isinstance(outcome, ErpError) else ""
            if theirs and (missed := catching_up(asked.standing, theirs)):
                if await self._tell(missed):
                    await self._mend(order)
                    return
                words = words or "The order did not take what the ERP reports: see its history."
        left = await self._compare_again(order)
        if any(each.kind == "unknown" for each in left):
            words = "We have no such order: cancel it in the ERP, or restore ours."
        async with self._database.writing() as session:
            await drifts.save_mended(session, order, left, words, self._clock())
