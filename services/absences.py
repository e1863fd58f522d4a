"""Approvals that too few people are there to give: approvals admins and ops are told, once for each."""

from collections.abc import Callable
from datetime import datetime, timedelta

from domain.approvals.quorum import missing_votes
from domain.approvals.round import Approval
from domain.values import short_id
from storage import delegations, messages, people, rounds
from storage.database import Database

EVERY = timedelta(seconds=30)
TEMPLATE = "missing_votes"


class Absences:
    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._looked_at: datetime | None = None

    async def report(self) -> int:
        """Tell of every requested approval that those who are there cannot give. Says how many there are."""
        now = self._clock()
        if self._looked_at and now - self._looked_at < EVERY:
            return 0
        self._looked_at = now
        async with self._database.reading() as session:
            standing = [d for d in await delegations.standing(session, now) if d.active(now)]
            if not standing:
                return 0
            found = await rounds.requests_waiting_on(session, {delegation.person for delegation in standing})
            named = {seat.holder for _, round, _ in found for a in round.requested for seat in a.seats}
            directory = await people.directory(session, named | {d.delegate for d in standing}, set())
        directory = directory.model_copy(update={"delegations": tuple(standing), "at": now})
        short = []
        for id, round, run in found:
            approval = round.approval(id)
            if approval and missing_votes(approval, directory, round.subject_kind, round.barred):
                short.append((approval, run))
        for approval, run in short:
            await self._tell(approval, run, now)
        return len(short)

    async def _tell(self, approval: Approval, run: str, now: datetime) -> None:
        async with self._database.reading() as session:
            watchers = await people.with_roles(session, rounds.WATCHERS)
            told = [await messages.load(session, short_id("m", approval.id, TEMPLATE, who)) for who in watchers]
        if all(told):
            return
        async with self._database.writing() as session:
            for who in watchers:
                id, data = short_id("m", approval.id, TEMPLATE, who), {"approvals": [approval.id]}
                await messages.tell(session, id, who, TEMPLATE, rounds.round_subject(run), run, data, now)
