"""Compares what is stored with what follows from it: states and records with the audit log, lists with states, ledgers
with orders, books with facts. What was written past the services is named; memory does not grow with the database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal, TypeVar

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.approvals.round import Round, RoundStatus
from domain.audit import ChainCheck, digest_of
from domain.orders.ledger import NOTHING, LineLedger
from domain.orders.order import Order, order_run
from domain.orders.settle import claims
from domain.people import Group, Person
from domain.quotes import QuoteStatus
from domain.values import Value
from storage.approvals import policies, rounds
from storage.approvals.rounds import RoundStanding
from storage.customers import facts
from storage.database import Database
from storage.orders import orders
from storage.orders.completion import list_columns
from storage.people import people
from storage.quotes import quotes
from storage.runs import audit_log
from storage.tables import ApprovalRow, FactRow, LedgerRow, OrderRow, QuoteRow, RunRow, SeatRow

PAGE = 200
What = Literal["audit", "state", "record", "lists", "ledger", "books"]
ENDED = (QuoteStatus.REJECTED, QuoteStatus.RECALLED, QuoteStatus.EXPIRED)
AGREED = (QuoteStatus.APPROVED, QuoteStatus.ACCEPTED, QuoteStatus.ORDERING)
STATES: dict[str, type[Round | Order]] = {"approval_round": Round, "order_fulfilment": Order}
Say = Callable[[str], None]
T = TypeVar("T")
ListPage = Callable[[AsyncSession, str, int], Awaitable[Sequence[T]]]
"""Lists what comes after an id, so many at most."""


class Difference(Value):
    what: What
    of: str
    """The run, the quote, the person: what differs."""
    detail: str = ""


class Consistency:
    def __init__(self, database: Database, audit_key: bytes) -> None:
        self._database = database
        self._audit_key = audit_key

    async def find(self, say: Say = lambda _: None) -> AsyncIterator[Difference]:
        """Every difference, as it is now."""
        for name, check in (
            ("the audit log", self._audit()),
            ("states and lists", self._runs()),
            ("quotes", self._quotes()),
            ("people, groups and policies", self._records()),
            ("ledgers", self._ledgers()),
            ("books", self._books()),
        ):
            say(name)
            async for difference in check:
                yield difference

    async def _audit(self) -> AsyncIterator[Difference]:
        check = ChainCheck(self._audit_key)
        async with self._database.reading() as session:
            async for entry, mac in audit_log.everything(session):
                if flaw := check.find_flaw(entry, mac):
                    yield Difference(what="audit", of=flaw.subject, detail=f"#{flaw.seq}: {flaw.what}")

    # --- runs -------------------------------------------------------------------------------------------------------

    async def _runs(self) -> AsyncIterator[Difference]:
        """Each state is the one that its newest act left, and the lists say what it says."""
        async for session, rows in self._pages(_list_runs, lambda row: row.id):
            sealed = await audit_log.run_states(session, [row.id for row in rows])
            for row in rows:
                for difference in await self._run(session, row, sealed.get(row.id)):
                    yield difference

    async def _run(self, session: AsyncSession, row: RunRow, sealed: tuple[int, str] | None) -> list[Difference]:
        if row.seq == 0:
            return []
        if sealed is None or sealed != (row.seq, digest_of(row.state)):
            number = sealed[0] if sealed else 0
            detail = "its state was changed" if number == row.seq else f"act {row.seq}, and {number} in the audit log"
            return [Difference(what="state", of=row.id, detail=detail)]
        state = STATES[row.kind].model_validate(row.state) if row.kind in STATES else None
        found = []
        if state and (state.seq, state.running) != (row.seq, row.running):
            found.append(Difference(what="state", of=row.id, detail="its number or its end is not that of its state"))
        if isinstance(state, Round):
            found += await _approval_lists(session, row.id, state)
        if isinstance(state, Order):
            found += await _order_list(session, state)
        return found

    # --- records ----------------------------------------------------------------------------------------------------

    async def _quotes(self) -> AsyncIterator[Difference]:
        """Each quote is what was last written, and stands as its newest round ended."""
        async for session, rows in self._pages(_list_quotes, lambda row: row.id):
            stored = [quotes.stored_of(row) for row in rows]  # type: ignore[arg-type]
            sealed = await audit_log.newest_states(session, [f"quote:{each.quote.id}" for each in stored])
            states = await rounds.standings(session, [each.run for each in stored if each.round])
            for each in stored:
                subject = f"quote:{each.quote.id}"
                if sealed.get(subject) != digest_of(each.quote):
                    yield Difference(what="record", of=subject, detail="its content was changed")
                if problem := _status_problem(each.status, states.get(each.run)):
                    yield Difference(what="lists", of=subject, detail=problem)

    async def _records(self) -> AsyncIterator[Difference]:
        """People, groups and published policies are what was last written."""
        listed: tuple[tuple[str, ListPage[Person | Group]], ...] = (
            ("user", people.list_people),
            ("group", people.list_groups),
        )
        for kind, list_page in listed:
            async for session, page in self._pages(list_page, lambda each: each.id):
                sealed = await audit_log.newest_states(session, [f"{kind}:{each.id}" for each in page])
                for each in page:
                    if sealed.get(f"{kind}:{each.id}") != digest_of(each):
                        yield Difference(what="record", of=f"{kind}:{each.id}", detail="it was changed")
        async with self._database.reading() as session:
            for name in await policies.kinds(session):
                stored = await policies.current(session, name)
                sealed = await audit_log.newest_states(session, [f"policy:{name}"])
                if stored and sealed.get(f"policy:{name}") != digest_of(stored.policy):
                    yield Difference(what="record", of=f"policy:{name}", detail="the published version was changed")

    # --- money ------------------------------------------------------------------------------------------------------

    async def _ledgers(self) -> AsyncIterator[Difference]:
        """Each line of a ledger adds up, and holds what the quote's orders hold."""
        async for session, ids in self._pages(_list_quotes_with_ledgers, str):
            for id in ids:
                made = await orders.of_quote(session, id)
                for line in (await orders.ledger(session, id)).values():
                    if problem := _ledger_problem(line, made):
                        yield Difference(what="ledger", of=f"quote:{id}", detail=f"line {line.line}: {problem}")

    async def _books(self) -> AsyncIterator[Difference]:
        """Everything that the facts of an order bring is booked, and nothing else."""
        async for session, ids in self._pages(_list_orders_with_facts, str):
            for id in ids:
                for line, entries in (await facts.missing_entries(session, id)).items():
                    detail = f"line {line}: {sum(entry.amount for entry in entries)} is missing"
                    yield Difference(what="books", of=f"order:{id}", detail=detail)

    async def _pages(
        self, list_page: ListPage[T], id_of: Callable[[T], str]
    ) -> AsyncIterator[tuple[AsyncSession, Sequence[T]]]:
        """Everything in the order of its ids, a page at a time, with the session that read it."""
        after = ""
        while True:
            async with self._database.reading() as session:
                page = await list_page(session, after, PAGE)
                yield session, page
            if len(page) < PAGE:
                return
            after = id_of(page[-1])


async def _list_runs(session: AsyncSession, after: str, limit: int) -> Sequence[RunRow]:
    return (await session.exec(select(RunRow).where(RunRow.id > after).order_by(col(RunRow.id)).limit(limit))).all()


async def _list_quotes(session: AsyncSession, after: str, limit: int) -> Sequence[QuoteRow]:
    query = select(QuoteRow).where(QuoteRow.id > after).order_by(col(QuoteRow.id)).limit(limit)
    return (await session.exec(query)).all()


async def _list_quotes_with_ledgers(session: AsyncSession, after: str, limit: int) -> Sequence[str]:
    query = select(LedgerRow.quote).where(LedgerRow.quote > after).distinct()
    return (await session.exec(query.order_by(col(LedgerRow.quote)).limit(limit))).all()


async def _list_orders_with_facts(session: AsyncSession, after: str, limit: int) -> Sequence[str]:
    query = select(FactRow.order).where(FactRow.order > after).distinct()
    return (await session.exec(query.order_by(col(FactRow.order)).limit(limit))).all()


async def _approval_lists(session: AsyncSession, run: str, round: Round) -> list[Difference]:
    approvals = (await session.exec(select(ApprovalRow).where(ApprovalRow.run == run))).all()
    ids = [approval.id for approval in approvals]
    asked = col(SeatRow.approval).in_(ids), col(SeatRow.asked_at).is_not(None), col(SeatRow.vote).is_(None)
    seats = (await session.exec(select(SeatRow).where(*asked))).all()
    found = []
    if {a.id: a.status for a in approvals} != {a.id: a.status.value for a in round.approvals}:
        found.append("the list of approvals says something else than the round")
    waits_on = {(a.id, holder) for a in round.requested for holder in a.holders} if round.running else set()
    if {(seat.approval, seat.holder) for seat in seats} != waits_on:
        found.append("inboxes say something else than the round")
    return [Difference(what="lists", of=run, detail=detail) for detail in found]


async def _order_list(session: AsyncSession, order: Order) -> list[Difference]:
    row = await session.get(OrderRow, order.id)
    if row is None:
        return [Difference(what="lists", of=order_run(order.id), detail="it stands in no list")]
    wrong = [name for name, value in list_columns(order).items() if getattr(row, name) != value]
    detail = f"the list says another {', '.join(wrong)}"
    return [Difference(what="lists", of=order_run(order.id), detail=detail)] if wrong else []


def _status_problem(status: QuoteStatus, round: RoundStanding | None) -> str:
    """Why a quote cannot stand so beside its newest round; empty where it can."""
    if round is None:
        return "" if status is QuoteStatus.DRAFT else f"it is {status.value}, and was never submitted"
    if round.running is not (status is QuoteStatus.IN_APPROVAL):
        return f"it is {status.value}, and its round {'runs' if round.running else 'has ended'}"
    lapsed = status is QuoteStatus.EXPIRED and round.status is RoundStatus.APPROVED
    if status in ENDED and round.status.value != status.value and not lapsed:
        return f"it is {status.value}, and its round ended {round.status.value}"
    if status in AGREED and round.status is not RoundStatus.APPROVED:
        return f"it is {status.value}, and its round ended {round.status.value}"
    return ""


def _ledger_problem(line: LineLedger, made: Sequence[Order]) -> str:
    if not line.balanced:
        return "it does not add up"
    held, ended = NOTHING, NOTHING
    for order in made:
        mine, gone = claims(order).get(line.line, (NOTHING, NOTHING))
        held, ended = held.plus(mine), ended.plus(gone)
    if (held, ended) != (line.allocated, line.cancelled):
        return f"the orders hold {held.quantity}, it says {line.allocated.quantity}"
    return ""
