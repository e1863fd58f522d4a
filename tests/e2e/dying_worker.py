"""A worker that kills itself at the worst moment: after the commit, before the workflow task completes.

A file in the folder $ARM, named after a verb, arms it once for the next record that holds such a command. With the
file `local_fails` there, local attempts fail, so that the death falls inside the regular activity that follows."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

from storage.record import Recorder
from temporalio import activity

import logs
from composition import build
from domain.runs import Head, Proposal
from settings import settings
from worker import approvals_worker, connected, notify_worker, orders_worker

ARM = Path(os.environ["ARM"])


class DyingRecorder:
    def __init__(self, inner: Recorder) -> None:
        self._inner = inner

    async def record(self, proposal: Proposal) -> Head:
        if activity.info().is_local and (ARM / "local_fails").exists():
            raise OSError("the database is away")
        head = await self._inner.record(proposal)
        if {act.settles for act in proposal.acts if act.key} <= set(head.settled):
            for act in proposal.acts:
                armed = ARM / act.command.verb
                if armed.exists():
                    armed.unlink()
                    os.kill(os.getpid(), signal.SIGKILL)
        return head


async def main() -> None:
    logs.configure(json=True)
    house = build(settings())
    house = replace(house, recorder=DyingRecorder(house.recorder))  # type: ignore[arg-type]
    client = await connected(house)
    async with approvals_worker(client, house), orders_worker(client, house), notify_worker(client, house):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
