"""Applies commands to a run inside the caller's transaction: the one place where anything is decided.

Rules see the stored state under its lock; what follows (lists, letters, documents for the
ERP, audit) is written in the same transaction. `docs/decisions/0020` says why."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.audit import Entry, digest_of
from domain.errors import ClosedForRestore
from domain.runs import (
    PARKED,
    AppliedCommand,
    Command,
    ErpMessage,
    Outcome,
    RejectedByRecord,
    RunState,
    StateMachine,
    Visible,
    expiry,
    is_expiry,
    is_unchanged,
    refused,
)
from domain.values import digest
from storage.database import execute
from storage.runs import audit_log, runs
from storage.runs.runs import RunSnapshot

Clock = Callable[[], datetime]
MOST_CLOCKS = 100
"""Clocks of one run applied in one transaction: more than any state can have due at once."""
MOST_FORGERIES = 10
"""Forged signals of one run that the audit log tells one by one; further ones are only counted."""


@dataclass(frozen=True)
class Step:
    """One act that changed the state."""

    was: Any
    now: Any
    applied: AppliedCommand


class Narrator(Protocol):
    """Puts a state into words for the Temporal UI."""

    def visible(self, state: Any) -> Visible: ...
    def details(self, state: Any) -> str: ...
    def timer_summary(self, state: Any) -> str: ...


class Complete(Protocol):
    """Adds to a state what only tables know: calendars, amounts, other runs. Called act by act.

    Raises RejectedByRecord, before anything is written, when a table forbids the act."""

    async def __call__(self, session: AsyncSession, was: Any, now: Any, at: datetime) -> Any: ...


class PrepareClock(Protocol):
    """Adds to a state what only tables know and time needs, just before a clock acts: whom a late approval goes to."""

    async def __call__(self, session: AsyncSession, state: Any, due: datetime, /) -> Any: ...


class NextErpMessage(Protocol):
    """The document that a run must send to the ERP next, and how long it waits before; None where there is none."""

    async def __call__(self, session: AsyncSession, state: Any, now: datetime, /) -> ErpMessage | None: ...


class Project(Protocol):
    """Writes the lists, letters and documents that follow from the steps of one transaction."""

    async def __call__(self, session: AsyncSession, run: RunSnapshot, steps: Sequence[Step], at: datetime) -> None: ...


@dataclass(frozen=True)
class RunType:
    """A kind of run: its rules, what follows from them, and how Temporal runs and shows it."""

    machine: StateMachine[Any]
    complete: Complete
    project: Project
    narrator: Narrator
    workflow: str
    task_queue: str
    prepare_clock: PrepareClock | None = None
    next_erp_message: NextErpMessage | None = None
    """Where an ERP is connected."""

    @property
    def kind(self) -> str:
        return self.machine.kind


@dataclass(frozen=True)
class NewCommand:
    """A command that has no row yet."""

    command: Command
    sent: str = ""
    """The digest of what the caller sent, where that is not the command itself."""
    verified: bool = True


@dataclass
class Applied:
    """What one call did: the run afterwards, what became of each command, and whether the state changed."""

    run: RunSnapshot
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """By the command's id; a parked command has none."""
    steps: list[Step] = field(default_factory=list)


class Applier:
    """Applies commands with the rules of their run's kind."""

    def __init__(self, run_types: Mapping[str, RunType], audit_key: bytes, clock: Clock) -> None:
        self.run_types = run_types
        self._audit_key = audit_key
        self._clock = clock

    async def apply_commands(
        self,
        session: AsyncSession,
        run: RunSnapshot,
        new: Sequence[NewCommand] = (),
        received: datetime | None = None,
        waiting: Sequence[Any] = (),
        all_clocks: bool = False,
        at: datetime | None = None,
    ) -> Applied:
        """Apply, in this order: clocks that were due when the commands were received, commands stored earlier that
        nobody applied (`waiting` rows), then the new ones.

        The run must be locked, and new ids unknown. With `all_clocks` a start date acts too. `at` is now unless a
        history is applied again. Raises ClosedForRestore."""
        if run.closed_because:
            raise ClosedForRestore
        batch = _Batch(self.run_types[run.kind], run, _latest(at or self._clock(), run.changed_at))
        await batch.apply_clocks(session, received or batch.at, all_clocks)
        for row in waiting:
            await batch.apply(session, runs.command_of(row))
        for each in new:
            await batch.apply(session, each.command)
        return await self._store(session, batch, new, {row.id: row for row in waiting}, received)

    async def _store(
        self,
        session: AsyncSession,
        batch: "_Batch",
        new: Sequence[NewCommand],
        rows: Mapping[str, Any],
        received: datetime | None,
    ) -> Applied:
        """Lists and letters first, the audit log last: every transaction takes its locks in one order."""
        run, at = batch.run, batch.at
        if batch.steps:
            await batch.type.project(session, run, batch.steps, at)
        verified = {each.command.id: each.verified for each in new} | {id: row.verified for id, row in rows.items()}
        state = batch.state.stored() if batch.steps else run.state
        entries = [
            audit_entry(run, state, applied, number, verified.get(applied.command.id, True))
            for applied, number in batch.acts
        ]
        macs = await audit_log.append(session, self._audit_key, entries)
        await self._store_commands(session, batch, new, received or at)
        if batch.steps:
            mark = [mac for (_, number), mac in zip(batch.acts, macs, strict=True) if number][-1]
            last = batch.state
            stored = replace(
                run, seq=last.seq, state=state, running=last.running, due=last.due, mark=mark, changed_at=at
            )
            if run.opening is None:
                await runs.update_run(session, stored, at)
            else:
                await runs.insert_run(session, stored, at, at + runs.FOLLOW_WITHIN)
            return Applied(stored, batch.outcomes, batch.steps)
        return Applied(run, batch.outcomes)

    async def _store_commands(
        self, session: AsyncSession, batch: "_Batch", new: Sequence[NewCommand], received: datetime
    ) -> None:
        fresh = {each.command.id for each in new}
        inserted = []
        for each in new:
            row = runs.command_row(each.command, received, each.sent, each.verified)
            outcome = batch.outcomes.get(each.command.id)
            answer = {"answered": True, **runs.answer_values(outcome, batch.at)} if outcome else {"parked": True}
            inserted.append({**row, **answer})
        if inserted:
            await execute(session, runs.INSERT_COMMAND, inserted)
        answered = [
            {"of": id, **runs.answer_values(outcome, batch.at)}
            for id, outcome in batch.outcomes.items()
            if id not in fresh
        ]
        if answered:
            await execute(session, runs.ANSWER_COMMAND, answered)
        parked = [{"of": id} for id in batch.parked if id not in fresh and id not in batch.outcomes]
        if parked:
            await execute(session, runs.PARK_COMMAND, parked)

    async def note_forgery(self, session: AsyncSession, run: RunSnapshot, command: Command) -> None:
        """A signal that nobody vouches for: refused, written into the audit log while they are few, and counted."""
        name = f"unverified|{run.id}|{command.id}|{digest([command.verb, command.actor, command.payload])[:16]}"[:240]
        count = await runs.count_forgery(session, run.id, name)
        if count is None or count > MOST_FORGERIES:
            return
        sentence = "No front door stored this command, so nobody vouches for who sent it."
        applied = AppliedCommand(command=command, outcome=refused("unverified_actor", sentence), at=self._clock())
        entry = audit_entry(run, run.state, applied, None, verified=False)
        await audit_log.append(session, self._audit_key, [entry.evolve(command=name)])


class _Batch:
    """The acts of one transaction on one run."""

    def __init__(self, type: RunType, run: RunSnapshot, at: datetime) -> None:
        self.type, self.run, self.at = type, run, at
        self.state: RunState = type.machine.state.model_validate(run.state)
        self.acts: list[tuple[AppliedCommand, int | None]] = []
        """Everything that is audited, with its number where it changed the state."""
        self.steps: list[Step] = []
        self.outcomes: dict[str, Outcome] = {}
        self.parked: list[str] = []

    async def apply_clocks(self, session: AsyncSession, received: datetime, all_clocks: bool) -> None:
        """Each clock that was due acts once, in order; what it starts counts from now."""
        for _ in range(MOST_CLOCKS):
            due = self.state.due if all_clocks else self.state.binding_due
            until = self.state.parked_until
            if until and until <= received:
                await self._refuse_parked(session)
            elif due and due <= received and self.state.running:
                number = self.state.seq
                if self.type.prepare_clock:
                    self.state = await self.type.prepare_clock(session, self.state, due)
                await self.apply(session, expiry(self.run.id, number, due))
                if self.state.seq == number:  # a table forbids it: it is tried again later
                    return
            else:
                return

    async def apply(self, session: AsyncSession, command: Command) -> None:
        """One act, and then whatever was parked and can be answered after it."""
        await self._apply(session, self.state, command)
        while self.state.ready:
            first, before = self.state.without_first_parked()
            await self._apply(session, before, first)

    async def _apply(self, session: AsyncSession, before: Any, command: Command) -> None:
        after, outcome = self.type.machine.apply(before, command, self.at)
        if not outcome.applied and is_unchanged(before, after):
            after = before
        else:
            try:
                after = await self.type.complete(session, before, after, self.at)
            except RejectedByRecord as rejection:
                outcome = rejection.outcome
                after = before.if_rejected(command, outcome, self.at)
                if after is not before:
                    after = await self.type.complete(session, before, after, self.at)
        self._note(AppliedCommand(command=command, outcome=outcome, at=self.at), after)

    async def _refuse_parked(self, session: AsyncSession) -> None:
        while self.state.parked:
            first, after = self.state.without_first_parked()
            after = after.if_not_answered(first, self.at)
            outcome = refused("no_answer", "The back office did not answer in time. Nothing was changed; ask again.")
            after = await self.type.complete(session, self.state, after, self.at)
            self._note(AppliedCommand(command=first, outcome=outcome, at=self.at), after)

    def _note(self, applied: AppliedCommand, after: Any) -> None:
        command = applied.command
        changed = not is_unchanged(self.state, after)
        numbered = changed or (applied.outcome.applied and not is_expiry(command))
        if numbered:
            after = after.evolve(seq=self.state.seq + 1)
            self.steps.append(Step(self.state, after, applied))
            self.state = after
        elif is_expiry(command):
            return
        self.acts.append((applied, self.state.seq if numbered else None))
        if applied.outcome.code == PARKED:
            self.parked.append(command.id)
        elif not is_expiry(command):
            self.outcomes[command.id] = applied.outcome


def _latest(now: datetime, newest: datetime | None) -> datetime:
    """No act is given an earlier instant than the one before it, whatever the clocks of processes say."""
    return max(now, newest) if newest else now


def audit_entry(
    run: RunSnapshot, state: Mapping[str, Any], applied: AppliedCommand, number: int | None, verified: bool
) -> Entry:
    """What the audit log says of an act; `number` where it changed the state."""
    command, outcome = applied.command, applied.outcome
    parked = outcome.code == PARKED
    return Entry(
        subject=run.subject,
        seq=0,
        at=applied.at,
        actor=command.actor,
        on_behalf_of=command.on_behalf_of,
        verb=command.verb,
        channel=command.channel,
        applied=outcome.applied,
        code=outcome.code,
        verified=verified,
        command=f"{PARKED}|{command.id}" if parked else command.id,
        run=run.id,
        run_seq=number,
        digest=str(state.get("digest", "")),
        state="" if number is None else digest_of(state),
        policy_version=state.get("policy_version"),
        facts={**outcome.facts, **({"comment": c} if (c := command.payload.get("comment")) else {})},
    )
