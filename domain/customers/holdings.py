"""Assets and subscriptions: what of the products a customer has, folded from the facts."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from itertools import pairwise

from pydantic import computed_field

from domain.customers.facts import Fact, Kind, Terms, by_line
from domain.customers.units import delivered_units
from domain.errors import Invalid
from domain.money import minor_unit
from domain.orders.division import largest_remainder
from domain.orders.ledger import ZERO
from domain.values import Amount, Value


class Asset(Value):
    """One group of units that arrived together."""

    id: str
    order: str
    line: str
    product: str
    name: str
    quantity: Amount
    """What came back is not in it."""
    serials: tuple[str, ...]
    shipment: str
    since: date
    contract: str | None
    currency: str
    price: Amount


class Segment(Value):
    """A time in which a subscription has one quantity."""

    starts: date
    ends: date | None
    quantity: Amount
    price: Amount


class Subscription(Value):
    id: str
    order: str
    line: str
    product: str
    name: str
    contract: str | None
    currency: str
    starts: date
    ends: date | None
    sla: str | None
    recurring: bool
    segments: tuple[Segment, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def price(self) -> Decimal:
        return sum((segment.price for segment in self.segments), ZERO)

    def quantity_on(self, day: date) -> Decimal:
        there = (s.quantity for s in self.segments if s.starts <= day and (s.ends is None or day < s.ends))
        return sum(there, ZERO)


def terms_of_line(facts: Iterable[Fact]) -> Terms | None:
    return next((fact.terms for fact in facts if fact.terms), None)


def terms_by_line(facts: Iterable[Fact]) -> dict[tuple[str, str], Terms]:
    """The terms of each line of each order."""
    return {(fact.order, fact.line): fact.terms for fact in facts if fact.terms}


def contract_of(facts: list[Fact]) -> str | None:
    """The one that its last move brought it to."""
    return next((fact.contract for fact in reversed(facts) if fact.contract), None)


# --- assets -----------------------------------------------------------------------------------------------------------


def assets(facts: Iterable[Fact]) -> list[Asset]:
    """One for each delivery of goods; what came back is taken off the oldest first, or by its serial numbers."""
    everything = list(facts)
    terms, lines = terms_by_line(everything), by_line(everything)
    return [
        Asset(
            id=unit.fact.id,
            order=unit.fact.order,
            line=unit.fact.line,
            product=unit.fact.product,
            name=unit.fact.name,
            quantity=unit.quantity,
            serials=unit.serials,
            shipment=unit.fact.source,
            since=unit.fact.on,
            contract=contract_of(lines[unit.fact.order, unit.fact.line]),
            currency=unit.fact.currency,
            price=unit.price,
        )
        for unit in delivered_units(everything, terms)
        if terms[unit.fact.order, unit.fact.line].goods
    ]


def check_serials(facts: Iterable[Fact], lines: Mapping[str, Decimal], serials: Mapping[str, tuple[str, ...]]) -> None:
    """Only units that are with the customer can come back. Raises Invalid naming the line."""
    there: dict[str, set[str]] = {}
    for asset in assets(facts):
        there.setdefault(asset.line, set()).update(asset.serials)
    for line, numbers in serials.items():
        if line not in lines or len(numbers) > lines[line]:
            raise Invalid.field(f"serials.{line}", "are more than come back of that line")
        if unknown := sorted(set(numbers) - there.get(line, set())):
            raise Invalid.field(
                f"serials.{line}", "{serial!r} was not delivered with this order, or came back", serial=unknown[0]
            )


# --- subscriptions ----------------------------------------------------------------------------------------------------


def subscriptions(facts: Iterable[Fact]) -> list[Subscription]:
    """One for each line that runs over a time, with a segment for each time in which its quantity is the same."""
    found = []
    for (order, line), some in by_line(facts).items():
        tranches = [fact for fact in some if fact.kind in (Kind.ORDERED, Kind.EXTENDED) and fact.starts]
        terms = terms_of_line(some)
        if not tranches or terms is None:
            continue
        first = tranches[0]
        ended = next((fact.ends for fact in some if fact.kind is Kind.ENDED), None)
        segments = _segments(tranches, ended)
        found.append(
            Subscription(
                id=f"{order}.{line}",
                order=order,
                line=line,
                product=first.product,
                name=first.name,
                contract=contract_of(some),
                currency=first.currency,
                starts=segments[0].starts,
                ends=segments[-1].ends,
                sla=terms.sla,
                recurring=terms.subscribed,
                segments=segments,
            )
        )
    return found


def _segments(tranches: list[Fact], ended: date | None = None) -> tuple[Segment, ...]:
    """Each tranche cut where another begins or ends; its money by the day, to the minor unit.

    What goes on from month to month has no end before `ended`."""
    days = sorted({day for fact in tranches for day in (fact.span or ())})
    pieces = list(pairwise(days))
    quantity, price = dict.fromkeys(pieces, ZERO), dict.fromkeys(pieces, ZERO)
    for fact in tranches:
        assert fact.span is not None
        mine = [piece for piece in pieces if fact.span[0] <= piece[0] and piece[1] <= fact.span[1]]
        weights = [Decimal((end - start).days) for start, end in mine]
        for piece, part in zip(mine, largest_remainder(fact.net, weights, minor_unit(fact.currency)), strict=True):
            quantity[piece] += fact.quantity
            price[piece] += part
    endless = any(fact.ends is None for fact in tranches)
    found: list[Segment] = []
    for piece in pieces:
        if found and found[-1].quantity == quantity[piece]:
            whole = {"ends": piece[1], "price": found[-1].price + price[piece]}
            found[-1] = found[-1].evolve(**whole)
        else:
            found.append(Segment(starts=piece[0], ends=piece[1], quantity=quantity[piece], price=price[piece]))
    if endless:
        found[-1] = found[-1].evolve(ends=ended)
    return tuple(found)
