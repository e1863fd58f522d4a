"""What a run's workflow asks of the database: apply what is due or was signalled, and say how the run stands."""

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import Refusal
from domain.runs import Advanced, AdvanceRequest, Command, ReceivedSignal, ToldCommand, read_command, text_of
from notify.links import Claim
from services.runs.apply import Applied, NewCommand, RunType
from services.runs.authority import authorise_decision, authorise_unverified
from services.runs.commands import CommandPath, CommandRequest, command_id
from services.runs.keys import CommandKeys
from storage.runs import runs
from storage.runs.runs import RunSnapshot

log = structlog.get_logger()
NOTE_EVERY = 1.0
BY_TOKEN = ("approve", "reject", "delegate")
"""Verbs that a signed token lets a signal carry out: those of the link in a letter, and handing over."""


class DatabaseBehind(Exception):
    """Temporal was told more than the database holds: an older copy was restored. Nothing is applied."""


class DatabaseForked(Exception):
    """The database holds another act under a number that Temporal was told of: an older copy went its own way."""


class Advancer:
    def __init__(
        self, path: CommandPath, keys: CommandKeys, read_token: Callable[[str], Claim | None], allow_unverified: bool
    ) -> None:
        self._path = path
        self._keys = keys
        self._read_token = read_token
        self._allow_unverified = allow_unverified
        self._seen: dict[str, tuple[int, datetime | None]] = {}
        self._noting: asyncio.Task[None] | None = None

    async def advance(self, request: AdvanceRequest) -> Advanced:
        """Apply genuine signals, commands that wait and clocks that are due; then tell what happened since `number`.

        Whoever calls it, with whatever, does no more than that. Raises DatabaseBehind, DatabaseForked."""
        async with self._path.database.reading() as session:
            run = await runs.get_run(session, request.run)
            if run is None or run.kind != request.kind:
                return Advanced(number=-1, running=False, known=False)
            await self._compare(session, run, request)
            known = await runs.find_commands(session, run.id, _ids(request))
            idle = _all_stored(request, known.by_id) and not known.waiting and not self._is_due(run)
            if idle or run.closed_because:
                return await self._tell(session, run, request)
        await self._apply(request)
        async with self._path.database.reading() as session:
            run = await runs.get_run(session, request.run)
            assert run is not None
            return await self._tell(session, run, request)

    def _is_due(self, run: RunSnapshot) -> bool:
        return run.running and run.due is not None and run.due <= self._path.clock()

    async def _compare(self, session: AsyncSession, run: RunSnapshot, request: AdvanceRequest) -> None:
        """Whether the database still holds what the workflow was told."""
        if request.number > run.seq:
            raise DatabaseBehind(f"{run.id}: Temporal was told of act {request.number}, the database holds {run.seq}")
        if request.number > 0 and await runs.mark_at(session, run, request.number) != request.mark:
            raise DatabaseForked(f"{run.id}: act {request.number} is another one in the database")

    async def _apply(self, request: AdvanceRequest) -> None:
        """Signals first: what is stored already needs nothing; a token or, in development, a name may command."""

        async def attempt() -> tuple[Applied | None, list[str]]:
            async with self._path.writing() as session:
                run = await runs.lock_run(session, request.run)
                assert run is not None
                known = await runs.find_commands(session, run.id, _ids(request))
                new: dict[str, NewCommand] = {}
                for signal in request.signals:
                    if row := known.by_id.get(_id(signal)):
                        if not _tells_of(run.id, signal, row):
                            await self._path.applier.note_forgery(session, run, self._read(run, signal))
                    elif (command := await self._vouched(session, run, signal)) is None:
                        await self._path.applier.note_forgery(session, run, self._read(run, signal))
                    elif not await runs.existing_ids(session, [command.command.id]):
                        new.setdefault(command.command.id, command)
                applied = await self._path.applier.apply_commands(
                    session, run, list(new.values()), waiting=known.waiting, all_clocks=True
                )
                return applied, runs.take_followups(session)

        _, followups = await self._path.repeat(attempt)
        await self._path.after_commit(None, followups)

    def _read(self, run: RunSnapshot, signal: ReceivedSignal) -> Command:
        verbs = self._path.applier.run_types[run.kind].machine.verbs
        return read_command(run.id, signal.verb, verbs, signal.data, signal.arrival)

    async def _vouched(self, session: AsyncSession, run: RunSnapshot, signal: ReceivedSignal) -> NewCommand | None:
        """The command that a signal asks for, where a signed token or the setting for development vouches for it."""
        try:
            if claim := self._claim(signal):
                return await self._by_token(session, run, signal, claim)
            command = self._read(run, signal)
            if self._allow_unverified and command.actor:
                await authorise_unverified(session, command)
                return NewCommand(command, verified=False)
        except Refusal as refusal:
            log.info("signal_refused", run=run.id, verb=signal.verb, code=refusal.code)
        return None

    def _claim(self, signal: ReceivedSignal) -> Claim | None:
        token = signal.data.get("token") if isinstance(signal.data, Mapping) else None
        return self._read_token(token) if isinstance(token, str) and signal.verb in BY_TOKEN else None

    async def _by_token(
        self, session: AsyncSession, run: RunSnapshot, signal: ReceivedSignal, claim: Claim
    ) -> NewCommand:
        """The same command, under the same id, as the link in the letter would have sent. Raises Refusal."""
        told = {name: text_of(signal.data.get(name)) for name in ("comment", "to") if name in signal.data}
        fields = {"approval": claim.approval, "digest": claim.digest or run.state.get("digest"), "comment": "", **told}
        request = CommandRequest(
            id=command_id(claim.person, claim.key),
            actor=claim.person,
            verb=signal.verb,
            channel="link",
            run=run.id,
            fields=fields,
        )
        command = await authorise_decision(session, run, request, self._path.clock())
        return NewCommand(command, request.sent(run.id))

    async def _tell(self, session: AsyncSession, run: RunSnapshot, request: AdvanceRequest) -> Advanced:
        type: RunType = self._path.applier.run_types[run.kind]
        told, more = (
            await runs.list_told_since(session, run.id, max(request.number, 0))
            if run.seq > request.number
            else ([], False)
        )
        state = type.machine.state.model_validate(run.state)
        number, mark = (told[-1][0].number, told[-1][1]) if told else (run.seq, run.mark)
        now, due = self._path.clock(), run.due if run.running else None
        self._note_seen(run.id, number, due)
        message = await type.next_erp_message(session, state, now) if type.next_erp_message else None
        return Advanced(
            number=number,
            mark=mark,
            more=more,
            running=run.running,
            due=due,
            wait=_seconds(due - now) if due else None,
            timer=type.narrator.timer_summary(state) if due else "",
            visible=type.narrator.visible(state),
            details=type.narrator.details(state),
            erp=message,
            acts=[self._seal(act) for act, _ in told],
        )

    def _seal(self, act: ToldCommand) -> ToldCommand:
        key, mac = self._keys.seal(act.sealed_part)
        return act.evolve(key=key, mac=mac)

    def _note_seen(self, run: str, number: int, due: datetime | None) -> None:
        """Noted for many runs at once; a note that is lost costs one wake-up."""
        self._seen[run] = number, due
        if self._noting is None or self._noting.done():
            self._noting = asyncio.create_task(self._note_soon())

    async def _note_soon(self) -> None:
        while self._seen:
            await asyncio.sleep(NOTE_EVERY)
            await self._store_seen()

    async def _store_seen(self) -> None:
        seen, self._seen = self._seen, {}
        try:
            async with self._path.database.writing() as session:
                await runs.note_seen(session, seen)
        except Exception as error:
            log.warning("seen_not_noted", runs=len(seen), error=type(error).__name__)

    async def close(self) -> None:
        """Note what was seen, and nothing more."""
        if self._noting:
            self._noting.cancel()
        if self._seen:
            await self._store_seen()


def _seconds(wait: timedelta) -> float:
    """Rounded up to the millisecond, so that the timer never fires early."""
    return max(0, math.ceil(wait.total_seconds() * 1000)) / 1000


def _id(signal: ReceivedSignal) -> str:
    id = signal.data.get("id") if isinstance(signal.data, Mapping) else None
    return id if isinstance(id, str) else ""


def _ids(request: AdvanceRequest) -> list[str]:
    return [id for signal in request.signals if (id := _id(signal))]


def _tells_of(run: str, signal: ReceivedSignal, row: Any) -> bool:
    """Whether a signal tells of the command that is stored under its id."""
    told = signal.data
    stored = (row.run, row.verb, row.actor, row.on_behalf_of, row.payload)
    return stored == (run, signal.verb, told.get("actor"), told.get("on_behalf_of"), told.get("payload"))


def _all_stored(request: AdvanceRequest, stored: Mapping[str, Any]) -> bool:
    """Whether every signal only tells of a command that is stored."""
    rows = [(signal, stored.get(_id(signal))) for signal in request.signals]
    return all(row is not None and _tells_of(request.run, signal, row) for signal, row in rows)
