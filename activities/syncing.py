"""Carries documents to the ERP and its reports back. Each is one, however often it is tried."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import reduce

import structlog
from temporalio import activity

from activities.reconciling import Reconciling
from domain.erp import Report, command_of
from erp.port import Answer, Erp, Outcome, Refused, Trouble, Unavailable, Unknown
from services.commands import CommandPath
from storage import erp as documents
from storage import runs
from storage.erp import Due
from workflows.contracts import SYNC_ERP, Synced

log = structlog.get_logger()
STRETCH = timedelta(minutes=5)
PAUSE, POLL = 0.5, timedelta(seconds=5)
BATCH, AT_ONCE = 50, 8
CLAIM = timedelta(seconds=45)
"""How long a document belongs to whoever took it: longer than looking it up and sending it may take."""
LATER = timedelta(days=1)
"""What the ERP will answer later is asked again after so long."""


class Syncing:
    def __init__(self, path: CommandPath, erp: Erp, adapter: str, per_second: float) -> None:
        self._path = path
        self._database = path.database
        self._erp = erp
        self._adapter = adapter
        self._clock = path.clock
        self._every = 1 / per_second
        self._next_call = 0.0
        self.reconciling = Reconciling(path.database, erp, path.clock, self._tell)
        self._slots = asyncio.Semaphore(AT_ONCE)

    @activity.defn(name=SYNC_ERP)
    async def sync(self) -> Synced:
        """Send and read for a stretch of time, so that the engine has little to remember of it."""
        total, until, polled = Synced(), time.monotonic() + STRETCH.total_seconds(), 0.0
        while time.monotonic() < until and not activity.is_worker_shutdown():
            activity.heartbeat()
            done = await self.send_due()
            await self.reconciling.mend()
            if time.monotonic() - polled >= POLL.total_seconds():
                done, polled = done.plus(await self.read_reports()), time.monotonic()
            total = total.plus(done)
            if done == Synced():
                await asyncio.sleep(PAUSE)
        return total

    # --- out --------------------------------------------------------------------------------------------------------

    async def send_due(self) -> Synced:
        """One batch of what should have been sent by now; one document in trouble holds no other up."""
        async with self._database.reading() as session:
            batch = await documents.due(session, self._clock(), BATCH)
        parts = [batch[n : n + self._erp.batch] for n in range(0, len(batch), self._erp.batch)]
        done = await asyncio.gather(*(self._carry(part) for part in parts))
        return reduce(Synced.plus, done, Synced())

    async def _carry(self, part: Sequence[Due]) -> Synced:
        """What nobody else has meanwhile."""
        async with self._slots:
            if activity.in_activity():  # a call may take as long as half of what the engine waits for a sign of life
                activity.heartbeat()
            await self._in_turn(len(part))
            async with self._database.writing() as session:
                until = self._clock() + CLAIM
                ours = [due for due in part if await documents.claim(session, due, until)]
            try:
                outcomes = await self._erp.put([due.document for due in ours]) if ours else []
            except Exception as error:  # documents in trouble must not hold up the others
                log.exception("erp_failed", orders=[due.document.order for due in ours])
                outcomes = [Unavailable(f"{type(error).__name__}: {error}")] * len(ours)
            return await self._took(list(zip(ours, outcomes, strict=True)))

    async def _took(self, outcomes: Sequence[tuple[Due, Outcome]]) -> Synced:
        """Tell the orders what became of their documents, or remember to try again."""
        told = [report for due, outcome in outcomes if (report := _answer(due, outcome))]
        if told:
            await self._tell(told)
        failed = 0
        for due, outcome in outcomes:
            if isinstance(outcome, Answer) and outcome.later:
                async with self._database.writing() as session:
                    await documents.again(session, due.document, self._clock() + LATER)
            elif isinstance(outcome, Unavailable | Unknown):
                failed += 1
                await self._failed(due, str(outcome))
        return Synced(sent=len(outcomes) - failed, failed=failed)

    async def _failed(self, due: Due, error: str) -> None:
        attempts = due.attempts + 1
        log.warning("erp_away", order=due.document.order, attempts=attempts, error=error)
        async with self._database.writing() as session:
            next_at = self._clock() + documents.pause(attempts)
            await documents.again(session, due.document, next_at, attempts, error)

    async def _in_turn(self, documents: int) -> None:
        """No more documents a second than were agreed with the ERP's people."""
        now = time.monotonic()
        turn = max(now, self._next_call)
        self._next_call = turn + self._every * documents
        await asyncio.sleep(turn - now)

    # --- back -------------------------------------------------------------------------------------------------------

    async def read_reports(self) -> Synced:
        """What happened at the ERP's since it was last asked; the cursor moves with the commands it brought."""
        async with self._database.reading() as session:
            cursor = await documents.cursor(session, self._adapter)
        try:
            found = await self._erp.reports(cursor)
        except Trouble as error:
            log.warning("erp_away", error=str(error))
            return Synced(failed=1)
        if found.cursor == cursor and not found.reports:
            return Synced()
        await self._tell(found.reports, found.cursor)
        return Synced(read=len(found.reports))

    async def _tell(self, reports: Iterable[Report], cursor: str | None = None) -> int:
        """Store what the orders must be told, with the cursor, and tell them; how many had not been told."""
        async with self._database.writing() as session:
            told, now = 0, self._clock()
            for n, report in enumerate(reports):
                command = command_of(report)
                if await runs.get_run(session, command.run) is None:
                    log.warning("erp_unknown_order", order=report.order, report=report.id)
                else:  # what stands already, in other words or not, counts as it stands
                    told += await runs.enqueue_followup(session, command, now + timedelta(microseconds=n))
            if cursor is not None:
                await documents.move_cursor(session, self._adapter, cursor)
            followups = runs.take_followups(session)
        await self._path.after_commit(None, followups)
        return told


def _answer(due: Due, outcome: Outcome) -> Report | None:
    """The ERP's answer to one version of a document, where it gave one."""
    document = due.document
    given = {"id": f"v{document.version}.{document.asked_at:%Y%m%d%H%M%S%f}", "order": document.order,
             "version": document.version}  # fmt: skip
    match outcome:
        case Answer(later=False):
            return Report.model_validate({**given, "kind": "accepted", "reference": outcome.reference})
        case Refused():
            return Report.model_validate({**given, "kind": "rejected", "reason": str(outcome)})
    return None
