"""Replacing a person who holds an approval in every one of many open rounds, beside sending the bare signals."""

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.progress import Progress
from rich.table import Table
from temporalio.client import Client

from app.container import Application
from bench.approvals import many, running
from bench.bare import QUEUE, TAKEN, worker
from bench.report import Report, ratio
from cli.dev import Stack
from domain.approvals.exchange import read_policy
from services.imports.samples import SYSTEM, load
from services.runs.commands import Caller
from tests.conftest import container_of
from tests.support import a_quote

ROUNDS = int(os.environ.get("ROUNDS", "2000"))
AT_ONCE = 10
POLICY = "kind: quote\nrules: [{name: r, ask: {user: fabio}}]"
POLL_SECONDS = 0.2


async def with_bar(name: str, act: Callable[[int], Awaitable[None]]) -> float:
    """Seconds for one act on each of the rounds, as many at once as a replacement has."""
    numbers = itertools.count()
    with Progress(transient=True) as bar:
        task = bar.add_task(name, total=ROUNDS)

        async def one() -> None:
            await act(next(numbers))
            bar.advance(task)

        return await many(one, ROUNDS, AT_ONCE)


async def submit_all(container: Application) -> None:
    person = await container.people.get(SYSTEM.person, "rita")

    async def submit(n: int) -> None:
        caller = Caller(person=person, channel="api", key=None)
        await container.quotes.put(caller, a_quote(f"R-{n}"), None)
        answer = await container.quotes.submit(caller, f"R-{n}")
        while answer.outcome is None:
            await asyncio.sleep(POLL_SECONDS)
            answer = await container.context.path.receipt(person, answer.command)

    await with_bar("Opening rounds", submit)


async def replaced(container: Application) -> float:
    adam = Caller(person=await container.people.get(SYSTEM.person, "adam"), channel="console", key=None)
    started = time.perf_counter()
    made = await container.replacements.start(adam, "fabio", "leif")
    while (now := await container.replacements.get(adam.person, made.id)).replacement.status != "finished":
        await asyncio.sleep(POLL_SECONDS)
    spent = time.perf_counter() - started
    assert (now.replacement.total, now.answered, list(now.refused)) == (ROUNDS, ROUNDS, []), now
    return spent


async def bare_signals(client: Client) -> float:
    handles = {}

    async def begin(n: int) -> None:
        handles[n] = await client.start_workflow("Bare", id=f"bare-{n}", task_queue=QUEUE)

    async def signal(n: int) -> None:
        await handles[n].signal("decide", "leif")

    await with_bar("Starting bare runs", begin)
    started = time.perf_counter()
    await with_bar("Sending bare signals", signal)
    while sum(TAKEN[f"bare-{n}"] for n in range(ROUNDS)) < ROUNDS:
        await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter() - started


async def measure(report: Report, stack: Stack) -> None:
    container = container_of(stack)
    await load(container.context, container.access)
    await container.policies.publish_policy(SYSTEM, read_policy(POLICY))
    engine = await container.temporal.client(lazy=False)
    await submit_all(container)
    ours = await replaced(container)
    async with worker(engine):
        bare = await bare_signals(engine)
    await container.close()
    table = Table("", "seconds", "rounds/s", title=f"Replacing a person in {ROUNDS:,} open rounds")
    for name, spent in (("replacement", ours), ("bare signals", bare)):
        table.add_row(name, f"{spent:.1f}", f"{ROUNDS / spent:.0f}")
    report.show(table)
    report.ratio("rounds per second, replacement : bare signals", ratio(bare, ours), "printed")


async def run(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder, running("", Path(folder) / "home") as stack:
        await measure(report, stack)
