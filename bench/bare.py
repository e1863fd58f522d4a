"""The yardstick: a workflow that takes three signals and does nothing else, and one with an update.

Its worker runs in the process that measures, so that a signal's effect is seen without asking Temporal."""

from collections import Counter
from datetime import timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker

QUEUE = "bare"
TAKEN: Counter[str] = Counter()
"""How many signals each bare run that has begun has taken."""


@workflow.defn
class Bare:
    def __init__(self) -> None:
        self.given: list[str] = []

    @workflow.signal
    def decide(self, who: str) -> None:
        self.given.append(who)
        TAKEN[workflow.info().workflow_id] += 1

    @workflow.run
    async def run(self) -> str:
        TAKEN.setdefault(workflow.info().workflow_id, 0)
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


def worker(client: Client) -> Worker:
    return Worker(
        client,
        task_queue=QUEUE,
        workflows=[Bare, BareUpdate],
        workflow_runner=UnsandboxedWorkflowRunner(),
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(20),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    )
