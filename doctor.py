"""Compares database, engine and ERP, names every difference, and mends what can be mended.

The record decides. What the engine knows beyond it, after an older copy of the database was restored, are commands
in histories: they are written down again, unvouched for, and given to runs that begin anew from the record."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal

from storage.record import Standing
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle, WorkflowQueryFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from composition import House
from domain.audit import flaws
from domain.runs import Command, is_expiry, read_command
from domain.values import Value
from services.runs import MACHINES
from storage import drift as drifts
from storage import orders, record, trail
from worker import ensure_standing_runs, ensure_sync
from workflows import ids
from workflows.contracts import ERP_QUEUE, ERP_RECONCILIATION
from workflows.search import register_attributes

TYPES = ("ApprovalRound", "OrderFulfilment", "OrderReturn")
AT_ONCE, PAGE = 8, 500
PATIENCE = timedelta(seconds=10)
ANSWER_SECONDS = 60
SETTLE_SECONDS = 2
Kind = Literal[
    "engine_lost", "engine_behind", "engine_runs_on", "database_behind", "orphan", "standing", "unanswered", "audit",
    "ledger", "erp",
]  # fmt: skip
WORDS: dict[Kind, str] = {
    "engine_lost": "the engine does not run it",
    "engine_behind": "the engine has it as it was before",
    "engine_runs_on": "it is over, and the engine runs on",
    "database_behind": "the engine knows more than the database",
    "orphan": "the database does not know it",
    "standing": "what always runs does not",
    "unanswered": "a command has no answer",
    "audit": "the audit trail was altered",
    "ledger": "the quote's ledger does not add up",
    "erp": "the ERP has the order otherwise",
}
BY_HAND: tuple[Kind, ...] = ("audit", "ledger")
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
    def __init__(self, house: House, client: Client, say: Say = lambda _: None) -> None:
        self._house = house
        self._client = client
        self._say = say

    async def examine(self) -> list[Finding]:
        """Every difference, as it is now."""
        found = [finding async for finding in self._standing()]
        self._say("runs")
        found += await self._runs()
        self._say("commands")
        found += await self._unanswered()
        self._say("the audit trail")
        found += await self._audit()
        self._say("ledgers")
        found += await self._ledgers()
        return found + await self._erp()

    # --- the engine -------------------------------------------------------------------------------------------------

    async def _standing(self) -> AsyncIterator[Finding]:
        settings = self._house.settings
        runs = [ids.DELIVERY, *([ids.ERP_SYNC] if settings.erp_carries else [])]
        for id in runs:
            if not await self._running(id):
                yield Finding(kind="standing", of=id)
        for id in [ids.SWEEP, *([ids.RECONCILIATION] if settings.erp_compares else [])]:
            try:
                await self._client.get_schedule_handle(id).describe()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                yield Finding(kind="standing", of=id)

    async def _running(self, id: str) -> bool:
        try:
            described = await self._client.get_workflow_handle(id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return described.status is WorkflowExecutionStatus.RUNNING

    async def _runs(self) -> list[Finding]:
        """What differed, and still did a moment later: a command may have been on its way."""
        kinds = ", ".join(f"'{kind}'" for kind in TYPES)
        query = f'WorkflowType IN ({kinds}) AND ExecutionStatus="Running"'
        in_engine = {execution.id async for execution in self._client.list_workflows(query)}
        suspects = await self._differing(in_engine, True)
        if suspects:
            await asyncio.sleep(SETTLE_SECONDS)
            suspects = await self._differing({finding.of for finding in suspects}, False)
        return suspects

    async def _differing(self, these: set[str], and_all_that_run: bool) -> list[Finding]:
        async with self._house.database.reading() as session:
            recorded = await record.standings(session, these)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(id: str) -> Finding | None:
            async with slots:
                return await self._compared(id, recorded.get(id))

        found = await asyncio.gather(
            *(one(id) for id in sorted(these | (recorded.keys() if and_all_that_run else set())))
        )
        return [finding for finding in found if finding]

    async def _compared(self, id: str, ours: Standing | None) -> Finding | None:
        self._say(id)
        runs = await self._running(id)  # lists of the engine are a moment behind
        if ours is None:
            return Finding(kind="orphan", of=id, detail=_told(await self._lost(id))) if runs else None
        if not runs:  # a copy of the database may be older than the end of its run
            if not ours.running:
                return None
            lost = await self._lost(id)
            return Finding(kind="database_behind" if lost else "engine_lost", of=id, detail=_told(lost))
        try:
            state = await self._client.get_workflow_handle(id).query("state", rpc_timeout=PATIENCE)
        except (RPCError, WorkflowQueryFailedError) as error:
            return Finding(kind="engine_behind", of=id, detail=f"it does not answer: {error}"[:200])
        seq = int(state.get("seq", 0))
        if seq > ours.seq:
            return Finding(
                kind="database_behind", of=id, detail=_told(await self._lost(id)) or f"{seq} after {ours.seq}"
            )
        if not ours.running:
            return Finding(kind="engine_runs_on", of=id)
        return Finding(kind="engine_behind", of=id, detail=f"{seq} before {ours.seq}") if seq < ours.seq else None

    async def _lost(self, id: str) -> list[Command]:
        """Commands that the run was given and the database does not have, in their order."""
        given: dict[str, Command] = {}
        async for execution in self._client.list_workflows(f'WorkflowId="{id}"'):
            handle = self._client.get_workflow_handle(id, run_id=execution.run_id)
            given = {**{command.id: command for command in await self._commands(id, handle)}, **given}
        async with self._house.database.reading() as session:
            known = await record.known(session, list(given))
        return [command for command in given.values() if command.id not in known]

    async def _commands(self, id: str, handle: WorkflowHandle[Any, Any]) -> list[Command]:
        found = []
        verbs = tuple(verb for machine in MACHINES.values() for verb in machine.verbs)
        async for event in handle.fetch_history_events():
            if event.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                continue
            told = event.workflow_execution_signaled_event_attributes
            if told.signal_name in verbs:
                (data, *_) = await self._client.data_converter.decode(told.input.payloads, [dict]) or [None]
                found.append(read_command(id, told.signal_name, verbs, data, event.event_id))
        return [command for command in found if not is_expiry(command)]

    # --- the record -------------------------------------------------------------------------------------------------

    async def _unanswered(self) -> list[Finding]:
        async with self._house.database.reading() as session:
            waiting = await record.unanswered(session, self._house.office.clock() - PATIENCE, PAGE)
        return [Finding(kind="unanswered", of=command.run, detail=f"{command.verb} by {command.actor}")
                for command, _ in waiting]  # fmt: skip

    async def _audit(self) -> list[Finding]:
        async with self._house.database.reading() as session:
            entries = [item async for item in trail.everything(session)]
        broken = flaws(self._house.office.audit_key, entries)
        return [Finding(kind="audit", of=flaw.subject, detail=f"#{flaw.seq}: {flaw.what}") for flaw in broken]

    async def _ledgers(self) -> list[Finding]:
        async with self._house.database.reading() as session:
            return [Finding(kind="ledger", of=quote, detail=entry.line)
                    async for quote, entry in orders.ledgers(session) if not entry.balanced]  # fmt: skip

    async def _erp(self) -> list[Finding]:
        """Compared now, where the ERP can tell what it has."""
        if self._house.settings.erp_compares:
            self._say("the ERP")
            await self._client.execute_workflow(
                ERP_RECONCILIATION, id=ids.RECONCILIATION, task_queue=ERP_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )  # fmt: skip
        async with self._house.database.reading() as session:
            found = await drifts.listed(session, None, PAGE)
        return [Finding(kind="erp", of=each.order, detail=f"{each.kind} {each.line}: {each.ours or '-'} here, "
                        f"{each.theirs or '-'} there") for each in found]  # fmt: skip

    # --- mending ----------------------------------------------------------------------------------------------------

    async def mend(self, findings: Sequence[Finding]) -> list[Command]:
        """Everything that a program can mend. The commands that were taken out of histories, to be shown to people."""
        recovered: list[Command] = []
        if any(finding.kind == "standing" for finding in findings):
            await register_attributes(self._client)
            await ensure_standing_runs(self._client)
            await ensure_sync(self._client, self._house)
        for finding in findings:
            self._say(finding.of)
            match finding.kind:
                case "engine_lost":
                    await self._begin_anew(finding.of, [])
                case "engine_behind" | "engine_runs_on":
                    await self._end(finding.of, "the record knows more")
                    await self._begin_anew(finding.of, [])
                case "database_behind":
                    lost = await self._lost(finding.of)
                    await self._end(finding.of, "an older copy of the database was restored")
                    recovered += await self._begin_anew(finding.of, lost)
                case "orphan":
                    await self._end(finding.of, "the database that was restored does not know it")
                case "erp":
                    async with self._house.database.writing() as session:
                        await drifts.want_mended(session, finding.of, self._house.office.clock())
        await self._house.sweeping.sweep_older_than(timedelta(0))
        await self._answered(recovered)
        return recovered

    async def _end(self, id: str, why: str) -> None:
        try:
            await self._client.get_workflow_handle(id).terminate(reason=why)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended by itself
                raise

    async def _begin_anew(self, id: str, lost: Iterable[Command]) -> list[Command]:
        """The run as recorded, given what was lost; what its giver may not do today is left out."""
        given = []
        async with self._house.database.writing() as session:
            head = await record.head(session, id)
            if head is None:
                return []
            for command in lost:
                if await record.write_down_again(session, command, self._house.office.clock()):
                    given.append(command)
        await self._house.sender.wake(head)
        for command in given:
            await self._house.sender.send(command, head)
        return given

    async def _answered(self, commands: Sequence[Command]) -> None:
        for _ in range(ANSWER_SECONDS * 5 if commands else 0):
            async with self._house.database.reading() as session:
                if len(await record.outcomes_of(session, [command.id for command in commands])) == len(commands):
                    return
            await asyncio.sleep(0.2)


def _told(commands: Sequence[Command]) -> str:
    return ", ".join(f"{command.verb} by {command.actor}" for command in commands[:10])
