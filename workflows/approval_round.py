"""One round of approvals: opened, decided by people, ended by their decisions, a recall or time."""

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from workflows.commanded import CommandedRun

with workflow.unsafe.imports_passed_through():
    from domain.runs import Advanced, RunStart
    from domain.runs.contracts import APPROVAL_ROUND


@workflow.defn(name=APPROVAL_ROUND)
class ApprovalRound(CommandedRun):
    kind = "approval_round"

    @workflow.init
    def __init__(self, start: RunStart) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: RunStart) -> dict[str, Any]:
        return await self.serve()

    @workflow.signal(description="Start asking the approvers; sent by the service when the subject is submitted.")
    def open(self, *command: Any) -> None:
        self.receive("open", command)

    @workflow.signal(description='{"approval", "actor", "comment", "digest"}: approve one approval.')
    def approve(self, *command: Any) -> None:
        self.receive("approve", command)

    @workflow.signal(description='{"approval", "actor", "comment", "digest"}: reject; the comment says why.')
    def reject(self, *command: Any) -> None:
        self.receive("reject", command)

    @workflow.signal(description='{"approval", "actor"}: undo an approval that nothing was built on.')
    def take_back(self, *command: Any) -> None:
        self.receive("take_back", command)

    @workflow.signal(
        description='{"approval", "actor", "step", "seats", "comment"}: one more approver, in a later step.'
    )
    def add_approver(self, *command: Any) -> None:
        self.receive("add_approver", command)

    @workflow.signal(description='{"approval", "actor", "comment"}: take an added approver off the subject again.')
    def remove_approver(self, *command: Any) -> None:
        self.receive("remove_approver", command)

    @workflow.signal(description='{"approval", "actor", "to", "comment"}: ask somebody for advice; the clock waits.')
    def consult(self, *command: Any) -> None:
        self.receive("consult", command)

    @workflow.signal(description='{"approval", "actor", "comment"}: the advice that was asked for.')
    def advise(self, *command: Any) -> None:
        self.receive("advise", command)

    @workflow.signal(description='{"approval", "actor", "to", "reason"}: hand one approval to another person.')
    def delegate(self, *command: Any) -> None:
        self.receive("delegate", command)

    @workflow.signal(description='{"approval", "actor", "from", "to", "reason"}: an admin moves one approval.')
    def reassign(self, *command: Any) -> None:
        self.receive("reassign", command)

    @workflow.signal(description='{"actor"}: the submitter or an admin takes the submission back.')
    def recall(self, *command: Any) -> None:
        self.receive("recall", command)

    @workflow.signal(description="Look at the database again.")
    def wake(self) -> None:
        self.woken = True

    @workflow.signal(dynamic=True)
    def anything_else(self, name: str, command: Sequence[RawValue]) -> None:
        self.receive(name, command)

    @workflow.query(description="What the run was last told: its number, what it waits for and until when.")
    def state(self) -> Advanced:
        return self.told
