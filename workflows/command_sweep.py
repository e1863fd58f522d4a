"""Sends again what nobody answered and wakes what is overdue. Started by a schedule."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contracts import COMMAND_SWEEP, SWEEP, Swept
    from workflows.options import SWEEPING


@workflow.defn(name=COMMAND_SWEEP)
class CommandSweep:
    @workflow.run
    async def run(self) -> Swept:
        swept: Swept = await workflow.execute_activity(SWEEP, result_type=Swept, summary="resend, wake", **SWEEPING)
        return swept
