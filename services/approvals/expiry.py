"""Approvals that were not used in time: what was approved is a draft again."""

from collections.abc import Callable
from datetime import datetime

from domain.audit import Entry
from domain.quotes import QuoteStatus
from domain.runs import CLOCK
from domain.values import short_id
from storage.database import Database
from storage.letters import messages
from storage.quotes import quotes
from storage.runs import audit_log

BATCH = 200


class ApprovalExpiry:
    def __init__(self, database: Database, clock: Callable[[], datetime], audit_key: bytes) -> None:
        self._database = database
        self._clock = clock
        self._audit_key = audit_key

    async def lapse(self) -> int:
        """Every approved quote whose approval has ended goes back to draft, and its owner is told. Says how many."""
        async with self._database.reading() as session:
            outlived = await quotes.find_expired(session, self._clock(), BATCH)
        return sum([await self._end_expired(id) for id in outlived])

    async def _end_expired(self, id: str) -> bool:
        now = self._clock()
        async with self._database.writing() as session:
            stored = await quotes.load(session, id, lock=True)
            if stored is None or stored.valid_until is None or stored.valid_until > now:
                return False  # it was edited or accepted meanwhile
            await quotes.set_status(session, id, QuoteStatus.DRAFT, now)
            subject = f"quote:{id}"
            entry = Entry(
                subject=subject,
                seq=0,
                at=now,
                actor=CLOCK,
                verb="lapse",
                channel="timer",
                applied=True,
                code="lapsed",
                digest=stored.digest,
                run=stored.run,
                facts={"round": stored.round, "valid_until": stored.valid_until.isoformat()},
            )
            await audit_log.append(session, self._audit_key, [entry])
            mail = short_id("m", stored.run, "lapsed")
            await messages.tell(
                session, mail, stored.quote.owner, "lapsed", subject, stored.run, {"approvals": []}, now
            )
        return True
