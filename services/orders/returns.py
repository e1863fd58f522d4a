"""Goods that come back, and what is sent in their place."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.customers.facts import Kind
from domain.customers.holdings import check_serials
from domain.errors import Invalid, Locked, NotFound
from domain.orders.order import Order, new_order
from domain.orders.returned import ReturnStatus, check_returned, new_return, replacement, return_run
from domain.orders.split import Slot, order_id
from domain.people import Person
from domain.runs import Command
from domain.sentences import Sentence
from services.context import ServiceContext
from services.orders.orders import Orders, opening
from services.runs.authority import current_person
from services.runs.commands import Caller, CommandReceipt, CommandRequest
from storage.customers import facts
from storage.orders import orders, returns
from storage.orders.returns import ReturnSummary
from storage.quotes import quotes
from storage.runs import runs
from storage.runs.runs import RunSnapshot


async def _check_day(session: AsyncSession, order: Order, on: date, now: datetime) -> None:
    """Goods come back after they were delivered, and tomorrow at the latest. Raises Invalid."""
    today = order.day_at(now)
    delivered = [f.on for f in await facts.of_orders(session, [order.id]) if f.kind is Kind.DELIVERED]
    if on > today + timedelta(days=1):
        raise Invalid.field("on", "is a day to come")
    if delivered and on < min(delivered):
        raise Invalid.field("on", "is before the first delivery, on {day}", day=min(delivered))


class Returns:
    def __init__(self, context: ServiceContext, orders_: Orders) -> None:
        self._context = context
        self._orders = orders_

    async def of_order(self, person: Person, order: str) -> list[ReturnSummary]:
        async with self._context.database.reading() as session:
            await self._orders.visible(session, person, order, "orders.read")
            return await returns.of_order(session, order)

    async def report(
        self,
        caller: Caller,
        order: str,
        reference: str,
        lines: Mapping[str, Decimal],
        reason: str,
        arrived: bool,
        serials: Mapping[str, tuple[str, ...]] | None = None,
        on: date | None = None,
    ) -> tuple[int, CommandReceipt]:
        """Announce a return, or report one that has arrived; its number. The same reference is the same return.

        Raises NotFound, Invalid naming a line of which less was delivered."""
        context = self._context
        async with context.database.writing() as session:
            await runs.check_open(session)
            await self._orders.visible(session, caller.person, order, "orders.return")
            found = await orders.load(session, order, lock=True)
            assert found is not None
            if on is not None:
                await _check_day(session, found, on, context.clock())
            earlier = await returns.of_order(session, order)
            known = next((one for one in earlier if one.reference == reference), None)
            if known and known.lines != dict(lines):
                raise Invalid.field("id", "{reference!r} was reported with other lines", reference=reference)
            number = known.number if known else len(earlier) + 1
            run = return_run(order, number)
            if known is None:
                check_returned(found, returns.quantities(earlier), lines)
                check_serials(await facts.of_orders(session, [order]), lines, serials or {})
                new = new_return(found, number, lines, reason, caller.person.id, serials or {})
                await returns.add(session, new, reference, context.clock())
                command = Command(
                    id=f"{run}:open",
                    run=run,
                    actor=caller.person.id,
                    verb="open",
                    channel=caller.channel,
                    payload={"arrived": arrived, "on": on.isoformat() if on else None},
                )
                await runs.enqueue_followup(session, command, context.clock())
            followups = runs.take_followups(session)
        await context.path.after_commit(None, followups)
        return number, CommandReceipt(command=f"{run}:open", outcome=await context.path.outcome(f"{run}:open"))

    async def arrived(self, caller: Caller, order: str, number: int, on: date | None) -> CommandReceipt:
        """Announced goods are here. Raises NotFound, Invalid."""
        if on is not None:
            async with self._context.database.reading() as session:
                found = await self._orders.visible(session, caller.person, order, "orders.return")
                await _check_day(session, found, on, self._context.clock())
        fields = {"on": on.isoformat()} if on else {}
        return await self.ask(caller, order, number, "arrived", "orders.return", **fields)

    async def ask(
        self, caller: Caller, order: str, number: int, verb: str, act: str, **fields: object
    ) -> CommandReceipt:
        async def check(session: AsyncSession, run: RunSnapshot) -> Command:
            await self._orders.visible(session, await current_person(session, caller.person.id), order, act)
            return request.command(run.id)

        request = CommandRequest(
            id=caller.command_id,
            run=return_run(order, number),
            actor=caller.person.id,
            verb=verb,
            channel=caller.channel,
            fields=fields,
        )
        return await self._context.path.execute(request, check)

    async def replace(self, caller: Caller, order: str, number: int, slot: Slot) -> Order:
        """Order the same goods again for nothing, once. Raises NotFound, Locked."""
        context = self._context
        async with context.database.writing() as session:
            await runs.check_open(session)
            await self._orders.visible(session, caller.person, order, "orders.steer")
            found, back = await orders.load(session, order), await returns.load(session, order, number)
            row = await returns.row(session, order, number)
            if found is None or back is None or row is None:
                raise NotFound(Sentence("Order {order!r} has no return {number}.", order=order, number=number))
            if row.replaced_by:
                known = await orders.load(session, row.replaced_by)
                assert known is not None
                return known
            if back.status is ReturnStatus.DECLINED:
                raise Locked("This return was declined.", state=back.status.value)
            stored = await quotes.load(session, found.quote, lock=True)
            assert stored is not None
            next_number, now = await orders.next_number(session, found.quote), context.clock()
            place = slot if slot.ship_to else slot.evolve(ship_to=found.slot.ship_to)
            planned = replacement(back, found, order_id(found.quote, next_number), place)
            made = new_order(planned, stored.quote, next_number, context.company_zone)
            made = made.evolve(replaces=f"{order}/{number}")
            row.replaced_by = made.id
            session.add(row)
            await orders.add(session, made, stored.quote.customer.id, now)
            await runs.enqueue_followup(session, opening(caller, made), now)
            await context.audit(session, caller, f"order:{order}", "replace_goods", by=made.id, number=number)
            followups = runs.take_followups(session)
        await context.path.after_commit(None, followups)
        return made
