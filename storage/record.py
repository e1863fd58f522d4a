"""Command rows, and `record`: the compare-and-set that makes what a workflow decided what happened."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import defer
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.audit import Entry
from domain.errors import CommandIdReused
from domain.people import Role
from domain.permissions import VERB_ACTS, allows
from domain.runs import Act, Command, Head, Outcome, Proposal, is_expiry
from storage import people, trail
from storage.database import Database
from storage.tables import CommandRow, EventRow, RunRow

Clock = Callable[[], datetime]
WITHOUT_OPENING = (defer(col(RunRow.opening)),)  # type: ignore[arg-type]  # the plan is for readers, and long


class DatabaseBehind(Exception):
    """The engine knows more than the database: an older copy was restored. Nothing is stored until that is mended."""


class Projector(Protocol):
    """Brings a run's lists and messages up to date, in the transaction that records its new state."""

    async def __call__(
        self, session: AsyncSession, run: RunRow, before: dict[str, Any], proposal: Proposal, at: datetime
    ) -> None: ...


def head_of(run: RunRow, settled: list[str] | None = None) -> Head:
    return Head(run=run.id, kind=run.kind, state=run.state, settled=settled or [])


def command_of(row: CommandRow) -> Command:
    return Command(
        id=row.id, run=row.run, actor=row.actor, verb=row.verb, payload=row.payload,
        on_behalf_of=row.on_behalf_of, channel=row.channel,
    )  # fmt: skip


async def _locked(session: AsyncSession, run: str) -> RunRow | None:
    return await session.get(RunRow, run, with_for_update=True, options=WITHOUT_OPENING)


async def head(session: AsyncSession, run: str) -> Head | None:
    """The run as recorded, locked until the transaction ends."""
    row = await _locked(session, run)
    return head_of(row) if row else None


async def write_down(session: AsyncSession, command: Command, at: datetime) -> bool:
    """Store the command's row; False if it stands already. Raises CommandIdReused if that one says something else."""
    row = await session.get(CommandRow, command.id)
    if row is None:
        _add(session, command, at)
        return True
    if row.body != command.body:
        raise CommandIdReused("This Idempotency-Key was used before for another request. Use a new one.")
    return False


async def written(session: AsyncSession, id: str) -> tuple[Command, Head] | None:
    """The command stored under this id, with its run."""
    row = await session.get(CommandRow, id)
    return (command_of(row), head_of(await session.get_one(RunRow, row.run, options=WITHOUT_OPENING))) if row else None


async def answer_now(session: AsyncSession, key: bytes, act: Act) -> None:
    """Answer a written command from the record itself: its run is over, and nothing is left to ask the workflow."""
    row = await session.get_one(CommandRow, act.command.id)
    run = await session.get_one(RunRow, act.command.run)
    _answer(row, act.outcome, act.at)
    await trail.append(session, key, [_entry(run, act, None, verified=True)])


def _add(session: AsyncSession, command: Command, at: datetime, verified: bool = True) -> CommandRow:
    row = CommandRow(**command.model_dump(), body=command.body, verified=verified, created_at=at)
    session.add(row)
    return row


def _answer(row: CommandRow, outcome: Outcome, at: datetime) -> None:
    row.answered, row.outcome, row.answered_at = True, outcome.model_dump(mode="json"), at


def _entry(run: RunRow, act: Act, run_seq: int | None, verified: bool) -> Entry:
    command, outcome = act.command, act.outcome
    return Entry(
        subject=run.subject, seq=0, at=act.at, actor=command.actor, on_behalf_of=command.on_behalf_of,
        verb=command.verb, channel=command.channel, applied=outcome.applied, code=outcome.code, verified=verified,
        command=command.id, run=run.id, run_seq=run_seq, digest=str(run.state.get("digest", "")),
        policy_version=run.state.get("policy_version"),
        facts={**outcome.facts, **({"comment": c} if (c := command.payload.get("comment")) else {})},
    )  # fmt: skip


class Recorder:
    """Stores what workflows propose, whole or not at all."""

    def __init__(
        self,
        database: Database,
        key: bytes,
        clock: Clock,
        projectors: dict[str, Projector],
        allow_unverified: bool,
    ) -> None:
        self._database = database
        self._key = key
        self._clock = clock
        self._projectors = projectors
        self._allow_unverified = allow_unverified

    async def record(self, proposal: Proposal) -> Head:
        """Store the proposal if the run still stands at its base and every command is genuine and unanswered.

        Otherwise nothing of it is stored. Returns the stored state either way, with the commands that need no more
        work: the caller adopts it and proposes the rest anew. Raises DatabaseBehind."""
        async with self._database.writing() as session:
            run = await _locked(session, proposal.run)
            if run is None or run.seq < proposal.base:
                stored = "nothing" if run is None else str(run.seq)
                raise DatabaseBehind(f"{proposal.run}: the engine is at {proposal.base}, the database at {stored}")
            rows, settled = await self._examine(session, run, proposal)
            if settled or run.seq != proposal.base:
                return head_of(run, settled)
            await self._store(session, run, proposal, rows)
            return head_of(run, [act.settles for act in proposal.acts])

    async def _examine(
        self, session: AsyncSession, run: RunRow, proposal: Proposal
    ) -> tuple[dict[str, CommandRow], list[str]]:
        """The rows of the proposed commands, and the keys of those that are forged or answered already."""
        asked = [act for act in proposal.acts if not is_expiry(act.command)]
        query = select(CommandRow).where(col(CommandRow.id).in_([act.command.id for act in asked]))
        rows = {row.id: row for row in (await session.exec(query)).all()} if asked else {}
        settled = []
        for act in asked:
            command, row = act.command, rows.get(act.command.id)
            if row is None and self._allow_unverified and await _permitted(session, command):
                rows[command.id] = _add(session, command, act.at, verified=False)
            elif row is None or row.body != command.body or row.run != run.id:
                await self._note_forgery(session, run, act)
                settled.append(act.settles)
            elif row.answered:
                settled.append(act.settles)
        return rows, settled

    async def _note_forgery(self, session: AsyncSession, run: RunRow, act: Act) -> None:
        """A command without its row: refused, and written down once."""
        name = f"unverified|{run.id}|{act.command.key}"[:240]
        if (await session.exec(select(EventRow.seq).where(EventRow.command == name))).first() is not None:
            return
        sentence = "No front door wrote this command down, so nobody vouches for who sent it."
        refused = Outcome(applied=False, code="unverified_actor", sentence=sentence)
        entry = _entry(run, act.model_copy(update={"outcome": refused}), None, verified=False)
        await trail.append(session, self._key, [entry.model_copy(update={"command": name})])

    async def _store(self, session: AsyncSession, run: RunRow, proposal: Proposal, rows: dict[str, CommandRow]) -> None:
        now, before = self._clock(), run.state
        entries = []
        for run_seq, act in enumerate(proposal.acts, proposal.base + 1):
            row = rows.get(act.command.id)
            if row is not None:
                _answer(row, act.outcome, now)
            entries.append(_entry(run, act, run_seq, verified=row is None or row.verified))
        await trail.append(session, self._key, entries)
        await self._projectors[run.kind](session, run, before, proposal, now)
        run.state = proposal.after
        run.seq = proposal.base + len(proposal.acts)


async def _permitted(session: AsyncSession, command: Command) -> bool:
    """Without a row nobody vouches for the actor; in development the name alone must at least hold the right role."""
    person = await people.load_person(session, command.actor)
    act = VERB_ACTS.get(command.verb)
    if person is None or act is None or not allows(person, act):
        return False
    return command.payload.get("authority") is None or person.has(Role.APPROVALS_ADMIN)


async def unanswered(session: AsyncSession, before: datetime, limit: int) -> list[tuple[Command, Head]]:
    """Commands written down before an instant that nobody has answered, oldest first, with their runs."""
    query = (
        select(CommandRow, RunRow)
        .join(RunRow, col(RunRow.id) == col(CommandRow.run))
        .where(col(CommandRow.answered).is_(False), CommandRow.created_at < before)
        .order_by(col(CommandRow.created_at))
        .options(*WITHOUT_OPENING)
        .limit(limit)
    )
    return [(command_of(command), head_of(run)) for command, run in (await session.exec(query)).all()]


async def overdue(session: AsyncSession, before: datetime, limit: int) -> list[Head]:
    """Runs whose due instant has passed: their timer may be lost with the engine."""
    late = (col(RunRow.running).is_(True), col(RunRow.due) < before)
    query = select(RunRow).where(*late).options(*WITHOUT_OPENING).limit(limit)
    return [head_of(run) for run in (await session.exec(query)).all()]


async def outcomes_of(session: AsyncSession, commands: list[str]) -> dict[str, Outcome]:
    """The outcomes of those commands that are answered."""
    query = select(CommandRow.id, CommandRow.outcome).where(
        col(CommandRow.id).in_(commands),
        col(CommandRow.answered).is_(True),
    )
    return {id: Outcome.model_validate(outcome) for id, outcome in (await session.exec(query)).all()}


async def outcome_of(session: AsyncSession, command: str) -> Outcome | None:
    return (await outcomes_of(session, [command])).get(command)
