"""What a three-approver quote costs, and how long a click takes, beside the bare workflow in the same run."""

import asyncio
import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from rich.table import Table
from sqlalchemy import event
from sqlmodel import col, select
from temporalio.client import Client

from app.container import Application
from bench.bare import QUEUE, TAKEN, worker
from bench.report import Report, ratio
from cli.dev import Ports, Stack
from domain.approvals.exchange import read_policy
from domain.people import Person
from services.imports.samples import SYSTEM, load
from services.runs.commands import Caller
from storage.migrate import migrate
from storage.tables import MessageRow, RunRow
from tests.conftest import container_of, make_bench
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
QUOTES, AT_ONCE, PAIRS, PACE, CLICKS = 80, 20, 6, 6.0, 60
numbers = itertools.count(1)
Act = Callable[[], Awaitable[Any]]
Drive = Callable[[Act, int], Awaitable[float]]


class Shop:
    """The whole stack, driven over HTTP as its users would."""

    def __init__(self, stack: Stack, container: Application, client: aiohttp.ClientSession, engine: Client) -> None:
        self.stack, self.container, self.client, self.engine = stack, container, client, engine
        self.latencies: list[float] = []
        self.tokens: dict[str, str] = {}

    async def call(self, who: str, method: str, path: str, **options: Any) -> Any:
        if who not in self.tokens:
            self.tokens[who] = self.container.access.token(Person(id=who, name=who))
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        async with self.client.request(method, path, headers=headers, **options) as answer:
            if answer.status not in (200, 201):
                raise RuntimeError(f"{method} {path}: {answer.status} {(await answer.text())[:200]}")
            return await answer.json()

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

    async def settled(self) -> None:
        """Wait until nothing is left to send, and every run was told of what was decided."""
        while True:
            async with self.container.database.reading() as session:
                letters = select(MessageRow.id).where(MessageRow.status == "queued").limit(1)
                behind = select(RunRow.id).where(col(RunRow.seen) < col(RunRow.seq)).limit(1)
                if not [one for query in (letters, behind) if (one := (await session.exec(query)).first())]:
                    return
            await asyncio.sleep(0.05)

    async def whole_quote(self) -> None:
        digest, approvals = await self.open()
        for rule, who in ORDER:
            await self.approve(who, approvals[rule], digest)


async def bare_quote(client: Client) -> None:
    """Each decision follows the one before, and the first one the beginning, as they do on a quote."""
    handle = await client.start_workflow("Bare", id=f"bare-{next(numbers)}", task_queue=QUEUE)
    for n, who in enumerate(("dora", "fabio", "lara")):
        while TAKEN.get(handle.id, -1) < n:
            await asyncio.sleep(0.001)
        await handle.signal("decide", who)
    await handle.result()


async def many(act: Act, count: int, at_once: int) -> float:
    """Seconds for `count` acts, `at_once` at a time."""
    left = iter(range(count))

    async def runner() -> None:
        for _ in left:
            await act()

    started = time.perf_counter()
    await asyncio.gather(*(runner() for _ in range(at_once)))
    return time.perf_counter() - started


async def paced(act: Act, count: int) -> float:
    """Seconds for `count` acts that come evenly, whether or not the ones before are done."""
    started = time.perf_counter()
    tasks = []
    for n in range(count):
        await asyncio.sleep(max(0.0, started + n / PACE - time.perf_counter()))
        tasks.append(asyncio.ensure_future(act()))
    await asyncio.gather(*tasks)
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
        container = container_of(stack)
        await load(container.context, container.access)
        await container.policies.publish_policy(SYSTEM, read_policy(POLICY))
        engine = await container.temporal.client(lazy=False)
        async with aiohttp.ClientSession(stack.api_url) as client, worker(engine):
            shop = Shop(stack, container, client, engine)
            await many(shop.whole_quote, 20, 10)
            await many(lambda: bare_quote(engine), 20, 10)
            await throughput(report, name, shop)
            await clicks(report, name, shop, 1)
            await clicks(report, name, shop, AT_ONCE)
            if name == "SQLite":
                await events(report, shop)
        await container.close()


@dataclass(frozen=True)
class Stretch:
    """A number of quotes, of one kind: how many a second, and the CPU each took of every process, in milliseconds."""

    per_second: float
    spent: dict[str, float]


async def stretches(shop: Shop, count: int, drive: Drive) -> dict[str, list[Stretch]]:
    """Bare and whole by turns, so that a machine's moods meet both alike. Letters count, to the last."""
    watched = {"client": psutil.Process()} | {
        child.name: psutil.Process(child.process.pid) for child in shop.stack.children.values() if child.process
    }
    acts: dict[str, Act] = {"bare": lambda: bare_quote(shop.engine), "whole": shop.whole_quote}
    found: dict[str, list[Stretch]] = {kind: [] for kind in acts}
    for n in range(PAIRS):
        for kind in list(acts) if n % 2 else reversed(acts):
            before = {who: cpu(process) for who, process in watched.items()}
            seconds = await drive(acts[kind], count)
            await shop.settled()
            spent = {who: (cpu(process) - before[who]) / count * 1000 for who, process in watched.items()}
            found[kind].append(Stretch(count / seconds, spent))
    return found


def show(report: Report, title: str, found: dict[str, list[Stretch]]) -> None:
    names = list(found["bare"][0].spent)
    table = Table("", "quotes/s", *(f"{who} CPU ms" for who in names), title=f"{title}; medians of {PAIRS}")
    for kind, some in found.items():
        of = [f"{statistics.median(s.spent[who] for s in some):.0f}" for who in names]
        table.add_row(kind, f"{statistics.median(s.per_second for s in some):.1f}", *of)
    report.show(table)


def compared(found: dict[str, list[Stretch]], of: Callable[[Stretch], float]) -> float:
    """The median over pairs of whole : bare."""
    pairs = zip(found["whole"], found["bare"], strict=True)
    return statistics.median(ratio(of(whole), of(bare)) for whole, bare in pairs)


async def throughput(report: Report, name: str, shop: Shop) -> None:
    """As many quotes a second as go; then what Temporal does for one, while both come at the same pace.

    A busier Temporal does more in one go: a bare quote alone costs it half as much at forty a second as at six."""
    full = await stretches(shop, QUOTES, lambda act, count: many(act, count, AT_ONCE))
    show(report, f"{name}: three-approver quote, {AT_ONCE} at once", full)
    found = compared(full, lambda stretch: stretch.per_second)
    report.ratio(f"{name}: quotes per second, whole : bare", found, "≥ 1.3 hoped for")
    if not shop.stack.outer_engine:
        found = compared(full, lambda stretch: stretch.spent["engine"])
        report.ratio(f"{name}: engine CPU, whole : bare, each as fast as it goes", found, "")
        even = await stretches(shop, round(PACE * 8), paced)
        show(report, f"{name}: three-approver quote, {PACE:.0f} a second", even)
        found = compared(even, lambda stretch: stretch.spent["engine"])
        report.ratio(f"{name}: engine CPU, whole : bare, at the same pace", found, "printed")


async def clicks(report: Report, name: str, shop: Shop, at_once: int) -> None:
    """The answer to a decision over HTTP beside a bare update with a validator; alone, and with many in flight."""
    await shop.settled()
    shop.latencies.clear()
    updates: list[float] = []

    async def bare_update() -> None:
        handle = await shop.engine.start_workflow("BareUpdate", id=f"update-{next(numbers)}", task_queue=QUEUE)
        for who in ("dora", "fabio", "lara"):
            started = time.perf_counter()
            await handle.execute_update("decide", who)
            updates.append(time.perf_counter() - started)

    for _ in range(PAIRS):
        for act in (shop.whole_quote, bare_update):
            await many(act, CLICKS * at_once // 3 // PAIRS, at_once)
            await shop.settled()
    table = Table("", "p50 ms", "p95 ms", title=f"{name}: answer to one decision, {at_once} at once")
    for kind, values in (("bare update", updates), ("decision over HTTP", shop.latencies)):
        table.add_row(
            kind, f"{statistics.median(values) * 1000:.1f}", f"{statistics.quantiles(values, n=20)[18] * 1000:.1f}"
        )
    report.show(table)
    found = ratio(statistics.median(shop.latencies), statistics.median(updates))
    report.ratio(f"{name}: p50 of an answer, decision over HTTP : bare update, {at_once} at once", found, "≤ 1.0")


async def statements(report: Report, name: str, url: str) -> None:
    """What one quote asks of the database in one process: put, submit, three decisions."""
    bench = make_bench(url)
    await load(bench.container.context, bench.container.access)
    await bench.container.policies.publish_policy(SYSTEM, read_policy(POLICY))
    asked: list[str] = []
    commits: list[int] = []
    writer = bench.container.database._writer
    for engine in (getattr(writer, "sync_engine", writer), bench.container.database.questions):
        event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    event.listen(getattr(writer, "sync_engine", writer), "commit", lambda _: commits.append(1))
    people = {who: await bench.container.people.get(SYSTEM.person, who) for who in ("rita", "dora", "fabio", "lara")}
    counts = []
    for n in range(3):
        asked.clear(), commits.clear()
        await bench.container.quotes.put(Caller(person=people["rita"]), a_quote(f"Q-{n}", discount="15"), None)
        await bench.container.quotes.submit(Caller(person=people["rita"]), f"Q-{n}")
        ((round, _, _),) = await bench.container.quotes.rounds(people["rita"], f"Q-{n}")
        for approval, who in zip(round.approvals, ("dora", "fabio", "lara"), strict=True):
            await bench.container.approvals.approve(Caller(person=people[who]), approval.id, round.digest)
        counts.append((len(asked), len(commits)))
    await bench.container.close()
    report.say(f"  {name}: statements and commits of one quote in services: {counts[-1][0]} and {counts[-1][1]}")


async def events(report: Report, shop: Shop) -> None:
    digest, approvals = await shop.open()
    for rule, who in ORDER:
        await shop.approve(who, approvals[rule], digest)
    run = f"quote:B-{next(numbers) - 1}:approval:1"
    await shop.settled()
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
        migrate(f"sqlite:///{folder}/statements.db")
        await statements(report, "SQLite", f"sqlite:///{folder}/statements.db")
        await measure(report, "SQLite", "", Path(folder) / "sqlite")
        if programs() is None:
            report.say("PostgreSQL is not installed here: its figures are left out")
            return
        (Path(folder) / "server").mkdir()
        server = stack.enter_context(postgres(Path(folder) / "server", by_socket=True))
        await statements(report, "PostgreSQL", server.fresh())
        await measure(report, "PostgreSQL", server.create("bench"), Path(folder) / "postgres")
