"""One order: waits for its day through every change, is sent to the ERP, and ends when all is delivered."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError

from workflows.commanded import CommandedRun

with workflow.unsafe.imports_passed_through():
    from domain.runs import Advanced, ErpMessage, RunStart
    from domain.runs.contracts import ERP_QUEUE, ORDER_FULFILMENT, SEND_TO_ERP, Sent
    from workflows.options import SEND

LOOK_AGAIN_AFTER = timedelta(minutes=1)


@workflow.defn(name=ORDER_FULFILMENT)
class OrderFulfilment(CommandedRun):
    kind = "order_fulfilment"

    @workflow.init
    def __init__(self, start: RunStart) -> None:
        super().__init__(start)
        self.message: ErpMessage | None = None
        self.sending: set[asyncio.Task[None]] = set()

    @workflow.run
    async def run(self, start: RunStart) -> dict[str, Any]:
        return await self.serve()

    def _act(self) -> None:
        """Send the order's documents to the ERP, each when the one before it is answered.

        An attempt at what is answered already ends by itself: the activity finds that nothing waits."""
        message = self.told.erp
        if message and self.message and message.key == self.message.key:
            return
        self.message = message
        if message:
            task = asyncio.create_task(self._send(message))
            self.sending.add(task)
            task.add_done_callback(self.sending.discard)

    async def _send(self, message: ErpMessage) -> None:
        """Tried until the ERP answers. The answer is a command of the order, which its signal tells."""
        if message.wait:
            await workflow.sleep(message.wait, summary=f"asks the ERP again for version {message.version}")
            if self.message is not message:
                return
        try:
            sent: Sent = await workflow.execute_activity(
                SEND_TO_ERP,
                message,
                result_type=Sent,
                task_queue=ERP_QUEUE,
                summary=f"send version {message.version}",
                **SEND,
            )
        except ActivityError:
            await workflow.sleep(LOOK_AGAIN_AFTER)
            sent = Sent.NOT_WAITING
        if sent != Sent.ANSWERED and self.message is message:
            self.message = None
            self.woken = True

    @workflow.signal(description="Start waiting for the order's day; sent by the service when the quote is split.")
    def open(self, *command: Any) -> None:
        self.receive("open", command)

    @workflow.signal(description='{"actor", "on" or "start", "version"}: another day, `now` or `manual`.')
    def reschedule(self, *command: Any) -> None:
        self.receive("reschedule", command)

    @workflow.signal(description='{"actor", "reason", "owner"}: do not start while this holds.')
    def hold(self, *command: Any) -> None:
        self.receive("hold", command)

    @workflow.signal(description='{"actor", "hold"}: end one hold.')
    def release(self, *command: Any) -> None:
        self.receive("release", command)

    @workflow.signal(description='{"actor", "for_good", "version"}: it will not start.')
    def cancel(self, *command: Any) -> None:
        self.receive("cancel", command)

    @workflow.signal(description='{"actor"}: start it now.')
    def go_live(self, *command: Any) -> None:
        self.receive("go_live", command)

    @workflow.signal(description='{"actor", "reference"}: the back office has it.')
    def accepted(self, *command: Any) -> None:
        self.receive("accepted", command)

    @workflow.signal(description='{"actor", "reason"}: the back office refuses it.')
    def rejected(self, *command: Any) -> None:
        self.receive("rejected", command)

    @workflow.signal(description='{"actor"}: ask the back office again.')
    def retry(self, *command: Any) -> None:
        self.receive("retry", command)

    @workflow.signal(description='{"actor", "id", "lines"}: so much of these lines was sent off.')
    def shipment(self, *command: Any) -> None:
        self.receive("shipment", command)

    @workflow.signal(description='{"actor", "id", "lines"}: so much of these lines arrived.')
    def delivery(self, *command: Any) -> None:
        self.receive("delivery", command)

    @workflow.signal(description='{"actor", "what", "id", "lines", "on", "reason"}: it was reported wrongly.')
    def correct(self, *command: Any) -> None:
        self.receive("correct", command)

    @workflow.signal(description='{"actor", "name", "on"}: a step of a service is reached.')
    def milestone(self, *command: Any) -> None:
        self.receive("milestone", command)

    @workflow.signal(description='{"actor", "version"}: the last change is no more.')
    def undo(self, *command: Any) -> None:
        self.receive("undo", command)

    @workflow.signal(description="Other quantities or another place; sent by the service, which asks the policy first.")
    def amend(self, *command: Any) -> None:
        self.receive("amend", command)

    @workflow.signal(description='{"actor", "reason", "lines"}: no more comes of these lines.')
    def close_short(self, *command: Any) -> None:
        self.receive("close_short", command)

    @workflow.signal(description='{"actor", "lines", "expected"}: so much of these lines is not in stock.')
    def backorder(self, *command: Any) -> None:
        self.receive("backorder", command)

    @workflow.signal(description='{"actor", "lines"}: so much of these lines is on its way through the warehouse.')
    def picked(self, *command: Any) -> None:
        self.receive("picked", command)

    @workflow.signal(description='{"actor", "line", "on", "reason"}: it does not go on from month to month.')
    def end_subscription(self, *command: Any) -> None:
        self.receive("end_subscription", command)

    @workflow.signal(description='{"actor", "task"}: what arrived beyond the order is ordered too.')
    def accept_excess(self, *command: Any) -> None:
        self.receive("accept_excess", command)

    @workflow.signal(description='{"actor", "task"}: somebody saw to it.')
    def dismiss(self, *command: Any) -> None:
        self.receive("dismiss", command)

    @workflow.signal(description="The approvals of a change have ended; sent by the step that ended it.")
    def approval(self, *command: Any) -> None:
        self.receive("approval", command)

    @workflow.signal(description="The order that this one waits for has ended; sent by the step that ended it.")
    def follow(self, *command: Any) -> None:
        self.receive("follow", command)

    @workflow.signal(description="Look at the database again.")
    def wake(self) -> None:
        self.woken = True

    @workflow.signal(dynamic=True)
    def anything_else(self, name: str, command: Sequence[RawValue]) -> None:
        self.receive(name, command)

    @workflow.query(description="What the run was last told: its number, what it waits for and until when.")
    def state(self) -> Advanced:
        return self.told
