"""A round through services, engine, worker and record, with time that skips."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import select
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.service import RPCError

from domain.approvals.round import Round, RoundStatus
from domain.calendars import Calendar, after_hours
from domain.errors import NotFound
from services.imports.samples import SYSTEM
from storage.runs import runs
from storage.tables import CommandRow, EventRow, MessageRow, QuoteRow, RunRow
from tests.support import a_quote
from tests.workflows.conftest import NUMBERS, Office

EXPIRING = """
kind: quote
chains: [{name: main}]
rules:
- {name: first, chain: main, step: 1, ask: {user: fabio}, expire_after_hours: 72}
- {name: second, chain: main, step: 2, ask: {user: carla}, expire_after_hours: 24}
"""


async def until(condition: Callable[[], Any], what: str, tries: int = 400) -> Any:
    for _ in range(tries):
        if found := await condition():
            return found
        await asyncio.sleep(0.025)
    raise AssertionError(f"{what} never came to be")


async def ended(office: Office, run: str) -> Round:
    async def closed() -> Round | None:
        round = await office.recorded(run)
        return None if round.running else round

    found: Round = await until(closed, "the end of the round")
    return found


async def rows(office: Office, table: Any) -> list[Any]:
    async with office.container.database.reading() as session:
        return list((await session.exec(select(table))).all())


async def test_a_round_is_decided_and_engine_and_record_agree(office: Office) -> None:
    run = await office.submitted()
    round = await office.follows(run)
    answer = await office.container.approvals.approve(await office.caller("dora"), round.approvals[0].id, round.digest)
    assert answer.outcome is not None
    assert answer.outcome.code == "approved"
    result = await office.result(run)
    assert result == {"status": "approved", "number": 2}
    assert (await office.recorded(run)).status is RoundStatus.APPROVED
    assert (await rows(office, QuoteRow))[0].status == "approved"


async def test_a_round_says_what_it_waits_for(office: Office) -> None:
    run = await office.submitted()
    await office.follows(run)
    metadata = await office.client.get_workflow_handle(run).query("__temporal_workflow_metadata")
    description = await office.client.get_workflow_handle(run).describe()
    found = {key.name: value for key, value in description.typed_search_attributes}
    assert found["DealwrightStatus"] == "pending"
    assert found["DealwrightWaitingOn"] == ["dora", "daniel"]
    assert "Waiting on dora, daniel" in metadata.current_details
    names = {signal.name for signal in metadata.definition.signal_definitions}
    assert {"approve", "reject", "delegate", "reassign", "recall"} <= names


async def test_three_approvals_cost_few_events(office: Office) -> None:
    """Two chains, one of two steps, sequential decisions, search attributes on."""
    run = await office.submitted(
        lines=[{"id": "1", "product": "p", "quantity": "1", "list_price": "100", "discount_percent": "30"}],
        payment_terms="Net 60",
    )
    round = await office.recorded(run)
    assert len(round.approvals) == 3
    for rule, who in (("discount-desk", "dora"), ("discount-finance", "fabio"), ("terms", "lara")):
        approval = next(a for a in (await office.recorded(run)).approvals if a.rule == rule)
        await office.container.approvals.approve(await office.caller(who), approval.id, round.digest)
    handle = office.client.get_workflow_handle(run)
    await handle.result()
    history = await handle.fetch_history()
    assert len(history.events) <= 26


async def test_a_round_expires_when_nobody_decides(office: Office) -> None:
    await office.publish(EXPIRING)
    run = await office.submitted()
    round = await office.recorded(run)
    assert round.opened_at is not None
    assert round.due == round.opened_at + timedelta(hours=72)
    await office.sleep(timedelta(hours=71))
    assert (await office.recorded(run)).status is RoundStatus.PENDING
    await office.sleep(timedelta(hours=2))
    assert (await ended(office, run)).status is RoundStatus.EXPIRED
    assert (await rows(office, QuoteRow))[0].status == "expired"


async def test_the_clock_restarts_with_each_step_and_hand_over(office: Office) -> None:
    await office.publish(EXPIRING)
    run = await office.submitted()
    round = await office.recorded(run)
    await office.sleep(timedelta(hours=70))
    await office.container.approvals.delegate(await office.caller("fabio"), round.approvals[0].id, round.digest, "leif")
    await office.sleep(timedelta(hours=71))
    await office.container.approvals.approve(await office.caller("leif"), round.approvals[0].id, round.digest)
    await office.sleep(timedelta(hours=23))
    assert (await office.follows(run)).waiting_on == ["carla"]
    await office.sleep(timedelta(hours=2))
    assert (await ended(office, run)).status is RoundStatus.EXPIRED


def raw(data: bytes, encoding: bytes) -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding}, data=data))


MALFORMED: list[tuple[str, list[Any]]] = [
    ("approve", []),
    ("approve", ["just text"]),
    ("approve", [{"approval": "x"}]),
    ("approve", [{"actor": 7}]),
    ("approve", [{"actor": "a\x00b"}]),
    ("approve", [{"actor": "ana", "comment": "\x00"}]),
    ("approve", [{"actor": "ana"}, {"actor": "bob"}]),
    ("approve", [raw(b'{"actor": "x", "c": 1e999}', b"json/plain")]),
    ("approve", [raw(b'{"actor": "x", "c": NaN}', b"json/plain")]),
    ("approve", [raw(b'{"actor": "x", "c": ' + b"[" * 190 + b"]" * 190 + b"}", b"json/plain")]),
    ("approve", [{"actor": "x", "c": "y" * 70_000}]),
    ("approve", [raw(b"{not json", b"json/plain")]),
    ("approve", [raw(b"[" * 100_000, b"json/plain")]),
    ("approve", [raw(b"\xff\xfe", b"binary/encrypted")]),
    ("approve", [raw(b"\xff", b"binary/strange"), raw(b"", b"json/plain")]),
    ("approve", [raw(b'{"actor": "\\ud800"}', b"json/plain")]),
    ("expire", [{"actor": "clock"}]),
    ("dance", [{"actor": "ana"}]),
    ("dance", [raw(b"\xff", b"binary/strange")]),
]


async def test_malformed_and_unverified_signals_become_refusals_and_the_run_goes_on(office: Office) -> None:
    run = await office.submitted()
    handle = office.client.get_workflow_handle(run)
    before = await office.follows(run)
    for name, arguments in MALFORMED:
        await handle.signal(name, args=arguments)

    async def all_refused() -> bool:
        (row,) = [row for row in await rows(office, RunRow) if row.id == run]
        return bool(row.forgeries == len(MALFORMED))

    await until(all_refused, "a refusal for each signal")
    assert len([e for e in await rows(office, EventRow) if e.code == "unverified_actor"]) == 10
    assert await office.follows(run) == before
    answer = await office.container.approvals.approve(
        await office.caller("dora"), before.approvals[0].id, before.digest
    )
    assert answer.outcome is not None
    assert answer.outcome.applied


async def test_a_burst_is_drained_in_bounded_batches(alone: Office) -> None:
    """Signals that came while nobody worked: fifty at a time, and the run goes on."""
    run = await alone.submitted()
    await alone.container.path.settle()
    handle = alone.client.get_workflow_handle(run)
    for n in range(120):
        await handle.signal("approve", {"actor": "dora", "n": n})
    async with alone.worker():
        await alone.until_told(run)

        async def all_counted() -> bool:
            (row,) = [row for row in await rows(alone, RunRow) if row.id == run]
            return bool(row.forgeries == 120)

        await until(all_counted, "a refusal of each")
        history = await handle.fetch_history()
        assert sum(e.HasField("marker_recorded_event_attributes") for e in history.events) <= 4
        round = await alone.recorded(run)
        answer = await alone.container.approvals.approve(
            await alone.caller("dora"), round.approvals[0].id, round.digest
        )
        assert answer.outcome is not None
        assert await alone.result(run) == {"status": "approved", "number": 2}


async def test_a_terminated_run_is_reborn_from_the_record(office: Office) -> None:
    run = await office.submitted()
    round = await office.follows(run)
    await office.client.get_workflow_handle(run).terminate("lost")
    answer = await office.container.approvals.approve(await office.caller("dora"), round.approvals[0].id, round.digest)
    assert answer.outcome is not None
    assert answer.outcome.code == "approved"
    assert await office.result(run) == {"status": "approved", "number": 2}


async def test_an_overdue_run_is_woken_by_the_sweep(office: Office) -> None:
    await office.publish(EXPIRING)
    run = await office.submitted()
    await office.follows(run)
    await office.client.get_workflow_handle(run).terminate("lost with its timer")
    office.clock.forward(hours=73)
    assert await office.container.sweeper.wake_sleeping(office.clock()) == 1
    assert (await ended(office, run)).status is RoundStatus.EXPIRED


async def test_a_run_woken_in_vain_expires_by_the_sweep_itself(alone: Office) -> None:
    """Nobody works on its queue: time acts all the same."""
    await alone.publish(EXPIRING)
    run = await alone.submitted()
    for _ in range(4):
        alone.clock.forward(hours=25)
        await alone.container.sweeper.wake_sleeping(alone.clock())
    assert (await alone.recorded(run)).status is RoundStatus.EXPIRED


async def test_a_long_outage_waits_outside_the_workflow_task(office: Office) -> None:
    """Local attempts for five seconds, then a regular activity: the history stays short, and nothing is lost."""
    office.following.left = 12
    run = await office.submitted()
    round = await office.recorded(run)
    answer = await office.container.approvals.approve(await office.caller("dora"), round.approvals[0].id, round.digest)
    assert answer.outcome is not None, "what the workflow cannot read was decided all the same"
    await office.container.path.settle()
    await office.environment.sleep(timedelta(minutes=10))
    await office.follows(run)
    assert office.following.left == 0
    history = await office.client.get_workflow_handle(run).fetch_history()
    assert len(history.events) < 40


async def test_what_is_decided_while_temporal_is_away_is_followed_later(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise OSError("no Temporal")

    with monkeypatch.context() as during:
        during.setattr(office.container.path.engine, "signal", away)
        run, other = await office.submitted(), await office.submitted()
        round = await office.recorded(other)
        answer = await office.container.approvals.approve(
            await office.caller("dora"), round.approvals[0].id, round.digest
        )
        assert answer.outcome is not None
        assert answer.outcome.applied
        await office.container.path.settle()
    assert (await office.recorded(run)).status is RoundStatus.PENDING
    assert {row.person for row in await rows(office, MessageRow)} >= {"dora"}, "who is asked is told"
    with pytest.raises(RPCError, match="not found"):
        await office.told(run)
    office.clock.forward(seconds=6)
    assert await office.container.sweeper.wake_sleeping(office.clock()) == 2
    assert (await office.follows(run)).status is RoundStatus.PENDING
    assert (await office.result(other))["status"] == "approved"


async def test_a_run_that_ended_is_not_started_again(office: Office) -> None:
    await office.publish("kind: quote\nrules: []")
    run = await office.submitted()
    assert (await office.recorded(run)).status is RoundStatus.APPROVED
    assert (await rows(office, QuoteRow))[0].status == "approved"
    handle = office.client.get_workflow_handle(run)

    async def started() -> bool:
        with suppress(RPCError):
            return (await handle.result())["status"] == "approved"
        return False

    await until(started, "the run")
    first = (await handle.describe()).run_id
    office.clock.forward(seconds=6)
    await office.container.sweeper.wake_sleeping(office.clock())
    assert (await handle.describe()).run_id == first
    office.clock.forward(days=1)
    assert await office.container.sweeper.wake_sleeping(office.clock()) == 0


async def test_a_database_restored_from_an_older_copy_stops_the_run_and_nothing_is_guessed(office: Office) -> None:
    """The workflow was told more: it is told nothing until the newer database is back."""
    run = await office.submitted(
        lines=[{"id": "1", "product": "p", "quantity": "1", "list_price": "100", "discount_percent": "30"}]
    )
    old = await office.follows(run)
    async with office.container.database.reading() as session:
        before = await runs.get_run(session, run)
    assert before is not None
    await office.container.approvals.approve(await office.caller("dora"), old.approvals[0].id, old.digest)
    newer = await office.follows(run)
    async with office.container.database.writing() as session:
        row = await session.get_one(RunRow, run)
        mark = row.mark
        row.state, row.seq, row.mark = old.stored(), old.seq, before.mark
    handle = office.client.get_workflow_handle(run)
    await handle.signal("wake")

    async def behind() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return any("DatabaseBehind" in str(activity) for activity in pending)

    with office.environment.auto_time_skipping_disabled():
        await until(behind, "the refusal in the Temporal UI", tries=800)
    async with office.container.database.writing() as session:
        row = await session.get_one(RunRow, run)
        row.state, row.seq, row.mark = newer.stored(), newer.seq, mark
    assert (await office.follows(run)).seq == newer.seq


PEOPLE = ("dora", "daniel", "fabio", "lara", "rita", "leif")
VERBS = ["approve", "reject", "delegate", "recall", "consult", "add_approver"]
ACTS = st.lists(
    st.tuples(st.sampled_from(VERBS), st.sampled_from(PEOPLE), st.integers(0, 2)),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(max_examples=8)
@given(acts=ACTS)
async def test_any_acts_at_once_leave_engine_and_record_agreed(
    office: Office, acts: list[tuple[str, str, int]]
) -> None:
    """Whatever order they arrive in: each command has one effect, and the events add up to the state."""
    lines = [{"id": "1", "product": "p", "quantity": "1", "list_price": "100", "discount_percent": "30"}]
    run = await office.submitted(lines=lines, payment_terms="Net 60")
    round = await office.recorded(run)
    quote = round.subject_id

    async def send(verb: str, who: str, n: int) -> Any:
        caller, approval = await office.caller(who), round.approvals[n].id
        approvals = office.container.approvals
        if verb == "recall":
            return await office.container.quotes.recall(await office.caller("rita"), quote)
        if who == "rita":
            return None
        if verb == "consult":
            return await approvals.consult(caller, approval, round.digest, "carla", "safe?")
        if verb == "add_approver":
            with suppress(NotFound):  # who was not asked yet does not see it
                return await approvals.add_approver(caller, approval, "helena", None, None)
            return None
        if verb == "delegate":
            return await approvals.delegate(caller, approval, round.digest, "leif")
        if verb == "reject":
            return await approvals.reject(caller, approval, round.digest, "no")
        return await approvals.approve(caller, approval, round.digest)

    answers = [a for a in await asyncio.gather(*(send(*act) for act in acts)) if a]
    recorded = await office.follows(run)
    commands = {c.id: c for c in await rows(office, CommandRow) if c.run == run}
    events = sorted((e for e in await rows(office, EventRow) if e.run == run and e.run_seq), key=lambda e: e.run_seq)
    assert [e.run_seq for e in events] == list(range(1, recorded.seq + 1))
    assert len({e.command for e in events}) == len(events)
    for answer in answers:
        assert answer.outcome is not None
        assert commands[answer.command].outcome == answer.outcome.model_dump(mode="json")
    assert [a.id for a in recorded.approvals][: len(round.approvals)] == [a.id for a in round.approvals]
    assert all("rita" not in (s.by, s.vote and s.holder) for a in recorded.approvals for s in a.seats)
    decisive = [e for e in events if e.applied and e.facts.get("state") in ("approved", "rejected", "recalled")]
    assert len(decisive) == (0 if recorded.running else 1)
    assert isinstance(recorded, Round)


HASTY = """
kind: quote
rules:
- {name: first, chain: c, step: 1, ask: {user: daniel}, remind_every_hours: 4, escalate_after_hours: 6, expire_after_hours: 24}
- {name: second, chain: c, step: 2, ask: {user: leif}, expire_after_hours: 12, consult_hours: 6}
chains: [{name: c}]
"""
STORIES = st.lists(
    st.one_of(
        st.tuples(st.just("hours"), st.integers(1, 9)),
        st.tuples(st.sampled_from(["approve", "reject", "consult", "recall"]), st.sampled_from(["daniel", "fabio", "leif"])),
    ),
    max_size=6,
)  # fmt: skip


@settings(max_examples=6)
@given(story=STORIES)
async def test_a_round_ends_once_whatever_the_order_of_people_time_and_repeats(
    office: Office, story: list[tuple[str, Any]]
) -> None:
    """Every act is sent twice under one key, and hours pass in between: one outcome, one event for each command."""
    await office.publish(HASTY)
    run = await office.submitted()
    round = await office.recorded(run)
    for n, (verb, who) in enumerate(story):
        if verb == "hours":
            await office.sleep(timedelta(hours=who))
            continue
        caller = (await office.caller("rita" if verb == "recall" else who)).model_copy(update={"key": f"{run}:{n}"})
        for _ in range(2):
            await twice(office, verb, caller, round)
    await office.sleep(timedelta(hours=60))
    await ended(office, run)
    recorded = await office.follows(run)
    events = [e for e in await rows(office, EventRow) if e.run == run and e.run_seq]
    assert sorted(e.run_seq for e in events) == list(range(1, recorded.seq + 1))
    assert len({e.command for e in events}) == len(events)
    outcomes = [e.facts["state"] for e in events if e.applied and e.facts.get("state") not in (None, "pending")]
    assert outcomes == [recorded.status.value]


async def twice(office: Office, verb: str, caller: Any, round: Round) -> None:
    """One act on whichever approval of the round is the actor's, and on the first where none is."""
    approvals = office.container.approvals
    mine = next((a for a in round.approvals if a.seat_of(caller.person.id)), round.approvals[0])
    if verb == "recall":
        await office.container.quotes.recall(caller, round.subject_id)
    elif verb == "consult":
        await approvals.consult(caller, mine.id, round.digest, "carla", "safe?")
    elif verb == "reject":
        await approvals.reject(caller, mine.id, round.digest, "no")
    else:
        await approvals.approve(caller, mine.id, round.digest)


STEEP = """
kind: quote
rules:
- {name: deep, ask: {user: dora}, conditions: [{field: discount_percent, operator: greater_than, value: 5, smart: true}]}
"""


@settings(max_examples=4)
@given(story=st.lists(st.tuples(st.integers(6, 30), st.booleans()), min_size=2, max_size=5))
async def test_what_carries_from_round_to_round_is_never_beyond_what_a_person_approved(
    office: Office, story: list[tuple[int, bool]]
) -> None:
    await office.publish(STEEP)
    rita, dora = await office.caller("rita"), await office.caller("dora")
    id, version, seen = f"S-{next(NUMBERS)}", None, list[int]()
    for discount, approves in story:
        stored, _ = await office.container.quotes.put(rita, a_quote(id, discount=str(discount)), version)
        version = stored.version
        if not stored.status.submittable:  # the same again, and approved: nothing changed
            continue
        await office.container.quotes.submit(rita, id)
        round = await office.recorded(f"quote:{id}:approval:{stored.round + 1}")
        (approval,) = round.approvals
        if approval.status == "carried":
            assert discount <= seen[-1]
            continue
        act = office.container.approvals.approve if approves else office.container.approvals.reject
        await act(dora, approval.id, round.digest, "well")
        seen = [*seen, discount] if approves else []


TIMED = """
kind: quote
rules: [{name: late, ask: {user: dora}, remind_every_hours: 8, escalate_after_hours: 12, expire_after_hours: 40}]
"""
ONCE = """
kind: quote
rules: [{name: late, ask: {user: dora}, escalate_after_hours: 4}]
"""


async def test_time_that_has_nothing_more_to_do_leaves_the_round_alone(office: Office) -> None:
    await office.publish(ONCE)
    run = await office.submitted()
    await office.follows(run)
    await office.sleep(timedelta(hours=40))
    round = await office.follows(run)
    assert (round.seq, round.due, round.waiting_on) == (2, None, ["dora", "fabio"])


LONG = """
kind: quote
rules: [{name: late, ask: {user: dora}, expire_after_hours: 800}]
"""


@pytest.mark.parametrize(
    ("calendar", "zone"),
    [
        (Calendar(country="BR", region="SP"), "America/Sao_Paulo"), (Calendar(country="IS"), "Atlantic/Reykjavik"),
        (Calendar(country="US"), "America/Chicago"),
    ],
)  # fmt: skip
async def test_months_of_weekends_holidays_and_changed_clocks_pass_in_a_moment(
    office: Office, calendar: Calendar, zone: str
) -> None:
    """A hundred working days: at least one change of the clock where there is one, and a public holiday anywhere."""
    people_ = office.container.people
    dora = await people_.get(SYSTEM.person, "dora")
    await people_.put(SYSTEM, dora.model_copy(update={"calendar": calendar, "time_zone": zone}), dora.version)
    await office.publish(LONG)
    run = await office.submitted()
    opened = (await office.recorded(run)).opened_at
    assert opened is not None
    due = after_hours(opened, Decimal(800), calendar, zone)
    weekdays = after_hours(opened, Decimal(800), Calendar(), zone)
    assert due > weekdays, "holidays fell into it"
    await office.sleep(due - opened - timedelta(minutes=1))
    assert (await office.recorded(run)).running
    await office.sleep(timedelta(minutes=2))
    assert (await ended(office, run)).status is RoundStatus.EXPIRED


async def test_a_round_reminds_escalates_and_expires_in_its_holders_business_time(office: Office) -> None:
    """Days pass in a moment: each act of time comes when Dóra's office has been open for so many hours."""
    people_ = office.container.people
    dora = await people_.get(SYSTEM.person, "dora")
    calendar = Calendar(country="IS")
    await people_.put(SYSTEM, dora.model_copy(update={"calendar": calendar}), dora.version)
    await office.publish(TIMED)
    run = await office.submitted()
    opened = (await office.recorded(run)).opened_at
    assert opened is not None
    due = {n: after_hours(opened, Decimal(n), calendar, dora.time_zone) for n in (8, 12, 40)}
    assert (await office.recorded(run)).due == due[8]
    await office.follows(run)
    metadata = await office.client.get_workflow_handle(run).query("__temporal_workflow_metadata")
    assert f"Reminds at {due[8]:%Y-%m-%d %H:%M} UTC" in metadata.current_details
    await office.sleep(due[40] - opened + timedelta(minutes=5))
    round = await ended(office, run)
    assert (round.status, round.closed_at is not None and round.closed_at >= due[40]) == (RoundStatus.EXPIRED, True)
    assert [seat.holder for seat in round.approvals[0].seats] == ["dora", "fabio"]
    said = {m.template for m in await rows(office, MessageRow) if m.person == "dora"}
    assert said == {"requested", "reminder"}
    assert (await office.follows(run)) == round
