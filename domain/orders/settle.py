"""What is added when an order is stored: the money of its quantities, and what is left of the quote."""

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from domain.errors import Invalid
from domain.money import minor_unit
from domain.orders.division import largest_remainder
from domain.orders.ledger import NOTHING, ZERO, LineLedger, Share
from domain.orders.order import Line, Order, Phase, new_line
from domain.orders.split import check_bundles, check_whole
from domain.quotes import Quote
from domain.runs import Outcome, RejectedByRecord, refused

Ledger = dict[str, LineLedger]


def settle(was: Order, now: Order, ledger: Mapping[str, LineLedger], quote: Quote, today: date) -> tuple[Order, Ledger]:
    """The order with its money, and the ledger after it. Raises RejectedByRecord when the quote has not enough left."""
    try:
        settled, after = _priced(now, was, dict(ledger), quote)
        if settled.of_quote:
            after = _moved(claims(was), claims(settled), _with_not_charged(was, settled, dict(ledger)))
            after = _with_excess(was, settled, after)
        if settled.version != was.version and settled.phase is not Phase.CANCELLED:
            _check(was, settled, quote, today)
    except Invalid as error:
        raise RejectedByRecord(_refused(error)) from None
    return settled.evolve(unsettled=False), after


def _refused(error: Invalid) -> Outcome:
    found = error.facts["errors"][0]
    return refused("invalid", found["problem"], **error.facts, field=found["field"])


def claims(order: Order) -> dict[str, tuple[Share, Share]]:
    """For each line what the order holds of the quote, and what of it is ended for good."""
    found: dict[str, tuple[Share, Share]] = {}
    if not order.of_quote:
        return found
    gone = order.phase is Phase.CANCELLED
    for line in order.lines:
        cancelled = line.cancelled.plus(line.share) if gone and order.for_good else line.cancelled
        found[line.line] = (NOTHING if gone else line.share.minus(line.kept).minus(line.renewed), cancelled)
    for name, reserved in (order.change.reserved if order.change and not gone else {}).items():
        held, cancelled = found.get(name, (NOTHING, NOTHING))
        found[name] = (held.plus(reserved), cancelled)
    return found


def _moved(
    before: Mapping[str, tuple[Share, Share]], after: Mapping[str, tuple[Share, Share]], ledger: Ledger
) -> Ledger:
    for name in {**before, **after}:
        (held, ended), (holds, ends) = before.get(name, (NOTHING,) * 2), after.get(name, (NOTHING,) * 2)
        if (held, ended) != (holds, ends):
            ledger[name] = ledger[name].shifted(holds.minus(held), ends.minus(ended))
    return ledger


def not_charged(order: Order) -> dict[str, Decimal]:
    """For each line what of its accepted price is not charged."""
    if order.phase is Phase.CANCELLED and not order.for_good:
        return {}
    return {line.line: line.not_charged for line in order.lines if line.not_charged}


def _with_not_charged(was: Order, now: Order, ledger: Ledger) -> Ledger:
    """It comes from the price that was allocated with the line; it goes back to what can be ordered with it."""
    before, after = not_charged(was), not_charged(now)
    for name in {**before, **after}:
        if more := after.get(name, ZERO) - before.get(name, ZERO):
            entry = ledger[name]
            left = entry.unallocated.evolve(net=entry.unallocated.net - more)
            ledger[name] = entry.evolve(not_charged=entry.not_charged + more, unallocated=left, moves=entry.moves + 1)
    return ledger


def _with_excess(was: Order, now: Order, ledger: Ledger) -> Ledger:
    """What the customer keeps or renews beyond the quote stands in a column of its own."""
    for line in now.lines:
        old = was.line(line.line)
        before = old.kept.plus(old.renewed) if old else NOTHING
        if (after := line.kept.plus(line.renewed)) != before:
            entry = ledger[line.line]
            update = {"excess": entry.excess.plus(after.minus(before)), "moves": entry.moves + 1}
            ledger[line.line] = entry.evolve(**update)
    return ledger


def _priced(now: Order, was: Order, ledger: Ledger, quote: Quote) -> tuple[Order, Ledger]:
    unit, quoted = minor_unit(now.currency), {line.id: line for line in quote.lines}
    lines = []
    for line in now.lines:
        old = was.line(line.line)
        if now.extends is not None and line.unpriced:
            what = "an extension is not changed: cancel it, and make another"
            raise Invalid.field(f"lines.{line.line}", what)
        if old is None and line.line not in quoted:
            raise Invalid.field(f"lines.{line.line}", "is no line of this quote")
        if old is None:
            line = _come_later(now, new_line(quoted[line.line], line.share, quote.term_months)).evolve(
                unpriced=line.unpriced
            )
        lines.append(_line(line, old, ledger, unit, not now.of_quote) if line.unpriced else line)
    if now.phase is not Phase.ACTIVE:
        lines = [
            line for line in lines if line.share.quantity or line.cancelled.quantity or now.phase is Phase.CANCELLED
        ]
    settled = now.evolve(lines=tuple(lines))
    return _reserved(settled, was, ledger, unit), ledger


def _come_later(order: Order, line: Line) -> Line:
    """What is no goods is delivered with the order, also when it came to it later."""
    served = order.phase is Phase.ACTIVE and not line.shipped_goods and not line.milestones
    return line.evolve(**dict.fromkeys(("shipped", "delivered"), line.share.quantity)) if served else line


def _line(line: Line, old: Line | None, ledger: Mapping[str, LineLedger], unit: Decimal, free: bool) -> Line:
    share, before = line.share, old.share if old else NOTHING
    ended = line.cancelled.quantity - (old.cancelled.quantity if old else ZERO)
    more = share.quantity - before.quantity
    if free and more > 0:
        raise Invalid.field(f"lines.{line.line}", "what replaces a return grows by nothing")
    if free or (more == 0 and not ended):
        return line.evolve(unpriced=False)
    if line.kept.quantity > (old.kept.quantity if old else ZERO) and more > 0:
        return _with_kept_price(line, before, more, unit)
    if more > 0:
        (added,) = ledger[line.line].divided([more], unit)
        return line.evolve(share=before.plus(added), unpriced=False)
    kept, gone = _divided(before, [share.quantity, -more], unit)
    cancelled = old.cancelled.plus(gone) if ended and old else line.cancelled
    return line.evolve(share=kept, cancelled=cancelled, unpriced=False)


def _with_kept_price(line: Line, before: Share, more: Decimal, unit: Decimal) -> Line:
    """What is kept beyond the order costs what a piece of the order does, rounded once."""
    net, full = (
        (amount * more / before.quantity / unit).to_integral_value(ROUND_HALF_UP) * unit
        for amount in (before.net, before.full)
    )
    added = Share(quantity=more, net=net, full=full)
    kept = line.kept.evolve(net=line.kept.net + net, full=line.kept.full + full)
    return line.evolve(share=before.plus(added), kept=kept, unpriced=False)


def _divided(share: Share, quantities: list[Decimal], unit: Decimal) -> list[Share]:
    nets, fulls = (largest_remainder(total, quantities, unit) for total in (share.net, share.full))
    return [Share(quantity=q, net=n, full=f) for q, n, f in zip(quantities, nets, fulls, strict=True)]


def _reserved(now: Order, was: Order, ledger: Mapping[str, LineLedger], unit: Decimal) -> Order:
    """What a change that waits will take more is kept for it from now on."""
    change = now.change
    if (
        change is None
        or change.verb == "accept_excess"
        or change.reserved
        or (was.change and was.change.id == change.id)
    ):
        return now
    reserved = {}
    for name, wanted in change.lines.items():
        line = now.line(name)
        more = wanted - (line.share.quantity if line else ZERO)
        if more > 0:
            if name not in ledger:
                raise Invalid.field(f"lines.{name}", "is no line of this quote")
            (reserved[name],) = ledger[name].divided([more], unit)
    return now.evolve(change=change.evolve(reserved=reserved)) if reserved else now


def _check(was: Order, now: Order, quote: Quote, today: date) -> None:
    """What holds for a split holds for a change: bundles stay together, pieces stay whole, the last day is kept."""
    changed = dict(now.change.lines) if now.change and now.change.verb == "amend" else {}
    after = {line.line: line.share.quantity for line in now.lines} | changed
    before = {line.line: line.share.quantity for line in was.lines}
    if after == before:
        return
    lines = {line.id: line for line in quote.lines}
    if now.phase in (Phase.WAITING, Phase.FALLOUT) or changed:
        check_bundles(lines, [after])
    check_whole(lines, {name: q for name, q in after.items() if q != before.get(name)})
    undone = was.previous.lines if was.previous and now.previous is None else ()
    allowed = before | {line.line: max(line.share.quantity, before.get(line.line, ZERO)) for line in undone}
    if quote.order_by and quote.order_by < today and any(q > allowed.get(name, ZERO) for name, q in after.items()):
        raise Invalid.field("lines", "more could be ordered until {order_by}", order_by=quote.order_by)
