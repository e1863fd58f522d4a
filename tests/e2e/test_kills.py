"""Real processes, killed with SIGKILL at the worst moments."""

import asyncio
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import func, select
from temporalio.service import RPCError

from cli.dev import Ports, Stack
from cli.replay import replay_namespace
from storage.tables import RunRow
from tests.conftest import ROOT, Live, container_of
from tests.databases import Postgres
from tests.e2e.check import violations
from tests.e2e.conftest import LIMITS, LOCKED_SECONDS, ROUNDS, Player, prepared, until

pytestmark = pytest.mark.e2e


@pytest.fixture
def armed_stack(tmp_path: Path) -> Iterator[tuple[Stack, Path]]:
    """A stack whose worker can be told when to die."""
    arm = tmp_path / "arm"
    arm.mkdir()
    stack = Stack(tmp_path / "home", Ports.free(), settings={**LIMITS, "ARM": str(arm), "PYTHONPATH": str(ROOT)})
    prepare = stack.prepare

    def with_dying_worker() -> None:
        prepare()
        stack.children["worker"].command = [sys.executable, "-m", "tests.e2e.dying_worker"]

    stack.prepare = with_dying_worker  # type: ignore[method-assign]
    with stack.running():
        yield stack, arm


async def agreement(player: Player) -> None:
    """Nothing violated once the runs have read what the database told them."""
    found: list[str] = []

    async def agreed() -> bool:
        found[:] = await violations(player.live.container, player.told)
        return not found

    await until(agreed, lambda: f"agreement: {found[:5]}", seconds=300)


ACTS = {
    "approve": ("approve", [("dora", "first", "approve", {})]),
    "final": ("approve", [("dora", "first", "approve", {}), ("fabio", "second", "approve", {})]),
    "reject": ("reject", [("dora", "first", "approve", {}), ("fabio", "second", "reject", {"comment": "no"})]),
    "delegate": ("delegate", [("dora", "first", "delegate", {"to": "lara"})]),
    "reassign": ("reassign", [("adam", "first", "reassign", {"to": "leif", "from": "dora"})]),
    "recall": ("recall", [("rita", "", "recall", {})]),
    "expire": ("expire", []),
    "fallback": ("approve", [("dora", "first", "approve", {})]),
}


async def test_the_worker_dies_between_commit_and_completion_of_every_transition(
    armed_stack: tuple[Stack, Path],
) -> None:
    """Rivals and repetitions arrive while it is dead; each command takes effect once, and all histories replay."""
    stack, arm = armed_stack
    container = container_of(stack)
    await prepared(container)
    player = Player(Live(stack, container))
    for name, (verb, acts) in ACTS.items():
        id = f"K-{name}"
        await player.quote(id, **({"short": True} if name == "expire" else {}))
        await player.surely("rita", f"/v1/quotes/{id}/submit", f"submit-{id}")
        digest, approvals = await player.approvals(id)
        for n, (who, rule, act, body) in enumerate(acts):
            if n == len(acts) - 1:
                (arm / verb).touch()
                if name == "fallback":
                    (arm / "local_fails").touch()
            path = f"/v1/approvals/{approvals[rule]}/{act}" if rule else f"/v1/quotes/{id}/{act}"
            shown = {"digest": digest} if act in ("approve", "reject", "delegate") else {}
            await player.surely(who, path, f"{id}-{n}", {**body, **shown})
        if name == "expire":
            (arm / verb).touch()
        worker = stack.children["worker"]

        async def dead(worker=worker) -> bool:  # type: ignore[no-untyped-def]
            return not worker.alive

        await until(dead, f"the worker's death at {name}")
        (arm / "local_fails").unlink(missing_ok=True)
        rivals = [
            player.send("daniel", f"/v1/approvals/{approvals['first']}/approve", f"{id}-rival", {"digest": digest}),
            player.send("rita", f"/v1/quotes/{id}/submit", f"submit-{id}"),
        ]
        if acts:
            who, rule, act, body = acts[-1]
            path = f"/v1/approvals/{approvals[rule]}/{act}" if rule else f"/v1/quotes/{id}/{act}"
            shown = {"digest": digest} if act in ("approve", "reject", "delegate") else {}
            rivals.append(player.send(who, path, f"{id}-{len(acts) - 1}", {**body, **shown}))
        await asyncio.gather(*rivals)
        stack.revive()
    await player.settled()

    await agreement(player)
    done, broken = await replay_namespace(container, lambda _: None)
    assert done >= len(ACTS)
    assert broken == []
    await container.close()


async def test_what_is_submitted_while_the_engine_is_dead_is_decided_when_it_is_back(player: Player) -> None:
    """The API dies too, before it could tell Temporal of what it had promised."""
    stack = player.live.stack
    stack.children["engine"].kill()
    assert await player.submit("E-1") == 200
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.ports.worker}") as probe:

        async def unready() -> bool:
            return (await probe.get("/readyz")).json()["temporal"] is False

        await until(unready, "a worker that says that Temporal is away", seconds=15)
        assert (await probe.get("/healthz")).status_code == 200
    stack.children["api"].kill()
    stack.revive()

    async def started() -> bool:
        with suppress(RPCError, RuntimeError):  # Temporal may not be back yet
            client = await player.live.container.temporal.client(lazy=False)
            return [run async for run in client.list_workflows("WorkflowId = 'quote:E-1:approval:1'")] != []
        return False

    await until(started, "the run of what was submitted", seconds=60)
    digest, approvals = await player.approvals("E-1")
    await player.surely("dora", f"/v1/approvals/{approvals['first']}/approve", "E-1-dora", {"digest": digest})
    await player.settled()
    await agreement(player)


def die(stack: Stack, database: Postgres | None, name: str) -> None:
    """One part is killed with SIGKILL; a database comes back at once, whatever else must be started again."""
    if database and name == "database":
        database.kill()
        database.revive()
    else:
        stack.children[name].kill()


async def test_many_rounds_while_worker_api_temporal_and_database_are_killed(
    any_player: Player, own_database: Postgres | None
) -> None:
    """Every acknowledged command took effect exactly once, each round ended as the model says, engine and record agree."""
    player, stack = any_player, any_player.live.stack
    chance = random.Random(2026)
    finished = asyncio.Event()
    queue = iter(range(ROUNDS))

    async def decide(n: int) -> None:
        id = f"C-{n}"
        await player.submit(id)
        digest, approvals = await player.approvals(id)
        body = {"digest": digest}
        first, second = f"/v1/approvals/{approvals['first']}", f"/v1/approvals/{approvals['second']}"
        acts = [
            ("dora", f"{first}/approve", f"{id}-dora", body), ("daniel", f"{first}/approve", f"{id}-daniel", body),
            ("fabio", f"{second}/approve", f"{id}-fabio", body),
        ]  # fmt: skip
        if n % 5 == 1:
            acts[2] = ("fabio", f"{second}/reject", f"{id}-fabio", {**body, "comment": "no"})
        if n % 5 == 2:
            acts.insert(0, ("dora", f"{first}/delegate", f"{id}-to", {**body, "to": "lara"}))
        if n % 5 == 3:
            acts.insert(1, ("rita", f"/v1/quotes/{id}/recall", f"{id}-recall", None))
        for act in acts:
            await player.surely(*act)
            if chance.random() < 0.2:
                await player.surely(*act)

    async def runner() -> None:
        for n in queue:
            await decide(n)

    async def killer() -> None:
        """Each process is killed once at least."""
        names = ["worker", "api", "engine", *(["database"] if own_database else [])]
        turn = 0
        while not finished.is_set() or turn < len(names):
            await asyncio.sleep(chance.uniform(0.8, 2.0))
            await asyncio.to_thread(die, stack, own_database, names[turn % len(names)])
            await asyncio.sleep(0.3)
            stack.revive()
            turn += 1
            await until(lambda: asyncio.to_thread(stack.ready), "readiness after a kill", 60)

    async def everyone() -> None:
        await asyncio.gather(*(runner() for _ in range(8)))
        finished.set()

    await asyncio.gather(everyone(), killer())
    await player.settled()
    container = player.live.container
    container.temporal.forget()

    await agreement(player)
    assert len(player.told) >= 4 * ROUNDS
    async with container.database.reading() as session:
        assert (await session.exec(select(func.count()).select_from(RunRow))).one() == ROUNDS
    done, broken = await replay_namespace(container, lambda _: None)
    assert done >= ROUNDS
    assert broken == []


async def test_a_database_that_is_locked_loses_nothing_and_others_are_answered(player: Player) -> None:
    """Who writes is told to try again; who reads is answered; runs follow what was decided before."""
    stack, container = player.live.stack, player.live.container
    count = 12
    for n in range(count):
        await player.submit(f"L-{n}")
    stack.children["worker"].kill()
    waiting = [await player.approvals(f"L-{n}") for n in range(count)]
    for n, (digest, approvals) in enumerate(waiting):
        path = f"/v1/approvals/{approvals['first']}/approve"
        assert await player.send("dora", path, f"L-{n}-dora", {"digest": digest}) == 200
    lock = sqlite3.connect(stack.home / "dealwright.db", isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN IMMEDIATE")
    locked = time.monotonic()
    worker = stack.children["worker"]
    worker.environment["DEALWRIGHT_LOCAL_ACTIVITY_SLOTS"] = "2"
    stack.revive()
    digest, approvals = waiting[0]
    path = f"/v1/approvals/{approvals['second']}/approve"
    refused = await player.live.call("fabio", "POST", path, json={"digest": digest}, headers={"Idempotency-Key": "f"})
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert refused.headers["Retry-After"]
    assert (await player.live.call("rita", "GET", "/v1/quotes/L-0")).status_code == 200

    async def all_follow() -> bool:
        return not await violations(container, player.told)

    await until(all_follow, "runs that follow while writers wait", seconds=60)
    await asyncio.sleep(max(0.0, LOCKED_SECONDS - (time.monotonic() - locked)))
    lock.execute("ROLLBACK")
    lock.close()
    assert await player.surely("fabio", path, "f", {"digest": digest}) == 200
    await player.settled()
    await agreement(player)
    client = await container.temporal.client(lazy=False)
    for n in range(count):
        history = await client.get_workflow_handle(f"quote:L-{n}:approval:1").fetch_history()
        assert len(history.events) < 60


async def test_a_replacement_goes_on_when_worker_and_engine_are_killed_in_the_middle(player: Player) -> None:
    """Sixty open rounds: each is moved once, and nobody is left behind."""
    count, stack, container = 60, player.live.stack, player.live.container
    await asyncio.gather(*(player.submit(f"P-{n}") for n in range(count)))
    asked = {"old": "dora", "new": "omar"}
    started = await player.live.call("adam", "POST", "/v1/replacements", json=asked)
    assert started.status_code == 201
    path = f"/v1/replacements/{started.json()['id']}"

    async def progress() -> dict[str, Any]:
        try:
            answer = await player.live.call("adam", "GET", path)
        except httpx.HTTPError:
            return {}
        return dict(answer.json()) if answer.status_code == 200 else {}

    async def underway() -> bool:
        return (await progress()).get("answered", 0) > 5

    await until(underway, "the first moves")
    for name in ("worker", "engine", "worker"):
        stack.children[name].kill()
        await asyncio.sleep(0.5)
        stack.revive()
        await until(lambda: asyncio.to_thread(stack.ready), "readiness after a kill", 60)
    container.temporal.forget()

    async def finished() -> dict[str, Any] | None:
        found = await progress()
        return found if found and found["replacement"]["status"] == "finished" else None

    done = await until(finished, "the end of the replacement", seconds=120)
    assert (done["sent"], done["answered"], done["refused"]) == (count, count, [])
    await player.settled()
    await agreement(player)
    held = await player.live.call("adam", "POST", "/v1/replacements/preview", json=asked)
    assert held.json()["approvals"] == 0
