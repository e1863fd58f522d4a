"""The sweep: what nobody applied is applied, what Temporal does not follow is woken, restores are noticed."""

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from domain.errors import ClosedForRestore
from domain.runs import Command
from domain.runs.contracts import SweepMark
from services.runs.sweeping import WAKES_PER_SECOND
from storage.runs import runs
from storage.tables import CommandRow, EventRow, MessageRow, RunRow
from tests.conftest import Bench
from tests.services.test_advancing import EXPIRING, a_running_round, approve, decide, person, rows, stored
from tests.support import NOW, a_quote

RUN = "quote:Q-1:approval:1"


async def sweep_with(bench: Bench, mark: SweepMark) -> SweepMark:
    bench.mark = mark
    return await bench.sweep()


async def store_unapplied(bench: Bench, *commands: Command) -> None:
    async with bench.container.database.writing() as session:
        for command in commands:
            await runs.enqueue_followup(session, command, bench.clock())


async def test_a_command_whose_process_died_is_applied_after_a_while(bench: Bench) -> None:
    round = await a_running_round(bench)
    await store_unapplied(bench, approve(round))
    assert (await bench.sweep()).applied == 0, "its own process may be about to"
    bench.clock.forward(seconds=6)
    assert (await bench.sweep()).applied == 1
    assert (await stored(bench)).status == "approved"


async def test_hopeless_commands_delay_no_other_and_are_tried_ever_less(bench: Bench) -> None:
    round = await a_running_round(bench)
    async with bench.container.database.writing() as session:
        for n in range(100):
            run = runs.RunSnapshot(id=f"broken:{n}", kind="nonsense", subject="quote:Q-0", seq=0, state={}, opening={})
            await runs.insert_run(session, run, NOW)
            await runs.enqueue_followup(session, approve(round, id=f"h-{n}").model_copy(update={"run": run.id}), NOW)
        gone = approve(round, id="gone").model_copy(update={"run": "nowhere"})
        await runs.enqueue_followup(session, gone, NOW)
    bench.clock.forward(seconds=6)
    await store_unapplied(bench, approve(round))
    bench.clock.forward(seconds=6)
    assert (await bench.sweep()).applied == 1
    async with bench.container.database.reading() as session:
        assert await runs.waiting_runs(session, bench.clock() + timedelta(seconds=100), 200) == []
        assert len(await runs.waiting_runs(session, bench.clock() + timedelta(minutes=5), 200)) == 100


async def test_a_run_that_temporal_does_not_follow_is_woken_once_and_then_ever_less(bench: Bench) -> None:
    await a_running_round(bench)
    await bench.container.path.settle()
    bench.engine.signals = []
    woken = []
    for _ in range(120):
        bench.clock.forward(seconds=1)
        woken.append((await bench.sweep()).woken)
    assert 4 <= sum(woken) <= 6
    assert {name for _, name in bench.engine.signals} == {"wake"}


async def test_a_run_that_follows_is_left_alone_until_it_is_late(bench: Bench) -> None:
    await bench.publish(EXPIRING)
    round = await a_running_round(bench)
    async with bench.container.database.writing() as session:
        await runs.note_seen(session, {RUN: (round.seq, round.due)})
    bench.clock.forward(hours=23)
    assert (await bench.sweep()).woken == 0
    bench.clock.forward(hours=1, seconds=60)
    assert (await bench.sweep()).woken == 1


async def test_a_note_that_is_older_than_the_run_wakes_it_all_the_same(bench: Bench) -> None:
    round = await a_running_round(bench)
    await decide(bench, round)
    async with bench.container.database.writing() as session:
        await runs.note_seen(session, {RUN: (1, None)})
    bench.clock.forward(seconds=6)
    assert (await bench.sweep()).woken == 1


async def test_a_closed_run_whose_execution_completed_is_noted_and_never_started_again(bench: Bench) -> None:
    round = await a_running_round(bench)
    await decide(bench, round)
    await bench.container.path.settle()
    bench.engine.signals, bench.engine.conditions[RUN] = [], "ended"
    for _ in range(3):
        bench.clock.forward(minutes=20)
        await bench.sweep()
    assert bench.engine.signals == []
    (row,) = await rows(bench, RunRow)
    assert (row.seen, row.wake_at) == (2, None)


@pytest.mark.parametrize("condition", ["foreign", "stuck"])
async def test_an_execution_that_cannot_follow_makes_room_and_that_is_audited(bench: Bench, condition: Any) -> None:
    await a_running_round(bench)
    bench.engine.conditions[RUN] = condition
    for _ in range(4):
        bench.clock.forward(minutes=5)
        await bench.sweep()
    assert RUN in bench.engine.terminated
    assert f"execution_{condition}" in {row.code for row in await rows(bench, EventRow)}


async def test_time_acts_although_every_wake_up_is_in_vain(bench: Bench) -> None:
    await bench.publish(EXPIRING)
    await a_running_round(bench)
    for _ in range(8):
        bench.clock.forward(hours=24)
        await bench.sweep()
    assert (await stored(bench)).status == "expired"


# --- restores ---------------------------------------------------------------------------------------------------------


async def test_an_older_copy_of_the_database_is_noticed_and_nothing_is_stored_until_it_is_mended(bench: Bench) -> None:
    round = await a_running_round(bench)
    before = {row.id for row in await rows(bench, CommandRow)}
    await decide(bench, round, key="k")
    mark = await bench.sweep()
    await _go_back(bench, round, before)
    bench.clock.forward(seconds=5)
    await sweep_with(bench, mark)
    assert (await decide(bench, round, "daniel")).outcome.code == "approved", "it is compared every ten seconds"
    bench.clock.forward(seconds=6)
    await sweep_with(bench, mark)
    with pytest.raises(ClosedForRestore):
        await decide(bench, round)
    with pytest.raises(ClosedForRestore):
        await bench.container.quotes.submit(await _caller(bench, "rita"), "Q-1")


async def _go_back(bench: Bench, round: Any, commands: set[str]) -> None:
    """As the database stood before the last decision."""
    async with bench.container.database.writing() as session:
        for row in (await session.exec(select(EventRow).where(EventRow.run == RUN))).all():
            if row.command not in commands:
                await session.delete(row)
        for message in (await session.exec(select(MessageRow).where(MessageRow.template == "finished"))).all():
            await session.delete(message)
        run = await session.get_one(RunRow, RUN)
        (first,) = (await session.exec(select(EventRow).where(EventRow.run == RUN, EventRow.run_seq == 1))).all()
        run.state, run.seq, run.mark, run.running = round.stored(), round.seq, first.mac, True


async def _caller(bench: Bench, who: str) -> Any:
    from services.runs.commands import Caller

    return Caller(person=await person(bench, who))


async def test_a_forged_mark_closes_nothing(bench: Bench) -> None:
    round = await a_running_round(bench)
    mark = await bench.sweep()
    forged = mark.model_copy(update={"mac": "0" * 64, "swept_at": NOW - timedelta(days=1)})
    await sweep_with(bench, forged)
    await sweep_with(bench, SweepMark(subject="quote:Q-1", seq=99, mac="0" * 64))
    assert (await decide(bench, round)).outcome.applied


async def test_temporal_that_lost_what_it_knew_is_told_again_fifty_a_second(bench: Bench) -> None:
    rita = await _caller(bench, "rita")
    for n in range(WAKES_PER_SECOND + 5):
        await bench.container.quotes.put(rita, a_quote(f"Q-{n}", discount="15"), None)
        await bench.container.quotes.submit(rita, f"Q-{n}")
    await bench.sweep()
    async with bench.container.database.writing() as session:
        await runs.note_seen(session, {row.id: (row.seq, None) for row in await rows(bench, RunRow)})
    old = bench.mark
    for _ in range(7):
        bench.clock.forward(seconds=10)
        await bench.sweep()
    bench.engine.signals = []
    await sweep_with(bench, old)
    first = len(bench.engine.signals)
    bench.clock.forward(seconds=1)
    await bench.sweep()
    assert (first, len(bench.engine.signals)) == (WAKES_PER_SECOND, WAKES_PER_SECOND + 5)
    assert all(row.seen == -1 for row in await rows(bench, RunRow))
