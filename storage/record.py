"""Command rows, and `record`: the compare-and-set that makes what a workflow decided what happened."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from sqlalchemy import CursorResult, Executable, Row, Table, bindparam, insert, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.audit import Entry
from domain.erp import ERP
from domain.errors import Clash, CommandIdReused
from domain.people import Role
from domain.permissions import VERB_ACTS, allows
from domain.runs import PARKED, Act, CannotSettle, Command, Head, Outcome, Proposal, RunState, is_expiry
from domain.values import Value
from storage import people, trail
from storage.database import Database, execute, insert_new, own_insert, write
from storage.tables import CommandRow, EventRow, RunRow

Clock = Callable[[], datetime]
RUNS, COMMANDS = RunRow.__table__, CommandRow.__table__  # type: ignore[attr-defined]
EVENT = EventRow.__table__.c  # type: ignore[attr-defined]
AS_RECORDED = (RUNS.c.id, RUNS.c.kind, RUNS.c.subject, RUNS.c.seq, RUNS.c.state)  # what it was opened with is long
THE_RUN = select(*AS_RECORDED).where(RUNS.c.id == bindparam("of"))
THE_RUN_LOCKED = THE_RUN.with_for_update()
OPEN_RUN, ADD_COMMAND = insert(RUNS), insert(COMMANDS)
CHANGE_RUN = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("of"))
    .values({n: bindparam(n) for n in ("state", "seq", "running", "due")} | {"unstarted_since": None})
)
THIS, THESE = COMMANDS.c.id == bindparam("of"), COMMANDS.c.id.in_(bindparam("these", expanding=True))
THE_COMMAND, THE_COMMANDS = select(COMMANDS).where(THIS), select(COMMANDS).where(THESE)
ANSWER = update(COMMANDS).where(THIS).values({n: bindparam(n) for n in ("answered", "outcome", "answered_at")})
PARK = update(COMMANDS).where(THIS).values(parked=True)
MANY = 500
"""Ids in one question."""
FOLLOWING = "following"
"""Where a transaction keeps what it wrote down for other runs."""
OUTCOMES = select(COMMANDS.c.id, COMMANDS.c.outcome).where(COMMANDS.c.answered.is_(True))
THE_OUTCOME, THE_OUTCOMES = OUTCOMES.where(THIS), OUTCOMES.where(THESE)
NOTED = select(EVENT.seq).where(EVENT.command == bindparam("name"))


class DatabaseBehind(Exception):
    """The engine knows more than the database: an older copy was restored. Nothing is stored until that is mended."""


@dataclass(frozen=True)
class Run:
    """A run as recorded, before what is being recorded."""

    id: str
    kind: str
    subject: str
    seq: int
    state: dict[str, Any]

    def head(self, settled: list[str] | None = None) -> Head:
        return Head(run=self.id, kind=self.kind, state=self.state, settled=settled or [])


class Standing(Value):
    """How far a run is, as recorded."""

    seq: int
    running: bool


class Projector(Protocol):
    """Brings a run's lists and messages up to date, in the transaction that records its new state, and returns that.

    Raises CannotSettle, before it wrote anything, when the record forbids the last act."""

    async def __call__(self, session: AsyncSession, run: Run, proposal: Proposal, at: datetime) -> RunState: ...


def batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[n : n + size] for n in range(0, len(items), size))


def command_of(row: CommandRow | Row[Any]) -> Command:
    return Command(
        id=row.id, run=row.run, actor=row.actor, verb=row.verb, payload=row.payload,
        on_behalf_of=row.on_behalf_of, channel=row.channel,
    )  # fmt: skip


async def _by_id(session: AsyncSession, one: Executable, many: Executable, ids: Sequence[str]) -> CursorResult[Any]:
    """One, as almost always, is asked for by name: a list is made into SQL anew each time."""
    return await execute(session, *((one, {"of": ids[0]}) if len(ids) == 1 else (many, {"these": ids})))


async def _run(session: AsyncSession, id: str, lock: bool = False) -> Run | None:
    row = (await execute(session, THE_RUN_LOCKED if lock else THE_RUN, {"of": id})).first()
    return Run(**row._mapping) if row else None


async def open_run(session: AsyncSession, head: Head, subject: str, opening: dict[str, Any], at: datetime) -> None:
    """Store a run at sequence number 0, with what it is opened with."""
    row = {"id": head.run, "kind": head.kind, "subject": subject, "seq": 0, "running": True, "due": None,
           "unstarted_since": None, "state": head.state, "opening": opening, "opened_at": at}  # fmt: skip
    await write(session, OPEN_RUN, [row])


async def begin_run(
    session: AsyncSession, key: bytes, head: Head, state: RunState, subject: str, opening: dict[str, Any], act: Act
) -> None:
    """Store a run after its first act: there was no workflow yet that could have been asked, so the record answers.

    The act's command must be new."""
    run = Run(id=head.run, kind=head.kind, subject=subject, seq=state.seq, state=head.state)
    row = {"id": run.id, "kind": run.kind, "subject": subject, "seq": run.seq, "running": state.running,
           "due": state.due, "unstarted_since": act.at, "state": run.state, "opening": opening,
           "opened_at": act.at}  # fmt: skip
    await trail.append(session, key, [_entry(run, act, run.seq, verified=True)])
    await write(session, OPEN_RUN, [row])
    await write(session, ADD_COMMAND, [{**_fresh(act.command, act.at), **_answer(act, act.at)}])


async def head(session: AsyncSession, run: str) -> Head | None:
    """The run as recorded, locked until the transaction ends."""
    found = await _run(session, run, lock=True)
    return found.head() if found else None


async def write_down(session: AsyncSession, command: Command, at: datetime) -> bool:
    """Store the command's row; False if it stands already. Raises CommandIdReused if that one says something else."""
    if await _add(session, command, at):
        return True
    if (await execute(session, THE_COMMAND, {"of": command.id})).one().body != command.body:
        raise CommandIdReused
    return False


async def ask(session: AsyncSession, command: Command, at: datetime) -> Head | None:
    """Store the command's row, in one statement; None, and nothing stored, if one stands or the run does not run."""
    run = (await execute(session, _asking(own_insert(session)), _fresh(command, at))).first()
    return Head(run=command.run, kind=run.kind, state=run.state) if run else None


@lru_cache
def _asking(insert: Callable[[Table], Any]) -> Executable:
    row = {column.name: bindparam(column.name, type_=column.type) for column in COMMANDS.c}
    its_run = RUNS.c.id == row["run"]
    given = select(*row.values()).where(its_run, RUNS.c.running.is_(True))
    told = (
        select(column).where(its_run).scalar_subquery().label(column.name) for column in (RUNS.c.kind, RUNS.c.state)
    )
    asking: Executable = insert(COMMANDS).from_select([*row], given).on_conflict_do_nothing().returning(*told)
    return asking


async def follow(session: AsyncSession, command: Command, at: datetime) -> None:
    """Write down what another run must do because of this record; it is sent as soon as that is committed."""
    run = await _run(session, command.run)
    if run and await write_down(session, command, at):
        session.info.setdefault(FOLLOWING, []).append((command, run.head()))


async def written(session: AsyncSession, id: str) -> tuple[Command, Head] | None:
    """The command stored under this id, with its run."""
    row = (await execute(session, THE_COMMAND, {"of": id})).first()
    run = await _run(session, row.run) if row else None
    return (command_of(row), run.head()) if row and run else None


async def answer_now(session: AsyncSession, key: bytes, act: Act) -> None:
    """Answer a written command from the record itself: its run is over, and nothing is left to ask the workflow."""
    run = await _run(session, act.command.run)
    if run is None:
        raise LookupError(act.command.run)
    await trail.append(session, key, [_entry(run, act, None, verified=True)])
    await write(session, ANSWER, [{"of": act.command.id, **_answer(act, act.at)}])


async def _add(session: AsyncSession, command: Command, at: datetime, verified: bool = True) -> bool:
    """Store the command's row, unless one stands; whether it did."""
    return await insert_new(session, COMMANDS, _fresh(command, at, verified))


def _fresh(command: Command, at: datetime, verified: bool = True) -> dict[str, Any]:
    return {**command.model_dump(), "body": command.body, "verified": verified, "created_at": at, "parked": False,
            "answered": False, "outcome": None, "answered_at": None}  # fmt: skip


def _answer(act: Act, at: datetime) -> dict[str, Any]:
    return {"answered": True, "outcome": act.outcome.model_dump(mode="json"), "answered_at": at}


def _entry(run: Run, act: Act, run_seq: int | None, verified: bool) -> Entry:
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
        send: Callable[[Command, Head], Awaitable[None]],
    ) -> None:
        self._database = database
        self._key = key
        self._clock = clock
        self._projectors = projectors
        self._allow_unverified = allow_unverified
        self.send = send

    async def record(self, proposal: Proposal) -> Head:
        """Store the proposal if the run still stands at its base and every command is genuine and unanswered.

        Otherwise nothing of it is stored. Returns the stored state either way, with the commands that need no more
        work: the caller adopts it and proposes the rest anew. Raises DatabaseBehind."""
        async with self._database.writing() as session:
            run = await _run(session, proposal.run, lock=True)
            if run is None or run.seq < proposal.base:
                stored = "nothing" if run is None else str(run.seq)
                raise DatabaseBehind(f"{proposal.run}: the engine is at {proposal.base}, the database at {stored}")
            rows, settled = await self._examine(session, run, proposal)
            if settled or run.seq != proposal.base:
                return run.head(settled)
            state = await self._store(session, run, proposal, rows)
            following = session.info.pop(FOLLOWING, [])
        for command, head in following:
            await self.send(command, head)
        return Head(run=run.id, kind=run.kind, state=state, settled=[act.settles for act in proposal.acts])

    async def _examine(
        self, session: AsyncSession, run: Run, proposal: Proposal
    ) -> tuple[Mapping[str, Row[Any]], list[str]]:
        """The rows of the proposed commands, and the keys of those that are forged or answered already."""
        asked = [act for act in proposal.acts if not is_expiry(act.command)]
        these = [act.command.id for act in asked]
        rows = {row.id: row for row in await _by_id(session, THE_COMMAND, THE_COMMANDS, these)} if these else {}
        settled = []
        for act in asked:
            command, row = act.command, rows.get(act.command.id)
            if row is None and self._allow_unverified and await _permitted(session, command):
                if not await _add(session, command, act.at, verified=False):
                    raise Clash("A command of this id was written down at this moment.")
                rows[command.id] = (await execute(session, THE_COMMAND, {"of": command.id})).one()
            elif row is None or row.body != command.body or row.run != run.id:
                await self._note_forgery(session, run, act)
                settled.append(act.settles)
            elif row.answered or (row.parked and act.outcome.code == PARKED):
                settled.append(act.settles)
        return rows, settled

    async def _note_forgery(self, session: AsyncSession, run: Run, act: Act) -> None:
        """A command without its row: refused, and written down once."""
        name = f"unverified|{run.id}|{act.command.key}"[:240]
        if (await execute(session, NOTED, {"name": name})).first() is not None:
            return
        sentence = "No front door wrote this command down, so nobody vouches for who sent it."
        refused = Outcome(applied=False, code="unverified_actor", sentence=sentence)
        entry = _entry(run, act.model_copy(update={"outcome": refused}), None, verified=False)
        await trail.append(session, self._key, [entry.model_copy(update={"command": name})])

    async def _store(
        self, session: AsyncSession, run: Run, proposal: Proposal, rows: Mapping[str, Row[Any]]
    ) -> dict[str, Any]:
        """The state as stored: the projector may complete what the run proposed, and the run adopts it."""
        now, project = self._clock(), self._projectors[run.kind]
        try:
            state = await project(session, run, proposal, now)
        except CannotSettle as refusal:
            *others, last = proposal.acts
            acts = [*others, last.model_copy(update={"outcome": refusal.outcome})]
            proposal = proposal.model_copy(update={"acts": acts, "after": proposal.otherwise})
            state = await project(session, run, proposal, now)
        known = [act for act in proposal.acts if act.command.id in rows]
        entries = []
        for run_seq, act in enumerate(proposal.acts, proposal.base + 1):
            row = rows.get(act.command.id)
            entry = _entry(run, act, run_seq, verified=row is None or row.verified)
            waits = act.outcome.code == PARKED
            entries.append(entry.model_copy(update={"command": f"{PARKED}|{entry.command}"}) if waits else entry)
        await trail.append(session, self._key, entries)
        answers = [{"of": act.command.id, **_answer(act, now)} for act in known if act.outcome.code != PARKED]
        await write(session, ANSWER, answers)
        await write(session, PARK, [{"of": act.command.id} for act in known if act.outcome.code == PARKED])
        stored = state.stored()
        standing = {"state": stored, "seq": state.seq, "running": state.running, "due": state.due}
        await write(session, CHANGE_RUN, [{"of": run.id, **standing}])
        return stored


async def _permitted(session: AsyncSession, command: Command) -> bool:
    """Without a row nobody vouches for the actor; in development the name alone must at least hold the right role."""
    person = await people.load_person(session, command.actor)
    act = VERB_ACTS.get(command.verb)
    if person is None or act is None or not allows(person, act):
        return False
    if command.on_behalf_of is not None:
        return False
    return command.payload.get("authority") is None or person.has(Role.APPROVALS_ADMIN)


async def standings(session: AsyncSession, also: Iterable[str] = ()) -> dict[str, Standing]:
    """Every run that runs, and these."""
    found = {}
    columns = select(RUNS.c.id, RUNS.c.seq, RUNS.c.running)
    for row in await execute(session, columns.where(RUNS.c.running.is_(True))):
        found[row.id] = Standing(seq=row.seq, running=True)
    for some in batched(sorted(set(also) - found.keys()), MANY):
        for row in await execute(session, columns.where(RUNS.c.id.in_(some))):
            found[row.id] = Standing(seq=row.seq, running=row.running)
    return found


async def known(session: AsyncSession, commands: Sequence[str]) -> set[str]:
    """Those of these commands that were written down."""
    found: set[str] = set()
    for some in batched(commands, MANY):
        found |= {row.id for row in await execute(session, select(COMMANDS.c.id).where(COMMANDS.c.id.in_(some)))}
    return found


async def write_down_again(session: AsyncSession, command: Command, at: datetime) -> bool:
    """Store a command that only a history remembers, unvouched for. False when it stands, or its actor may not do it;
    what one run tells another comes again by itself."""
    from_erp = command.actor == ERP and VERB_ACTS.get(command.verb) == "erp.report"
    if await known(session, [command.id]) or not (from_erp or await _permitted(session, command)):
        return False
    return await _add(session, command, at, verified=False)


async def unanswered(session: AsyncSession, before: datetime, limit: int) -> list[tuple[Command, Head]]:
    """Commands written down before an instant that nobody has answered, oldest first, with their runs."""
    query = (
        select(COMMANDS)
        .join(RUNS, RUNS.c.id == COMMANDS.c.run)
        .where(COMMANDS.c.answered.is_(False), COMMANDS.c.parked.is_(False), COMMANDS.c.created_at < before)
        .order_by(COMMANDS.c.created_at)
        .limit(limit)
    )
    commands = [command_of(row) for row in await execute(session, query)]
    runs = select(*AS_RECORDED).where(RUNS.c.id.in_({command.run for command in commands}))
    heads = {row.id: Run(**row._mapping).head() for row in await execute(session, runs)}
    return [(command, heads[command.run]) for command in commands]


async def overdue(session: AsyncSession, before: datetime, limit: int) -> list[Head]:
    """Runs whose due instant has passed: their timer may be lost with the engine."""
    query = select(*AS_RECORDED).where(RUNS.c.running.is_(True), RUNS.c.due < before).limit(limit)
    return [Run(**row._mapping).head() for row in await execute(session, query)]


async def unstarted(session: AsyncSession, before: datetime, limit: int) -> list[Head]:
    """Runs that the record began before an instant, and of which nobody knows whether the engine has them."""
    query = select(*AS_RECORDED).where(RUNS.c.unstarted_since < before).limit(limit)
    return [Run(**row._mapping).head() for row in await execute(session, query)]


async def started(session: AsyncSession, runs: Iterable[str]) -> None:
    """The engine has these."""
    await execute(session, update(RUNS).where(RUNS.c.id.in_(list(runs))).values(unstarted_since=None))


async def outcomes_of(session: AsyncSession, commands: list[str]) -> dict[str, Outcome]:
    """The outcomes of those commands that are answered."""
    found = await _by_id(session, THE_OUTCOME, THE_OUTCOMES, commands)
    return {row.id: Outcome.model_validate(row.outcome) for row in found}


async def outcome_of(session: AsyncSession, command: str) -> Outcome | None:
    return (await outcomes_of(session, [command])).get(command)
