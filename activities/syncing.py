"""Carries documents to the ERP and its reports back. Each is one, however often it is tried."""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from temporalio import activity

from activities.contracts import SYNC_ERP, Synced
from activities.sending import Sender
from domain.erp import Report, command_of
from domain.errors import CommandIdReused
from domain.runs import Command, Head
from erp.port import Erp, Refused, Unavailable, Unknown
from storage import erp as documents
from storage import record
from storage.database import Database
from storage.erp import Due

log = structlog.get_logger()
STRETCH = timedelta(minutes=5)
PAUSE, POLL = 0.5, timedelta(seconds=10)
BATCH, AT_ONCE = 50, 8
CLAIM = timedelta(seconds=45)
"""How long a document belongs to whoever took it: longer than looking it up and sending it may take."""
LATER = timedelta(days=1)
"""What the ERP will answer later is asked again after so long."""


class Syncing:
    def __init__(
        self, database: Database, erp: Erp, adapter: str, sender: Sender, clock: Callable[[], datetime],
        per_second: float,
    ) -> None:  # fmt: skip
        self._database = database
        self._erp = erp
        self._adapter = adapter
        self._sender = sender
        self._clock = clock
        self._every = 1 / per_second
        self._next_call = 0.0
        self._slots = asyncio.Semaphore(AT_ONCE)

    @activity.defn(name=SYNC_ERP)
    async def sync(self) -> Synced:
        """Send and read for a stretch of time, so that the engine has little to remember of it."""
        total, until, polled = Synced(), time.monotonic() + STRETCH.total_seconds(), 0.0
        while time.monotonic() < until and not activity.is_worker_shutdown():
            activity.heartbeat()
            done = await self.send_due()
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
        outcomes = await asyncio.gather(*(self._carry(due) for due in batch))
        return Synced(sent=outcomes.count(True), failed=outcomes.count(False))

    async def _carry(self, due: Due) -> bool | None:
        """True when the ERP answered, False when it must be tried again, None when somebody else has it."""
        async with self._slots:
            if activity.in_activity():  # a call may take as long as half of what the engine waits for a sign of life
                activity.heartbeat()
            await self._in_turn()
            async with self._database.writing() as session:
                if not await documents.claim(session, due, self._clock() + CLAIM):
                    return None
            try:
                return await self._put(due)
            except Refused as verdict:
                await self._tell([_answer(due, "rejected", reason=str(verdict))])
                return True
            except (Unavailable, Unknown) as error:
                await self._failed(due, str(error))
            except Exception as error:  # one document in trouble must not hold up the others
                log.exception("erp_failed", order=due.document.order)
                await self._failed(due, f"{type(error).__name__}: {error}")
            return False

    async def _put(self, due: Due) -> bool:
        """What is there already is not sent again: an answer may have been lost."""
        document = due.document
        entry = await self._erp.find(document.order)
        if entry and entry.version >= document.version:
            await self._tell([_answer(due, "accepted", reference=entry.reference)])
            return True
        answer = await self._erp.put(document)
        if answer.later:
            async with self._database.writing() as session:
                await documents.again(session, document, self._clock() + LATER)
        else:
            await self._tell([_answer(due, "accepted", reference=answer.reference)])
        return True

    async def _failed(self, due: Due, error: str) -> None:
        attempts = due.attempts + 1
        log.warning("erp_away", order=due.document.order, attempts=attempts, error=error)
        async with self._database.writing() as session:
            next_at = self._clock() + documents.pause(attempts)
            await documents.again(session, due.document, next_at, attempts, error)

    async def _in_turn(self) -> None:
        """No more calls a second than were agreed with the ERP's people."""
        now = time.monotonic()
        turn = max(now, self._next_call)
        self._next_call = turn + self._every
        await asyncio.sleep(turn - now)

    # --- back -------------------------------------------------------------------------------------------------------

    async def read_reports(self) -> Synced:
        """What happened at the ERP's since it was last asked; the cursor moves with the commands it brought."""
        async with self._database.reading() as session:
            cursor = await documents.cursor(session, self._adapter)
        try:
            found = await self._erp.reports(cursor)
        except (Unavailable, Unknown, Refused) as error:
            log.warning("erp_away", error=str(error))
            return Synced(failed=1)
        if found.cursor == cursor and not found.reports:
            return Synced()
        await self._tell(found.reports, found.cursor)
        return Synced(read=len(found.reports))

    async def _tell(self, reports: Iterable[Report], cursor: str | None = None) -> None:
        """Write down what the orders must be told, and tell them."""
        told: list[tuple[Command, Head]] = []
        async with self._database.writing() as session:
            for report in reports:
                command = command_of(report)
                head = await record.head(session, command.run)
                if head is None:
                    log.warning("erp_unknown_order", order=report.order, report=report.id)
                    continue
                with suppress(CommandIdReused):  # it stands already, in other words: the first ones count
                    if await record.write_down(session, command, self._clock()):
                        told.append((command, head))
            if cursor is not None:
                await documents.move_cursor(session, self._adapter, cursor)
        for command, head in told:
            await self._sender.send_soon(command, head)


def _answer(due: Due, kind: str, **told: str) -> Report:
    """The ERP's answer to one version of a document."""
    document = due.document
    id = f"v{document.version}.{document.asked_at:%Y%m%d%H%M%S%f}"
    given = {"id": id, "order": document.order, "kind": kind, "version": document.version, **told}
    return Report.model_validate(given)
