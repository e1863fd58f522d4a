"""Runs and commands as rows: locking a run, storing what was applied to it, and what the sweep must look at."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Executable, Row, and_, bindparam, case, false, func, insert, literal, null, or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.errors import ClosedForRestore
from domain.runs import MOST_TOLD, PARKED, Command, Outcome, ToldCommand, expiry, sent_digest
from domain.values import Value
from storage.database import execute, insert_new
from storage.tables import ApprovalRow, CommandRow, EventRow, RunRow, SweepRow
from storage.types import Moment

RUNS, COMMANDS = RunRow.__table__, CommandRow.__table__  # type: ignore[attr-defined]
EVENTS, SWEEP = EventRow.__table__, SweepRow.__table__  # type: ignore[attr-defined]
APPROVALS = ApprovalRow.__table__.c  # type: ignore[attr-defined]
FOLLOW_WITHIN = timedelta(seconds=5)
"""How long Temporal may not follow an act, or a command may wait to be applied, before the sweep looks."""
LATE = timedelta(seconds=30)
"""How late a timer may be before the sweep looks: a busy Temporal is late by itself."""
BATCH_SIZE = 500
"""Ids in one question."""
FOLLOWUPS = "followups"
"""Where a transaction keeps the commands that it stored for other runs."""

CLOSED = select(SWEEP.c.closed_because).where(SWEEP.c.id == 1).scalar_subquery().label("closed_because")
SNAPSHOT = (
    RUNS.c.id,
    RUNS.c.kind,
    RUNS.c.subject,
    RUNS.c.seq,
    RUNS.c.mark,
    RUNS.c.running,
    RUNS.c.due,
    RUNS.c.changed_at,
    RUNS.c.seen,
    RUNS.c.forgeries,
    RUNS.c.state,
)
SELECT_RUN = select(*SNAPSHOT, CLOSED).where(RUNS.c.id == bindparam("of"))
RUN_OF_APPROVAL = select(APPROVALS.run).where(APPROVALS.id == bindparam("of")).scalar_subquery()
SELECT_RUN_OF_APPROVAL = select(*SNAPSHOT, CLOSED).where(RUNS.c.id == RUN_OF_APPROVAL)
LOCK_RUN, LOCK_RUN_OF_APPROVAL = SELECT_RUN.with_for_update(of=RUNS), SELECT_RUN_OF_APPROVAL.with_for_update(of=RUNS)
INSERT_RUN, INSERT_COMMAND = insert(RUNS), insert(COMMANDS)
UPDATE_RUN = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("of"))
    .values(
        {n: bindparam(n) for n in ("state", "seq", "mark", "running", "due", "changed_at", "wake_at")} | {"wakes": 0}
    )
)
SELECT_COMMAND = select(COMMANDS).where(COMMANDS.c.id == bindparam("of"))
SELECT_COMMANDS = (
    select(COMMANDS)
    .where(
        or_(
            COMMANDS.c.id.in_(bindparam("ids", expanding=True)),
            and_(COMMANDS.c.run == bindparam("run"), COMMANDS.c.apply_at.is_not(null())),
        )
    )
    .order_by(COMMANDS.c.created_at, COMMANDS.c.id)
)
ANSWER_COMMAND = (
    update(COMMANDS)
    .where(COMMANDS.c.id == bindparam("of"))
    .values(answered=True, apply_at=None, outcome=bindparam("outcome"), answered_at=bindparam("answered_at"))
)
PARK_COMMAND = update(COMMANDS).where(COMMANDS.c.id == bindparam("of")).values(parked=True, apply_at=None)
NOTE_SEEN = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("of"), RUNS.c.seen < bindparam("number"))
    .values(
        seen=bindparam("number"),
        wakes=0,
        wake_at=case((RUNS.c.seq > bindparam("number"), RUNS.c.wake_at), else_=bindparam("then", type_=Moment())),
    )
)
COUNT_FORGERY = (
    update(RUNS).where(RUNS.c.id == bindparam("of")).values(forgeries=RUNS.c.forgeries + 1).returning(RUNS.c.forgeries)
)
TOLD = (
    select(
        EVENTS.c.run,
        EVENTS.c.run_seq,
        EVENTS.c.at,
        EVENTS.c.applied,
        EVENTS.c.code,
        EVENTS.c.mac,
        EVENTS.c.verified,
        *(COMMANDS.c[n] for n in ("id", "actor", "verb", "payload", "on_behalf_of", "channel", "created_at")),
    )
    .join_from(EVENTS, COMMANDS, COMMANDS.c.id == func.replace(EVENTS.c.command, f"{PARKED}|", ""), isouter=True)
    .where(EVENTS.c.run == bindparam("of"), EVENTS.c.run_seq > bindparam("after"))
    .order_by(EVENTS.c.run_seq)
    .limit(MOST_TOLD + 1)
)
NOTED = select(EVENTS.c.seq).where(EVENTS.c.command == bindparam("name"))
MARK_AT = select(EVENTS.c.mac).where(EVENTS.c.run == bindparam("of"), EVENTS.c.run_seq == bindparam("number"))


@dataclass(frozen=True)
class RunSnapshot:
    """A run as stored, before what is being applied to it."""

    id: str
    kind: str
    subject: str
    seq: int
    state: dict[str, Any]
    mark: str = ""
    running: bool = True
    due: datetime | None = None
    changed_at: datetime | None = None
    seen: int = -1
    forgeries: int = 0
    closed_because: str | None = None
    opening: dict[str, Any] | None = None
    """Given where the run is stored for the first time."""


@dataclass
class KnownCommands:
    """Rows of commands: those asked for by id, and those of a run that nobody has applied yet, oldest first."""

    by_id: dict[str, Row[Any]] = field(default_factory=dict)
    waiting: list[Row[Any]] = field(default_factory=list)


class RunStanding(Value):
    """How far a run is, as stored."""

    seq: int
    running: bool
    mark: str = ""


def in_batches(items: Sequence[str], size: int = BATCH_SIZE) -> Iterator[Sequence[str]]:
    return (items[n : n + size] for n in range(0, len(items), size))


def command_of(row: Row[Any] | CommandRow) -> Command:
    return Command(
        id=row.id,
        run=row.run,
        actor=row.actor,
        verb=row.verb,
        payload=row.payload,
        on_behalf_of=row.on_behalf_of,
        channel=row.channel,
    )


# --- runs -------------------------------------------------------------------------------------------------------------


async def get_run(session: AsyncSession, id: str) -> RunSnapshot | None:
    return await _select_run(session, SELECT_RUN, id)


async def lock_run(session: AsyncSession, id: str) -> RunSnapshot | None:
    """The run, locked until the transaction ends."""
    return await _select_run(session, LOCK_RUN, id)


async def lock_run_of_approval(session: AsyncSession, approval: str) -> RunSnapshot | None:
    return await _select_run(session, LOCK_RUN_OF_APPROVAL, approval)


async def _select_run(session: AsyncSession, statement: Executable, of: str) -> RunSnapshot | None:
    row = (await execute(session, statement, {"of": of})).first()
    return RunSnapshot(**row._mapping) if row else None


async def insert_run(session: AsyncSession, run: RunSnapshot, at: datetime, wake_at: datetime | None = None) -> None:
    """Store a run that nobody knows yet."""
    row = {
        "id": run.id, "kind": run.kind, "subject": run.subject, "seq": run.seq, "mark": run.mark,
        "running": run.running, "due": run.due, "changed_at": at, "seen": -1, "wake_at": wake_at, "wakes": 0,
        "forgeries": 0, "state": run.state, "opening": run.opening or {}, "opened_at": at,
    }  # fmt: skip
    await execute(session, INSERT_RUN, row)


async def update_run(session: AsyncSession, run: RunSnapshot, at: datetime) -> None:
    """Store what was applied; Temporal is looked at should it not follow."""
    row = {
        "of": run.id, "state": run.state, "seq": run.seq, "mark": run.mark, "running": run.running, "due": run.due,
        "changed_at": at, "wake_at": at + FOLLOW_WITHIN,
    }  # fmt: skip
    await execute(session, UPDATE_RUN, row)


async def mark_at(session: AsyncSession, run: RunSnapshot, number: int) -> str | None:
    """The audit MAC of the act of this number; None where there was none."""
    if number == run.seq:
        return run.mark
    found = (await execute(session, MARK_AT, {"of": run.id, "number": number})).first()
    return str(found.mac) if found else None


async def list_told_since(session: AsyncSession, run: str, number: int) -> tuple[list[tuple[ToldCommand, str]], bool]:
    """Acts after a number in their order, each with its audit MAC, and whether there are more than are told at once."""
    rows = (await execute(session, TOLD, {"of": run, "after": number})).all()
    return [(_told(run, row), row.mac) for row in rows[:MOST_TOLD]], len(rows) > MOST_TOLD


def _told(run: str, row: Row[Any]) -> ToldCommand:
    command = command_of(row) if row.id else expiry(run, row.run_seq - 1)
    return ToldCommand(
        number=row.run_seq,
        at=row.at,
        received=row.created_at or row.at,
        command=command,
        applied=row.applied,
        code=row.code,
        verified=row.verified,
    )


async def count_forgery(session: AsyncSession, run: str, name: str) -> int | None:
    """Count a forged signal; how many there are now, or None where the audit log tells of this one already."""
    if (await execute(session, NOTED, {"name": name})).first() is not None:
        return None
    return int((await execute(session, COUNT_FORGERY, {"of": run})).scalar_one())


async def note_seen(session: AsyncSession, seen: Mapping[str, tuple[int, datetime | None]]) -> None:
    """The workflows of these runs were told of the acts up to a number; the sweep looks again after they are due."""
    rows = [
        {"of": run, "number": number, "then": due + LATE if due else None}
        for run, (number, due) in sorted(seen.items())
    ]
    for row in rows:
        await execute(session, NOTE_SEEN, row)


# --- commands ---------------------------------------------------------------------------------------------------------


async def find_commands(session: AsyncSession, run: str, ids: Sequence[str]) -> KnownCommands:
    """The commands of these ids, and the run's own that wait to be applied."""
    found = KnownCommands()
    for row in await execute(session, SELECT_COMMANDS, {"run": run, "ids": list(ids)}):
        if row.id in ids:
            found.by_id[row.id] = row
        if row.run == run and row.apply_at is not None:
            found.waiting.append(row)
    return found


async def get_command(session: AsyncSession, id: str) -> Row[Any] | None:
    row: Row[Any] | None = (await execute(session, SELECT_COMMAND, {"of": id})).first()
    return row


def command_row(
    command: Command, at: datetime, sent: str = "", verified: bool = True, apply_at: datetime | None = None
) -> dict[str, Any]:
    """The row of a command that nobody has answered yet."""
    digest = sent or sent_digest(command.run, command.actor, command.verb, command.payload)
    return {
        **command.model_dump(),
        "sent": digest,
        "verified": verified,
        "created_at": at,
        "parked": False,
        "answered": False,
        "outcome": None,
        "answered_at": None,
        "apply_at": apply_at,
    }


def answer_values(outcome: Outcome, at: datetime) -> dict[str, Any]:
    return {"outcome": outcome.model_dump(mode="json"), "answered_at": at}


async def enqueue_followup(session: AsyncSession, command: Command, at: datetime) -> bool:
    """Store a command for another run, to be applied right after this transaction; False where it stands already."""
    if not await insert_new(session, COMMANDS, command_row(command, at, apply_at=at + FOLLOW_WITHIN)):
        return False
    session.info.setdefault(FOLLOWUPS, []).append(command.run)
    return True


def take_followups(session: AsyncSession) -> list[str]:
    """The runs for which this transaction stored commands, once each."""
    found: list[str] = session.info.pop(FOLLOWUPS, [])
    return list(dict.fromkeys(found))


async def outcomes_of(session: AsyncSession, commands: Sequence[str]) -> dict[str, Outcome]:
    """The outcomes of those commands that are answered."""
    found: dict[str, Outcome] = {}
    for some in in_batches(list(commands)):
        query = select(COMMANDS.c.id, COMMANDS.c.outcome).where(COMMANDS.c.id.in_(some), COMMANDS.c.answered.is_(True))
        found |= {row.id: Outcome.model_validate(row.outcome) for row in await execute(session, query)}
    return found


async def outcome_of(session: AsyncSession, command: str) -> Outcome | None:
    return (await outcomes_of(session, [command])).get(command)


async def existing_ids(session: AsyncSession, commands: Sequence[str]) -> set[str]:
    """Those of these commands that are stored."""
    found: set[str] = set()
    for some in in_batches(commands):
        found |= {row.id for row in await execute(session, select(COMMANDS.c.id).where(COMMANDS.c.id.in_(some)))}
    return found


# --- what the sweep looks at ------------------------------------------------------------------------------------------


async def waiting_runs(session: AsyncSession, now: datetime, limit: int) -> list[str]:
    """Runs with commands that nobody has applied in time, the longest waiting first."""
    query = (
        select(COMMANDS.c.run)
        .join(RUNS, RUNS.c.id == COMMANDS.c.run)
        .where(COMMANDS.c.apply_at <= now)
        .order_by(COMMANDS.c.apply_at)
        .limit(limit)
    )
    return list(dict.fromkeys(row.run for row in await execute(session, query)))


async def postpone_commands(session: AsyncSession, run: str, until: datetime) -> None:
    """The run's waiting commands could not be applied; they are tried again then."""
    waiting = (COMMANDS.c.run == run, COMMANDS.c.apply_at.is_not(null()))
    await execute(session, update(COMMANDS).where(*waiting).values(apply_at=until))


class SleepingRun(Value):
    """A run whose workflow may not follow."""

    id: str
    seq: int
    running: bool
    overdue: bool
    wakes: int


async def sleeping_runs(session: AsyncSession, now: datetime, limit: int) -> list[SleepingRun]:
    """Runs that the sweep should look at by now, the longest waiting first."""
    columns = (RUNS.c.id, RUNS.c.seq, RUNS.c.running, RUNS.c.due, RUNS.c.wakes)
    query = select(*columns).where(RUNS.c.wake_at <= now).order_by(RUNS.c.wake_at).limit(limit)
    return [
        SleepingRun(
            id=row.id, seq=row.seq, running=row.running, wakes=row.wakes, overdue=row.due is not None and row.due <= now
        )
        for row in await execute(session, query)
    ]


async def postpone_wake(session: AsyncSession, run: str, wakes: int, until: datetime) -> None:
    await execute(session, update(RUNS).where(RUNS.c.id == run).values(wakes=wakes, wake_at=until))


async def forget_seen(session: AsyncSession, now: datetime, per_second: int, since: datetime | None) -> int:
    """Temporal lost what it was told after an instant: every run that runs, and those that ended after it, are woken,
    so many a second. Says how many."""
    ended = RUNS.c.changed_at >= since if since else false()
    query = select(RUNS.c.id).where(or_(RUNS.c.running.is_(True), ended)).order_by(RUNS.c.id)
    ids = [row.id for row in await execute(session, query)]
    for n, some in enumerate(in_batches(ids, per_second)):
        values = {"seen": -1, "wakes": 0, "wake_at": now + timedelta(seconds=n)}
        await execute(session, update(RUNS).where(RUNS.c.id.in_(some)).values(**values))
    return len(ids)


async def run_standings(session: AsyncSession, also: Iterable[str] = ()) -> dict[str, RunStanding]:
    """Every run that runs, and these."""
    found: dict[str, RunStanding] = {}
    columns = select(RUNS.c.id, RUNS.c.seq, RUNS.c.running, RUNS.c.mark)
    for row in await execute(session, columns.where(RUNS.c.running.is_(True), RUNS.c.seq > 0)):
        found[row.id] = RunStanding(seq=row.seq, running=True, mark=row.mark)
    for some in in_batches(sorted(set(also) - found.keys())):
        for row in await execute(session, columns.where(RUNS.c.id.in_(some))):
            found[row.id] = RunStanding(seq=row.seq, running=row.running, mark=row.mark)
    return found


async def forged_runs(session: AsyncSession, limit: int) -> list[tuple[str, int]]:
    """Runs that got signals nobody vouches for, and how many, since somebody last looked."""
    query = select(RUNS.c.id, RUNS.c.forgeries).where(RUNS.c.forgeries > 0).order_by(RUNS.c.id).limit(limit)
    return [(row.id, row.forgeries) for row in await execute(session, query)]


async def forget_forgeries(session: AsyncSession, run: str) -> None:
    """Somebody has looked: the audit log keeps them."""
    await execute(session, update(RUNS).where(RUNS.c.id == run).values(forgeries=0))


class SharedMark(Value):
    """The newest audit entry that Temporal and the database both knew of, and when they last agreed."""

    subject: str = ""
    seq: int = 0
    mac: str = ""
    swept_at: datetime | None = None


async def newest_entry(session: AsyncSession) -> SharedMark:
    query = select(EVENTS.c.subject, EVENTS.c.seq, EVENTS.c.mac).order_by(EVENTS.c.at.desc()).limit(1)
    row = (await execute(session, query)).first()
    return SharedMark(subject=row.subject, seq=row.seq, mac=row.mac) if row else SharedMark()


async def holds_entry(session: AsyncSession, mark: SharedMark) -> bool:
    """Whether the database still has the audit entry of a mark."""
    if not mark.subject:
        return True
    same = (EVENTS.c.subject == mark.subject, EVENTS.c.seq == mark.seq, EVENTS.c.mac == mark.mac)
    return (await execute(session, select(literal(1)).where(*same))).first() is not None


async def get_sweep(session: AsyncSession) -> Row[Any] | None:
    row: Row[Any] | None = (await execute(session, select(SWEEP).where(SWEEP.c.id == 1))).first()
    return row


async def check_open(session: AsyncSession) -> None:
    """Raises ClosedForRestore while a restore has to be mended first."""
    if (await execute(session, select(CLOSED))).scalar():
        raise ClosedForRestore


async def save_sweep(session: AsyncSession, **values: Any) -> None:
    if (await execute(session, update(SWEEP).where(SWEEP.c.id == 1).values(**values))).rowcount == 0:
        await insert_new(session, SWEEP, {"id": 1, "closed_because": "", "mended_at": None, **values})
