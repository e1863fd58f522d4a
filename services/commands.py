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

from activities.sending import Sender
from domain.errors import NotFound
from domain.people import Person
from domain.runs import Act, Command, Head, Machine, Outcome
from domain.values import Value
from storage import record
from storage.database import Database

log = structlog.get_logger()
WAIT_SECONDS = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 0.003, 0.05


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

    async def ask(self, command: Command, wait: float = WAIT_SECONDS) -> Answer:
        """Carry a command to a run that exists. Raises NotFound, CommandIdReused."""
        async with self._database.writing() as session:
            head = await record.head(session, command.run)
            if head is None:
                raise NotFound("There is no such run.")
            if await record.write_down(session, command, self._clock()):
                await self._answer_if_closed(session, command, head)
        return await self.carry(command, head, wait)

    async def _answer_if_closed(self, session: AsyncSession, command: Command, head: Head) -> None:
        machine = self._machines[head.kind]
        state = machine.state.model_validate(head.state)
        if not state.running:
            now = self._clock()
            _, outcome = machine.apply(state, command, now)
            await record.answer_now(session, self._audit_key, Act(command=command, outcome=outcome, at=now))

    async def carry(self, command: Command, head: Head, wait: float = WAIT_SECONDS) -> Answer:
        """Send what is written down and wait for its outcome. With the engine away it is sent again later."""
        until = time.monotonic() + wait
        outcome = await self.outcome(command.id)
        if outcome is None:
            task = asyncio.create_task(self._send(command, head))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
            await asyncio.wait([task], timeout=max(0.0, until - time.monotonic()))
            outcome = await self._awaited(command.id, until)
        code = outcome.code if outcome else None
        log.info("command", command=command.id, run=command.run, verb=command.verb, actor=command.actor, code=code)
        return Answer(command=command.id, outcome=outcome)

    async def _send(self, command: Command, head: Head) -> None:
        try:
            await self._sender.send(command, head)
        except (RPCError, RuntimeError, OSError) as error:  # the row is safe; the sweeper sends it again
            log.warning("engine_away", command=command.id, run=command.run, error=type(error).__name__)

    async def _awaited(self, command: str, until: float) -> Outcome | None:
        pause = FIRST_PAUSE
        while (outcome := await self.outcome(command)) is None and time.monotonic() < until:
            await asyncio.sleep(pause)
            pause = min(pause * 1.4, LONGEST_PAUSE)
        return outcome

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
