"""Subscriptions that run on until others end: an order of its own, outside the ledger of the quote.

What the customer accepted was less, so it goes by the policy for changes of orders and by the customer's yes."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from domain.customers.contracts import Ending
from domain.customers.facts import Terms
from domain.customers.holdings import Subscription
from domain.customers.proration import prorated
from domain.orders.ledger import ZERO, Share
from domain.orders.order import Line, Order, title_of
from domain.orders.split import Slot, Trigger, order_id
from domain.quotes import Acceptance
from domain.values import Amount, Value


class Extension(Value):
    """A subscription that runs on to a later day, at the price it had for its own time."""

    order: str
    line: str
    product: str
    name: str
    currency: str
    quantity: Amount
    starts: date
    """The day on which it would end."""
    ends: date
    agreed: Amount
    """What it costs until then, since its quantity is what it is."""
    price: Amount
    """What it costs more."""


def extensions(
    running: Iterable[Subscription], terms: Mapping[tuple[str, str], Terms], end: date, today: date
) -> list[Extension]:
    """Every subscription that would end before `end`. What has ended already does not run on."""
    return [
        _extension(s, end, terms[s.order, s.line])
        for s in running
        if s.recurring and s.ends and today <= s.ends < end and s.segments[-1].quantity > 0
    ]


def _extension(subscription: Subscription, end: date, terms: Terms) -> Extension:
    last = subscription.segments[-1]
    assert last.ends is not None
    price = prorated(last.price, (last.starts, last.ends), (last.ends, end), terms.proration, subscription.currency)
    return Extension(
        order=subscription.order,
        line=subscription.line,
        product=subscription.product,
        name=subscription.name,
        currency=subscription.currency,
        quantity=last.quantity,
        starts=last.ends,
        ends=end,
        agreed=last.price,
        price=price,
    )


def ending_of(extension: Extension) -> Ending:
    """How a preview shows it."""
    told = extension.model_dump(include={"order", "line", "product", "name", "currency", "starts", "ends", "price"})
    return Ending(**told, ended=extension.starts, agreed=ZERO)


def extension_order(extended: Order, some: Sequence[Extension], number: int, acceptance: Acceptance) -> Order:
    """The order that lets subscriptions of another run on; it begins at once."""
    known = {line.line: line for line in extended.lines}
    lines = tuple(
        Line(
            line=one.line,
            product=one.product,
            name=one.name,
            shipped_goods=False,
            unit=known[one.line].unit,
            step=known[one.line].step,
            share=Share(quantity=one.quantity, net=one.price, full=one.price),
            starts=one.starts,
            ends=one.ends,
        )
        for one in some
    )
    slot = Slot(ship_to=extended.slot.ship_to, contact=extended.slot.contact, trigger=Trigger(start="now"))
    made = Order(
        id=order_id(extended.quote, number),
        quote=extended.quote,
        number=number,
        customer=extended.customer,
        title="",
        owner=extended.owner,
        currency=extended.currency,
        slot=slot,
        lines=lines,
        company_zone=extended.company_zone,
        extends=extended.id,
        acceptance=acceptance,
    )
    return made.evolve(title=title_of(made))


def before_and_after(made: Order, some: Sequence[Extension]) -> tuple[Order, Order]:
    """What the subscriptions cost without the extension and with it, as the policy for changes compares it."""
    agreed = {one.line: one.agreed for one in some}
    return _costing(made, agreed), _costing(made, {one.line: one.agreed + one.price for one in some})


def _costing(order: Order, nets: Mapping[str, Decimal]) -> Order:
    lines = tuple(line.evolve(share=line.share.evolve(net=nets[line.line])) for line in order.lines)
    return order.evolve(lines=lines)
