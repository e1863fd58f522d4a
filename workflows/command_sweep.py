"""Looks for what Temporal does not follow and for commands that nobody applied. One run, for ever."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.runs.contracts import COMMAND_SWEEP, SWEEP, SweepMark
    from workflows.options import SWEEPING


@workflow.defn(name=COMMAND_SWEEP)
class CommandSweep:
    @workflow.init
    def __init__(self, mark: SweepMark) -> None:
        self.mark = mark

    @workflow.run
    async def run(self, mark: SweepMark) -> None:
        while not workflow.info().is_continue_as_new_suggested():
            self._show()
            self.mark = await workflow.execute_activity(
                SWEEP, self.mark, result_type=SweepMark, summary="wake runs, apply what waits", **SWEEPING
            )
        workflow.continue_as_new(self.mark)

    @workflow.query
    def state(self) -> SweepMark:
        return self.mark

    def _show(self) -> None:
        workflow.set_current_details(f"{self.mark.woken} runs woken, {self.mark.applied} commands applied.")
