"""A worker that kills itself at the worst moment: after the database was looked at, before the workflow task completes.

A file in the folder $ARM, named after a verb, arms it once for the next time that a run is told of such an act. With
the file `local_fails` there, local attempts fail, so that the death falls inside the regular activity that follows."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

from temporalio import activity

from api.probes import WorkerStatus
from app import logs
from app.container import build
from app.settings import settings
from app.standing_runs import connect
from app.workers import approvals_worker, notify_worker, orders_worker
from domain.runs import Advanced, AdvanceRequest
from services.clock import now
from services.runs.advancing import Advancer
from worker import write_heartbeats

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
    container = build(settings())
    container = replace(container, advancer=DyingAdvancer(container.advancer))  # type: ignore[arg-type]
    client = await connect(container)
    async with approvals_worker(client, container), orders_worker(client, container), notify_worker(client, container):
        await write_heartbeats(container, client, container.settings.queues, WorkerStatus(now), asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main())
