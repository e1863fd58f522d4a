"""The inbox with a hundred and with a hundred thousand approvals waiting, on both databases."""

import statistics
import time
from datetime import timedelta
from typing import Any

import httpx
from rich.progress import track
from rich.table import Table
from sqlalchemy import event, insert, text

from app.container import Application, build
from bench.both import on_both
from bench.report import Report, ratio
from console.app import mount
from domain.people import Person
from services.imports.samples import load
from storage.database import Database
from storage.tables import ApprovalRow, QuoteRow, RunRow, SeatRow
from tests.conftest import some_settings
from tests.support import NOW, a_quote

FEW, MANY, BATCH, VISITS = 100, 100_000, 2_000, 30


async def fill(database: Database, first: int, last: int) -> None:
    """Quotes `first` to `last`, each with one approval that waits on Dóra."""
    body = a_quote().model_dump(mode="json")
    for start in track(range(first, last, BATCH), description=f"{last:,} approvals", transient=True):
        ids = range(start, min(start + BATCH, last))
        at = [NOW + timedelta(seconds=n) for n in ids]
        tables: list[tuple[Any, list[dict[str, Any]]]] = [
            (QuoteRow, [{"id": f"I-{n}", "version": 1, "status": "in_approval", "digest": "0" * 64, "owner": "rita",
                         "customer_id": "C-1", "customer": "Acme", "currency": "EUR", "net_total": 100, "round": 1,
                         "discount_percent": 15, "editors": [], "body": body, "flags": [], "created_at": t, "changed_at": t}
                        for n, t in zip(ids, at, strict=True)]),
            (RunRow, [{"id": f"quote:I-{n}:approval:1", "kind": "approval_round", "subject": f"quote:I-{n}", "seq": 1,
                       "running": True, "state": {}, "opening": {}, "opened_at": t} for n, t in zip(ids, at, strict=True)]),
            (ApprovalRow, [{"id": f"a-{n}", "run": f"quote:I-{n}:approval:1", "subject_kind": "quote", "subject_id": f"I-{n}",
                            "number": 0, "rule": "r", "title": "Deal desk", "chain": "commercial", "step": 1, "tier": 0,
                            "needed": 1, "status": "requested", "reasons": ["discount_percent 15 > 10"], "requested_at": t}
                           for n, t in zip(ids, at, strict=True)]),
            (SeatRow, [{"approval": f"a-{n}", "holder": "dora", "subject_kind": "quote", "subject_id": f"I-{n}", "comment": "",
                        "asked_at": t, "first_asked_at": t} for n, t in zip(ids, at, strict=True)]),
        ]  # fmt: skip
        async with database.writing() as session:
            for table, rows in tables:
                await session.execute(insert(table), rows)
    async with database.writing() as session:
        await session.execute(text("ANALYZE"))  # as autovacuum does within a minute of so many rows


async def visits(container: Application) -> tuple[dict[str, float], int]:
    """Median milliseconds of the page and of the API's list, and the queries of one page."""
    from api.app import create

    app = create(container)
    mount(app, container)
    token = container.access.token(Person(id="dora", name="Dóra"))
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1

    took: dict[str, list[float]] = {"page": [], "API": []}
    engine = container.database.questions
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench") as client:
        client.cookies.set("dealwright", token)
        for n in range(VISITS + 3):
            if n == VISITS:
                event.listen(engine, "before_cursor_execute", counted)
            for kind, path in (("page", "/inbox"), ("API", "/v1/inbox")):
                if n >= VISITS and kind == "API":
                    continue
                started = time.perf_counter()
                answer = await client.get(path, headers={"Authorization": f"Bearer {token}"})
                answer.raise_for_status()
                if n >= 3:
                    took[kind].append((time.perf_counter() - started) * 1000)
    event.remove(engine, "before_cursor_execute", counted)
    return {kind: statistics.median(values) for kind, values in took.items()}, count // 3


async def measure(report: Report, name: str, url: str) -> None:
    container = build(some_settings(url))
    await load(container.context, container.access)
    table = Table("waiting", "page ms", "API ms", "queries a page", title=f"{name}: inbox")
    await fill(container.database, 0, FEW)
    few, few_queries = await visits(container)
    table.add_row(f"{FEW:,}", f"{few['page']:.1f}", f"{few['API']:.1f}", str(few_queries))
    await fill(container.database, FEW, MANY)
    many, many_queries = await visits(container)
    table.add_row(f"{MANY:,}", f"{many['page']:.1f}", f"{many['API']:.1f}", str(many_queries))
    report.show(table)
    report.ratio(f"{name}: inbox page, {MANY:,} : {FEW} waiting", ratio(many["page"], few["page"]), "≤ 2")
    report.ratio(f"{name}: queries of the page, {MANY:,} : {FEW} waiting", ratio(many_queries, few_queries), "= 1")
    await container.close()


async def run(report: Report) -> None:
    await on_both(report, measure)
