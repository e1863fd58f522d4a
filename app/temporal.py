"""Temporal as services use it: the connection, and what they start and signal."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import Runtime
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode

from domain.runs import Command, RunStart
from domain.runs.contracts import (
    ADVANCE,
    APPROVALS_QUEUE,
    APPROVER_REPLACEMENT,
    COMMAND_SWEEP,
    ORDER_SPLIT,
    ORDERS_QUEUE,
    Split,
    SweepMark,
)
from domain.runs.ids import SWEEP as SWEEP_ID
from services.runs.apply import RunType
from services.runs.engine import RPC_LIMIT, Connect, ExecutionCondition
from storage.runs.runs import RunSnapshot
from workflows.converter import data_converter
from workflows.search import at_start

TASK_LIMIT = timedelta(seconds=3)


class TemporalConnection:
    """One lazy connection to Temporal: an API starts although Temporal is away.

    `options` are the arguments of `Client.connect` that say where it is."""

    def __init__(self, options: Mapping[str, Any], runtime: Runtime | None = None) -> None:
        self._options = options
        self._runtime = runtime
        self._client: Client | None = None
        self._turn = asyncio.Lock()

    def forget(self) -> None:
        """Connect anew at the next call: the server was another one."""
        self._client = None

    async def client(self, lazy: bool = True) -> Client:
        async with self._turn:
            if self._client is None:
                self._client = await Client.connect(
                    **self._options,
                    data_converter=data_converter,
                    lazy=lazy,
                    runtime=self._runtime,
                    grpc_compression=GrpcCompression.NONE,  # messages are small: packing costs more than sending
                )
            return self._client


async def start_sweep(client: Client) -> None:
    """The one run that sweeps, started by every process that finds it missing."""
    with suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            COMMAND_SWEEP,
            SweepMark(),
            id=SWEEP_ID,
            task_queue=APPROVALS_QUEUE,
            static_summary="Wakes what Temporal does not follow, applies what nobody applied, notices restores",
            rpc_timeout=RPC_LIMIT,
        )


class TemporalEngine:
    def __init__(self, connect: Connect, run_types: Mapping[str, RunType]) -> None:
        self._connect = connect
        self._run_types = run_types

    async def start_sweep(self) -> None:
        await start_sweep(await self._connect())

    async def signal(self, run: RunSnapshot, command: Command | None) -> None:
        """A signal alone costs less than one that could start its run, so a run that is there gets that first."""
        name = command.verb if command else "wake"
        told = [command.model_dump(mode="json", exclude={"run", "verb"})] if command else []
        if run.seen >= 0:
            client = await self._connect()
            try:
                await client.get_workflow_handle(run.id).signal(name, args=told, rpc_timeout=RPC_LIMIT)
                return
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
            if not run.running and await self.condition(run) == "ended":
                return
        await self._start(run, name, told)

    async def split(self, split: Split) -> None:
        client = await self._connect()
        with suppress(WorkflowAlreadyStartedError):
            await client.start_workflow(
                ORDER_SPLIT,
                split,
                id=f"quote:{split.quote}:split:{split.number}",
                task_queue=ORDERS_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=f"Split {split.number} of quote {split.quote} into {len(split.orders)} orders",
                rpc_timeout=RPC_LIMIT,
            )

    async def replace(self, id: str) -> None:
        client = await self._connect()
        await client.start_workflow(
            APPROVER_REPLACEMENT,
            id,
            id=f"replacement:{id}",
            task_queue=APPROVALS_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"Replacement {id}",
            start_signal="wake",
            rpc_timeout=RPC_LIMIT,
        )

    async def condition(self, run: RunSnapshot) -> ExecutionCondition:
        client = await self._connect()
        try:
            found = await client.get_workflow_handle(run.id).describe(rpc_timeout=RPC_LIMIT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return "lost"
            raise
        type = self._run_types[run.kind]
        if (found.workflow_type, found.task_queue) != (type.workflow, type.task_queue):
            return "foreign" if found.status is WorkflowExecutionStatus.RUNNING else "lost"
        if found.status is not WorkflowExecutionStatus.RUNNING:
            return "ended" if found.status is WorkflowExecutionStatus.COMPLETED else "lost"
        raw = found.raw_description
        failing = raw.pending_workflow_task.attempt > 1 or any(
            a.attempt > 1 and a.activity_type.name == ADVANCE for a in raw.pending_activities
        )
        return "stuck" if failing else "follows"

    async def terminate(self, run: str, reason: str) -> None:
        client = await self._connect()
        try:
            await client.get_workflow_handle(run).terminate(reason=reason, rpc_timeout=RPC_LIMIT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended by itself
                raise

    async def _start(self, run: RunSnapshot, signal: str, told: Sequence[Any]) -> None:
        type = self._run_types[run.kind]
        state = type.machine.state.model_validate(run.state)
        attributes: TypedSearchAttributes = at_start(type.narrator.visible(state))
        client = await self._connect()
        await client.start_workflow(
            type.workflow,
            RunStart(run=run.id, title=state.title),
            id=run.id,
            task_queue=type.task_queue,
            task_timeout=TASK_LIMIT,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=state.title[:200],
            search_attributes=attributes,
            start_signal=signal,
            start_signal_args=list(told),
            rpc_timeout=RPC_LIMIT,
        )
