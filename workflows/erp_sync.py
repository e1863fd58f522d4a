"""Reads what the ERP reports. One run, for ever; orders send their documents by runs of their own."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.runs.contracts import ERP_SYNC, SYNC_ERP, Synced
    from workflows.options import DELIVERY_STRETCH


@workflow.defn(name=ERP_SYNC)
class ErpSync:
    @workflow.init
    def __init__(self, so_far: Synced) -> None:
        self.so_far = so_far

    @workflow.run
    async def run(self, so_far: Synced) -> None:
        while not workflow.info().is_continue_as_new_suggested():
            self._show()
            stretch: Synced = await workflow.execute_activity(
                SYNC_ERP, result_type=Synced, summary="read what the ERP reports", **DELIVERY_STRETCH
            )
            self.so_far = self.so_far.plus(stretch)
        workflow.continue_as_new(self.so_far)

    @workflow.query
    def state(self) -> Synced:
        return self.so_far

    def _show(self) -> None:
        so_far = self.so_far
        workflow.set_current_details(f"{so_far.read} reports read, {so_far.failed} attempts failed.")
