"""`advance`: genuine commands are applied, everything else changes nothing, on both databases."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from app.container import advancer_of
from domain.approvals.round import Round
from domain.runs import Advanced, AdvanceRequest, Command, ReceivedSignal
from notify.links import Claim
from services.runs.advancing import DatabaseBehind, DatabaseForked
from services.runs.commands import Caller, CommandRequest
from storage.people import people
from storage.runs import runs
from storage.tables import CommandRow, EventRow, MessageRow, RunRow
from tests.conftest import Bench, make_bench
from tests.support import NOW, a_quote

RUN = "quote:Q-1:approval:1"


async def person(bench: Bench, id: str) -> Any:
    async with bench.container.database.reading() as session:
        return await people.load_person(session, id)


async def a_running_round(bench: Bench, **quote: Any) -> Round:
    """A round that waits on the deal desk."""
    rita = Caller(person=await person(bench, "rita"))
    await bench.container.quotes.put(rita, a_quote(discount="15", **quote), None)
    await bench.container.quotes.submit(rita, "Q-1")
    return await stored(bench)


async def stored(bench: Bench) -> Round:
    async with bench.container.database.reading() as session:
        return Round.model_validate((await session.get_one(RunRow, RUN)).state)


async def rows(bench: Bench, table: Any) -> list[Any]:
    async with bench.container.database.reading() as session:
        return list((await session.exec(select(table))).all())


async def notes(bench: Bench) -> list[Any]:
    return [row for row in await rows(bench, EventRow) if row.code == "unverified_actor"]


async def decide(bench: Bench, round: Round, who: str = "dora", verb: str = "approve", key: str | None = None) -> Any:
    caller = Caller(person=await person(bench, who), key=key)
    if verb == "reject":
        return await bench.container.approvals.reject(caller, round.approvals[0].id, round.digest, "no")
    return await bench.container.approvals.approve(caller, round.approvals[0].id, round.digest)


def signal(verb: str, n: int = 0, **data: Any) -> ReceivedSignal:
    return ReceivedSignal(verb=verb, data=data or None, arrival=f"x:{n}")


async def advance(bench: Bench, *signals: ReceivedSignal, **told: Any) -> Advanced:
    request = AdvanceRequest(run=RUN, kind="approval_round", signals=list(signals), **told)
    return await bench.container.advancer.advance(request)


async def store_unapplied(bench: Bench, command: Command) -> None:
    async with bench.container.database.writing() as session:
        await runs.enqueue_followup(session, command, NOW)


def approve(round: Round, actor: str = "dora", id: str = "c-1") -> Command:
    return Command(id=id, run=RUN, actor=actor, verb="approve", payload={"approval": round.approvals[0].id})


async def test_a_run_is_told_what_it_shows_and_waits_for_and_everything_since_the_number_it_knows(bench: Bench) -> None:
    round = await a_running_round(bench)
    told = await advance(bench)
    assert (told.number, told.running, told.more, told.visible and told.visible.status) == (1, True, False, "pending")
    assert [(act.number, act.command.verb, act.code) for act in told.acts] == [(1, "open", "opened")]
    assert "Waiting on dora, daniel" in told.details
    await decide(bench, round)
    later = await advance(bench, number=told.number, mark=told.mark)
    assert [(act.number, act.command.actor, act.code) for act in later.acts] == [(2, "dora", "approved")]
    assert not later.running
    keys = bench.container.keys
    assert all(keys.holds(act.key, act.mac, act.sealed_part) for act in [*told.acts, *later.acts])
    altered = later.acts[0].model_copy(update={"code": "rejected"})
    assert not keys.holds(altered.key, altered.mac, altered.sealed_part)
    assert (await advance(bench, number=later.number, mark=later.mark)).acts == []


async def test_many_acts_are_told_fifty_at_a_time(bench: Bench) -> None:
    round = await a_running_round(bench)
    for n in range(60):
        await bench.container.path.execute(
            CommandRequest(
                id=f"c-{n}", run=RUN, actor="dora" if n % 2 == 0 else "lara", verb="delegate",
                fields={"approval": round.approvals[0].id, "to": "lara" if n % 2 == 0 else "dora"},
            )
        )  # fmt: skip
    first = await advance(bench)
    assert (first.number, first.more, len(first.acts)) == (50, True, 50)
    rest = await advance(bench, number=first.number, mark=first.mark)
    assert (rest.number, rest.more, [act.number for act in rest.acts]) == (61, False, list(range(51, 62)))


async def test_a_signal_that_tells_of_a_stored_command_changes_nothing(bench: Bench) -> None:
    round = await a_running_round(bench)
    answer = await decide(bench, round)
    before = await rows(bench, EventRow)
    row = next(row for row in await rows(bench, CommandRow) if row.id == answer.command)
    await advance(bench, signal("approve", id=row.id, actor=row.actor, payload=row.payload, channel="api"))
    assert await rows(bench, EventRow) == before


@pytest.mark.parametrize(
    "forged",
    [{"id": "c-unknown"}, {"actor": "daniel"}, {"on_behalf_of": "daniel"}, {"payload": {"approval": "another"}}],
)
async def test_a_forged_signal_changes_nothing_and_is_noted_once(bench: Bench, forged: dict[str, Any]) -> None:
    round = await a_running_round(bench)
    genuine = approve(round)
    await store_unapplied(bench, genuine)
    forgery = signal("approve", **{"id": genuine.id, "actor": genuine.actor, "payload": genuine.payload, **forged})
    before = await stored(bench)
    for _ in range(2):
        told = await advance(bench, forgery)
        assert told.number == 2, "the genuine command that waited was applied"
    assert before.status == "pending"
    assert [(e.applied, e.verified, e.run_seq) for e in await notes(bench)] == [(False, False, None)]
    assert (await stored(bench)).approvals[0].seats[0].by is None


async def test_forgeries_are_told_ten_times_and_then_counted(bench: Bench) -> None:
    round = await a_running_round(bench)
    for n in range(15):
        await advance(bench, signal("approve", n, actor="dora", approval=round.approvals[0].id))
    assert len(await notes(bench)) == 10
    assert (await rows(bench, RunRow))[0].forgeries == 15
    assert await stored(bench) == round


async def test_a_command_of_another_run_is_forged_here(bench: Bench) -> None:
    round = await a_running_round(bench)
    await store_unapplied(bench, approve(round).model_copy(update={"run": "quote:Q-9:approval:1"}))
    payload = approve(round).payload
    await advance(bench, signal("approve", id="c-1", actor="dora", payload=payload))
    assert await stored(bench) == round
    assert len(await notes(bench)) == 1


@pytest.mark.parametrize("verb", ["expire", "approval", "follow", "open", "dance"])
async def test_no_signal_brings_along_what_only_the_database_may_say(bench: Bench, verb: str) -> None:
    round = await a_running_round(bench)
    open_bench = make_bench(bench.container.settings.database_url, allow_unverified=True)
    for channel in ("timer", "api"):
        await advance(open_bench, signal(verb, id=f"{RUN}:{verb}:2", actor="clock", channel=channel, payload={}))
        await advance(open_bench, signal(verb, actor="adam", channel=channel))
    assert await stored(bench) == round
    await open_bench.container.close()


async def test_in_development_an_unverified_command_needs_the_role_at_least(bench: Bench) -> None:
    open_bench = make_bench(bench.container.settings.database_url, allow_unverified=True)
    round = await a_running_round(bench)
    approval = round.approvals[0].id
    for n, who in enumerate(("rita", "ghost")):
        await advance(open_bench, signal("approve", n, actor=who, approval=approval))
        assert await stored(bench) == round
    await advance(open_bench, signal("approve", 3, actor="dora", approval=approval))
    assert (await stored(bench)).status == "approved"
    assert [e.verified for e in await rows(bench, EventRow) if e.code == "approved"] == [False]
    await open_bench.container.close()


async def test_a_signal_with_a_signed_token_decides_once_as_the_link_would(bench: Bench) -> None:
    round = await a_running_round(bench)
    claim = Claim(message="m-1", approval=round.approvals[0].id, person="dora")
    token = bench.container.links.decide(claim).rsplit("/", 1)[1]
    await advance(
        bench, signal("recall", token=token), signal("expire", token=token), signal("approve", token="forged")
    )
    assert await stored(bench) == round
    for n in range(2):
        await advance(bench, signal("approve", n, token=token, comment="by Temporal"))
    decided = await stored(bench)
    assert (decided.status, decided.approvals[0].seats[0].comment) == ("approved", "by Temporal")
    (row,) = [row for row in await rows(bench, CommandRow) if row.verb == "approve"]
    assert (row.actor, row.channel, row.verified) == ("dora", "link", True)


async def test_a_token_of_somebody_who_may_decide_no_more_decides_nothing(bench: Bench) -> None:
    round = await a_running_round(bench)
    for who in ("rita", "ghost"):
        token = bench.container.links.decide(Claim(message="m", approval=round.approvals[0].id, person=who))
        await advance(bench, signal("approve", token=token.rsplit("/", 1)[1]))
    assert await stored(bench) == round


async def test_where_links_need_signing_in_a_token_alone_decides_nothing(bench: Bench) -> None:
    round = await a_running_round(bench)
    strict = bench.container.settings.model_copy(update={"links_require_login": True})
    advancer = advancer_of(bench.container.path, bench.container.links, strict)
    token = bench.container.links.decide(Claim(message="m-1", approval=round.approvals[0].id, person="dora"))
    request = AdvanceRequest(run=RUN, kind="approval_round", signals=[signal("approve", token=token.rsplit("/", 1)[1])])
    await advancer.advance(request)
    assert await stored(bench) == round


async def test_temporal_ahead_of_the_database_applies_nothing(bench: Bench) -> None:
    round = await a_running_round(bench)
    await store_unapplied(bench, approve(round))
    with pytest.raises(DatabaseBehind, match="was told of act 4, the database holds 1"):
        await advance(bench, number=4, mark="x")
    with pytest.raises(DatabaseForked, match="act 1 is another one"):
        await advance(bench, number=1, mark="x")
    assert await stored(bench) == round


async def test_a_run_that_nobody_knows_or_of_another_kind_ends(bench: Bench) -> None:
    await a_running_round(bench)
    for request in (
        AdvanceRequest(run="quote:Q-9:approval:1", kind="approval_round"),
        AdvanceRequest(run=RUN, kind="order_fulfilment", signals=[signal("approve", actor="dora")]),
    ):
        assert (await bench.container.advancer.advance(request)).known is False
    assert await notes(bench) == []


async def test_a_command_that_waited_is_applied_by_whoever_looks_first(bench: Bench) -> None:
    round = await a_running_round(bench)
    await store_unapplied(bench, approve(round))
    assert (await advance(bench)).number == 2
    assert (await stored(bench)).status == "approved"


async def test_a_refusal_takes_no_number_and_wakes_nobody_and_is_audited(bench: Bench) -> None:
    round = await a_running_round(bench)
    await bench.container.path.settle()
    bench.engine.signals = []
    answer = await decide(bench, round, "fabio")
    assert answer.outcome.code == "not_an_approver"
    await bench.container.path.settle()
    assert bench.engine.signals == []
    assert await stored(bench) == round
    (entry,) = [e for e in await rows(bench, EventRow) if e.command == answer.command]
    assert (entry.applied, entry.run_seq) == (False, None)


async def test_everybody_asked_has_one_message_per_wave(bench: Bench) -> None:
    await a_running_round(bench)
    messages = await rows(bench, MessageRow)
    assert sorted((m.person, m.template) for m in messages) == [("daniel", "requested"), ("dora", "requested")]


EXPIRING = """
kind: quote
rules:
- {name: r, ask: {user: fabio}, escalate_after_hours: 24, escalate_to: {user: helena}, expire_after_hours: 72}
"""


@pytest.mark.parametrize("temporal", ["up", "away"])
@pytest.mark.parametrize(
    ("days", "who", "code", "acts"),
    [
        (2, "helena", "approved", [("expire", "escalated"), ("approve", "approved")]),
        (4, "fabio", "round_closed", [("expire", "escalated"), ("expire", "expired")]),
    ],
    ids=["escalated after a day, decided after two", "decided when it had expired"],
)
async def test_every_outcome_is_the_same_with_temporal_up_or_away(
    bench: Bench, temporal: str, days: int, who: str, code: str, acts: list[tuple[str, str]]
) -> None:
    """Each clock that passed acted once, in order."""
    await bench.publish(EXPIRING)
    round = await a_running_round(bench)
    for _ in range(days):
        bench.clock.forward(hours=24.5)
        if temporal == "up":
            await advance(bench)
    answer = await decide(bench, round, who)
    assert answer.outcome.code == code
    events = [(e.verb, e.code) for e in sorted(await rows(bench, EventRow), key=lambda e: e.seq) if e.run_seq]
    assert events == [("open", "opened"), *acts]


async def test_no_act_is_given_an_earlier_instant_than_the_one_before(bench: Bench) -> None:
    round = await a_running_round(bench)
    bench.clock.forward(seconds=-30)
    await decide(bench, round)
    async with bench.container.database.reading() as session:
        query = select(EventRow.at).where(EventRow.run == RUN).order_by(col(EventRow.run_seq))
        first, second = (await session.exec(query)).all()
    assert second >= first


async def test_what_is_not_due_yet_is_waited_for_never_too_short(bench: Bench) -> None:
    await bench.publish(EXPIRING)
    await a_running_round(bench)
    bench.clock.forward(hours=23, microseconds=1)
    told = await advance(bench)
    assert told.due == NOW + timedelta(hours=24)
    assert told.wait is not None
    assert timedelta(seconds=told.wait) >= timedelta(hours=1) - timedelta(microseconds=1)
    assert told.timer.startswith("escalates")


async def test_a_closed_database_applies_nothing_and_says_so(bench: Bench) -> None:
    from domain.errors import ClosedForRestore

    round = await a_running_round(bench)
    async with bench.container.database.writing() as session:
        await runs.save_sweep(session, swept_at=NOW, closed_because="an older copy")
    with pytest.raises(ClosedForRestore):
        await decide(bench, round)
    await store_unapplied(bench, approve(round))
    assert (await advance(bench)).number == 1
    assert await stored(bench) == round


async def test_a_stand_ins_retry_gives_its_stored_answer_when_they_stand_in_no_more(bench: Bench) -> None:
    round = await a_running_round(bench)
    lara = Caller(person=await person(bench, "lara"), key="k")
    adam = Caller(person=await person(bench, "adam"))
    given = await bench.container.delegations.give(adam, "dora", "lara", NOW.date(), None)
    first = await bench.container.approvals.approve(lara, round.approvals[0].id, round.digest)
    assert first.outcome.applied
    await bench.container.delegations.end(adam, given.id)
    again = await bench.container.approvals.approve(lara, round.approvals[0].id, round.digest)
    assert again == first


async def test_an_older_command_that_waits_goes_before_a_new_one(bench: Bench) -> None:
    round = await a_running_round(bench)
    await store_unapplied(bench, approve(round, "daniel"))
    answer = await decide(bench, round)
    assert answer.outcome.code == "round_closed"
    assert [row.actor for row in await rows(bench, EventRow) if row.code == "approved"] == ["daniel"]


def test_a_bench_is_replaced_whole() -> None:
    """`replace` copies every part: a part of another container would decide by another clock."""
    bench = make_bench("sqlite://")
    assert replace(bench.container).path is bench.container.context.path is bench.container.advancer._path
