"""The customer seen whole: contracts, orders, assets, subscriptions, entitlements, revenue, open approvals."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.customers.contracts import Contents, Contract, Ending, contents
from domain.customers.entitlements import Entitlement, entitlements
from domain.customers.facts import Fact, Kind, awaits_acceptance, by_line
from domain.customers.holdings import Asset, Subscription, assets, subscriptions
from domain.customers.proration import months_after
from domain.customers.revenue import month_of
from domain.errors import Invalid, NotFound
from domain.orders.order import Order, Phase
from domain.orders.split import Coterm
from domain.people import Person
from domain.permissions import allows
from domain.sentences import Sentence
from domain.values import Amount, Value, short_id
from services.context import ServiceContext, authorise
from services.customers.revenue import RevenueMonth, with_remaining
from services.runs.commands import Caller
from storage.customers import facts, fulfilment_facts, revenue
from storage.customers.customers import (
    CustomerSummary,
    OpenApproval,
    find_name,
    list_page,
    open_approvals,
    orders_of,
    statuses,
)
from storage.orders import orders
from storage.orders.orders import OrderSummary

MOST_LISTED = 100
"""Of assets, subscriptions and entitlements; all of them stand in the contracts and entitlements of their own."""
SHOWN_MONTHS = 12
"""So many months before this one, and after it."""


class ContractValue(Value):
    """A contract, and what stands in it is worth in each currency."""

    contract: Contract
    value: dict[str, Amount]
    subscriptions: int
    assets: int


class CustomerOverview(Value):
    """Everything about one customer."""

    id: str
    name: str
    on: date
    known_at: datetime | None
    order_counts: dict[str, int]
    orders: list[OrderSummary]
    """Those that are open or to come first, then the newest of the others."""
    contracts: list[ContractValue]
    assets: list[Asset]
    """The newest; `counts` says how many there are of each kind."""
    subscriptions: list[Subscription]
    entitlements: list[Entitlement]
    counts: dict[str, int]
    approvals: list[OpenApproval]
    revenue: list[RevenueMonth] | None
    """For those who may see it."""


class Customers:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def list_page(self, person: Person, after: str, limit: int) -> list[CustomerSummary]:
        authorise(person, "customers.read")
        async with self._context.database.reading() as session:
            return await list_page(session, after, limit)

    async def whole(self, person: Person, id: str, on: date | None, known_at: datetime | None) -> CustomerOverview:
        """The customer on a day, as far as it was known at an instant. Raises NotFound.

        Orders and approvals are those of now; it takes the same few queries however many there are."""
        authorise(person, "customers.read")
        day = on or self._context.today_of(person)
        async with self._context.database.reading() as session:
            name = await self._name(session, id)
            known = await facts.of_customer(session, id, known_at)
            made = await facts.contracts(session, id)
            shown, counts = await orders_of(session, id), await statuses(session, id)
            waiting = await open_approvals(session, id)
            money = await self._revenue(session, id, known_at) if allows(person, "revenue.read") else None
        there = [fact for fact in known if fact.on <= day]
        own, running = assets(there), subscriptions(there)
        entitled = entitlements(there, day, None, self._context.sla_hours)
        return CustomerOverview(
            id=id,
            name=name,
            on=day,
            known_at=known_at,
            order_counts=counts,
            orders=shown,
            approvals=waiting,
            contracts=_worths(made, running, own),
            assets=own[-MOST_LISTED:],
            subscriptions=running[-MOST_LISTED:],
            entitlements=entitled[-MOST_LISTED:],
            revenue=money,
            counts={"assets": len(own), "subscriptions": len(running), "entitlements": len(entitled)},
        )

    async def contracts(self, person: Person, id: str) -> list[Contents]:
        """Each contract of a customer with what stands in it. Raises NotFound."""
        authorise(person, "customers.read")
        async with self._context.database.reading() as session:
            await self._name(session, id)
            known, made = await facts.of_customer(session, id), await facts.contracts(session, id)
        running, own = subscriptions(known), assets(known)
        return [contents(contract, running, own) for contract in made]

    async def entitlements(
        self, person: Person, id: str, on: date | None, known_at: datetime | None
    ) -> list[Entitlement]:
        """What a customer may use or claim on a day, as far as it was known at an instant. Raises NotFound."""
        authorise(person, "customers.read")
        async with self._context.database.reading() as session:
            await self._name(session, id)
            known = await facts.of_customer(session, id, known_at)
        return entitlements(known, on or self._context.today_of(person), known_at, self._context.sla_hours)

    async def check(self, person: Person, id: str) -> None:
        """Raises NotFound."""
        authorise(person, "customers.read")
        async with self._context.database.reading() as session:
            await self._name(session, id)

    async def _name(self, session: AsyncSession, id: str) -> str:
        name = await find_name(session, id)
        if name is None:
            raise NotFound(Sentence("There is no customer {id!r} with orders.", id=id))
        return name

    async def _revenue(self, session: AsyncSession, id: str, known_at: datetime | None) -> list[RevenueMonth]:
        this = month_of(self._context.company_day())
        first, last = months_after(this, -SHOWN_MONTHS), months_after(this, SHOWN_MONTHS)
        return list(with_remaining(await revenue.by_month(session, "company", last, known_at, id, first)))

    async def of_order(self, person: Person, order: str) -> str:
        """The id of an order's customer."""
        authorise(person, "customers.read")
        async with self._context.database.reading() as session:
            return await fulfilment_facts.customer_of(session, order)

    async def ways_to_end(self, person: Person, order: str) -> dict[Coterm, list[Ending]]:
        """For each way to co-terminate what it makes of the subscriptions of an order, and of others, with the money.

        Empty for an order that has begun. Raises NotFound."""
        authorise(person, "customers.read")
        async with self._context.database.reading() as session:
            state = await _order(session, order)
            waits = state.phase in (Phase.NEW, Phase.WAITING)
            if not waits or state.extends or all(line.can_end for line in state.lines):
                return {}  # nothing of it runs over a time, or until another day
            return await fulfilment_facts.ways_to_end(session, state, self._context.clock())

    async def to_accept(self, person: Person, order: str) -> list[str]:
        """What of an order was delivered, must be accepted, and was not yet, by name."""
        authorise(person, "customers.read")
        async with self._context.database.reading() as session:
            known = by_line(await facts.of_orders(session, [order]))
        return [some[0].name or some[0].product for some in known.values() if awaits_acceptance(some)]

    # --- the customer accepts what was delivered --------------------------------------------------------------------

    async def accepts(self, caller: Caller, order: str, on: date | None, lines: Sequence[str] | None) -> list[Fact]:
        """Write down that the customer accepts what was delivered; the same key is the same acceptance.

        Raises NotFound, Invalid."""
        authorise(caller.person, "orders.steer")
        context, now = self._context, self._context.clock()
        if on and on > context.today_of(caller.person):
            raise Invalid.field("on", "is a day to come; write down an acceptance that was given")
        async with context.database.writing() as session:
            state = await _order(session, order, lock=True)
            known = await facts.of_orders(session, [order])
            accepted = _acceptances(state, known, lines, on or context.today_of(caller.person), now, caller.command_id)
            if any(fact.id == accepted[0].id for fact in known):
                return accepted
            await facts.append(session, accepted)
            told = [fact.line for fact in accepted]
            await context.audit(session, caller, f"order:{order}", "customer_accepts", of=told, on=str(accepted[0].on))
        return accepted


async def _order(session: AsyncSession, id: str, lock: bool = False) -> Order:
    if (order := await orders.load(session, id, lock=lock)) is None:
        raise NotFound(Sentence("There is no order {id!r} that you can see.", id=id))
    return order


def _worths(made: Iterable[Contract], running: list[Subscription], own: list[Asset]) -> list[ContractValue]:
    """Contracts that hold something by then."""
    found = (contents(contract, running, own) for contract in made)
    return [
        ContractValue(
            contract=one.contract, value=one.value, subscriptions=len(one.subscriptions), assets=len(one.assets)
        )
        for one in found
        if one.subscriptions or one.assets
    ]


def _acceptances(
    order: Order, known: list[Fact], lines: Sequence[str] | None, on: date, at: datetime, key: str
) -> list[Fact]:
    """One for each line of which something was delivered."""
    delivered = {
        line: next(fact for fact in some if fact.kind is Kind.DELIVERED)
        for (_, line), some in by_line(known).items() if any(fact.kind is Kind.DELIVERED for fact in some)
    }  # fmt: skip
    for line in lines or ():
        if line not in delivered:
            raise Invalid.field(f"lines.{line}", "nothing of it was delivered with order {order}", order=order.id)
    if not delivered:
        raise Invalid.field("lines", "nothing was delivered with order {order} yet", order=order.id)
    for line in lines or delivered:
        if on < delivered[line].on:
            raise Invalid.field("on", "is before the first delivery, on {day}", day=delivered[line].on)
    return [
        delivered[line].evolve(
            id=short_id("f", key, line), kind=Kind.ACCEPTED, on=on, at=at, serials=(), source="customer"
        )
        for line in lines or delivered
    ]
