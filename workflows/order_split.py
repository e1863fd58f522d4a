"""One split of a quote: starts its orders one after the other, so that many of them starve nobody. Safe to repeat."""

from contextlib import suppress

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from domain.runs import Visible
    from domain.runs.contracts import OPENING, ORDER_FULFILMENT, ORDER_SPLIT, Opening, Split
    from workflows.options import ORDER_TASK, QUICK_ADVANCE
    from workflows.search import at_start, attributes


@workflow.defn(name=ORDER_SPLIT)
class OrderSplit:
    @workflow.init
    def __init__(self, split: Split) -> None:
        self.split = split

    @workflow.run
    async def run(self, split: Split) -> Split:
        shown = Visible(status="splitting", customer=split.customer[:100])
        self._show_attributes(shown)
        self._show()
        for id in split.orders[split.started :]:
            await self._start(id)
            self.split = self.split.model_copy(update={"started": self.split.started + 1})
            self._show()
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self.split)
        self._show_attributes(shown.model_copy(update={"status": "split"}))
        return self.split

    async def _start(self, id: str) -> None:
        """The order's run outlives this one."""
        opening: Opening = await workflow.execute_local_activity(
            OPENING, id, result_type=Opening, summary=f"read {id}", **QUICK_ADVANCE
        )
        with suppress(WorkflowAlreadyStartedError):  # a command of it, or the sweep, was quicker
            await workflow.start_child_workflow(
                ORDER_FULFILMENT,
                opening.start,
                id=opening.start.run,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=opening.start.title[:200],
                search_attributes=at_start(opening.visible),
                **ORDER_TASK,
            )

    def _show_attributes(self, shown: Visible) -> None:
        if changed := attributes(shown, workflow.info().typed_search_attributes):
            workflow.upsert_search_attributes(changed)

    def _show(self) -> None:
        split = self.split
        lines = "\n".join(f"- {order}" for order in split.orders)
        workflow.set_current_details(f"**{split.started} of {len(split.orders)} orders started**\n\n{lines}")

    @workflow.query
    def state(self) -> Split:
        return self.split
