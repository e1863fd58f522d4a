"""One split of a quote: starts its orders one after the other, so that many of them starve nobody. Safe to repeat."""

from contextlib import suppress

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.contracts import OPENING, ORDER_FULFILMENT, ORDER_SPLIT, Opening, Split
    from domain.orders.narrate import visible
    from domain.orders.order import Order, order_run
    from domain.runs import Visible
    from workflows.options import ORDER_TASK, QUICK_RECORD
    from workflows.search import at_start, attributes

NOTHING_SHOWN = Visible(status="", customer="")


@workflow.defn(name=ORDER_SPLIT)
class OrderSplit:
    @workflow.init
    def __init__(self, split: Split) -> None:
        self.split = split

    @workflow.run
    async def run(self, split: Split) -> Split:
        shown = Visible(status="splitting", customer=split.customer[:100])
        workflow.upsert_search_attributes(attributes(shown, NOTHING_SHOWN))
        self._show()
        for id in split.orders[split.started :]:
            await self._start(id)
            self.split = self.split.model_copy(update={"started": self.split.started + 1})
            self._show()
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self.split)
        workflow.upsert_search_attributes(attributes(shown.model_copy(update={"status": "split"}), shown))
        return self.split

    async def _start(self, id: str) -> None:
        """The order's run outlives this one."""
        opening: Opening = await workflow.execute_local_activity(
            OPENING, id, result_type=Opening, summary=f"read {id}", **QUICK_RECORD
        )
        order = Order.model_validate(opening.head.state)
        try:
            await workflow.start_child_workflow(
                ORDER_FULFILMENT,
                opening.head.model_copy(update={"first": opening.command}),
                id=order_run(id),
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=order.title[:200],
                search_attributes=at_start(visible(order)),
                **ORDER_TASK,
            )
        except WorkflowAlreadyStartedError:  # somebody's command, or the sweeper, was quicker
            signal = opening.command.model_dump(mode="json", exclude={"run", "verb"})
            with suppress(FailureError):  # it is over already
                await workflow.get_external_workflow_handle(order_run(id)).signal("open", signal)

    def _show(self) -> None:
        split = self.split
        lines = "\n".join(f"- {order}" for order in split.orders)
        workflow.set_current_details(f"**{split.started} of {len(split.orders)} orders started**\n\n{lines}")

    @workflow.query
    def state(self) -> Split:
        return self.split
