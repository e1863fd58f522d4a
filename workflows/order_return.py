"""Goods on their way back, after their order and its run are long over."""

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from workflows.commanded import CommandedRun

with workflow.unsafe.imports_passed_through():
    from domain.runs import Advanced, RunStart
    from domain.runs.contracts import ORDER_RETURN


@workflow.defn(name=ORDER_RETURN)
class OrderReturn(CommandedRun):
    kind = "order_return"

    @workflow.init
    def __init__(self, start: RunStart) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: RunStart) -> dict[str, Any]:
        return await self.serve()

    @workflow.signal(description="Announce it; sent by the service.")
    def open(self, *command: Any) -> None:
        self.receive("open", command)

    @workflow.signal(description='{"actor"}: the goods are back.')
    def arrived(self, *command: Any) -> None:
        self.receive("arrived", command)

    @workflow.signal(description='{"actor", "reason"}: it is not taken back.')
    def decline(self, *command: Any) -> None:
        self.receive("decline", command)

    @workflow.signal(description="Look at the database again.")
    def wake(self) -> None:
        self.woken = True

    @workflow.signal(dynamic=True)
    def anything_else(self, name: str, command: Sequence[RawValue]) -> None:
        self.receive(name, command)

    @workflow.query(description="What the run was last told: its number, what it waits for and until when.")
    def state(self) -> Advanced:
        return self.told
