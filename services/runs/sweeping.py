"""Looks for runs that Temporal does not follow and for commands that nobody applied, and notices restores."""

import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.audit import Entry
from domain.runs import CLOCK
from domain.runs.contracts import SweepMark
from services.runs.commands import CommandPath
from services.runs.keys import CommandKeys
from storage.people import replacements
from storage.runs import audit_log, runs
from storage.runs.runs import RunSnapshot, SharedMark, SleepingRun

log = structlog.get_logger()
BATCH = 200
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=10)
"""Between two wake-ups of one run, or two tries of its commands: doubled each time."""
VAIN = 2
"""After so many wake-ups in vain the sweep applies a due clock itself, and looks at the execution."""
WAKES_PER_SECOND = 50
COMPARISONS_MISSED = 4
"""Temporal's mark lags behind the database's by fewer comparisons, unless an older copy of Temporal was restored."""


class Sweeper:
    def __init__(
        self,
        path: CommandPath,
        audit_key: bytes,
        keys: CommandKeys,
        chores: Sequence[Callable[[], Awaitable[int]]],
        compare_every: timedelta = timedelta(seconds=10),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._path = path
        self._audit_key = audit_key
        self._keys = keys
        self._chores = chores
        self._compare_every = compare_every
        self._chance = chance

    async def sweep(self, mark: SweepMark) -> SweepMark:
        """One pass: compare the marks when that is due, apply what waits, wake what sleeps, end what has lapsed."""
        now = self._path.clock()
        if mark.swept_at is None or now - mark.swept_at >= self._compare_every:
            mark = await self._compare(mark, now)
        applied = await self.apply_waiting(now)
        woken = await self.wake_sleeping(now)
        for chore in self._chores:
            await chore()
        return mark.evolve(woken=mark.woken + woken, applied=mark.applied + applied)

    # --- commands that nobody applied -------------------------------------------------------------------------------

    async def apply_waiting(self, now: datetime) -> int:
        """Commands whose process died between its transaction and theirs. A hopeless one delays no other."""
        async with self._path.database.reading() as session:
            waiting = await runs.waiting_runs(session, now, BATCH)
        applied = 0
        for run in waiting:
            try:
                await self._path.apply_followups(await self._path.apply_waiting(run))
                applied += 1
            except Exception as error:
                log.warning("command_not_applied", run=run, error=type(error).__name__)
                async with self._path.database.writing() as session:
                    await runs.postpone_commands(session, run, now + self._pause(5))
        return applied

    # --- runs that Temporal does not follow -------------------------------------------------------------------------

    async def wake_sleeping(self, now: datetime) -> int:
        async with self._path.database.reading() as session:
            sleeping = await runs.sleeping_runs(session, now, WAKES_PER_SECOND)
            unfinished = await replacements.unfinished(session)
        for id in unfinished:
            await self._path.quietly(id, self._path.engine.replace(id))
        for each in sleeping:
            await self._wake(each, now)
        return len(sleeping)

    async def _wake(self, sleeping: SleepingRun, now: datetime) -> None:
        """Wake it, and look again after a while: longer each time, so that hopeless ones delay nobody."""
        async with self._path.database.reading() as session:
            run = await runs.get_run(session, sleeping.id)
        if run is None:
            return
        try:
            if not run.running and await self._path.engine.condition(run) == "ended":
                async with self._path.database.writing() as session:
                    await runs.note_seen(session, {run.id: (run.seq, None)})
                return
            if sleeping.wakes >= VAIN:
                await self._look_closer(run, sleeping)
            await self._path.engine.signal(run, None)
        except Exception as error:
            log.warning("temporal_away", run=run.id, error=type(error).__name__)
        async with self._path.database.writing() as session:
            until = now + self._pause(sleeping.wakes)
            await runs.postpone_wake(session, run.id, sleeping.wakes + 1, until)

    async def _look_closer(self, run: RunSnapshot, sleeping: SleepingRun) -> None:
        """It was woken in vain: time acts all the same, and an execution that cannot follow makes room for one."""
        if sleeping.overdue and run.running:
            await self._path.apply_clocks(run.id)
        condition = await self._path.engine.condition(run)
        if condition in ("foreign", "stuck"):
            await self._path.engine.terminate(run.id, f"{condition}: it does not follow the database")
            async with self._path.writing() as session:
                entry = Entry(
                    subject=run.subject,
                    seq=0,
                    at=self._path.clock(),
                    actor=CLOCK,
                    verb="replace_execution",
                    channel="timer",
                    applied=True,
                    code=f"execution_{condition}",
                    run=run.id,
                )
                await audit_log.append(session, self._audit_key, [entry])

    def _pause(self, times: int) -> timedelta:
        """Doubled each time, and never the same for many."""
        pause: timedelta = min(FIRST_PAUSE * 2 ** min(times, 20), LONGEST_PAUSE)
        return pause * (0.8 + 0.4 * self._chance())

    # --- restores ---------------------------------------------------------------------------------------------------

    async def _compare(self, mark: SweepMark, now: datetime) -> SweepMark:
        """Whether database and Temporal still know of each other's past. A mark that we did not seal is none."""
        forged = not self._keys.holds(mark.key, mark.seal, mark.sealed_part)
        async with self._path.writing() as session:
            known = await runs.get_sweep(session)
            before_mending = known and known.mended_at and mark.swept_at and mark.swept_at <= known.mended_at
            if forged or before_mending:
                mark = SweepMark(woken=mark.woken, applied=mark.applied)
            ours = SharedMark(subject=mark.subject, seq=mark.seq, mac=mark.mac)
            if not await runs.holds_entry(session, ours):
                await self._close(session, "the database is an older copy than Temporal knows", now)
                return mark
            if known and (
                mark.swept_at is None or known.swept_at - mark.swept_at > COMPARISONS_MISSED * self._compare_every
            ):
                woken = await runs.forget_seen(session, now, WAKES_PER_SECOND, mark.swept_at)
                log.warning("temporal_restored", woken=woken)
            newest = await runs.newest_entry(session)
            await runs.save_sweep(session, swept_at=now)
        marked = mark.evolve(**newest.model_dump(exclude={"swept_at"}), swept_at=now)
        key, seal = self._keys.seal(marked.sealed_part)
        return marked.evolve(key=key, seal=seal)

    async def _close(self, session: AsyncSession, why: str, now: datetime) -> None:
        log.error("closed_for_restore", why=why)
        await runs.save_sweep(session, swept_at=now, closed_because=why)
