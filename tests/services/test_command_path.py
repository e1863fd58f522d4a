"""One transaction decides: once, whoever asks, however often, and whatever dies."""

import asyncio
import random
from typing import Any

import pytest
from sqlalchemy import event

from domain.errors import Clash, CommandIdReused, NotFound, Refusal
from services.runs.commands import Caller, CommandRequest
from storage.runs import runs
from storage.tables import CommandRow, EventRow
from tests.api.test_order_changes import an_order, done
from tests.apiclient import Api
from tests.conftest import Bench, make_bench, some_settings
from tests.services.test_advancing import RUN, a_running_round, decide, person, rows, stored
from tests.support import a_quote


async def test_one_id_with_two_bodies_from_two_processes_at_once_takes_effect_once(bench: Bench) -> None:
    round = await a_running_round(bench)
    other = make_bench(bench.container.settings.database_url)
    dora = Caller(person=await person(bench, "dora"), key="k")
    approval = round.approvals[0].id
    answers: list[Any] = await asyncio.gather(
        bench.container.approvals.approve(dora, approval, round.digest, "one"),
        other.container.approvals.approve(dora, approval, round.digest, "two"),
        other.container.approvals.approve(dora, approval, round.digest, "one"),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, CommandIdReused) for answer in answers) in (1, 2)
    assert {a.outcome.code for a in answers if not isinstance(a, BaseException)} == {"approved"}
    assert len([row for row in await rows(bench, CommandRow) if row.actor == "dora"]) == 1
    await other.container.close()


async def test_one_id_for_two_runs_is_refused_for_the_second(bench: Bench) -> None:
    round = await a_running_round(bench)
    rita = Caller(person=await person(bench, "rita"))
    await bench.container.quotes.put(rita, a_quote("Q-2", discount="15"), None)
    await bench.container.quotes.submit(rita, "Q-2")
    first = CommandRequest(id="c-1", run=RUN, actor="dora", verb="approve", fields={"approval": round.approvals[0].id})
    await bench.container.path.execute(first)
    with pytest.raises(CommandIdReused):
        await bench.container.path.execute(first.model_copy(update={"run": "quote:Q-2:approval:1"}))
    with pytest.raises(NotFound):
        await bench.container.path.execute(first.model_copy(update={"run": "quote:Q-9:approval:1"}))


async def test_two_hundred_clients_on_one_run_get_one_decision_and_no_gap(bench: Bench) -> None:
    round = await a_running_round(bench)
    answers = await asyncio.gather(
        *(decide(bench, round, ("dora", "daniel", "fabio", "lara")[n % 4], key=f"k-{n}") for n in range(200))
    )
    assert [a.outcome.code for a in answers].count("approved") == 1
    events = [row for row in await rows(bench, EventRow) if row.run == RUN]
    assert sorted(row.run_seq for row in events if row.run_seq) == [1, 2]
    assert len(events) == 201, "each refusal is audited"
    assert len({row.command for row in events}) == 201


async def test_a_commit_whose_answer_was_lost_is_found_by_its_id(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    round = await a_running_round(bench)
    path, lost = bench.container.path, [True]
    real = path._execute

    async def and_then_lost(*given: Any) -> Any:
        done = await real(*given)
        if lost:
            lost.pop()
            await given[0].commit()
            raise Clash("the answer of the commit was lost")
        return done

    monkeypatch.setattr(path, "_execute", and_then_lost)
    answer = await decide(bench, round, key="k")
    assert answer.outcome.code == "approved"
    assert len([row for row in await rows(bench, EventRow) if row.code == "approved"]) == 1


async def test_a_caller_who_hangs_up_keeps_nobody_from_being_woken(bench: Bench) -> None:
    round = await a_running_round(bench)
    await bench.container.path.settle()
    bench.engine.signals = []
    dora = Caller(person=await person(bench, "dora"))
    task = asyncio.create_task(bench.container.approvals.approve(dora, round.approvals[0].id, round.digest))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bench.container.path.settle()
    assert bench.engine.signals == [(RUN, "approve")]
    assert (await stored(bench)).status == "approved"


async def test_one_decision_is_one_transaction(bench: Bench) -> None:
    round = await a_running_round(bench)
    await bench.container.path.settle()
    commits = []
    writer = bench.container.database._writer
    engine = getattr(writer, "sync_engine", writer)
    event.listen(engine, "commit", lambda _: commits.append(1))
    await decide(bench, round)
    await bench.container.path.settle()
    assert len(commits) == 1


async def test_edits_comments_decisions_and_recalls_at_once_never_wait_for_each_other_for_ever(bench: Bench) -> None:
    """The soak of deadlocks: everything that touches a quote, in any order, ends with an answer or a clear refusal."""
    chance = random.Random(17)
    rita, container = Caller(person=await person(bench, "rita")), bench.container
    for n in range(4):
        await container.quotes.put(rita, a_quote(f"S-{n}", discount="15"), None)

    async def act(n: int) -> str:
        quote = f"S-{chance.randrange(4)}"
        verb = chance.choice(["submit", "recall", "comment", "approve", "edit"])
        try:
            if verb == "submit":
                await container.quotes.submit(rita, quote)
            elif verb == "recall":
                await container.quotes.recall(rita, quote)
            elif verb == "comment":
                await container.quotes.comment(rita, quote, "well")
            elif verb == "edit":
                found = await container.quotes.get(rita.person, quote)
                await container.quotes.put(rita, a_quote(quote, discount=str(15 + n % 4)), found.version)
            else:
                found = await container.quotes.get(rita.person, quote)
                (round, *_) = [r for r, _, _ in await container.quotes.rounds(rita.person, quote)] or [None]
                if round is not None:
                    dora = Caller(person=await person(bench, "dora"))
                    await container.approvals.approve(dora, round.approvals[0].id, round.digest)
        except Refusal as refusal:
            return refusal.code
        return "done"

    codes = await asyncio.gather(*(act(n) for n in range(160)))
    assert "done" in codes
    assert set(codes) <= {"done", "locked", "stale_version", "clash", "not_found"}, set(codes)
    async with container.database.reading() as session:
        assert await runs.waiting_runs(session, bench.clock(), 10) == []


async def test_what_waits_for_the_back_office_is_refused_in_the_end(api: Api) -> None:
    id = await an_order(api)
    await done(api, "dina", f"orders/{id}/go-live")
    key = {"Idempotency-Key": "hold"}
    path, body = f"/v1/orders/{id}/hold", {"reason": "why"}
    for _ in range(2):
        answer = await api.call("dina", "POST", path, json=body, headers=key)
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    api.bench.clock.forward(hours=25)
    await api.bench.sweep()
    for _ in range(3):  # nobody runs it: the sweep lets time act itself
        api.bench.clock.forward(minutes=20)
        await api.bench.sweep()
    answer = await api.call("dina", "POST", path, json=body, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (409, "no_answer")
    assert (await api.call("dina", "GET", f"/v1/orders/{id}")).json()["status"] == "activating"


@pytest.mark.parametrize(
    ("base_url", "told", "needed"),
    [
        ("https://deals.example.com", None, True), ("http://127.0.0.1:8080", None, False),
        ("https://deals.example.com", False, False), ("http://127.0.0.1:8080", True, True),
    ],
)  # fmt: skip
def test_in_production_links_need_a_sign_in_unless_the_company_relaxes_it(
    base_url: str, told: bool | None, needed: bool
) -> None:
    settings = some_settings("sqlite://").model_copy(update={"base_url": base_url, "links_require_login": told})
    assert settings.links_need_sign_in is needed
