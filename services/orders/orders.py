"""Orders: the customer's yes, splitting, and everything that is done with one order."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.audit import Entry
from domain.errors import CommandIdReused, Invalid, Locked, NotAllowed, NotFound
from domain.orders.ledger import LineLedger
from domain.orders.order import Order, new_order, order_run
from domain.orders.split import Planned, Way, nothing_ordered, split
from domain.orders.starts import check_starts
from domain.people import Person, Role
from domain.permissions import Reach
from domain.quotes import Acceptance, QuoteStatus
from domain.runs import Command
from domain.runs.contracts import Split
from domain.sentences import Sentence
from domain.values import Value, digest
from services.context import ServiceContext, authorise
from services.orders import changes as order_changes
from services.orders.changes import DryRunReport
from services.quotes.quotes import principals
from services.runs.apply import Applied
from services.runs.authority import current_person
from services.runs.commands import Caller, CommandReceipt, CommandRequest
from services.versions import next_version
from storage.approvals import rounds
from storage.customers import fulfilment_facts
from storage.orders import orders
from storage.orders.orders import OrderSummary
from storage.quotes import quotes
from storage.quotes.quotes import StoredQuote
from storage.runs import audit_log, runs
from storage.runs.runs import RunSnapshot


class Placed(Value):
    """The orders of one split, and what is left of the quote after it."""

    orders: list[Order]
    ledger: list[LineLedger]


class Orders:
    def __init__(self, context: ServiceContext, acceptance_required: bool = True) -> None:
        self._context = context
        self._acceptance_required = acceptance_required

    # --- from quote to orders ---------------------------------------------------------------------------------------

    async def accept(self, caller: Caller, id: str, expected: int | None, acceptance: Acceptance) -> StoredQuote:
        """Write down the customer's yes to an approved quote: from now on it can be ordered, and is changed no more.

        Raises NotFound, Locked, Stale, Invalid."""
        reach = authorise(caller.person, "quotes.accept")
        context = self._context
        async with context.database.writing() as session:
            await runs.check_open(session)
            stored = await self._quote(session, caller.person, reach, id, lock=True)
            if stored.status.frozen and stored.acceptance == acceptance:
                return stored
            if stored.status is not QuoteStatus.APPROVED:
                state = stored.status.value
                raise Locked(
                    Sentence("Only an approved quote can be accepted; this one is {state}.", state=state), state=state
                )
            if expected is not None:
                next_version(stored.version, expected)
            return await self._accept(session, caller, stored, acceptance)

    async def _accept(
        self, session: AsyncSession, caller: Caller, stored: StoredQuote, acceptance: Acceptance
    ) -> StoredQuote:
        """The quote as it can be ordered from now on, with nothing of it ordered yet."""
        context, now, id = self._context, self._context.clock(), stored.quote.id
        if stored.valid_until and stored.valid_until <= now:
            raise Locked("The approval has ended. Submit the quote again.", state="lapsed")
        if acceptance.on > context.today_of(caller.person):
            raise Invalid.field("on", "is a day to come; write down an acceptance that was given")
        update = {"status": QuoteStatus.ACCEPTED, "acceptance": acceptance, "valid_until": None, "changed_at": now}
        accepted = stored.evolve(**update)
        await quotes.save(session, accepted)
        await orders.open_ledger(session, id, nothing_ordered(stored.quote).values())
        facts = acceptance.model_dump(mode="json")
        await context.audit(session, caller, f"quote:{id}", "accept", stored.digest, **facts)
        return accepted

    async def _quote(
        self, session: AsyncSession, person: Person, reach: set[Reach], id: str, lock: bool = False
    ) -> StoredQuote:
        stored = await quotes.load(session, id, lock=lock)
        if stored is None or (Reach.ALL not in reach and stored.quote.owner != person.id):
            raise NotFound(Sentence("There is no quote {id!r} that you can order from.", id=id))
        return stored

    async def preview(self, person: Person, id: str, way: Way) -> Placed:
        """The orders a split would make, and what would be left. Nothing is stored."""
        reach = authorise(person, "orders.place")
        async with self._context.database.reading() as session:
            stored = await self._quote(session, person, reach, id)
            planned, number = await self._plan(session, stored, way)
        return _new_orders(planned, stored, number, self._context.company_zone)

    async def place(self, caller: Caller, id: str, way: Way) -> Placed:
        """Split the quote into orders: ledger, orders and their first command are one transaction.

        Raises NotFound, Locked, Invalid."""
        reach = authorise(caller.person, "orders.place")
        context = self._context
        async with context.database.writing() as session:
            await runs.check_open(session)
            stored = await self._quote(session, caller.person, reach, id, lock=True)
            if known := await self._find_earlier_split(session, caller, id, way):
                return known
            if not self._acceptance_required and stored.status is QuoteStatus.APPROVED:
                stored = await self._accept(session, caller, stored, Acceptance(on=context.today_of(caller.person)))
            planned, number = await self._plan(session, stored, way)
            before, now = await orders.ledger(session, id), context.clock()
            await orders.move(session, id, before, planned.ledger)
            placed = _new_orders(planned, stored, number, self._context.company_zone)
            for order in placed.orders:
                await orders.add(session, order, stored.quote.customer.id, now)
                await runs.enqueue_followup(session, opening(caller, order), now)
            made = tuple(order.id for order in placed.orders)
            nth = await orders.add_split(session, caller.command_id, id, digest(way), list(made), now)
            await quotes.set_status(session, id, QuoteStatus.ORDERING, now)
            facts: dict[str, Any] = {"way": way.way, "orders": list(made)}
            await context.audit(session, caller, f"quote:{id}", "split", stored.digest, **facts)
            followups = runs.take_followups(session)
        split = Split(quote=id, customer=stored.quote.customer.name, number=nth, orders=made)
        await context.path.place(split, followups)
        return placed

    async def _find_earlier_split(self, session: AsyncSession, caller: Caller, id: str, way: Way) -> Placed | None:
        """What the same key made before. Raises CommandIdReused when it asked for something else."""
        known = await orders.split_of(session, caller.command_id) if caller.key else None
        if known is None:
            return None
        if known.quote != id or known.way != digest(way):
            raise CommandIdReused
        left = await orders.ledger(session, id)
        return Placed(orders=await orders.load_many(session, known.orders), ledger=list(left.values()))

    def orderable(self, stored: StoredQuote) -> bool:
        """Whether it can be ordered as it stands."""
        return stored.status.frozen or (not self._acceptance_required and stored.status is QuoteStatus.APPROVED)

    async def _ledger(self, session: AsyncSession, stored: StoredQuote) -> dict[str, LineLedger]:
        if self.orderable(stored) and not stored.status.frozen:
            return nothing_ordered(stored.quote)
        return await orders.ledger(session, stored.quote.id)

    async def _plan(self, session: AsyncSession, stored: StoredQuote, way: Way) -> tuple[Planned, int]:
        if not self.orderable(stored):
            state = stored.status.value
            raise Locked(
                Sentence("The customer has not accepted this quote yet; it is {state}.", state=state), state=state
            )
        if stored.quote.order_by and stored.quote.order_by < self._context.company_day():
            raise Locked(
                Sentence("It could be ordered until {order_by}.", order_by=stored.quote.order_by), state="too_late"
            )
        number = await orders.next_number(session, stored.quote.id)
        planned = split(stored.quote, await self._ledger(session, stored), way, number)
        named = {order.slot.trigger.after for order in planned.orders if order.slot.trigger.after}
        others = await orders.find_awaited(session, named, stored.quote.customer.id) if named else set()
        for order in planned.orders:
            first = order.slot.trigger.on or self._context.company_day()
            await fulfilment_facts.check_end(session, stored.quote.customer.id, order.slot.coterm, first)
        check_starts(
            planned.orders,
            others,
            self._context.clock(),
            stored.quote.order_by,
            way.way != "fields",
            self._context.company_zone,
        )
        return planned, number

    # --- one order --------------------------------------------------------------------------------------------------

    async def get(self, person: Person, id: str) -> Order:
        async with self._context.database.reading() as session:
            return await self.visible(session, person, id, "orders.read")

    async def visible(self, session: AsyncSession, person: Person, id: str, act: str) -> Order:
        reach = authorise(person, act)
        order = await orders.load(session, id)
        if order is not None and (Reach.ALL in reach or (Reach.OWN in reach and order.owner == person.id)):
            return order
        if order is not None and Reach.INVOLVED in reach:
            away = await principals(session, person.id, self._context.clock())
            if await rounds.is_involved(session, person.id, away, "quote", order.quote):
                return order
        raise NotFound(Sentence("There is no order {id!r} that you can see.", id=id))

    async def list_page(
        self, person: Person, quote: str | None, status: str | None, after: str, limit: int, attention: bool = False
    ) -> list[OrderSummary]:
        at = self._context.clock() if attention else None
        async with self._context.database.reading() as session:
            return await orders.list_page(
                session, owner=_owner(person), quote=quote, status=status, after=after, limit=limit, attention_at=at
            )

    async def starting(self, person: Person, first: date, last: date, limit: int) -> list[OrderSummary]:
        """Orders whose day lies between two, and has not come."""
        async with self._context.database.reading() as session:
            return await orders.starting(session, _owner(person), first, last, limit)

    async def ledger(self, person: Person, quote: str) -> list[LineLedger]:
        """What became of each line of a quote."""
        reach = authorise(person, "orders.read")
        async with self._context.database.reading() as session:
            stored = await self._quote(session, person, reach, quote)
            return list((await self._ledger(session, stored)).values())

    async def audit(self, person: Person, id: str, after: int, limit: int) -> list[Entry]:
        """Everything that ever happened to the order, in order."""
        async with self._context.database.reading() as session:
            await self.visible(session, person, id, "orders.read")
            return await audit_log.of_subject(session, f"order:{id}", after, limit)

    async def ask(self, caller: Caller, order: str, verb: str, act: str, **fields: Any) -> CommandReceipt:
        """Carry a command to the order's run; `act` is what the caller must be allowed."""
        if verb in order_changes.JUDGED:
            return await self._change(caller, order, verb, act, fields)

        async def check(session: AsyncSession, run: RunSnapshot) -> Command:
            person = await current_person(session, caller.person.id)
            found = await self.visible(session, person, order, act)
            if verb == "release":
                _check_owner(person, found, fields.get("hold"))
            return request.command(run.id)

        request = request_of(caller, order, verb, fields)
        return await self._context.path.execute(request, check)

    async def dry_run(self, person: Person, order: str, verb: str, **payload: Any) -> DryRunReport:
        """What a command would do: to the order, the quote's ledger, the money, the back office. Nothing is stored."""
        async with self._context.database.reading() as session:
            found = await self.visible(session, person, order, "orders.steer")
            return await order_changes.compute_dry_run(
                session,
                self._context,
                request_of(Caller(person=person), order, verb, payload).command(order_run(order)),
                found,
            )

    async def amend(self, caller: Caller, order: str, **fields: Any) -> CommandReceipt:
        """Change what was agreed. Raises NotFound, Unresolved, CommandIdReused."""
        return await self._change(caller, order, "amend", "orders.steer", fields)

    async def _change(
        self, caller: Caller, order: str, verb: str, act: str, fields: Mapping[str, Any]
    ) -> CommandReceipt:
        """What the policy for changes of orders wants approved waits until it is."""
        context, prepared = self._context, order_changes.Prepared()

        async def check(session: AsyncSession, run: RunSnapshot) -> Command:
            person = await current_person(session, caller.person.id)
            found = await self.visible(session, person, order, act)
            return await order_changes.derive_command(session, context, request, found, prepared)

        async def then(session: AsyncSession, applied: Applied) -> None:
            outcome = applied.outcomes.get(request.id)
            if outcome is None or outcome.applied:
                await order_changes.insert_prepared(session, prepared, context.clock())

        request = request_of(caller, order, verb, fields)
        return await context.path.execute(request, check, then)


HOLD_ROLES = {"desk": Role.ORDER_DESK, "finance": Role.FINANCE, "quality": Role.BACK_OFFICE}
"""To whom a hold belongs."""


def releases(person: Person, owner: str) -> bool:
    """Whether somebody may end a hold of this owner; an approval's ends with its round alone."""
    return owner in HOLD_ROLES and (person.has(HOLD_ROLES[owner]) or person.has(Role.ADMIN))


def _check_owner(person: Person, order: Order, hold: object) -> None:
    """Raises NotAllowed for a hold that belongs to others."""
    for each in order.holds:
        if each.id == hold and each.owner in HOLD_ROLES and not releases(person, each.owner):
            owner = HOLD_ROLES[each.owner].value.replace("_", " ")
            raise NotAllowed(Sentence("This hold belongs to {owner}; ask them to release it.", owner=owner))


def _owner(person: Person) -> str | None:
    """Whose orders this person's lists show; everybody's where None."""
    return None if Reach.ALL in authorise(person, "orders.read") else person.id


def opening(caller: Caller, order: Order) -> Command:
    run = order_run(order.id)
    return Command(id=f"{run}:open", run=run, actor=caller.person.id, verb="open", channel=caller.channel)


def request_of(caller: Caller, order: str, verb: str, fields: Mapping[str, Any]) -> CommandRequest:
    return CommandRequest(
        id=caller.command_id,
        run=order_run(order),
        actor=caller.person.id,
        verb=verb,
        channel=caller.channel,
        fields={name: value for name, value in fields.items() if value is not None},
    )


def _new_orders(planned: Planned, stored: StoredQuote, number: int, company_zone: str) -> Placed:
    made = [new_order(order, stored.quote, n, company_zone) for n, order in enumerate(planned.orders, number)]
    return Placed(orders=made, ledger=list(planned.ledger.values()))
