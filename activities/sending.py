"""Sends commands to their runs by signal, starting those that do not run, and again when nobody answered."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import (
    APPROVALS_QUEUE,
    APPROVER_REPLACEMENT,
    ORDER_SPLIT,
    ORDERS_QUEUE,
    SWEEP,
    Split,
    Swept,
)
from domain.runs import Command, Head
from storage import record, replacements
from storage.database import Database

RPC_LIMIT = timedelta(seconds=2)
TASK_LIMIT = timedelta(seconds=3)
SWEEP_BATCH = 200
PATIENCE = timedelta(seconds=5)
"""How long a command may be unanswered before it is sent again."""
LATENESS = timedelta(minutes=2)
"""How long a timer may be late before its run is woken: a busy engine is late by itself, and waking adds to it."""


@dataclass(frozen=True)
class Route:
    """How a run is started: what its list in the Temporal UI shows from the first moment."""

    workflow: str
    task_queue: str
    summary: str
    attributes: TypedSearchAttributes


Router = Callable[[Head], Route]
Connect = Callable[[], Awaitable[Client]]


class Sender:
    """The engine, as far as commands need it."""

    def __init__(self, connect: Connect, routes: dict[str, Router]) -> None:
        self._connect = connect
        self._routes = routes
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, command: Command, head: Head) -> None:
        """Signal the run; a run that ended or was lost starts again from the record, answers, and ends.

        A signal alone costs the engine less than one that could start its run, so a run that should be there gets that
        first."""
        signal = command.model_dump(mode="json", exclude={"run", "verb"})
        if head.state.get("seq"):
            client = await self._connect()
            try:
                await client.get_workflow_handle(head.run).signal(command.verb, signal, rpc_timeout=RPC_LIMIT)
                return
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
        await self._start(head, command.verb, [signal])

    async def send_soon(self, command: Command, head: Head) -> None:
        """Send it beside what goes on; what fails is written down, and the sweeper sends it again."""

        async def attempt() -> None:
            with suppress(RPCError, RuntimeError, OSError):
                await self.send(command, head)

        task = asyncio.create_task(attempt())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def wake(self, head: Head) -> None:
        await self._start(head)

    async def begin(self, head: Head) -> None:
        """Start a run that the record began; one that runs or ran already is left alone."""
        with suppress(WorkflowAlreadyStartedError):
            await self._start(head, reuse=WorkflowIDReusePolicy.REJECT_DUPLICATE)

    async def replace(self, id: str) -> None:
        """Start the run of a replacement, or make it look again."""
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

    async def split(self, split: Split) -> None:
        """Start the run that starts the orders of a split."""
        client = await self._connect()
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

    async def _start(
        self, head: Head, start_signal: str | None = None, signal_args: Sequence[object] = (),
        reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    ) -> None:  # fmt: skip
        route = self._routes[head.kind](head)
        client = await self._connect()
        await client.start_workflow(
            route.workflow,
            head,
            id=head.run,
            task_queue=route.task_queue,
            task_timeout=TASK_LIMIT,
            id_reuse_policy=reuse,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=route.summary,
            search_attributes=route.attributes,
            start_signal=start_signal,
            start_signal_args=signal_args,
            rpc_timeout=RPC_LIMIT,
        )


class Sweeping:
    def __init__(
        self, database: Database, sender: Sender, clock: Callable[[], datetime], lapse: Callable[[], Awaitable[int]]
    ) -> None:
        self._database = database
        self._sender = sender
        self._clock = clock
        self._lapse = lapse

    @activity.defn(name=SWEEP)
    async def sweep(self) -> Swept:
        """Send again what was written down and not answered in time; start what the record began and nobody started;
        wake runs whose due instant has passed.

        Approvals that were not used in time end."""
        await self._lapse()
        return await self.sweep_older_than(PATIENCE, LATENESS)

    async def sweep_older_than(self, age: timedelta, lateness: timedelta = timedelta(0)) -> Swept:
        now = self._clock()
        async with self._database.reading() as session:
            commands = await record.unanswered(session, now - age, SWEEP_BATCH)
            overdue = await record.overdue(session, now - lateness, SWEEP_BATCH)
            begun = await record.unstarted(session, now - age, SWEEP_BATCH)
            unfinished = await replacements.unfinished(session)
        resent = woken = 0
        for command, head in commands:
            with suppress(RPCError):
                await self._sender.send(command, head)
                resent += 1
        started = []
        for head in begun:
            with suppress(RPCError):
                await self._sender.begin(head)
                started.append(head.run)
        if started:
            async with self._database.writing() as session:
                await record.started(session, started)
        for head in overdue:
            with suppress(RPCError):
                await self._sender.wake(head)
                woken += 1
        for id in unfinished:
            with suppress(RPCError):
                await self._sender.replace(id)
        return Swept(resent=resent, woken=woken)
