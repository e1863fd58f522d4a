"""A worker that kills itself at the worst moment: after the database was looked at, before the workflow task completes.

A file in the folder $ARM, named after a verb, arms it once for the next time that a run is told of such an act. With
the file `local_fails` there, local attempts fail, so that the death falls inside the regular activity that follows."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

from temporalio import activity

import logs
from api.probes import WorkerStatus
from composition import build, now
from domain.runs import Advanced, AdvanceRequest
from services.advancing import Advancer
from settings import settings
from worker import approvals_worker, connected, notify_worker, orders_worker, write_heartbeats

ARM = Path(os.environ["ARM"])


class DyingAdvancer:
    def __init__(self, inner: Advancer) -> None:
        self._inner = inner

    async def advance(self, request: AdvanceRequest) -> Advanced:
        if activity.info().is_local and (ARM / "local_fails").exists():
            raise OSError("the database is away")
        told = await self._inner.advance(request)
        for act in told.acts:
            armed = ARM / act.command.verb
            if armed.exists():
                armed.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return told


async def main() -> None:
    logs.configure(json=True)
    house = build(settings())
    house = replace(house, advancer=DyingAdvancer(house.advancer))  # type: ignore[arg-type]
    client = await connected(house)
    async with approvals_worker(client, house), orders_worker(client, house), notify_worker(client, house):
        await write_heartbeats(house, client, house.settings.queues, WorkerStatus(now), asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main())
