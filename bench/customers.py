"""A customer with ten and with a thousand orders seen whole, and revenue over a hundred thousand entries."""

import statistics
import time
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
from rich.table import Table
from sqlalchemy import event, insert, text

from api.app import create
from app.container import Application, build
from bench.both import on_both
from bench.report import Report, ratio
from console.app import mount
from domain.customers.facts import Fact, Kind, Terms
from domain.customers.proration import months_after
from domain.quotes import Billing, Recognition
from services.imports.samples import SYSTEM, load
from storage.tables import ContractRow, FactRow, OrderRow, RevenueRow
from tests.conftest import some_settings
from tests.support import NOW

FEW, MANY, ENTRIES, VISITS = 10, 1_000, 100_000, 15
GOODS = Terms(recognition=Recognition.DELIVERY, billing=Billing.ONE_TIME, goods=True, sla="gold", months=24)
CARE = Terms(recognition=Recognition.RATABLE, billing=Billing.RECURRING, goods=False, months=12)
TODAY = NOW.date()


def facts(customer: str, order: str) -> list[Fact]:
    """An order of pumps, delivered in two parts, and of care for a year."""
    about = {
        "customer": customer,
        "order": order,
        "currency": "EUR",
        "on": TODAY,
        "at": NOW,
        "contract": f"{customer}-r",
    }
    care = {"line": "2", "product": "CARE", "name": "Care", "starts": TODAY, "ends": months_after(TODAY, 12)}
    pump: dict[str, Any] = {"line": "1", "product": "PUMP", "name": "Pump"}
    told: list[dict[str, Any]] = [
        {**pump, "kind": Kind.ORDERED, "quantity": 4, "net": Decimal("133.80"), "terms": GOODS, "source": "order"},
        {**care, "kind": Kind.ORDERED, "quantity": 5, "net": Decimal(600), "terms": CARE, "source": "order"},
        {**pump, "kind": Kind.DELIVERED, "quantity": 1, "source": "D-1"},
        {**pump, "kind": Kind.DELIVERED, "quantity": 3, "source": "D-2"},
    ]
    return [Fact.model_validate({**about, **one, "id": f"{order}-{n}"}) for n, one in enumerate(told)]


async def fill(container: Application, customer: str, many: int) -> None:
    orders = [f"{customer}-{n}" for n in range(many)]
    known = [fact for order in orders for fact in facts(customer, order)]
    row = {"quote": "Q", "number": 1, "owner": "rita", "customer_id": customer, "customer": "Acme", "status": "active",
           "version": 1, "currency": "EUR", "net_total": 733, "created_at": NOW, "changed_at": NOW}  # fmt: skip
    async with container.database.writing() as session:
        await session.execute(insert(OrderRow), [{**row, "id": order} for order in orders])
        contract = {"id": f"{customer}-r", "customer": customer, "kind": "renewable", "made_on": TODAY, "made_by": "x"}
        await session.execute(insert(ContractRow), [contract])
        rows = [
            {**f.model_dump(include={"id", "customer", "order", "at"}), "body": f.model_dump(mode="json")}
            for f in known
        ]
        await session.execute(insert(FactRow), rows)


async def book(container: Application) -> None:
    """So many entries of three hundred products, two hundred customers and four years."""
    entry = {"currency": "EUR", "kind": "earned", "fact": "f", "line": "1", "at": NOW}
    rows = [
        {**entry, "customer": f"C-{n % 200}", "order": f"O-{n // 12}", "product": f"P-{n % 300}", "amount": n % 977,
         "month": (month := months_after(date(2026, 1, 1), n % 48)), "earned_in": month}
        for n in range(ENTRIES)
    ]  # fmt: skip
    async with container.database.writing() as session:
        await session.execute(insert(RevenueRow), rows)
    async with container.database.writing() as session:
        await session.execute(text("ANALYZE"))


async def visit(container: Application, path: str) -> tuple[float, int, int]:
    """Median milliseconds of a request, its queries, and the bytes of its answer."""
    app = create(container)
    mount(app, container)
    token = container.access.token(await container.people.get(SYSTEM.person, "freyja"))
    took, queries, size = [], 0, 0

    def counted(*_: Any) -> None:
        nonlocal queries
        queries += 1

    engine = container.database.questions
    event.listen(engine, "before_cursor_execute", counted)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench") as client:
        client.cookies.set("dealwright", token)
        for _ in range(VISITS):
            started = time.perf_counter()
            answer = await client.get(path, headers={"Authorization": f"Bearer {token}"})
            answer.raise_for_status()
            took.append((time.perf_counter() - started) * 1000)
            size = len(answer.content)
    event.remove(engine, "before_cursor_execute", counted)
    return statistics.median(took), queries // VISITS, size


async def measure(report: Report, name: str, url: str) -> None:
    container = build(some_settings(url))
    await load(container.context, container.access)
    table = Table("", "ms", "queries", "KiB", title=f"{name}: a customer seen whole, and revenue")
    found: dict[int, tuple[float, int, int]] = {}
    for many in (FEW, MANY):
        await fill(container, f"K{many}", many)
        for what, path in (("API", f"/v1/customers/K{many}"), ("page", f"/customers/K{many}")):
            found[many] = await visit(container, path)
            ms, queries, size = found[many]
            table.add_row(f"{many:,} orders, {what}", f"{ms:.0f}", str(queries), str(size // 1024))
    await book(container)
    for by in ("company", "product", "customer"):
        ms, queries, size = await visit(container, f"/v1/revenue?from=2026-01&to=2029-12&by={by}")
        table.add_row(f"{ENTRIES:,} entries by month and {by}", f"{ms:.0f}", str(queries), str(size // 1024))
    report.show(table)
    report.ratio(f"{name}: customer page, {MANY:,} : {FEW} orders", ratio(found[MANY][0], found[FEW][0]), "printed")
    report.ratio(f"{name}: its queries, {MANY:,} : {FEW} orders", ratio(found[MANY][1], found[FEW][1]), "= 1")
    await container.close()


async def run(report: Report) -> None:
    await on_both(report, measure)
