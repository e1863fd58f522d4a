"""The yardstick: a workflow that takes three signals and does nothing else, and one with an update."""

import asyncio
import sys
from datetime import timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

QUEUE = "bare"


@workflow.defn
class Bare:
    def __init__(self) -> None:
        self.given: list[str] = []

    @workflow.signal
    def decide(self, who: str) -> None:
        self.given.append(who)

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: len(self.given) >= 3)
        return "approved"


@workflow.defn
class BareUpdate:
    def __init__(self) -> None:
        self.given: list[str] = []

    @workflow.update
    async def decide(self, who: str) -> int:
        self.given.append(who)
        return len(self.given)

    @decide.validator
    def check(self, who: str) -> None:
        if who in self.given:
            raise ValueError(who)

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: len(self.given) >= 3)
        return "approved"


async def main(address: str) -> None:
    client = await Client.connect(address)
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[Bare, BareUpdate],
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(20),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    ):
        print("up", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
