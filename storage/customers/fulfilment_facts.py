"""What the steps of orders and returns bring about for their customer, in the transaction that stores the step."""

from collections.abc import Iterable
from datetime import date, datetime

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.customers.contracts import Ending, Grouping, check_coterm, common_end, contracts_of, cotermed, endings
from domain.customers.facts import Fact, Kind, happened, needs_terms, replacement_fact, terms_of
from domain.customers.holdings import Subscription, assets, subscriptions, terms_by_line
from domain.orders.acts import apply
from domain.orders.coterm import with_coterm_prices
from domain.orders.extending import ending_of, extensions
from domain.orders.order import Order, Phase
from domain.orders.returned import Return, ReturnStatus
from domain.orders.split import Coterm
from domain.runs import Command, RejectedByRecord, refused
from domain.sentences import Sentence
from domain.values import short_id
from storage.customers import facts
from storage.orders import orders
from storage.quotes import quotes
from storage.tables import OrderRow


async def by_order(session: AsyncSession, was: Order, now: Order, at: datetime, grouping: Grouping) -> Order:
    """Facts, contracts and books follow the order; it has told its news."""
    ordered = needs_terms(was, now)
    if not ordered and not now.news:
        return now
    terms = {}
    if ordered:
        stored = await quotes.load(session, now.quote)
        assert stored is not None
        terms = {line.id: terms_of(line, stored.quote) for line in stored.quote.lines}
    today = now.day_at(at)
    original = await paid_order(session, now)
    found = happened(was, now, terms, await customer_of(session, now.id), today, at, original)
    await _check_serials(session, now, found)
    if ordered:
        found = await _put_into_contracts(session, found, grouping)
    await facts.append(session, found)
    return now.evolve(news=())


async def _check_serials(session: AsyncSession, order: Order, found: list[Fact]) -> None:
    """A unit is delivered once, until it comes back. Raises RejectedByRecord."""
    named = [fact for fact in found if fact.kind is Kind.DELIVERED and fact.serials and fact.quantity > 0]
    if not named:
        return
    there = {
        (asset.product, serial)
        for asset in assets(await facts.of_customer(session, named[0].customer)) for serial in asset.serials
    }  # fmt: skip
    for fact in named:
        for serial in fact.serials:
            if (fact.product, serial) in there:
                sentence = Sentence("{serial} was delivered already and did not come back.", serial=serial)
                raise RejectedByRecord(refused("invalid", sentence, field=f"serials.{fact.line}"))


async def paid_order(session: AsyncSession, order: Order) -> str | None:
    """The order that was paid for, where this one replaces goods of it, or of another that did."""
    found: Order | None = order
    while found and found.replaces:
        found = await orders.load(session, found.replaces.rsplit("/", 1)[0])
    return found.id if found and found is not order else None


async def customer_of(session: AsyncSession, order: str) -> str:
    return (await session.exec(select(OrderRow.customer_id).where(OrderRow.id == order))).one()


async def _put_into_contracts(session: AsyncSession, found: list[Fact], grouping: Grouping) -> list[Fact]:
    """Everything in its contract; orders of one customer that become active at once do so one after the other.

    What ends with the contract has its end and price already."""
    made = cotermed(found, "own", [], grouping, found[0].on)
    await facts.make_contracts(session, contracts_of(made, grouping))
    await facts.contracts(session, found[0].customer, lock=True)
    return made


async def coterminate(session: AsyncSession, order: Order, at: datetime) -> Order:
    """An order that goes to the back office, with the prices of what ends with the customer's contract."""
    if order.slot.coterm != "contract":
        return order
    stored = await quotes.load(session, order.quote)
    first = order.day_at(at)
    assert stored is not None
    terms = {line.id: terms_of(line, stored.quote) for line in stored.quote.lines}
    known = subscriptions(await facts.of_customer(session, await customer_of(session, order.id)))
    running = [one for one in known if one.ends and one.ends > first and one.recurring]
    return with_coterm_prices(order, common_end(running), first, terms)


async def ways_to_end(session: AsyncSession, order: Order, at: datetime) -> dict[Coterm, list[Ending]]:
    """What each way to co-terminate would make of this order's subscriptions and of the customer's others."""
    accept = Command(id="preview", run="", actor="", verb="accepted")
    ready, _ = apply(order.evolve(phase=Phase.ACTIVATING), accept, at)
    stored = await quotes.load(session, order.quote)
    assert stored is not None
    terms = {line.id: terms_of(line, stored.quote) for line in stored.quote.lines}
    customer = await customer_of(session, order.id)
    first = order.day_at(order.starts_at or at)
    found = [fact for fact in happened(order, ready, terms, customer, first, at) if fact.kind is Kind.ORDERED]
    known = await facts.of_customer(session, customer)
    running, agreed = subscriptions(known), {**terms_by_line(known), **terms_by_line(found)}
    ways: dict[Coterm, list[Ending]] = {
        way: endings(found, cotermed(found, way, running, "single", first)) for way in ("own", "contract")
    }
    everything = [*subscriptions(found), *running]
    last = common_end(everything)
    longer = extensions(await not_extended(session, customer, everything), agreed, last, first) if last else []
    ways["extend"] = [*ways["own"], *map(ending_of, longer)]
    return ways


async def not_extended(session: AsyncSession, customer: str, running: Iterable[Subscription]) -> list[Subscription]:
    """Those that no order lets run on already."""
    made = await orders.extensions_of(session, customer)
    taken = {(order.extends, line.line) for order in made for line in order.lines}
    return [each for each in running if (each.order, each.line) not in taken]


async def check_end(session: AsyncSession, customer: str, coterm: Coterm, first: date) -> None:
    """What shall end with the customer's others needs some that run. Raises Invalid."""
    if coterm != "own":
        check_coterm(coterm, subscriptions(await facts.of_customer(session, customer)), first)


async def by_return(session: AsyncSession, was: Return, now: Return, at: datetime) -> None:
    """What came back is no more with the customer."""
    if now.status is not ReturnStatus.RECEIVED or was.status is ReturnStatus.RECEIVED:
        return
    order = await orders.load(session, now.order)
    assert order is not None
    today, customer = order.day_at(at), await customer_of(session, order.id)
    original = await paid_order(session, order)
    found = []
    for n, (name, quantity) in enumerate(now.lines.items()):
        line = order.line(name)
        assert line is not None
        found.append(
            Fact(
                id=short_id("f", now.order, "return", now.number, name),
                customer=customer,
                order=order.id,
                line=name,
                product=line.product,
                name=line.name,
                currency=order.currency,
                kind=Kind.RETURNED,
                on=now.arrived_on or today,
                at=at,
                quantity=quantity,
                source=f"return {now.number}",
                serials=now.serials.get(name, ()),
            )
        )
        if original:
            id = short_id("f", now.order, "return", now.number, name, n)
            found.append(replacement_fact(found[-1], original, -quantity).evolve(id=id))
    await facts.append(session, found)
