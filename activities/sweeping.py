"""The activity behind the one run that sweeps."""

import asyncio
import time
from datetime import timedelta

from temporalio import activity

from domain.runs.contracts import SWEEP, SweepMark
from services.runs.sweeping import Sweeper

RUN_FOR = timedelta(minutes=10)
"""So long one activity sweeps, so that Temporal has little to remember of it."""
PAUSE_SECONDS = 1.0


class Sweeping:
    def __init__(self, sweeper: Sweeper) -> None:
        self._sweeper = sweeper

    @activity.defn(name=SWEEP)
    async def sweep(self, mark: SweepMark) -> SweepMark:
        """Sweep again and again; the mark of an attempt that died goes on in the next."""
        if details := activity.info().heartbeat_details:
            mark = SweepMark.model_validate(details[0])
        until = time.monotonic() + RUN_FOR.total_seconds()
        while time.monotonic() < until and not activity.is_worker_shutdown():
            mark = await self._sweeper.sweep(mark)
            activity.heartbeat(mark.model_dump(mode="json"))
            await asyncio.sleep(PAUSE_SECONDS)
        return mark
