"""Facts of what was delivered, the contracts they made, and the books that follow from them."""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import func, insert, update
from sqlalchemy import select as sql_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.customers.contracts import Contract
from domain.customers.facts import Fact, by_line
from domain.customers.revenue import Entry, Key, entries
from domain.money import minor_unit
from storage.database import execute, insert_new
from storage.tables import BooksRow, ContractRow, FactRow, RevenueRow

THE_BOOKS = 1
BOOKED, CONTRACTS = RevenueRow.__table__, ContractRow.__table__  # type: ignore[attr-defined]


# --- facts ------------------------------------------------------------------------------------------------------------


async def of_customer(session: AsyncSession, customer: str, until: datetime | None = None) -> list[Fact]:
    """Everything that was known of a customer at an instant, in the order in which it became known."""
    query = select(FactRow.body).where(FactRow.customer == customer).order_by(col(FactRow.number))
    query = query.where(FactRow.at <= until) if until else query
    return [Fact.model_validate(body) for body in (await session.exec(query)).all()]


async def of_orders(session: AsyncSession, orders: Iterable[str]) -> list[Fact]:
    query = select(FactRow.body).where(col(FactRow.order).in_(set(orders))).order_by(col(FactRow.number))
    return [Fact.model_validate(body) for body in (await session.exec(query)).all()]


async def append(session: AsyncSession, facts: list[Fact]) -> None:
    """Write the facts down, and book what follows from them."""
    if not facts:
        return
    rows = [
        {"id": f.id, "customer": f.customer, "order": f.order, "at": f.at, "body": f.model_dump(mode="json")}
        for f in facts
    ]
    await execute(session, insert(FactRow), rows)
    await _book(session, facts)


# --- contracts --------------------------------------------------------------------------------------------------------


async def contracts(session: AsyncSession, customer: str, lock: bool = False) -> list[Contract]:
    query = select(ContractRow).where(ContractRow.customer == customer).order_by(col(ContractRow.id))
    rows = (await session.exec(query.with_for_update() if lock else query)).all()
    return [Contract.model_validate(row.model_dump()) for row in rows]


async def make_contracts(session: AsyncSession, wanted: list[Contract]) -> None:
    """Those that do not exist yet; many orders of one customer may want the same at once."""
    for contract in wanted:
        await insert_new(session, CONTRACTS, contract.model_dump(exclude={"ends"}))


# --- the books --------------------------------------------------------------------------------------------------------


async def closed_through(session: AsyncSession, closing: bool = False) -> date | None:
    """The last closed month. Who books holds it open; who closes waits for them."""
    query = select(BooksRow).where(BooksRow.id == THE_BOOKS).with_for_update(read=not closing)
    return (await session.exec(query)).one().closed_through


async def close(session: AsyncSession, month: date) -> None:
    await execute(session, update(BooksRow).where(col(BooksRow.id) == THE_BOOKS).values(closed_through=month))


async def missing_entries(session: AsyncSession, order: str) -> dict[str, list[Entry]]:
    """For each line of an order what its facts bring and nobody booked, or what was booked without them."""
    booked, found = await _load_booked(session, {order}), {}
    for key, facts in by_line(await of_orders(session, [order])).items():
        unit = minor_unit(facts[0].currency)
        so_far = {k: amount * unit for k, amount in booked.pop(key, {}).items()}
        if missing := entries(facts, so_far, None):
            found[key[1]] = missing
    for (_, line), amounts in booked.items():  # no fact is left of them
        if missing := entries([], {k: Decimal(amount) for k, amount in amounts.items()}, None):
            found[line] = missing
    return found


async def _book(session: AsyncSession, news: list[Fact]) -> None:
    """Bring the books of the lines that something happened to up to what the facts say."""
    touched, at = {(fact.order, fact.line) for fact in news}, news[0].at
    orders = {order for order, _ in touched}
    booked, closed = await _load_booked(session, orders), await closed_through(session)
    rows = []
    for key, facts in by_line(await of_orders(session, orders)).items():
        if key not in touched:
            continue
        unit = minor_unit(facts[0].currency)
        so_far = {k: amount * unit for k, amount in booked.get(key, {}).items()}
        rows += [_row(facts[0], entry, unit, at) for entry in entries(facts, so_far, closed)]
    if rows:
        await execute(session, insert(RevenueRow), rows)


async def _load_booked(session: AsyncSession, orders: set[str]) -> dict[tuple[str, str], dict[Key, int]]:
    """For each line what was booked for each fact and month, in minor units."""
    group = (BOOKED.c.order, BOOKED.c.line, BOOKED.c.kind, BOOKED.c.fact, BOOKED.c.earned_in)
    query = sql_select(*group, func.sum(BOOKED.c.amount).label("amount"))
    rows = await execute(session, query.where(BOOKED.c.order.in_(orders)).group_by(*group))
    found: dict[tuple[str, str], dict[Key, int]] = {}
    for row in rows:
        found.setdefault((row.order, row.line), {})[Key(row.kind, row.fact, row.earned_in)] = int(row.amount)
    return found


def _row(fact: Fact, entry: Entry, unit: Decimal, at: datetime) -> dict[str, object]:
    of = fact.model_dump(include={"customer", "order", "line", "product", "currency"})
    return {**of, **entry.model_dump(exclude={"amount"}), "amount": int(entry.amount / unit), "at": at}
