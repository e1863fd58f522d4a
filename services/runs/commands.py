"""The command path: lock the run, apply the command and what follows from it in one transaction, answer, wake the run.

`docs/decisions/0020` and ARCHITECTURE.md say which hole each step closes."""

import asyncio
import hashlib
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any, TypeVar

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import Clash, ClosedForRestore, CommandIdReused, NotFound, Refusal, Unavailable
from domain.people import Person
from domain.runs import Command, Outcome, is_expiry, sent_digest
from domain.runs.contracts import Split
from domain.sentences import Sentence
from domain.values import Value
from services.runs.apply import Applied, Applier, NewCommand
from services.runs.engine import Engine
from storage.database import Database
from storage.runs import runs
from storage.runs.runs import KnownCommands, RunSnapshot

T = TypeVar("T")
log = structlog.get_logger()
ATTEMPTS = 3
SLOW_SECONDS = 0.02
"""A transaction that takes longer is logged: others wait for it."""
FOLLOWUPS_AWAITED = 20
"""So many commands for other runs are applied before the caller is answered; further ones soon after."""


def command_id(actor: str, key: str | None) -> str:
    """The caller's Idempotency-Key, made theirs alone; a fresh id without one."""
    return f"c-{hashlib.sha256(f'{actor}|{key}'.encode()).hexdigest()[:32]}" if key else f"c-{uuid.uuid4().hex}"


class Caller(Value):
    """Who asks, through which front door, and the key that makes asking twice harmless."""

    person: Person
    channel: str = "api"
    key: str | None = None

    @property
    def command_id(self) -> str:
        return command_id(self.person.id, self.key)


class CommandRequest(Value):
    """What a caller sends; what else the command needs is derived under the run's lock."""

    id: str
    actor: str
    verb: str
    fields: dict[str, Any] = {}
    channel: str = "api"
    run: str = ""
    """The run's id, or nothing where `approval` names it."""
    approval: str = ""

    def command(self, run: str, on_behalf_of: str | None = None, **derived: Any) -> Command:
        return Command(
            id=self.id,
            run=run,
            actor=self.actor,
            verb=self.verb,
            payload={**self.fields, **derived},
            on_behalf_of=on_behalf_of,
            channel=self.channel,
        )

    def sent(self, run: str) -> str:
        return sent_digest(run, self.actor, self.verb, self.fields)


class CommandReceipt(Value):
    """What came of a command. No outcome yet: it is stored, and waits for somebody else's answer."""

    command: str
    outcome: Outcome | None


Check = Callable[[AsyncSession, RunSnapshot], Awaitable[Command]]
"""Authorises a request on the locked run and makes it a command. Raises Refusal: then nothing is stored."""
Then = Callable[[AsyncSession, Applied], Awaitable[None]]
"""Stores what else belongs into the transaction."""


class CommandPath:
    def __init__(self, database: Database, engine: Engine, clock: Callable[[], datetime], applier: Applier) -> None:
        self.database = database
        self.engine = engine
        self.clock = clock
        self.applier = applier
        self._tasks: set[asyncio.Task[Any]] = set()

    async def execute(
        self, request: CommandRequest, check: Check | None = None, then: Then | None = None
    ) -> CommandReceipt:
        """Answer a command. A known id is answered as it was, before anything else is looked at.

        A caller who hangs up stops nothing of it. Raises NotFound, CommandIdReused, ClosedForRestore, Unavailable, and
        what `check` raises."""
        return await asyncio.shield(self.in_background(self._answer(request, check, then)))

    async def _answer(self, request: CommandRequest, check: Check | None, then: Then | None) -> CommandReceipt:
        received = self.clock()

        async def attempt() -> tuple[CommandReceipt, Applied | None, list[str]]:
            async with self.writing() as session:
                receipt, applied = await self._execute(session, request, received, check, then)
                return receipt, applied, runs.take_followups(session)

        receipt: CommandReceipt
        receipt, applied, followups = await self.repeat(attempt)
        await self.after_commit(applied, followups)
        code = receipt.outcome.code if receipt.outcome else None
        log.info("command", command=request.id, verb=request.verb, actor=request.actor, code=code)
        return receipt

    async def _execute(
        self,
        session: AsyncSession,
        request: CommandRequest,
        received: datetime,
        check: Check | None,
        then: Then | None,
    ) -> tuple[CommandReceipt, Applied | None]:
        lock = runs.lock_run_of_approval if request.approval else runs.lock_run
        run = await lock(session, request.approval or request.run)
        if run is None:
            raise NotFound(
                Sentence("There is no approval {approval!r}.", approval=request.approval)
                if request.approval
                else "There is no such run."
            )
        if run.closed_because:
            raise ClosedForRestore
        known = await runs.find_commands(session, run.id, [request.id])
        if (row := known.by_id.get(request.id)) is not None:
            if row.sent != request.sent(run.id):
                raise CommandIdReused
            if row.apply_at is None:
                return CommandReceipt(command=request.id, outcome=row.outcome), None
            applied = await self.applier.apply_commands(session, run, received=received, waiting=known.waiting)
        else:
            command = await check(session, run) if check else request.command(run.id)
            new = NewCommand(command, request.sent(run.id))
            applied = await self.applier.apply_commands(session, run, [new], received, known.waiting)
        if then:
            await then(session, applied)
        return CommandReceipt(command=request.id, outcome=applied.outcomes.get(request.id)), applied

    async def open(
        self, session: AsyncSession, run: RunSnapshot, request: CommandRequest, received: datetime
    ) -> Applied:
        """Store a run that nobody knows yet after its first command, in the caller's transaction."""
        new = NewCommand(request.command(run.id), request.sent(run.id))
        return await self.applier.apply_commands(session, run, [new], received)

    def writing(self) -> "_Timed":
        """One transaction, logged where others had to wait for it."""
        return _Timed(self.database)

    async def repeat(self, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """A transaction that clashed, or whose commit is not known, is tried again: its commands have ids.

        Raises Unavailable."""
        for left in reversed(range(ATTEMPTS)):
            try:
                return await attempt()
            except Clash:
                if not left:
                    raise Unavailable from None
        raise AssertionError

    async def place(self, split: Split, followups: Iterable[str]) -> None:
        """Open the orders of a split, and let a run of its own start theirs, so that many starve nobody."""
        self.in_background(self.quietly(split.quote, self.engine.split(split)))
        await self._followups(list(followups), tell=False)

    async def after_commit(self, applied: Applied | None, followups: Iterable[str]) -> None:
        """Apply what the transaction asked of other runs, and wake the run; a caller who hangs up stops neither."""
        if applied and applied.steps:
            self.in_background(self._tell(applied))
        waiting = list(followups)
        if waiting:
            await self._followups(waiting, tell=True)

    async def _followups(self, waiting: list[str], tell: bool) -> None:
        async def everything() -> None:
            await first
            await self.apply_followups(waiting[FOLLOWUPS_AWAITED:], tell)

        first = self.in_background(self.apply_followups(waiting[:FOLLOWUPS_AWAITED], tell))
        if len(waiting) > FOLLOWUPS_AWAITED:
            self.in_background(everything())
        await asyncio.shield(first)

    async def apply_followups(self, ids: Iterable[str], tell: bool = True) -> None:
        """Apply the waiting commands of these runs, each in a transaction of its own, and those they lead to.

        What fails is applied by the sweep."""
        queue = deque(ids)
        while queue:
            run = queue.popleft()
            try:
                queue.extend(await self.apply_waiting(run, tell))
            except Refusal as refusal:
                log.warning("followup_postponed", run=run, code=refusal.code)
            except Exception:
                log.exception("followup_failed", run=run)

    async def apply_waiting(self, id: str, tell: bool = True) -> list[str]:
        """Apply the commands of a run that nobody applied yet. The runs for which that stored further ones."""

        async def attempt() -> tuple[Applied | None, list[str]]:
            async with self.writing() as session:
                run = await runs.lock_run(session, id)
                known = await runs.find_commands(session, id, []) if run else KnownCommands()
                if run is None or not known.waiting:
                    return None, []
                applied = await self.applier.apply_commands(session, run, waiting=known.waiting)
                return applied, runs.take_followups(session)

        applied, followups = await self.repeat(attempt)
        if applied and applied.steps and tell:
            self.in_background(self._tell(applied))
        return list(followups)

    async def apply_clocks(self, id: str) -> None:
        """Let time act on a run by itself: its workflow was woken in vain."""

        async def attempt() -> tuple[Applied | None, list[str]]:
            async with self.writing() as session:
                run = await runs.lock_run(session, id)
                applied = await self.applier.apply_commands(session, run, all_clocks=True) if run else None
                return applied, runs.take_followups(session)

        await self.after_commit(*await self.repeat(attempt))

    async def _tell(self, applied: Applied) -> None:
        """Signal the run with what was applied; should Temporal be away, the sweep wakes it later."""
        commands = [step.applied.command for step in applied.steps if not is_expiry(step.applied.command)]
        await self.quietly(applied.run.id, self.engine.signal(applied.run, commands[-1] if commands else None))

    async def quietly(self, of: str, call: Awaitable[Any]) -> None:
        """Temporal's absence delays clocks, never decisions."""
        try:
            await call
        except Exception as error:
            log.warning("temporal_away", run=of, error=type(error).__name__)

    def in_background(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settle(self) -> None:
        """Wait until nothing of what was begun in the background goes on."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def outcome(self, command: str) -> Outcome | None:
        async with self.database.reading() as session:
            return await runs.outcome_of(session, command)

    async def receipt(self, person: Person, command: str) -> CommandReceipt:
        """The caller's own command, answered or not yet."""
        async with self.database.reading() as session:
            found = await runs.get_command(session, command)
        if found is None or found.actor != person.id:
            raise NotFound("You have sent no such command.")
        return CommandReceipt(command=command, outcome=found.outcome)


class _Timed:
    def __init__(self, database: Database) -> None:
        self._transaction = database.writing()
        self._began = 0.0

    async def __aenter__(self) -> AsyncSession:
        session = await self._transaction.__aenter__()
        self._began = time.monotonic()
        return session

    async def __aexit__(self, *error: Any) -> bool | None:
        ended = await self._transaction.__aexit__(*error)
        if (took := time.monotonic() - self._began) > SLOW_SECONDS:
            log.info("slow_transaction", milliseconds=round(took * 1000))
        return ended
