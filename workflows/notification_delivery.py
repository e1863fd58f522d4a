"""Sends the messages that rounds and orders leave in the database. One run, for ever; no other run waits for it."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.runs.contracts import DELIVER, NOTIFICATION_DELIVERY, Delivered
    from workflows.options import DELIVERY_STRETCH


@workflow.defn(name=NOTIFICATION_DELIVERY)
class NotificationDelivery:
    @workflow.init
    def __init__(self, so_far: Delivered) -> None:
        self.so_far = so_far

    @workflow.run
    async def run(self, so_far: Delivered) -> None:
        while not workflow.info().is_continue_as_new_suggested():
            self._show()
            stretch = await workflow.execute_activity(
                DELIVER, result_type=Delivered, summary="send messages as they come", **DELIVERY_STRETCH
            )
            self.so_far = Delivered(sent=self.so_far.sent + stretch.sent, failed=self.so_far.failed + stretch.failed)
        workflow.continue_as_new(self.so_far)

    @workflow.query
    def state(self) -> Delivered:
        return self.so_far

    def _show(self) -> None:
        workflow.set_current_details(f"{self.so_far.sent} messages sent, {self.so_far.failed} attempts failed.")
