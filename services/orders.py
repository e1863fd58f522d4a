"""Orders: the customer's yes, splitting, and everything that is done with one order."""

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.audit import Entry
from domain.errors import Invalid, Locked, NotFound
from domain.orders.ledger import LineLedger, opened
from domain.orders.order import Order, new_order, order_run
from domain.orders.split import Planned, Way, split
from domain.people import Person
from domain.permissions import Reach
from domain.quotes import Acceptance, QuoteStatus
from domain.runs import Command, Head
from domain.values import Value
from services.commands import Answer, Caller
from services.office import Office, authorise
from services.versions import next_version
from storage import orders, quotes, record, trail
from storage.orders import ErpDocument, OrderSummary
from storage.quotes import StoredQuote

AT_ONCE = 10
STARTING_SECONDS = 5.0


class Placed(Value):
    """The orders of one split, and what is left of the quote after it."""

    orders: list[Order]
    ledger: list[LineLedger]


class Orders:
    def __init__(self, office: Office) -> None:
        self._office = office

    # --- from quote to orders ---------------------------------------------------------------------------------------

    async def accept(self, caller: Caller, id: str, expected: int | None, acceptance: Acceptance) -> StoredQuote:
        """Write down the customer's yes to an approved quote: from now on it can be ordered, and is changed no more.

        Raises NotFound, Locked, Stale, Invalid."""
        reach = authorise(caller.person, "quotes.accept")
        office = self._office
        async with office.database.writing() as session:
            stored = await self._quote(session, caller.person, reach, id, lock=True)
            if stored.status.frozen and stored.acceptance == acceptance:
                return stored
            if stored.status is not QuoteStatus.APPROVED:
                state = stored.status.value
                raise Locked(f"Only an approved quote can be accepted; this one is {state}.", state=state)
            if expected is not None:
                next_version(stored.version, expected)
            now = office.clock()
            if stored.valid_until and stored.valid_until <= now:
                raise Locked("The approval has ended. Submit the quote again.", state="lapsed")
            if acceptance.on > now.date():
                raise Invalid.field("on", "is a day to come; write down a yes that was given")
            update = {"status": QuoteStatus.ACCEPTED, "acceptance": acceptance, "valid_until": None, "changed_at": now}
            accepted = stored.model_copy(update=update)
            await quotes.save(session, accepted)
            sums = zip(stored.quote.lines, stored.quote.line_sums, strict=True)
            entries = [opened(line.id, line.quantity, s.net_total, s.list_total) for line, s in sums]
            await orders.open_ledger(session, id, entries)
            facts = acceptance.model_dump(mode="json")
            await office.note(session, caller, f"quote:{id}", "accept", stored.digest, **facts)
        return accepted

    async def _quote(
        self, session: AsyncSession, person: Person, reach: set[Reach], id: str, lock: bool = False
    ) -> StoredQuote:
        stored = await quotes.load(session, id, lock=lock)
        if stored is None or (Reach.ALL not in reach and stored.quote.owner != person.id):
            raise NotFound(f"There is no quote {id!r} that you can order from.")
        return stored

    async def preview(self, person: Person, id: str, way: Way) -> Placed:
        """The orders a split would make, and what would be left. Nothing is stored."""
        reach = authorise(person, "orders.place")
        async with self._office.database.reading() as session:
            stored = await self._quote(session, person, reach, id)
            planned, number = await self._planned(session, stored, way)
        return _placed(planned, stored, number)

    async def place(self, caller: Caller, id: str, way: Way) -> Placed:
        """Split the quote into orders: ledger, orders and their first command are one transaction.

        Raises NotFound, Locked, Invalid."""
        reach = authorise(caller.person, "orders.place")
        office = self._office
        async with office.database.writing() as session:
            stored = await self._quote(session, caller.person, reach, id, lock=True)
            if caller.key and (known := await self._placed_before(session, caller, id)):
                return known
            planned, number = await self._planned(session, stored, way)
            before, now = await orders.ledger(session, id), office.clock()
            await orders.move(session, id, before, planned.ledger)
            placed = _placed(planned, stored, number)
            openings: list[tuple[Command, Head]] = []
            for order in placed.orders:
                head = await orders.add(session, order, stored.quote.customer.id, now)
                command = self._opening(caller, order)
                await record.write_down(session, command, now)
                openings.append((command, head))
            await quotes.set_status(session, id, QuoteStatus.ORDERING, now)
            facts = {"way": way.way, "orders": [order.id for order in placed.orders], "key": caller.key}
            await office.note(session, caller, f"quote:{id}", "split", stored.digest, **facts)
        await self._start(openings)
        return placed

    def _opening(self, caller: Caller, order: Order) -> Command:
        return Command(
            id=f"{order_run(order.id)}:open", run=order_run(order.id), actor=caller.person.id, verb="open",
            channel=caller.channel, payload={"split": caller.command_id},
        )  # fmt: skip

    async def _placed_before(self, session: AsyncSession, caller: Caller, id: str) -> Placed | None:
        """What the same key made before."""
        found = await orders.of_split(session, id, caller.command_id)
        ledger = await orders.ledger(session, id) if found else {}
        return Placed(orders=found, ledger=list(ledger.values())) if found else None

    async def _start(self, openings: Sequence[tuple[Command, Head]]) -> None:
        """Start the orders' runs, a few at a time; whatever is not started now the sweeper starts."""
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(command: Command, head: Head) -> None:
            async with turn:
                await self._office.path.carry(command, head, STARTING_SECONDS)

        await asyncio.gather(*(one(*opening) for opening in openings))

    async def _planned(self, session: AsyncSession, stored: StoredQuote, way: Way) -> tuple[Planned, int]:
        if not stored.status.frozen:
            state = stored.status.value
            raise Locked(f"The customer has not accepted this quote yet; it is {state}.", state=state)
        if stored.quote.order_by and stored.quote.order_by < self._office.clock().date():
            raise Locked(f"It could be ordered until {stored.quote.order_by}.", state="too_late")
        number = await orders.next_number(session, stored.quote.id)
        return split(stored.quote, await orders.ledger(session, stored.quote.id), way, number), number

    # --- one order --------------------------------------------------------------------------------------------------

    async def get(self, person: Person, id: str) -> Order:
        async with self._office.database.reading() as session:
            return await self._visible(session, person, id, "orders.read")

    async def _visible(self, session: AsyncSession, person: Person, id: str, act: str) -> Order:
        reach = authorise(person, act)
        order = await orders.load(session, id)
        if order is None or (Reach.ALL not in reach and order.owner != person.id):
            raise NotFound(f"There is no order {id!r} that you can see.")
        return order

    async def listed(
        self, person: Person, quote: str | None, status: str | None, after: str, limit: int
    ) -> list[OrderSummary]:
        reach = authorise(person, "orders.read")
        owner = None if Reach.ALL in reach else person.id
        async with self._office.database.reading() as session:
            return await orders.listed(session, owner=owner, quote=quote, status=status, after=after, limit=limit)

    async def ledger(self, person: Person, quote: str) -> list[LineLedger]:
        """What became of each line of a quote."""
        reach = authorise(person, "orders.read")
        async with self._office.database.reading() as session:
            stored = await self._quote(session, person, reach, quote)
            return list((await orders.ledger(session, stored.quote.id)).values())

    async def audit(self, person: Person, id: str, after: int, limit: int) -> list[Entry]:
        """Everything that ever happened to the order, in order."""
        async with self._office.database.reading() as session:
            await self._visible(session, person, id, "orders.read")
            return await trail.of_subject(session, f"order:{id}", after, limit)

    async def ask(self, caller: Caller, order: str, verb: str, act: str, **payload: Any) -> Answer:
        """Carry a command to the order's run; `act` is what the caller must be allowed."""
        async with self._office.database.reading() as session:
            await self._visible(session, caller.person, order, act)
        command = Command(
            id=caller.command_id, run=order_run(order), actor=caller.person.id, verb=verb, channel=caller.channel,
            payload={name: value for name, value in payload.items() if value is not None},
        )  # fmt: skip
        return await self._office.path.ask(command)

    async def documents(self, person: Person, status: str | None, after: str, limit: int) -> list[ErpDocument]:
        """What the back office is asked to take over."""
        authorise(person, "erp.read")
        async with self._office.database.reading() as session:
            return await orders.documents(session, status, after, limit)


def _placed(planned: Planned, stored: StoredQuote, number: int) -> Placed:
    made = [new_order(order, stored.quote, n) for n, order in enumerate(planned.orders, number)]
    return Placed(orders=made, ledger=list(planned.ledger.values()))
