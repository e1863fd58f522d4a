"""`record`: all of a proposal or nothing of it, once, and only for commands that a front door wrote down."""

from datetime import timedelta
from typing import Any

import pytest
from activities.recording import Recording
from sqlmodel import col, select
from storage.record import DatabaseBehind

from domain.approvals.acts import RoundMachine
from domain.approvals.round import Round
from domain.runs import Act, Command, Head, Proposal, Stored, expiry
from services.commands import Caller
from storage import record
from storage.tables import CommandRow, EventRow, MessageRow, RunRow
from tests.conftest import Bench, make_bench
from tests.support import NOW, a_quote

RUN = "quote:Q-1:approval:1"


async def a_running_round(bench: Bench, **quote: Any) -> Round:
    """A round that waits on the deal desk."""
    house = bench.house
    rita = Caller(person=await person(bench, "rita"))
    await house.quotes.put(rita, a_quote(discount="15", **quote), None)
    await house.quotes.submit(rita, "Q-1")
    return await stored(bench)


async def person(bench: Bench, id: str) -> Any:
    from storage import people

    async with bench.house.database.reading() as session:
        return await people.load_person(session, id)


async def stored(bench: Bench) -> Round:
    async with bench.house.database.reading() as session:
        return Round.model_validate((await session.get_one(RunRow, RUN)).state)


async def rows(bench: Bench, table: Any) -> list[Any]:
    async with bench.house.database.reading() as session:
        return list((await session.exec(select(table))).all())


def proposal(round: Round, *commands: Command) -> Proposal:
    after, acts = round, []
    for command in commands:
        after, outcome = RoundMachine.apply(after, command, NOW)
        acts.append(Act(command=command, outcome=outcome, at=NOW))
    return Proposal(run=RUN, kind="approval_round", base=round.seq, acts=acts, after=after.stored())


def approve(round: Round, actor: str = "dora", id: str = "c-1") -> Command:
    return Command(id=id, run=RUN, actor=actor, verb="approve", payload={"approval": round.approvals[0].id})


async def write_down(bench: Bench, command: Command) -> None:
    async with bench.house.database.writing() as session:
        await record.write_down(session, command, NOW)


async def asked(bench: Bench, command: Command) -> Head | None:
    async with bench.house.database.at_once() as session:
        return await record.ask(session, command, NOW)


async def test_a_command_is_written_down_once_and_only_for_a_run_that_runs(bench: Bench) -> None:
    round = await a_running_round(bench)
    head = await asked(bench, approve(round))
    assert head is not None
    assert (head.kind, Round.model_validate(head.state)) == ("approval_round", round)
    before = await rows(bench, CommandRow)
    assert [(row.actor, row.answered) for row in before if row.id == "c-1"] == [("dora", False)]
    async with bench.house.database.writing() as session:
        session.add(
            RunRow(
                id="over",
                kind="approval_round",
                subject="quote:Q-0",
                state={},
                opening={},
                running=False,
                opened_at=NOW,
            )
        )
    elsewhere = [approve(round, id="c-2").model_copy(update={"run": run}) for run in ("over", "nowhere")]
    for command in (approve(round), approve(round, actor="rita"), *elsewhere):
        assert await asked(bench, command) is None
    assert await rows(bench, CommandRow) == before


async def test_a_command_whose_run_is_gone_does_not_hold_up_the_others(bench: Bench) -> None:
    round = await a_running_round(bench)
    await write_down(bench, approve(round).model_copy(update={"run": "nowhere"}))
    await write_down(bench, approve(round, id="c-2"))
    async with bench.house.database.reading() as session:
        found = await record.unanswered(session, NOW + timedelta(hours=1), 10)
    assert [(command.id, head.run) for command, head in found] == [("c-2", RUN)]


async def test_a_genuine_command_is_stored_once_and_answered(bench: Bench) -> None:
    round = await a_running_round(bench)
    command = approve(round)
    await write_down(bench, command)
    head = await bench.recorder.record(proposal(round, command))
    assert head.settled == [command.key]
    assert Round.model_validate(head.state) == await stored(bench)
    again = await bench.recorder.record(proposal(round, command))
    assert again.state == head.state, "a retried proposal adopts what is stored"
    assert again.settled == [command.key]
    events = [e for e in await rows(bench, EventRow) if e.command == "c-1"]
    assert [(e.run_seq, e.code, e.verified) for e in events] == [(2, "approved", True)]


async def test_what_is_stored_as_proposed_is_not_told_to_the_history_again(bench: Bench) -> None:
    recording = Recording(bench.recorder)
    round = await a_running_round(bench)
    mine, rival = approve(round, "dora", "c-1"), approve(round, "daniel", "c-2")
    await write_down(bench, mine)
    await write_down(bench, rival)
    assert await recording.record(proposal(round, mine)) == Stored()
    late = await recording.record(proposal(round, rival, mine))
    assert late.state == (await stored(bench)).stored()
    assert late.settled == [mine.key]


async def test_another_outcome_stored_there_is_adopted(bench: Bench) -> None:
    """A worker died after its commit; the retried task saw the rival first."""
    round = await a_running_round(bench)
    mine, rival = approve(round, "dora", "c-1"), approve(round, "daniel", "c-2")
    await write_down(bench, mine)
    await write_down(bench, rival)
    first = await bench.recorder.record(proposal(round, mine))
    second = await bench.recorder.record(proposal(round, rival, mine))
    assert second.state == first.state
    assert second.settled == [mine.key], "the rival is proposed anew, over what is stored"
    third = await bench.recorder.record(proposal(Round.model_validate(second.state), rival))
    assert third.settled == [rival.key]
    outcomes = {
        c.id: c.outcome["code"] for c in await rows(bench, CommandRow) if c.id.startswith("c-") and len(c.id) == 3
    }
    assert outcomes == {"c-1": "approved", "c-2": "round_closed"}


@pytest.mark.parametrize(
    "forged",
    [
        {"id": "c-unknown"},
        {"actor": "daniel"},
        {"on_behalf_of": "daniel"},
        {"verb": "reject"},
        {"payload": {"approval": "another"}},
    ],
)
async def test_a_forged_command_changes_nothing_and_is_noted_once(bench: Bench, forged: dict[str, Any]) -> None:
    round = await a_running_round(bench)
    genuine = approve(round)
    await write_down(bench, genuine)
    forgery = genuine.model_copy(update=forged)
    for _ in range(2):
        head = await bench.recorder.record(proposal(round, forgery, genuine))
        assert head.settled == [forgery.key]
        assert await stored(bench) == round
    noted = [e for e in await rows(bench, EventRow) if e.code == "unverified_actor"]
    assert [(e.applied, e.verified, e.run_seq) for e in noted] == [(False, False, None)]
    after = await bench.recorder.record(proposal(round, genuine))
    assert Round.model_validate(after.state).status == "approved"


async def test_a_command_of_another_run_is_forged_here(bench: Bench) -> None:
    round = await a_running_round(bench)
    await write_down(bench, approve(round).model_copy(update={"run": "quote:Q-9:approval:1"}))
    head = await bench.recorder.record(proposal(round, approve(round)))
    assert await stored(bench) == round
    assert head.settled == [approve(round).key]


async def test_in_development_an_unverified_command_needs_the_role_at_least(bench: Bench) -> None:
    open_bench = make_bench(bench.house.settings.database_url, allow_unverified=True)
    round = await a_running_round(bench)
    by_rep = await open_bench.recorder.record(proposal(round, approve(round, "rita", "u-1")))
    assert Round.model_validate(by_rep.state) == round
    by_nobody = await open_bench.recorder.record(proposal(round, approve(round, "ghost", "u-2")))
    assert Round.model_validate(by_nobody.state) == round
    done = await open_bench.recorder.record(proposal(round, approve(round, "dora", "u-3")))
    assert Round.model_validate(done.state).status == "approved"
    noted = [e for e in await rows(bench, EventRow) if e.command == "u-3"]
    assert [e.verified for e in noted] == [False]
    await open_bench.house.close()


async def test_an_engine_ahead_of_the_database_stores_nothing(bench: Bench) -> None:
    round = await a_running_round(bench)
    ahead = round.model_copy(update={"seq": round.seq + 3})
    command = approve(round)
    await write_down(bench, command)
    with pytest.raises(DatabaseBehind, match="the engine is at 4, the database at 1"):
        await bench.recorder.record(proposal(ahead, command))
    with pytest.raises(DatabaseBehind, match="the database at nothing"):
        await bench.recorder.record(proposal(round, command).model_copy(update={"run": "quote:Q-9:approval:1"}))
    assert await stored(bench) == round


async def test_everybody_asked_has_one_message_per_wave(bench: Bench) -> None:
    await a_running_round(bench)
    messages = await rows(bench, MessageRow)
    assert sorted((m.person, m.template) for m in messages) == [("daniel", "requested"), ("dora", "requested")]


async def test_the_timers_own_command_needs_no_row(bench: Bench) -> None:
    round = await a_running_round(bench)
    head: Head = await bench.recorder.record(proposal(round, expiry(RUN, round.seq)))
    assert head.state["seq"] == round.seq + 1
    async with bench.house.database.reading() as session:
        newest = select(EventRow).where(EventRow.run == RUN).order_by(col(EventRow.run_seq).desc()).limit(1)
        assert (await session.exec(newest)).one().code == "not_due"
