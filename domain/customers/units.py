"""What of each delivery is still with the customer: how much, by which serial numbers, since when, for what money."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from domain.customers.facts import Fact, Kind, Terms, by_line
from domain.money import minor_unit, rounded
from domain.orders.division import largest_remainder
from domain.orders.ledger import ZERO

Covered = tuple[date, Decimal]
"""The day from which a term counts, and for how much."""


@dataclass
class Delivered:
    """One delivery of a line that is handed over."""

    fact: Fact
    quantity: Decimal
    """What came back is not in it."""
    serials: tuple[str, ...]
    price: Decimal = ZERO
    covered: list[Covered] = field(default_factory=list)
    """A replacement takes over the rest of the term of what it replaces."""


def delivered_units(facts: Iterable[Fact], terms: dict[tuple[str, str], Terms]) -> list[Delivered]:
    """Every delivery of lines that are handed over, in the order of the facts of each line."""
    lines = {key: _Line(some) for key, some in by_line(facts).items() if key in terms and not terms[key].runs}
    for line in lines.values():
        line.share_price()
    for (_, name), line in lines.items():
        for replaced in line.replaced:
            if (theirs := lines.get((replaced.order, name))) is not None:
                theirs.take_over(replaced)
    return [unit for line in lines.values() for unit in line.units]


def returned_quantity(facts: Iterable[Fact]) -> Decimal:
    """How much of a line came back, and nothing that stayed was sent in its place."""
    moved = {Kind.RETURNED: 1, Kind.REPLACED: -1}
    return sum((fact.quantity * moved[fact.kind] for fact in facts if fact.kind in moved), ZERO)


@dataclass
class _Replaced:
    """What another order delivered in the place of what came back."""

    order: str
    source: str
    quantity: Decimal
    price: Decimal = ZERO
    covered: list[Covered] = field(default_factory=list)


class _Line:
    """One line of one order."""

    def __init__(self, facts: list[Fact]) -> None:
        self._facts = facts
        returned = [fact for fact in facts if fact.kind is Kind.RETURNED]
        self._serials = {serial for fact in returned for serial in fact.serials}
        self._unnamed = sum((fact.quantity - len(fact.serials) for fact in returned), ZERO)
        self._returned: list[Covered] = []
        self.units = [self._unit(fact) for fact in net_deliveries(facts)]
        self.replaced: list[_Replaced] = []
        for fact in facts:
            if fact.kind is Kind.REPLACED:
                self._replace(fact)

    def _unit(self, fact: Fact) -> Delivered:
        """What came back is taken off by its serial numbers, or else off the oldest."""
        named = [serial for serial in fact.serials if serial in self._serials]
        unnamed = min(fact.quantity - len(named), max(ZERO, self._unnamed))
        self._unnamed -= unnamed
        if gone := len(named) + unnamed:
            self._returned.append((fact.on, gone))
        left = fact.quantity - gone
        kept = tuple(serial for serial in fact.serials if serial not in named)
        return Delivered(fact=fact, quantity=left, serials=kept, covered=[(fact.on, left)] if left else [])

    def _replace(self, fact: Fact) -> None:
        """A negative quantity is a replacement that came back itself: something else may replace it again."""
        if fact.quantity > 0:
            covered = list(_take(self._returned, fact.quantity))
            self.replaced.append(_Replaced(fact.by or "", fact.source, fact.quantity, covered=covered))
            return
        back = -fact.quantity
        for one in self.replaced:
            if one.order == fact.by and (moved := min(back, one.quantity)):
                one.quantity, back = one.quantity - moved, back - moved
                self._returned = [*_take(one.covered, moved), *self._returned]

    def share_price(self) -> None:
        """The line's price, less what came back, by largest remainder over what stayed, replaces it or is open."""
        ordered = [fact for fact in self._facts if fact.kind is Kind.ORDERED]
        quantity, net = sum((f.quantity for f in ordered), ZERO), sum((f.net for f in ordered), ZERO)
        currency = self._facts[0].currency
        price = net - part_of(net, returned_quantity(self._facts), quantity, currency)
        arrived = sum((fact.quantity for fact in self._facts if fact.kind is Kind.DELIVERED), ZERO)
        holders: list[Delivered | _Replaced] = [*self.units, *self.replaced]
        weights = [*(holder.quantity for holder in holders), max(ZERO, quantity - arrived)]
        for holder, share in zip(holders, largest_remainder(price, weights, minor_unit(currency)), strict=False):
            holder.price = share

    def take_over(self, replaced: _Replaced) -> None:
        """Its delivery carries the price and the term of what it replaces."""
        for unit in self.units:
            if unit.fact.source == replaced.source:
                unit.price += replaced.price
                unit.covered = list(_take(replaced.covered, unit.quantity)) or unit.covered
                return


def net_deliveries(facts: Iterable[Fact]) -> list[Fact]:
    """Deliveries as they are after corrections: a negative one takes back what was reported by the same source."""
    found: list[Fact] = []
    for fact in facts:
        if fact.kind is not Kind.DELIVERED:
            continue
        if fact.quantity > 0:
            found.append(fact)
            continue
        back = -fact.quantity
        for n, known in sorted(enumerate(found), key=lambda pair: (pair[1].on != fact.on, -pair[0])):
            if known.source == fact.source and (moved := min(back, known.quantity)):
                left, back = known.quantity - moved, back - moved
                found[n] = known.evolve(quantity=left, serials=known.serials[: int(left)])
    return [fact for fact in found if fact.quantity > 0]


def _take(chunks: list[Covered], quantity: Decimal) -> Iterator[Covered]:
    """So much off the oldest."""
    while chunks and quantity > 0:
        since, there = chunks.pop(0)
        part = min(there, quantity)
        yield since, part
        quantity -= part
        if there > part:
            chunks.insert(0, (since, there - part))


def part_of(whole: Decimal, done: Decimal, of: Decimal, currency: str) -> Decimal:
    """So much of an amount as is done, rounded once; all of it in the end."""
    if done <= 0 or of <= 0:
        return ZERO
    return whole if done >= of else rounded(whole * done / of, currency)
