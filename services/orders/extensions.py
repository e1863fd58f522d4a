"""Letting a customer's subscriptions end together: each order whose subscriptions run on gets an order for that."""

from datetime import date
from itertools import groupby

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.customers.contracts import common_end
from domain.customers.holdings import subscriptions, terms_by_line
from domain.errors import CommandIdReused, Invalid, NotFound
from domain.orders.extending import Extension, before_and_after, extension_order, extensions
from domain.orders.order import Order, order_run
from domain.people import Person
from domain.quotes import Acceptance
from domain.runs import Command
from domain.sentences import Sentence
from domain.values import Value, digest
from services.context import ServiceContext, authorise
from services.orders import changes as order_changes
from services.orders.changes import Prepared
from services.orders.orders import opening
from services.runs.commands import Caller
from storage.approvals import policies
from storage.customers import facts, fulfilment_facts
from storage.customers.customers import find_name
from storage.orders import orders
from storage.quotes import quotes
from storage.runs import runs

MOST_YEARS = 10


class Extended(Value):
    """What lets a customer's subscriptions end together."""

    ends: date
    subscriptions: list[Extension]
    approvals: list[str]
    """Whom the policy would ask first."""


class Extensions:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def preview(self, person: Person, customer: str, ends: date | None) -> Extended:
        """Which subscriptions would run on until `ends`, or until the last of them does. Nothing is stored.

        Raises NotFound, Invalid."""
        authorise(person, "orders.steer")
        async with self._context.database.reading() as session:
            end, wanted = await self._wanted(session, customer, ends)
            asked: list[str] = []
            for made, some in await self._orders(session, wanted, Acceptance(on=self._context.today_of(person))):
                plan = await self._judge(session, made, some, person.id)
                asked += [f"{a.title}: {a.asked}" for a in plan[2].approvals if not a.inform] if plan else []
        return Extended(ends=end, subscriptions=wanted, approvals=list(dict.fromkeys(asked)))

    async def place(self, caller: Caller, customer: str, ends: date | None, acceptance: Acceptance) -> list[Order]:
        """Make the orders; each waits for its approvals. The same key makes them once.

        Raises NotFound, Invalid, Unresolved, CommandIdReused."""
        authorise(caller.person, "orders.steer")
        context, now = self._context, self._context.clock()
        if acceptance.on > context.today_of(caller.person):
            raise Invalid.field("acceptance.on", "is a day to come; write down an acceptance that was given")
        way = digest([customer, ends, acceptance])
        async with context.database.writing() as session:
            await runs.check_open(session)
            if known := await orders.split_of(session, caller.command_id) if caller.key else None:
                if known.way != way:
                    raise CommandIdReused
                return await orders.load_many(session, known.orders)
            await facts.contracts(session, customer, lock=True)  # one after the other for each customer
            _, wanted = await self._wanted(session, customer, ends)
            placed = []
            for made, some in await self._orders(session, wanted, acceptance, lock=True):
                await orders.add(session, made, customer, now)
                await runs.enqueue_followup(session, await self._opening(session, caller, made, some), now)
                about = {"by": made.id, "ends": some[0].ends.isoformat(), **acceptance.model_dump(mode="json")}
                await context.audit(session, caller, f"order:{made.extends}", "extend", **about)
                placed.append(made)
            await orders.add_split(session, caller.command_id, placed[0].quote, way, [each.id for each in placed], now)
            followups = runs.take_followups(session)
        await context.path.after_commit(None, followups)
        return placed

    async def _wanted(self, session: AsyncSession, customer: str, ends: date | None) -> tuple[date, list[Extension]]:
        """The subscriptions that would end earlier and that nothing lets run on already."""
        if await find_name(session, customer) is None:
            raise NotFound(Sentence("There is no customer {id!r} with orders.", id=customer))
        today = self._context.company_day()
        known = await facts.of_customer(session, customer)
        running = [one for one in subscriptions(known) if one.recurring and one.ends and one.ends >= today]
        end = ends or common_end(running)
        if end is None:
            raise Invalid.field("ends", "no subscription of the customer ends")
        if end > today.replace(year=today.year + MOST_YEARS, day=min(today.day, 28)):
            raise Invalid.field("ends", "is more than {years} years away", years=MOST_YEARS)
        free = await fulfilment_facts.not_extended(session, customer, running)
        wanted = extensions(free, terms_by_line(known), end, today)
        if not wanted:
            raise Invalid.field("ends", "no subscription ends before {day} that does not run on already", day=end)
        return end, wanted

    async def _orders(
        self, session: AsyncSession, wanted: list[Extension], acceptance: Acceptance, lock: bool = False
    ) -> list[tuple[Order, list[Extension]]]:
        """One for each order whose subscriptions run on, with the next number of its quote."""
        made: list[tuple[Order, list[Extension]]] = []
        numbers: dict[str, int] = {}
        by_order = {id: list(some) for id, some in groupby(sorted(wanted, key=_order_of), key=_order_of)}
        extended = sorted(
            await orders.load_many(session, list(by_order)), key=lambda order: (order.quote, order.number)
        )
        for order in extended:
            if order.quote not in numbers:
                await quotes.load(session, order.quote, lock=lock)
                numbers[order.quote] = await orders.next_number(session, order.quote)
            some = by_order[order.id]
            made.append((extension_order(order, some, numbers[order.quote], acceptance), some))
            numbers[order.quote] += 1
        return made

    async def _judge(
        self, session: AsyncSession, made: Order, some: list[Extension], actor: str
    ) -> order_changes.Judged | None:
        """What the policy for changes of orders asks; None where there is none."""
        stored = await policies.current(session, "order_change")
        if stored is None:
            return None
        was, changed = before_and_after(made, some)
        command = Command(id="", run=order_run(made.id), actor=actor, verb="place", payload={"reason": "extension"})
        return await order_changes.judge(session, self._context, stored, was, changed, command)

    async def _opening(self, session: AsyncSession, caller: Caller, made: Order, some: list[Extension]) -> Command:
        """The first command of an order, with the round that it must wait for."""
        command, prepared = opening(caller, made), Prepared()
        judged = await self._judge(session, made, some, caller.person.id)
        if judged is None or not judged[2].approvals:
            return command
        policy, subject, plan = judged
        await order_changes.prepare_round(session, self._context, command, made, policy, subject, plan, prepared)
        await order_changes.insert_prepared(session, prepared, self._context.clock())
        return command.evolve(payload={"round": prepared.run})


def _order_of(extension: Extension) -> str:
    return extension.order
