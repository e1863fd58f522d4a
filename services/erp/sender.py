"""Gathers documents that wait at the same moment into calls of the ERP, and stores its answers."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence

import structlog

from domain.erp import Document
from erp.port import Erp, Outcome, Unavailable
from services.erp.callbacks import answer_report, store_reports
from services.runs.commands import CommandPath

log = structlog.get_logger()
GATHER_FOR = 0.02
"""Seconds in which documents that come at the same moment gather into one call."""
CALLS_AT_ONCE = 8


class ErpSender:
    """Gathers documents that wait at the same moment into calls of the ERP, and stores its answers."""

    def __init__(self, path: CommandPath, erp: Erp, per_second: float) -> None:
        self._path = path
        self._erp = erp
        self._interval = 1 / per_second
        self._next_call = 0.0
        self._queue: deque[tuple[Document, asyncio.Future[Outcome]]] = deque()
        self._calls: set[asyncio.Task[None] | None] = set()

    async def send(self, document: Document) -> Outcome:
        """What became of a document. The order knows the answer before this returns."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append((document, future))
        if len(self._calls) < CALLS_AT_ONCE:
            self._calls.add(asyncio.create_task(self._send_queued()))
        return await future

    async def _send_queued(self) -> None:
        """Send until nothing waits. Whoever queues a document after that finds one call fewer at work."""
        try:
            await asyncio.sleep(GATHER_FOR)
            while self._queue:
                await self._send_next()
        finally:
            self._calls.discard(asyncio.current_task())

    async def _send_next(self) -> None:
        """Send what waits, as much as one call takes."""
        count = min(len(self._queue), self._erp.batch)
        batch = [self._queue.popleft() for _ in range(count)]
        try:
            outcomes = await self._send_batch([document for document, _ in batch])
        except Exception as error:  # stored nothing: each is tried again by its run
            log.exception("erp_outcome_not_stored", orders=[document.order for document, _ in batch])
            outcomes = [Unavailable(f"{type(error).__name__}: {error}")] * count
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():  # its run may have given up
                future.set_result(outcome)

    async def _send_batch(self, batch: Sequence[Document]) -> list[Outcome]:
        await self._throttle(len(batch))
        try:
            outcomes = await self._erp.put(batch)
        except Exception as error:  # an adapter in trouble must not stop the others
            log.exception("erp_failed", orders=[document.order for document in batch])
            return [Unavailable(f"{type(error).__name__}: {error}")] * len(batch)
        reports = [answer_report(*pair) for pair in zip(batch, outcomes, strict=True)]
        if found := [report for report in reports if report]:
            await store_reports(self._path, found)
        return outcomes

    async def _throttle(self, count: int) -> None:
        """No more documents a second than were agreed with the ERP's people."""
        now = time.monotonic()
        turn = max(now, self._next_call)
        self._next_call = turn + self._interval * count
        await asyncio.sleep(turn - now)
