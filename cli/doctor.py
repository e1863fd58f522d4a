"""Compares database, Temporal and ERP, names every difference, and mends what can be mended.

The database decides. What Temporal knows beyond it, after an older copy of the database was restored, are the acts
that its histories were told of: those whose seal is right are applied again, in the order in which they happened."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowQueryFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from app.container import Application
from app.standing_runs import ensure_standing_runs, ensure_sync
from domain.errors import Refusal
from domain.runs import Advanced, Command, ToldCommand, ids, is_expiry
from domain.runs.contracts import ERP_QUEUE, ERP_RECONCILIATION
from domain.values import Value
from services.runs.apply import NewCommand
from storage.erp import drift as drifts
from storage.runs import heartbeats, runs
from storage.runs.runs import RunSnapshot, RunStanding
from workflows.search import register_attributes

TYPES = ("ApprovalRound", "OrderFulfilment", "OrderReturn")
AT_ONCE, PAGE = 8, 500
PATIENCE = timedelta(seconds=5)
SETTLE_SECONDS = 2
FOLLOW_SECONDS = 60
Kind = Literal[
    "engine_lost",
    "engine_behind",
    "engine_runs_on",
    "foreign",
    "database_behind",
    "database_forked",
    "orphan",
    "standing",
    "unanswered",
    "forged",
    "closed",
    "audit",
    "state",
    "record",
    "lists",
    "ledger",
    "books",
    "erp",
    "missing",
    "stray",
    "overdue",
    "erp_away",
    "workers",
]
WORDS: dict[Kind, str] = {
    "engine_lost": "Temporal does not run it",
    "engine_behind": "Temporal has it as it was before",
    "engine_runs_on": "it is over, and Temporal runs on",
    "foreign": "somebody else's workflow runs under its id",
    "database_behind": "Temporal knows more than the database",
    "database_forked": "Temporal knows another history than the database",
    "orphan": "the database does not know it",
    "standing": "what always runs does not",
    "unanswered": "a command was not applied",
    "forged": "signals that nobody vouches for were refused",
    "closed": "commands are refused until a restore is mended",
    "audit": "the audit trail was altered",
    "state": "its state is not what its last act left",
    "record": "it is not what was last written through Dealwright",
    "lists": "a list says something else than its state",
    "ledger": "the quote's ledger is not what its orders hold",
    "books": "the books are not what the facts bring",
    "erp": "the ERP has the order otherwise",
    "erp_away": "the ERP does not answer",
    "workers": "no worker lives for its task queue",
    "missing": "it waits for the back office, and nobody asks",
    "stray": "the back office is asked, and nobody waits for the answer",
    "overdue": "it should have been sent to the ERP by now",
}
BY_HAND: tuple[Kind, ...] = ("audit", "state", "record", "lists", "ledger", "books", "erp_away", "workers")
"""What no program mends: people must look at it."""
Say = Callable[[str], None]


class Finding(Value):
    kind: Kind
    of: str
    """The run, quote or order."""
    detail: str = ""

    @property
    def words(self) -> str:
        return WORDS[self.kind]


class Doctor:
    def __init__(self, container: Application, client: Client, say: Say = lambda _: None) -> None:
        self._container = container
        self._client = client
        self._say = say

    async def examine(self) -> list[Finding]:
        """Every difference, as it is now."""
        found = [finding async for finding in self._standing()]
        self._say("runs")
        found += await self._runs()
        self._say("commands")
        found += await self._commands()
        found += [
            Finding(kind=each.what, of=each.of, detail=each.detail)
            async for each in self._container.consistency.find(self._say)
        ]
        found += await self._cut_off()
        self._say("documents")
        found += await self._documents()
        return found + await self._erp()

    # --- Temporal ---------------------------------------------------------------------------------------------------

    async def _standing(self) -> AsyncIterator[Finding]:
        settings = self._container.settings
        async with self._container.database.reading() as session:
            living = await heartbeats.living_queues(session, self._container.context.clock())
        for queue in settings.queues:
            if queue not in living:
                yield Finding(kind="workers", of=queue)
        for id in (ids.SWEEP, ids.DELIVERY, *([ids.ERP_SYNC] if settings.erp_carries else [])):
            if not await self._is_running(id):
                yield Finding(kind="standing", of=id)
        if settings.erp_compares:
            try:
                await self._client.get_schedule_handle(ids.RECONCILIATION).describe()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                yield Finding(kind="standing", of=ids.RECONCILIATION)

    async def _is_running(self, id: str) -> bool:
        try:
            described = await self._client.get_workflow_handle(id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return described.close_time is None

    async def _runs(self) -> list[Finding]:
        """What differed, and still did a moment later: a command may have been on its way."""
        kinds = ", ".join(f"'{kind}'" for kind in TYPES)
        query = f'WorkflowType IN ({kinds}) AND ExecutionStatus="Running"'
        running = {execution.id async for execution in self._client.list_workflows(query)}
        suspects = await self._differing(running, True)
        if suspects:
            await asyncio.sleep(SETTLE_SECONDS)
            suspects = await self._differing({finding.of for finding in suspects}, False)
        return suspects

    async def _differing(self, named: set[str], and_all_that_run: bool) -> list[Finding]:
        async with self._container.database.reading() as session:
            stored = await runs.run_standings(session, named)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(id: str) -> Finding | None:
            async with slots:
                return await self._compare(id, stored.get(id))

        wanted = named | (stored.keys() if and_all_that_run else set())
        found = await asyncio.gather(*(one(id) for id in sorted(wanted)))
        return [finding for finding in found if finding]

    async def _compare(self, id: str, ours: RunStanding | None) -> Finding | None:
        self._say(id)
        if ours is None:
            there = await self._is_running(id)  # lists of Temporal are a moment behind
            return Finding(kind="orphan", of=id, detail=_words(await self._lost(id, 0))) if there else None
        async with self._container.database.reading() as session:
            run = await runs.get_run(session, id)
        assert run is not None
        condition = await self._container.path.engine.condition(run)
        if condition == "foreign":
            return Finding(kind="foreign", of=id)
        if condition in ("lost", "ended"):  # a copy of the database may be older than the end of its run
            if not ours.running:
                return None
            lost = await self._lost(id, run.seq)
            return Finding(kind="database_behind" if lost else "engine_lost", of=id, detail=_words(lost))
        return await self._compare_told(run)

    async def _compare_told(self, run: RunSnapshot) -> Finding | None:
        """What the running workflow was told, beside what is stored."""
        id = run.id
        try:
            told: Advanced = await self._client.get_workflow_handle(id).query(
                "state", result_type=Advanced, rpc_timeout=PATIENCE
            )
        except (RPCError, WorkflowQueryFailedError) as error:
            return Finding(kind="engine_behind", of=id, detail=f"it does not answer: {error}"[:200])
        if told.number > run.seq:
            lost = _words(await self._lost(id, run.seq)) or f"{told.number} after {run.seq}"
            return Finding(kind="database_behind", of=id, detail=lost)
        async with self._container.database.reading() as session:
            same = told.number < 1 or await runs.mark_at(session, run, told.number) == told.mark
        if not same:
            return Finding(kind="database_forked", of=id, detail=f"act {told.number}")
        if not run.running:
            return Finding(kind="engine_runs_on", of=id)
        behind = told.number < run.seq
        return Finding(kind="engine_behind", of=id, detail=f"{told.number} before {run.seq}") if behind else None

    async def _lost(self, id: str, stored: int) -> list[ToldCommand]:
        """Genuine acts that the run's histories were told of and the database does not hold, in their order."""
        told: dict[str, ToldCommand] = {}
        async for execution in self._client.list_workflows(f'WorkflowId="{id}"'):
            handle = self._client.get_workflow_handle(id, run_id=execution.run_id)
            told |= {act.command.id: act async for act in self._told(id, handle)}
        keys = self._container.keys
        async with self._container.database.reading() as session:
            known = await runs.existing_ids(session, [act.command.id for act in told.values()])
        missing = [
            act
            for act in told.values()
            if act.command.run == id
            and keys.holds(act.key, act.mac, act.sealed_part)
            and act.command.id not in known
            and (act.number > stored or not is_expiry(act.command))
        ]
        return sorted(missing, key=lambda act: act.number)

    async def _told(self, id: str, handle: WorkflowHandle[Any, Any]) -> AsyncIterator[ToldCommand]:
        async for event in handle.fetch_history_events():
            payloads: Any = ()
            if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
                payloads = event.marker_recorded_event_attributes.details["result"].payloads
            elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                payloads = event.activity_task_completed_event_attributes.result.payloads
            for payload in payloads:
                try:
                    (told,) = await self._client.data_converter.decode([payload], [Advanced])
                except Exception:  # another activity's result, or something that only looks like ours
                    continue
                for act in told.acts:
                    yield act

    # --- the database -----------------------------------------------------------------------------------------------

    async def _commands(self) -> list[Finding]:
        async with self._container.database.reading() as session:
            waiting = await runs.waiting_runs(session, self._container.context.clock() - PATIENCE, PAGE)
            forged = await runs.forged_runs(session, PAGE)
            sweep = await runs.get_sweep(session)
        found = [Finding(kind="unanswered", of=run) for run in waiting]
        found += [Finding(kind="forged", of=run, detail=f"{count} signals") for run, count in forged]
        if sweep and sweep.closed_because:
            found.append(Finding(kind="closed", of="database", detail=sweep.closed_because))
        return found

    async def _cut_off(self) -> list[Finding]:
        """Audit entries of the newest daily export that are gone."""
        anchors = self._container.anchors
        exported = anchors.newest_export()
        if exported is None:
            return []
        return [
            Finding(kind="audit", of=mark.subject, detail=f"#{mark.seq} was exported, and is gone")
            async for mark in anchors.find_missing(exported)
        ]

    async def _documents(self) -> list[Finding]:
        """Documents that nobody would send, now and still a moment later."""
        found = {each async for each in self._container.unsent.find()}
        if found:
            await asyncio.sleep(SETTLE_SECONDS)
            found &= {each async for each in self._container.unsent.find()}
        ordered = sorted(found, key=lambda each: (each.order, each.version))
        return [Finding(kind=each.kind, of=each.order, detail=f"version {each.version}") for each in ordered]

    async def _erp(self) -> list[Finding]:
        """Compared now, where the ERP can tell what it has."""
        if trouble := await self._container.drifts.trouble():
            return [Finding(kind="erp_away", of="erp", detail=trouble)]
        if self._container.settings.erp_compares:
            self._say("the ERP")
            await self._client.execute_workflow(
                ERP_RECONCILIATION,
                id=ids.RECONCILIATION,
                task_queue=ERP_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        async with self._container.database.reading() as session:
            found = await drifts.list_page(session, None, PAGE)
        return [
            Finding(
                kind="erp",
                of=each.order,
                detail=f"{each.kind} {each.line}: {each.ours or '-'} here, {each.theirs or '-'} there",
            )
            for each in found
        ]

    # --- mending ----------------------------------------------------------------------------------------------------

    async def mend(self, findings: Sequence[Finding]) -> list[ToldCommand]:
        """Everything that a program can mend. The acts that were taken out of histories, to be shown to people."""
        restored = any(finding.kind in ("closed", "database_behind", "database_forked") for finding in findings)
        recovered: list[ToldCommand] = []
        if restored:
            recovered = await self._give_back(findings)
            await self._reopen()
        if restored or any(finding.kind == "standing" for finding in findings):
            await register_attributes(self._client)
            await ensure_standing_runs(self._client)
            await ensure_sync(self._client, self._container)
        for finding in findings:
            self._say(finding.of)
            await self._mend(finding)
        await self._container.path.apply_followups([finding.of for finding in findings if finding.kind == "unanswered"])
        await self._container.path.settle()
        await self._until_followed()
        return recovered

    async def _until_followed(self) -> None:
        """Give the runs that were woken the time to look at the database."""
        for _ in range(FOLLOW_SECONDS // SETTLE_SECONDS):
            if not await self._runs():
                return

    async def _mend(self, finding: Finding) -> None:
        match finding.kind:
            case "engine_lost":
                await self._wake(finding.of)
            case "engine_behind" | "engine_runs_on" | "foreign" | "database_behind" | "database_forked":
                await self._container.path.engine.terminate(finding.of, f"doctor: {finding.words}")
                await self._wake(finding.of)
            case "orphan":
                await self._container.path.engine.terminate(finding.of, f"doctor: {finding.words}")
            case "forged":
                async with self._container.database.writing() as session:
                    await runs.forget_forgeries(session, finding.of)
            case "missing" | "stray" | "overdue":
                await self._container.unsent.mend(finding.of)
            case "erp":
                async with self._container.database.writing() as session:
                    await drifts.want_mended(session, finding.of, self._container.context.clock())

    async def _wake(self, id: str) -> None:
        async with self._container.database.reading() as session:
            run = await runs.get_run(session, id)
        if run is not None:
            await self._container.path.engine.signal(run, None)

    async def _give_back(self, findings: Sequence[Finding]) -> list[ToldCommand]:
        """Apply again what only histories remember, in the order in which it happened."""
        behind = [finding.of for finding in findings if finding.kind in ("database_behind", "database_forked")]
        async with self._container.database.reading() as session:
            stored = await runs.run_standings(session, behind)
        lost = [act for id in behind if id in stored for act in await self._lost(id, stored[id].seq)]
        return [act for act in sorted(lost, key=lambda act: (act.at, act.number)) if await self._apply_again(act)]

    async def _apply_again(self, act: ToldCommand) -> bool:
        """At its own instant, by today's rules; whether it was applied."""
        path, command = self._container.path, act.command
        try:
            async with path.writing() as session:
                run = await runs.lock_run(session, command.run)
                if run is None:
                    return False
                run = replace(run, closed_because=None)
                known = await runs.find_commands(session, run.id, [command.id])
                new = (
                    []
                    if is_expiry(command) or command.id in known.by_id
                    else [NewCommand(command, verified=act.verified)]
                )
                applied = await path.applier.apply_commands(
                    session,
                    run,
                    new,
                    received=act.received,
                    waiting=known.waiting,
                    all_clocks=is_expiry(command),
                    at=act.at,
                )
                runs.take_followups(session)  # they are in histories themselves, or applied at the end
        except Refusal as refusal:
            self._say(f"{command.id}: {refusal.sentence}")
            return False
        return bool(applied.steps)

    async def _reopen(self) -> None:
        """Commands are taken again, and the sweep begins with a mark that the database knows."""
        async with self._container.database.writing() as session:
            now = self._container.context.clock()
            await runs.save_sweep(session, swept_at=now, closed_because="", mended_at=now)
        await self._container.path.engine.terminate(ids.SWEEP, "doctor: a restore was mended")


def _words(acts: Sequence[ToldCommand]) -> str:
    commands: list[Command] = [act.command for act in acts[:10]]
    return ", ".join(f"{command.verb} by {command.actor}" for command in commands)
