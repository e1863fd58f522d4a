"""A change of an order as its policy sees it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from domain.approvals.card import Card, Say
from domain.approvals.subject import Subject
from domain.money import converted, formatted, minor_unit
from domain.orders.ledger import NOTHING
from domain.orders.order import Order, Phase
from domain.orders.payload import day_of
from domain.values import digest, plain_number


def change_subject(
    was: Order,
    now: Order,
    payload: Mapping[str, Any],
    rates: Mapping[str, Decimal],
    owner_unit: str,
    say: Say = Say(),
) -> Subject:
    """`was` and `now` are the order before and with the change; amounts are in the company's currency."""
    now = _effective_order(now)
    before, after = (converted(order.net_total, was.currency, rates) for order in (was, now))
    rate = converted(Decimal(1), was.currency, rates)
    shares = {line.line: line for line in (*now.lines, *was.lines)}
    lines = []
    for name, line in shares.items():
        old, new = ((found.share if (found := order.line(name)) else NOTHING) for order in (was, now))
        if old != new:
            lines.append(
                {
                    "id": name,
                    "product": line.product,
                    "name": line.name,
                    "quantity": old.quantity,
                    "quantity_after": new.quantity,
                    "quantity_change": new.quantity - old.quantity,
                    "net_total": old.net * rate,
                    "net_after": new.net * rate,
                }
            )
    percent = None if before == 0 else (_unrounded_total(was, now) - was.net_total) / was.net_total * 100
    return Subject(
        kind="order_change",
        id=was.quote,
        version=was.version,
        title=change_card(was, now).title(say.word, say.locale),
        card=change_card(was, now),
        rate=rate,
        customer=was.customer,
        digest=digest([was.id, was.version, dict(payload)]),
        owner=was.owner,
        fields={
            "order": was.id,
            "quote": was.quote,
            "customer": was.customer,
            "currency": was.currency,
            "owner": was.owner,
            "owner_unit": owner_unit or None,
            "status": was.status.value,
            "reason": payload.get("reason") or None,
            "net_total": before,
            "net_after": after,
            "net_change": after - before,
            "net_change_percent": percent,
            "place_changed": was.slot.ship_to != now.slot.ship_to,
            "effective": day_of(payload.get("effective")),
            "extends": now.extends,
        },
        lines=lines,
    )


def _unrounded_total(was: Order, now: Order) -> Decimal:
    """What the order will cost before its lines are rounded: a tenth more pieces is exactly 10 % more."""
    unit = minor_unit(was.currency)
    total = Decimal(0)
    for line in now.lines:
        before = was.line(line.line)
        exact = line.share.net
        if before and before.share.quantity:
            exact = before.share.net * line.share.quantity / before.share.quantity
        total += exact if abs(exact - line.share.net) < unit else line.share.net
    return total


def _effective_order(order: Order) -> Order:
    """Nothing of a cancelled order is delivered or owed."""
    if order.phase is not Phase.CANCELLED:
        return order
    lines = tuple(line.evolve(share=NOTHING) for line in order.lines)
    return order.evolve(lines=lines)


def change_card(was: Order, now: Order) -> Card:
    """`Order Q-1-2 · Acme · 473.46 → 568.20 EUR`, in figures."""
    amounts = (was.net_total, now.net_total)
    return Card(kind="Order", id=was.id, customer=was.customer, amounts=amounts, currency=was.currency)


def _money(was: Order, now: Order) -> str:
    return " → ".join(formatted(order.net_total, was.currency) for order in (was, now))


def in_words(was: Order, now: Order) -> str:
    """What is different, for whoever decides: `Order Q-1-2: Cooler 10 → 12; to Faro`."""
    parts, now = [], _effective_order(now)
    for line in {line.line: line for line in (*now.lines, *was.lines)}.values():
        old, new = ((found.share.quantity if (found := order.line(line.line)) else Decimal(0)) for order in (was, now))
        if old != new:
            parts.append(f"{line.name or line.product} {plain_number(old)} → {plain_number(new)}")
    if was.slot.ship_to != now.slot.ship_to and now.slot.ship_to:
        parts.append(f"to {now.slot.ship_to.city or now.slot.ship_to.name}")
    return f"Order {was.id}: " + "; ".join([*parts, _money(was, now)])
