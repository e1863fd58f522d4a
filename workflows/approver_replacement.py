"""Puts one person in another's place everywhere. Found again by its row after any death; paused and resumed by ops."""

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.runs.contracts import APPROVER_REPLACEMENT, REPLACE, Replaced
    from workflows.options import REPLACING

POLL = timedelta(milliseconds=500)
ASLEEP = timedelta(minutes=10)


@workflow.defn(name=APPROVER_REPLACEMENT)
class ApproverReplacement:
    @workflow.init
    def __init__(self, id: str) -> None:
        self.progress = Replaced(status="running")
        self.woken = False

    @workflow.run
    async def run(self, id: str) -> Replaced:
        while True:
            self.progress = await workflow.execute_activity(
                REPLACE, id, result_type=Replaced, summary=self._said(), **REPLACING
            )
            workflow.set_current_details(self._said())
            if self.progress.status == "finished":
                return self.progress
            if self.progress.status == "paused":
                await self._wait(ASLEEP)
            elif self.progress.idle:
                await self._wait(POLL)
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(id)

    async def _wait(self, most: timedelta) -> None:
        self.woken = False
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: self.woken, timeout=most)

    def _said(self) -> str:
        return f"{self.progress.status}: {self.progress.answered} of {self.progress.sent} moves answered"

    @workflow.signal(description="Look again: it was resumed.")
    def wake(self) -> None:
        self.woken = True

    @workflow.query
    def state(self) -> Replaced:
        return self.progress
