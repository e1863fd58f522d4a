"""What a three-approver quote costs, and how long a click takes, beside the bare workflow in the same run."""

import asyncio
import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.table import Table
from temporalio.client import Client

from bench.bare import QUEUE, TAKEN, worker
from bench.report import Report, ratio
from composition import House
from domain.approvals.exchange import read_policy
from domain.people import Person
from services.samples import SYSTEM, load
from stack import Ports, Stack
from tests.conftest import house_of
from tests.databases import postgres, programs
from tests.support import a_quote

POLICY = """
kind: quote
chains: [{name: one}, {name: two}]
rules:
- {name: first, chain: one, step: 1, ask: {user: dora}}
- {name: second, chain: one, step: 2, ask: {user: fabio}}
- {name: third, chain: two, step: 1, ask: {user: lara}}
"""
ORDER = (("first", "dora"), ("second", "fabio"), ("third", "lara"))
QUOTES, AT_ONCE, CLICKS = 120, 20, 60
numbers = itertools.count(1)


class Shop:
    """The whole stack, driven over HTTP as its users would."""

    def __init__(self, stack: Stack, house: House, client: httpx.AsyncClient, engine: Client) -> None:
        self.stack, self.house, self.client, self.engine = stack, house, client, engine
        self.latencies: list[float] = []

    async def call(self, who: str, method: str, path: str, **options: Any) -> Any:
        token = self.house.access.token(Person(id=who, name=who))
        answer = await self.client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **options)
        if answer.status_code not in (200, 201):
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer.json()

    async def open(self) -> tuple[str, dict[str, str]]:
        """A submitted quote: its digest and the approval of each rule."""
        id = f"B-{next(numbers)}"
        put = await self.call(
            "rita", "PUT", f"/v1/quotes/{id}", json=a_quote(id, discount="15").model_dump(mode="json")
        )
        await self.call("rita", "POST", f"/v1/quotes/{id}/submit")
        (round,) = await self.call("rita", "GET", f"/v1/quotes/{id}/rounds")
        return put["digest"], {a["rule"]: a["id"] for a in round["round"]["approvals"]}

    async def approve(self, who: str, approval: str, digest: str) -> None:
        started = time.perf_counter()
        await self.call(who, "POST", f"/v1/approvals/{approval}/approve", json={"digest": digest})
        self.latencies.append(time.perf_counter() - started)

    async def whole_quote(self) -> None:
        digest, approvals = await self.open()
        for rule, who in ORDER:
            await self.approve(who, approvals[rule], digest)


async def bare_quote(client: Client) -> None:
    handle = await client.start_workflow("Bare", id=f"bare-{next(numbers)}", task_queue=QUEUE)
    for n, who in enumerate(("dora", "fabio", "lara"), 1):
        await handle.signal("decide", who)
        while TAKEN[handle.id] < n:  # decisions follow each other, as they do on a quote
            await asyncio.sleep(0.001)
    await handle.result()


async def many(act: Callable[[], Awaitable[Any]], count: int, at_once: int) -> float:
    """Seconds for `count` acts, `at_once` at a time."""
    left = iter(range(count))

    async def runner() -> None:
        for _ in left:
            await act()

    started = time.perf_counter()
    await asyncio.gather(*(runner() for _ in range(at_once)))
    return time.perf_counter() - started


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def running(url: str, folder: Path) -> Iterator[Stack]:
    limits = {"DEALWRIGHT_SIGN_INS_PER_MINUTE": "100000", "DEALWRIGHT_REQUESTS_PER_MINUTE": "10000000"}
    stack = Stack(folder, Ports.free(), database_url=url, settings=limits)
    with stack.running():
        yield stack


async def measure(report: Report, name: str, url: str, folder: Path) -> None:
    with running(url, folder) as stack:
        house = house_of(stack)
        await load(house.office, house.access)
        await house.policies.publish_policy(SYSTEM, read_policy(POLICY))
        engine = await house.engine.client(lazy=False)
        async with httpx.AsyncClient(base_url=stack.api_url, timeout=60) as client, worker(engine):
            shop = Shop(stack, house, client, engine)
            await many(shop.whole_quote, 20, 10)
            await many(lambda: bare_quote(engine), 20, 10)
            await throughput(report, name, shop)
            await clicks(report, name, shop)
            if name == "SQLite":
                await events(report, shop)
        await house.close()


async def throughput(report: Report, name: str, shop: Shop) -> None:
    """Quotes a second, and CPU per quote and process. Rounds of both alternate, so that noise meets both alike."""
    watched = {"client": psutil.Process()} | {
        child.name: psutil.Process(child.process.pid) for child in shop.stack.children.values() if child.process
    }
    spent: dict[str, dict[str, float]] = {"bare": dict.fromkeys(watched, 0.0), "whole": dict.fromkeys(watched, 0.0)}
    seconds = {"bare": 0.0, "whole": 0.0}
    acts: dict[str, Callable[[], Awaitable[Any]]] = {"bare": lambda: bare_quote(shop.engine), "whole": shop.whole_quote}
    for kind in ("bare", "whole", "whole", "bare"):
        before = {who: cpu(process) for who, process in watched.items()}
        seconds[kind] += await many(acts[kind], QUOTES // 2, AT_ONCE)
        for who, process in watched.items():
            spent[kind][who] += cpu(process) - before[who]
    table = Table(
        "", "quotes/s", *(f"{who} CPU ms" for who in watched), title=f"{name}: three-approver quote, {AT_ONCE} at once"
    )
    for kind in ("bare", "whole"):
        table.add_row(
            kind, f"{QUOTES / seconds[kind]:.1f}", *(f"{spent[kind][who] / QUOTES * 1000:.0f}" for who in watched)
        )
    report.show(table)
    if not shop.stack.outer_engine:
        report.ratio(
            f"{name}: engine CPU, whole : bare", ratio(spent["whole"]["engine"], spent["bare"]["engine"]), "≤ 1.4"
        )
    report.ratio(f"{name}: quotes per second, whole : bare", ratio(seconds["bare"], seconds["whole"]), "≥ 0.4")


async def clicks(report: Report, name: str, shop: Shop) -> None:
    """One click at a time: the answer to a decision over HTTP beside a bare update with a validator."""
    shop.latencies.clear()
    updates: list[float] = []
    for n in range(CLICKS // 3):
        await shop.whole_quote()
        handle = await shop.engine.start_workflow(
            "BareUpdate", id=f"update-{name}-{n}-{next(numbers)}", task_queue=QUEUE
        )
        for who in ("dora", "fabio", "lara"):
            started = time.perf_counter()
            await handle.execute_update("decide", who)
            updates.append(time.perf_counter() - started)
    table = Table("", "p50 ms", "p90 ms", title=f"{name}: answer to one decision, one at a time")
    for kind, values in (("bare update", updates), ("decision over HTTP", shop.latencies)):
        deciles = statistics.quantiles(values, n=10)
        table.add_row(kind, f"{statistics.median(values) * 1000:.1f}", f"{deciles[8] * 1000:.1f}")
    report.show(table)
    found = ratio(statistics.median(shop.latencies), statistics.median(updates))
    report.ratio(f"{name}: p50 of an answer, decision over HTTP : bare update", found, "≤ 3")


async def events(report: Report, shop: Shop) -> None:
    digest, approvals = await shop.open()
    for rule, who in ORDER:
        await shop.approve(who, approvals[rule], digest)
    run = f"quote:B-{next(numbers) - 1}:approval:1"
    await shop.engine.get_workflow_handle(run).result()
    history = await shop.engine.get_workflow_handle(run).fetch_history()
    report.ratio("history events of a three-approver quote", float(len(history.events)), "≤ 26")
    bare = await shop.engine.start_workflow("Bare", id="bare-events", task_queue=QUEUE)
    for who in ("dora", "fabio", "lara"):
        await bare.signal("decide", who)
        await asyncio.sleep(0.2)
    plain = await bare.fetch_history()
    sizes = [sum(e.ByteSize() for e in h.events) for h in (history, plain)]
    report.say(f"  the bare workflow has {len(plain.events)} events; bytes of history {sizes[0]:,} : {sizes[1]:,}")


async def run(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        await measure(report, "SQLite", "", Path(folder) / "sqlite")
        if programs() is None:
            report.say("PostgreSQL is not installed here: its figures are left out")
            return
        (Path(folder) / "server").mkdir()
        server = stack.enter_context(postgres(Path(folder) / "server"))
        await measure(report, "PostgreSQL", server.create("bench"), Path(folder) / "postgres")
