"""Goods on their way back, after their order and its run are long over."""

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from workflows.commanded import CommandedRun

with workflow.unsafe.imports_passed_through():
    from activities.contracts import ORDER_RETURN, Head
    from domain.orders import returned
    from domain.orders.returned import Return, ReturnMachine


@workflow.defn(name=ORDER_RETURN)
class OrderReturn(CommandedRun[Return]):
    machine = ReturnMachine()
    narrator = returned

    @workflow.init
    def __init__(self, head: Head) -> None:
        super().__init__(head)

    @workflow.run
    async def run(self, head: Head) -> dict[str, Any]:
        await self.serve()
        return {"status": self.now_at.status.value, "seq": self.now_at.seq}

    @workflow.signal(description="Announce it; sent by the service.")
    def open(self, *command: Any) -> None:
        self.receive("open", command)

    @workflow.signal(description='{"actor"}: the goods are back.')
    def arrived(self, *command: Any) -> None:
        self.receive("arrived", command)

    @workflow.signal(description='{"actor", "reason"}: it is not taken back.')
    def decline(self, *command: Any) -> None:
        self.receive("decline", command)

    @workflow.signal(dynamic=True)
    def anything_else(self, name: str, command: Sequence[RawValue]) -> None:
        self.receive(name, command)

    @workflow.query
    def state(self) -> Return:
        return self.now_at
