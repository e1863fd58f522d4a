"""Splitting beside reading the quote, splits a second, and orders that wait beside bare timers."""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import func
from sqlmodel import col, select
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker

from app.container import Application
from bench.approvals import many, running
from bench.report import Report, ratio
from domain.approvals.policy import Policy
from domain.orders.ledger import Share
from domain.orders.order import Line, Order
from domain.orders.split import (
    ByFields,
    ByHand,
    Even,
    Group,
    Planned,
    Slot,
    Trigger,
    Way,
    Whole,
    nothing_ordered,
    split,
)
from domain.quotes import Acceptance, Quote
from domain.runs import Command
from services.imports.samples import SYSTEM, load
from services.runs.commands import Caller
from storage.orders import orders
from storage.runs import runs
from storage.tables import ErpDocumentRow
from tests.conftest import container_of
from tests.support import a_line, a_quote

LINES, WAYS, REPEATS = 1_000, 50, 15
PARKED = int(os.environ.get("PARKED", "20000"))
DUE = PARKED // 10
SPLITS, AT_ONCE = 100, 10
QUEUE = "bare-timers"
WAITING: set[str] = set()
"""The bare runs that set their timer."""
MANUAL = Slot(trigger=Trigger(start="manual"))


# --- preview ----------------------------------------------------------------------------------------------------------


def a_big_quote() -> dict[str, Any]:
    lines = [
        a_line(f"L-{n:04}", name=f"Product number {n % 40}", product=f"P-{n % 40:03}", quantity=str(n % 19 + 1),
               list_price=f"{n % 900 + 10}.45", discount_percent=str(n % 40), group=f"G{n % WAYS}", family=f"F{n % 10}",
               requested_date="2031-06-01", ship_to={"name": "Warehouse", "city": f"City {n % WAYS}", "country": "PT"},
               fields={"margin": n % 60, "colour": "anthracite"})
        for n in range(LINES)
    ]  # fmt: skip
    return a_quote("Q-1", lines=lines).model_dump(mode="json")


def quickest(act: Callable[[], Any]) -> float:
    """The median of some repetitions, in milliseconds."""
    spent = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        act()
        spent.append((time.perf_counter() - started) * 1000)
    return statistics.median(spent)


def preview(report: Report) -> None:
    text = json.dumps(a_big_quote())
    quote = Quote.model_validate(json.loads(text))
    ledger = nothing_ordered(quote)

    def made(way: Way) -> Planned:
        return split(quote, ledger, way, 1)

    ways: dict[str, Way] = {
        f"by place, {WAYS} orders": ByFields(way="fields", fields=("ship_to",)),
        f"evenly, {WAYS} orders, {LINES * 10:,} lines": Even(way="even", waves=WAYS),
    }
    reading = quickest(lambda: json.loads(text))
    table = Table(
        "", "ms", "times json.loads", title=f"Preview of a quote of {LINES:,} lines ({len(text) // 1024} KiB)"
    )
    table.add_row("json.loads", f"{reading:.1f}", "1")
    spent = {name: quickest(lambda way=way: made(way)) for name, way in ways.items()}  # type: ignore[misc]
    for name, took in spent.items():
        table.add_row(name, f"{took:.1f}", f"{took / reading:.1f}")
    report.show(table)
    report.ratio(
        f"preview of {LINES:,} lines into {WAYS} orders : json.loads",
        ratio(next(iter(spent.values())), reading),
        "≤ 10",
    )


# --- splits and waiting orders ----------------------------------------------------------------------------------------


@workflow.defn
class BareTimer:
    """Waits until its instant, and says when it woke."""

    @workflow.run
    async def run(self, due: float) -> float:
        WAITING.add(workflow.info().workflow_id)
        await workflow.sleep(max(0.0, due - workflow.now().timestamp()))
        return workflow.now().timestamp() - due


def bare_worker(client: Client) -> Worker:
    return Worker(
        client, task_queue=QUEUE, workflows=[BareTimer], workflow_runner=UnsandboxedWorkflowRunner(),
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(5), max_cached_workflows=1000,
    )  # fmt: skip


async def accepted(container: Application, caller: Caller, quote: Quote) -> None:
    await container.quotes.put(caller, quote, None)
    answer = await container.quotes.submit(caller, quote.id)
    while answer.outcome is None:
        await asyncio.sleep(0.05)
        answer = await container.context.path.receipt(caller.person, answer.command)
    await container.orders.accept(caller, quote.id, None, Acceptance(on=datetime.now(UTC).date()))


async def splits(report: Report, container: Application, rita: Caller) -> None:
    """Two orders each: out of one quote, and each out of a quote of its own."""
    two = tuple(Group(slot=MANUAL, lines={"1": Decimal(1)}) for _ in range(2))
    way = ByHand(way="hand", groups=two)
    await accepted(container, rita, a_quote("S-one", lines=[a_line(quantity=str(2 * SPLITS))]))
    for n in range(SPLITS):
        await accepted(container, rita, a_quote(f"S-{n}", lines=[a_line(quantity="2")]))
    numbers = iter(range(SPLITS))

    async def of_its_own() -> None:
        await container.orders.place(rita, f"S-{next(numbers)}", way)

    async def of_one() -> None:
        await container.orders.place(rita, "S-one", way)

    table = Table("", "splits/s", title=f"Splits into two orders, {AT_ONCE} at once")
    for name, act in (("one quote", of_one), ("many quotes", of_its_own)):
        table.add_row(name, f"{SPLITS / await many(act, SPLITS, AT_ONCE):.1f}")
    report.show(table)


async def events(report: Report, container: Application, rita: Caller) -> None:
    """History events of an order that waits for its day, is taken over and delivered."""
    await accepted(container, rita, a_quote("S-simple"))
    placed = await container.orders.place(rita, "S-simple", Whole())
    id = placed.orders[0].id
    client = await container.temporal.client(lazy=False)

    async def ask(who: str, verb: str, act: str, **payload: Any) -> None:
        person = await container.people.get(SYSTEM.person, who)
        answer = await container.orders.ask(Caller(person=person), id, verb, act, **payload)
        while answer.outcome is None:
            await asyncio.sleep(0.05)
            answer = await container.context.path.receipt(person, answer.command)

    while (await container.orders.get(rita.person, id)).status != "activating":
        await asyncio.sleep(0.05)
    await ask("bruno", "accepted", "erp.report")
    await ask("bruno", "delivery", "erp.report", id="D", lines={"1": "1"})
    handle = client.get_workflow_handle(f"order:{id}")
    await handle.result()
    history = await handle.fetch_history()
    report.ratio("history events of a simple order", len(history.events), "≤ 30")


def memory(stack: Any) -> dict[str, float]:
    """MiB of each process, with its children."""
    found = {}
    for child in stack.children.values():
        if child.process:
            process = psutil.Process(child.process.pid)
            found[child.name] = sum(p.memory_info().rss for p in (process, *process.children(True))) / 1024**2
    return found


async def each(name: str, act: Callable[[int], Awaitable[None]], count: int) -> None:
    with Progress(transient=True) as bar:
        task, numbers = bar.add_task(name, total=count), iter(range(count))

        async def one() -> None:
            for n in numbers:
                await act(n)
                bar.advance(task)

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))


async def parked(report: Report, stack: Any, container: Application) -> None:
    """So many orders wait, and a tenth of them is due in one second; beside so many bare timers."""
    engine = await container.temporal.client(lazy=False)
    before, mine = memory(stack), psutil.Process().memory_info().rss
    started = time.perf_counter()
    far = time.time() + 30 * 24 * 3600
    async with bare_worker(engine):
        due = {"bare": time.time() + 86400.0}

        async def bare(n: int) -> None:
            instant = due["bare"] if n < DUE else far
            await engine.start_workflow("BareTimer", instant, id=f"timer-{n}", task_queue=QUEUE)

        await each("Parking bare timers", lambda n: bare(n + DUE), PARKED - DUE)
        while len(WAITING) < PARKED - DUE:
            await asyncio.sleep(1)
        due["bare"] = float(int(time.time() + 20 + DUE / 15))
        await each("Parking those that are due", bare, DUE)
        bare_memory, bare_worker_mib = memory(stack), (psutil.Process().memory_info().rss - mine) / 1024**2
        late = [await engine.get_workflow_handle(f"timer-{n}").result() for n in range(DUE)]
    bare_seconds = time.perf_counter() - started
    base = memory(stack)

    async def order(n: int, instant: datetime) -> None:
        made = Order(
            id=f"T-{n}", quote="S-one", number=10_000 + n, customer="Acme", title=f"Order T-{n}", owner="rita",
            currency="EUR", slot=Slot(trigger=Trigger(start="date", on=instant.date())), starts_at=instant, replaces="bench",
            lines=(Line(line="1", product="P-1", share=Share(quantity=Decimal(1))),),
        )  # fmt: skip
        async with container.database.writing() as session:
            await orders.add(session, made, "C-1", datetime.now(UTC))
            command = Command(id=f"order:T-{n}:open", run=f"order:T-{n}", actor="rita", verb="open")
            await runs.enqueue_followup(session, command, datetime.now(UTC))
        await container.path.apply_followups([f"order:T-{n}"])

    started = time.perf_counter()
    later = datetime.now(UTC) + timedelta(days=30)
    await each("Parking orders", lambda n: order(n + DUE, later), PARKED - DUE)
    await all_wait(container)
    instant = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=20 + DUE / 15)
    await each("Parking those that are due", lambda n: order(n, instant), DUE)
    our_memory, our_seconds = memory(stack), time.perf_counter() - started
    ours = await lateness(container, instant)
    table = Table(
        "",
        "late p50 s",
        "late p99 s",
        "engine MiB",
        "worker MiB",
        "seconds",
        title=f"{PARKED:,} waiting, {DUE:,} due in one second",
    )
    table.add_row(
        "bare timers",
        *figures(late),
        f"{bare_memory['engine'] - before['engine']:.0f}",
        f"{bare_worker_mib:.0f}",
        f"{bare_seconds:.0f}",
    )
    table.add_row(
        "orders", *figures(ours), f"{our_memory['engine'] - base['engine']:.0f}",
        f"{our_memory['worker'] - base['worker']:.0f}", f"{our_seconds:.0f}",
    )  # fmt: skip
    report.show(table)
    for name, nth in (("p50", 50), ("p99", 99)):
        report.ratio(
            f"lateness {name}, orders : bare timers", ratio(percentile(ours, nth), percentile(late, nth)), "≤ 1.5"
        )
    report.ratio(
        "engine memory, orders : bare timers",
        ratio(our_memory["engine"] - base["engine"], bare_memory["engine"] - before["engine"]), "≤ 1.5",
    )  # fmt: skip
    report.ratio(
        "worker memory, orders : bare timers", ratio(our_memory["worker"] - base["worker"], bare_worker_mib), "≤ 1.5"
    )


async def all_wait(container: Application) -> None:
    """Until the worker has taken in everything that was started."""
    while True:
        async with container.database.reading() as session:
            if not await orders.list_page(session, owner=None, quote=None, status="draft", after="", limit=1):
                return
        await asyncio.sleep(1)


async def lateness(container: Application, instant: datetime) -> list[float]:
    """How long after its instant each order that was due went to the back office."""
    ours = select(ErpDocumentRow.created_at).where(col(ErpDocumentRow.order).startswith("T-"))
    while True:
        async with container.database.reading() as session:
            many = (await session.exec(select(func.count()).select_from(ours.subquery()))).one()
            if many >= DUE:
                return [(at - instant).total_seconds() for at in (await session.exec(ours)).all()]
        await asyncio.sleep(1)


def percentile(values: list[float], nth: int) -> float:
    return statistics.quantiles(values, n=100)[nth - 1]


def figures(values: list[float]) -> tuple[str, str]:
    return f"{percentile(values, 50):.2f}", f"{percentile(values, 99):.2f}"


async def run(report: Report) -> None:
    preview(report)
    with tempfile.TemporaryDirectory() as folder, running("", Path(folder) / "home") as stack:
        container = container_of(stack)
        await container.temporal.client(lazy=False)
        await load(container.context, container.access)
        for kind in ("quote", "order_change"):
            await container.policies.publish_policy(SYSTEM, Policy(kind=kind, rules=()))
        rita = Caller(person=await container.people.get(SYSTEM.person, "rita"))
        await events(report, container, rita)  # while nothing else goes on: what is answered late is sent twice
        await splits(report, container, rita)
        await parked(report, stack, container)
        await container.close()
