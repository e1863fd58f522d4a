"""Replays workflow histories against the code at hand."""

from collections.abc import Callable
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from app.container import Application
from workflows.approval_round import ApprovalRound
from workflows.approver_replacement import ApproverReplacement
from workflows.command_sweep import CommandSweep
from workflows.converter import data_converter
from workflows.erp_reconciliation import ErpReconciliation
from workflows.erp_sync import ErpSync
from workflows.notification_delivery import NotificationDelivery
from workflows.order_fulfilment import OrderFulfilment
from workflows.order_return import OrderReturn
from workflows.order_split import OrderSplit

WORKFLOWS = [
    ApprovalRound,
    ApproverReplacement,
    CommandSweep,
    ErpReconciliation,
    ErpSync,
    NotificationDelivery,
    OrderFulfilment,
    OrderReturn,
    OrderSplit,
]
TYPES = [kind.__name__ for kind in WORKFLOWS]
OURS = ("domain", "activities", "workflows", "babel", "yaml")
SANDBOX = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*OURS))
"""Refuses what a workflow file must not do: clocks, files, chance. Slower than the worker's runner, and as exact."""
Broken = list[tuple[str, str]]


def replayer() -> Replayer:
    return Replayer(workflows=WORKFLOWS, data_converter=data_converter, workflow_runner=SANDBOX)


async def _replay(history: WorkflowHistory, broken: Broken) -> None:
    result = await replayer().replay_workflow(history, raise_on_replay_failure=False)
    if result.replay_failure:
        broken.append((history.workflow_id, str(result.replay_failure)[:300]))


async def replay_folder(folder: Path, say: Callable[[str], None]) -> tuple[int, Broken]:
    """Every `*.json` in the folder. The file's name is the workflow's id, with `_` for `:`, and `~1` after it for the
    part of a run before it continued as new."""
    broken: Broken = []
    stored = stored_histories(folder)
    for history in stored:
        say(history.workflow_id)
        await _replay(history, broken)
    return len(stored), broken


def stored_histories(folder: Path) -> list[WorkflowHistory]:
    return [
        WorkflowHistory.from_json(file.stem.split("~")[0].replace("_", ":"), file.read_text())
        for file in sorted(folder.glob("*.json"))
    ]


async def replay_namespace(container: Application, say: Callable[[str], None]) -> tuple[int, Broken]:
    """Every run of ours that Temporal still knows, running or closed."""
    client = await container.temporal.client(lazy=False)
    broken: Broken = []
    done = 0
    kinds = ", ".join(f"'{kind}'" for kind in TYPES)
    async for run in client.list_workflows(f"WorkflowType IN ({kinds})"):
        say(run.id)
        history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        await _replay(history, broken)
        done += 1
    return done, broken
