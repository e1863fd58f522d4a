"""One price for a subscription that ends with the customer's contract: fixed as the order goes to the back office.

What the order, the ERP, the contract and the books say is this one figure. It is never more than what was accepted."""

from collections.abc import Mapping
from datetime import date

from domain.customers.facts import Terms
from domain.customers.proration import months_after, prorated
from domain.orders.ledger import ZERO
from domain.orders.order import Line, Order


def with_coterm_prices(order: Order, end: date | None, first: date, terms: Mapping[str, Terms]) -> Order:
    """The order with the ends and prices of its subscriptions, where the contract ends on `end` and it starts on
    `first`. Asked again after a refusal, it begins with the accepted price."""
    return order.evolve(
        lines=tuple(_line(line, terms.get(line.line), end, first, order.currency) for line in order.lines)
    )


def _line(line: Line, terms: Terms | None, end: date | None, first: date, currency: str) -> Line:
    net = line.share.net + line.not_charged
    own_end = months_after(first, terms.months) if terms and terms.subscribed and terms.months else None
    if terms is None or own_end is None or end is None or not first < end < own_end:
        plain = {"share": line.share.evolve(net=net), "not_charged": ZERO, "ends": None}
        return line.evolve(**plain) if line.not_charged else line
    charged = prorated(net, (first, own_end), (first, end), terms.proration, currency)
    share = line.share.evolve(net=charged)
    return line.evolve(share=share, not_charged=net - charged, ends=end)
