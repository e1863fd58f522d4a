"""The one command path: write the command down with its guard, send it, answer from the record."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession
from temporalio.service import RPCError

from activities.contracts import Split
from activities.sending import Sender
from domain.errors import NotFound
from domain.people import Person
from domain.runs import Act, Command, Head, Machine, Outcome
from domain.values import Value
from storage import record
from storage.database import Database

log = structlog.get_logger()
WAIT_SECONDS = 2.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.002, 0.05
FIRST_PAUSE = 0.01
"""At most so long nobody looks at all: no answer comes sooner than in half of the time that answers lately took."""


def command_id(actor: str, key: str | None) -> str:
    """The caller's Idempotency-Key, made theirs alone; a fresh id without one."""
    return f"c-{hashlib.sha256(f'{actor}|{key}'.encode()).hexdigest()[:32]}" if key else f"c-{uuid.uuid4().hex}"


class Caller(Value):
    """Who asks, through which door, and the key that makes asking twice harmless."""

    person: Person
    channel: str = "api"
    key: str | None = None

    @property
    def command_id(self) -> str:
        return command_id(self.person.id, self.key)


class Answer(Value):
    """What came of a command. No outcome yet: it is safely written down, and will be answered."""

    command: str
    outcome: Outcome | None


class Answers:
    """Watches the record for the outcomes that callers wait for: one query at a time, however many wait.

    It looks eight times in the time that answers lately took: soon when they are quick, seldom when all are busy."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._awaited: dict[str, asyncio.Future[Outcome]] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._usual = 0.0

    async def awaited(self, command: str, wait: float) -> Outcome | None:
        """The command's outcome, or None if it has none after `wait` seconds."""
        future = self._awaited.setdefault(command, asyncio.get_running_loop().create_future())
        started = time.monotonic()
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        try:
            outcome = await asyncio.wait_for(asyncio.shield(future), wait)
            self._usual += (time.monotonic() - started - self._usual) / 8
            return outcome
        except TimeoutError:
            return None
        finally:
            if self._awaited.get(command) is future:  # never another caller's, who came after the answer
                del self._awaited[command]

    async def _watch(self) -> None:
        await asyncio.sleep(min(self._usual / 2, FIRST_PAUSE))
        while self._awaited:
            try:
                async with self._database.reading() as session:
                    found = await record.outcomes_of(session, list(self._awaited))
            except Exception as error:  # a database that is away answers nobody now; callers have their time limit
                log.warning("database_away", error=type(error).__name__)
                found = {}
            for command, outcome in found.items():
                if (future := self._awaited.get(command)) and not future.done():
                    future.set_result(outcome)
                self._awaited.pop(command, None)
            await asyncio.sleep(min(max(self._usual / 8, SHORTEST_PAUSE), LONGEST_PAUSE))


class CommandPath:
    def __init__(
        self, database: Database, sender: Sender, clock: Callable[[], datetime], audit_key: bytes,
        machines: dict[str, Machine[Any]],
    ) -> None:  # fmt: skip
        self._database = database
        self._sender = sender
        self._clock = clock
        self._audit_key = audit_key
        self._machines = machines
        self._sending: set[asyncio.Task[None]] = set()
        self._answers = Answers(database)

    async def ask(self, command: Command, wait: float = WAIT_SECONDS) -> Answer:
        """Carry a command to a run that exists. Raises NotFound, CommandIdReused."""
        async with self._database.at_once() as session:
            running = await record.ask(session, command, self._clock())
        if running:
            return await self.carry(command, running, wait)
        async with self._database.writing() as session:
            head = await record.head(session, command.run)
            if head is None:
                raise NotFound("There is no such run.")
            if await record.write_down(session, command, self._clock()):
                outcome = await self._answer_if_closed(session, command, head)
            else:
                outcome = await record.outcome_of(session, command.id)
        return Answer(command=command.id, outcome=outcome) if outcome else await self.carry(command, head, wait)

    async def _answer_if_closed(self, session: AsyncSession, command: Command, head: Head) -> Outcome | None:
        """The record's own answer for a run that is over; None while there is a workflow to ask."""
        machine = self._machines[head.kind]
        state = machine.state.model_validate(head.state)
        if state.running:
            return None
        now = self._clock()
        _, outcome = machine.apply(state, command, now)
        await record.answer_now(session, self._audit_key, Act(command=command, outcome=outcome, at=now))
        return outcome

    async def carry(self, command: Command, head: Head, wait: float = WAIT_SECONDS) -> Answer:
        """Send what is written down and wait for its outcome. With the engine away it is sent again later."""
        task = asyncio.create_task(self._send(command, head))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        outcome = await self._answers.awaited(command.id, wait)
        code = outcome.code if outcome else None
        log.info("command", command=command.id, run=command.run, verb=command.verb, actor=command.actor, code=code)
        return Answer(command=command.id, outcome=outcome)

    async def begin(self, command: Command, head: Head, outcome: Outcome) -> Answer:
        """Start a run that the record began, whose first command it answered. With the engine away the sweeper does."""
        try:
            await self._sender.begin(head)
        except (RPCError, RuntimeError, OSError) as error:
            log.warning("engine_away", command=command.id, run=command.run, error=type(error).__name__)
        log.info(
            "command", command=command.id, run=command.run, verb=command.verb, actor=command.actor, code=outcome.code
        )
        return Answer(command=command.id, outcome=outcome)

    async def split(self, split: Split) -> None:
        """Start what starts the orders of a split. With the engine away the sweeper starts them later."""
        try:
            await self._sender.split(split)
        except (RPCError, RuntimeError, OSError) as error:
            log.warning("engine_away", quote=split.quote, split=split.number, error=type(error).__name__)

    async def _send(self, command: Command, head: Head) -> None:
        try:
            await self._sender.send(command, head)
        except (RPCError, RuntimeError, OSError) as error:  # the row is safe; the sweeper sends it again
            log.warning("engine_away", command=command.id, run=command.run, error=type(error).__name__)

    async def outcome(self, command: str) -> Outcome | None:
        async with self._database.reading() as session:
            return await record.outcome_of(session, command)

    async def receipt(self, person: Person, command: str) -> Answer:
        """The caller's own command, answered or not yet."""
        async with self._database.reading() as session:
            found = await record.written(session, command)
            if found is None or found[0].actor != person.id:
                raise NotFound("You have sent no such command.")
            return Answer(command=command, outcome=await record.outcome_of(session, command))
