"""Approvals that too few people are there to give: approvals admins and ops are told, once for each."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.quorum import missing_votes
from domain.approvals.round import Approval, Round
from domain.delegation import Delegation
from domain.values import short_id
from storage.approvals import delegations, rounds
from storage.database import Database
from storage.letters import messages
from storage.people import people

EVERY = timedelta(seconds=30)
TEMPLATE = "missing_votes"


async def list_short(
    session: AsyncSession, asked: Sequence[tuple[Approval, Round]], standing: Sequence[Delegation], now: datetime
) -> set[str]:
    """The ids of those approvals that the people who are there cannot give. `standing` are delegations of now."""
    named = {seat.holder for approval, _ in asked for seat in approval.seats}
    found = await people.directory(session, named | {d.delegate for d in standing}, set())
    directory = found.evolve(delegations=tuple(standing), at=now)
    return {
        approval.id for approval, round in asked if missing_votes(approval, directory, round.subject_kind, round.barred)
    }


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
            asked = [(a, round, run) for id, round, run in found if (a := round.approval(id))]
            ids = await list_short(session, [(approval, round) for approval, round, _ in asked], standing, now)
        short = [(approval, run) for approval, _, run in asked if approval.id in ids]
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
