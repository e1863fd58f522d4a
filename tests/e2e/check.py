"""What must hold for every round, whatever died on the way. Says the violations in words."""

from sqlmodel import col, select
from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError

from app.container import Application
from domain.approvals.acts import apply
from domain.approvals.plan import Plan
from domain.approvals.round import Round, new_round
from domain.audit import flaws
from domain.runs import Advanced, Outcome, expiry
from storage.runs import audit_log
from storage.runs.runs import command_of
from storage.tables import ApprovalRow, CommandRow, EventRow, QuoteRow, RunRow, SeatRow


def first_state(run: str, plan: Plan, round: Round) -> Round:
    """The round as it was at sequence number 0."""
    return new_round(
        run, plan, kind=round.subject_kind, id=round.subject_id, number=round.number, digest=round.digest,
        title=round.title, customer=round.customer, submitter=round.submitter, barred=round.barred,
        policy_version=round.policy_version, submitted_at=round.submitted_at, card=round.card,
    )  # fmt: skip


async def violations(container: Application, acknowledged: dict[str, str | None]) -> list[str]:
    """`acknowledged`: command id -> the code its caller was given, None for a 202."""
    found: list[str] = []
    async with container.database.reading() as session:
        runs = (await session.exec(select(RunRow))).all()
        commands = {c.id: c for c in (await session.exec(select(CommandRow))).all()}
        logged: dict[str, str] = {}
        for run in runs:
            entries = (await session.exec(select(EventRow).where(EventRow.run == run.id))).all()
            logged |= {entry.command: entry.code for entry in entries if entry.command}
            events = sorted((e for e in entries if e.run_seq is not None), key=lambda event: event.run_seq or 0)
            state = Round.model_validate(run.state)
            model = first_state(run.id, Plan.model_validate(run.opening["plan"]), state)
            for event in events:
                row = commands.get(event.command or "")
                command = command_of(row) if row else expiry(run.id, model.seq, model.due)
                model, outcome = apply(model, command, event.at)
                if (model.seq, outcome.code, outcome.applied) != (event.run_seq, event.code, event.applied):
                    found.append(f"{run.id}: event {event.run_seq} {event.verb} does not follow from those before it")
            if model != state or run.seq != state.seq or run.running is not state.running:
                found.append(f"{run.id}: the recorded state is not what the events add up to")
            found += await _lists(session, run, state)
            found += await engine_differs(container, run)
        entries = [item async for item in audit_log.everything(session)]
    found += [f"audit {f.subject} #{f.seq}: {f.what}" for f in flaws(container.context.audit_key, entries)]
    for id, code in acknowledged.items():
        row = commands.get(id)
        final = Outcome.model_validate(row.outcome).code if row and row.outcome else None
        if final is None or code not in (None, final):
            found.append(f"{id}: acknowledged with {code}, now {final}")
        elif id in logged and logged[id] != final:
            found.append(f"{id}: answered {final}, logged {logged[id]}")
        elif id not in logged:
            found.append(f"{id}: answered {final} but never logged")
    return found


async def _lists(session, run: RunRow, state: Round) -> list[str]:  # type: ignore[no-untyped-def]
    approvals = (await session.exec(select(ApprovalRow).where(ApprovalRow.run == run.id))).all()
    ids = [a.id for a in approvals]
    seats = (
        await session.exec(select(SeatRow).where(col(SeatRow.approval).in_(ids), col(SeatRow.asked_at).is_not(None)))
    ).all()
    found = []
    if {a.id: a.status for a in approvals} != {a.id: a.status.value for a in state.approvals}:
        found.append(f"{run.id}: the list of approvals disagrees with the state")
    asked = {(a.id, holder) for a in state.requested for holder in a.holders} if state.running else set()
    if {(s.approval, s.holder) for s in seats} != asked:
        found.append(f"{run.id}: inboxes disagree with the state")
    quote = await session.get_one(QuoteRow, state.subject_id)
    if quote.round == state.number and not state.running and quote.status != state.status.value:
        found.append(f"{run.id}: the quote is {quote.status}, the round {state.status}")
    return found


async def engine_differs(container: Application, run: RunRow) -> list[str]:
    """What the run's workflow was told, beside what is stored."""
    client = await container.temporal.client(lazy=False)
    try:
        told = await client.get_workflow_handle(run.id).query("state", result_type=Advanced)
    except (RPCError, WorkflowQueryFailedError) as error:  # its task is being tried again, or it is not ours
        return [f"{run.id}: Temporal says {error}"]
    if (told.number, told.mark, told.running) == (run.seq, run.mark, run.running):
        return []
    return [f"{run.id}: Temporal was told {told.number}, the database holds {run.seq}"]
