"""Splitting a quote into orders: by fields, by hand, evenly, or whole. Preview and commit are this one function."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from domain.approvals.subject import testable
from domain.errors import Invalid
from domain.money import minor_unit
from domain.orders.division import largest_remainder
from domain.orders.ledger import LineLedger, Share, opened
from domain.quotes import Place, Quantity, Quote, QuoteLine
from domain.sentences import Sentence
from domain.values import Day, Id, StorableText, Value, plain_number, short_id

MOST_ORDERS = 200
Column = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]


class Trigger(Value):
    """When an order starts: at the start of a day at its ship-to, now, when somebody says so, or after another."""

    start: Literal["date", "now", "manual", "after"] = "now"
    on: date | None = None
    after: Id | None = None
    """The order that must be fulfilled first."""

    @model_validator(mode="after")
    def _whole(self) -> "Trigger":
        if (self.start == "date") != (self.on is not None) or (self.start == "after") != (self.after is not None):
            raise ValueError("a date needs `on`, after needs `after`, and neither goes with anything else")
        return self


Terms = Literal["partial", "complete", "lines_whole"]
Coterm = Literal["own", "contract", "extend"]
"""When a subscription ends: after its own term, with the contract, or so that the others run on until it does."""


class Slot(Value):
    """Where, when and to whom one order goes."""

    ship_to: Place | None = None
    trigger: Trigger = Trigger()
    contact: StorableText = ""
    note: StorableText = ""
    terms: Terms = "partial"
    """Whether it may be delivered in parts, only complete, or each line at once."""
    promised: date | None = None
    """The day by which the customer was told that everything is there."""
    coterm: Coterm = "own"
    """Its subscriptions run their own term, end with the customer's others, or all run as long as the last of them."""


class Whole(Value):
    """Everything that is left, as one order for each place that its lines name."""

    way: Literal["whole"] = "whole"
    slot: Slot = Slot()
    together: bool = False
    """One order for lines of several places, too."""


class ByFields(Value):
    """Lines with equal values in these fields share an order; blank values form one group."""

    way: Literal["fields"]
    fields: Annotated[tuple[Column, ...], Field(min_length=1, max_length=10)]
    otherwise: Trigger = Trigger()
    """When an order starts whose lines ask for no one day."""


class Group(Value):
    slot: Slot = Slot()
    lines: Annotated[dict[Id, Quantity], Field(min_length=1, max_length=2_000)]


class ByHand(Value):
    """So much of these lines here and then; what is not named stays to be ordered later."""

    way: Literal["hand"]
    groups: Annotated[tuple[Group, ...], Field(min_length=1, max_length=MOST_ORDERS)]


class Even(Value):
    """Waves of the same size, the earliest first to get what does not divide; with a first day, one after another."""

    way: Literal["even"]
    waves: Annotated[int, Field(ge=1, le=MOST_ORDERS)]
    first: Day | None = None
    every: Literal["day", "week", "month", "quarter", "year"] = "month"
    slot: Slot = Slot()
    together: bool = False


Way = Annotated[Whole | ByFields | ByHand | Even, Field(discriminator="way")]
Part = tuple[Slot, dict[str, Decimal]]


class OrderLine(Value):
    line: Id
    product: Id
    name: StorableText = ""
    share: Share


class PlannedOrder(Value):
    id: Id
    slot: Slot
    lines: tuple[OrderLine, ...]

    @property
    def net_total(self) -> Decimal:
        return sum((line.share.net for line in self.lines), Decimal(0))


class Planned(Value):
    """The orders a split makes, and the ledger after it."""

    orders: tuple[PlannedOrder, ...]
    ledger: dict[str, LineLedger]


def split(quote: Quote, ledger: Mapping[str, LineLedger], way: Way, number: int) -> Planned:
    """The orders, numbered from `number` on, out of what is left of the quote.

    Raises Invalid naming the line: unknown, over-allocated, or torn from its bundle."""
    lines = {line.id: line for line in quote.lines}
    left = {id: entry.unallocated.quantity for id, entry in ledger.items() if entry.unallocated.quantity}
    parts = [part for part in _parts(quote, left, way) if part[1]]
    if not parts:
        raise Invalid.field("way", "nothing is left to order")
    if len(parts) > MOST_ORDERS:
        raise Invalid.field("way", "makes {count} orders; at most {most} at once", count=len(parts), most=MOST_ORDERS)
    if unknown := next((id for _, some in parts for id in some if id not in ledger), None):
        raise Invalid.field(f"lines.{unknown}", "is no line of this quote")
    check_bundles(lines, [some for _, some in parts])
    for _, some in parts:
        check_whole(lines, some)
    unit = minor_unit(quote.currency)
    asked: dict[str, list[Decimal]] = {}
    for _, some in parts:
        for id, quantity in some.items():
            asked.setdefault(id, []).append(quantity)
    shares = {id: iter(ledger[id].divided(quantities, unit)) for id, quantities in asked.items()}
    orders, after = [], dict(ledger)
    for n, (slot, some) in enumerate(parts, number):
        made = tuple(
            OrderLine(line=id, product=lines[id].product, name=lines[id].name, share=next(shares[id])) for id in some
        )
        orders.append(PlannedOrder(id=order_id(quote.id, n), slot=slot, lines=made))
        for line in made:
            after[line.line] = after[line.line].shifted(allocated=line.share)
    return Planned(orders=tuple(orders), ledger=after)


def nothing_ordered(quote: Quote) -> dict[str, LineLedger]:
    """The ledger of a quote that was just accepted."""
    sums = zip(quote.lines, quote.line_sums, strict=True)
    return {line.id: opened(line.id, line.quantity, s.net_total, s.list_total) for line, s in sums}


def order_id(quote: str, number: int) -> str:
    """`Q-1-3`; a hash where the quote's own id leaves no room."""
    plain = f"{quote}-{number}"
    return plain if len(plain) <= 64 else short_id("o", quote, number)


# --- the ways ---------------------------------------------------------------------------------------------------------


def _parts(quote: Quote, left: Mapping[str, Decimal], way: Way) -> Iterable[Part]:
    if isinstance(way, ByFields):
        return _by_fields(quote, left, way)
    parts: Iterable[Part]
    if isinstance(way, ByHand):
        parts, together = [(group.slot, dict(group.lines)) for group in way.groups], True
    else:
        parts = [(way.slot, dict(left))] if isinstance(way, Whole) else _evenly(quote, left, way)
        together = way.together
    return [one for part in parts for one in _by_place(quote, part, together)]


def _by_place(quote: Quote, part: Part, together: bool) -> Iterable[Part]:
    """One part for each place that the lines name, unless a place is given: an order goes to one.

    With `together` it stays one part, which goes to their place where they name only one."""
    slot, some = part
    if slot.ship_to is not None:
        return [part]
    lines = {line.id: line for line in quote.lines}
    places = {id: _head(lines[id], lines).ship_to for id in some if id in lines}
    groups = _distinct(places.get(id) for id in some)
    if together and len(groups) > 1:
        return [part]
    return [
        (slot.evolve(ship_to=place), {id: q for id, q in some.items() if places.get(id) == place}) for place in groups
    ]


def _check_fields(quote: Quote, fields: Iterable[str]) -> None:
    """A field that no line has would put everything into one order. Raises Invalid."""
    for field in fields:
        if field not in QuoteLine.model_fields and all(line.given(field) is None for line in quote.lines):
            raise Invalid.field("fields", "no line of this quote has a field {field!r}", field=field)


def _by_fields(quote: Quote, left: Mapping[str, Decimal], way: ByFields) -> Iterable[Part]:
    _check_fields(quote, way.fields)
    lines = {line.id: line for line in quote.lines}
    groups: dict[tuple[Any, ...], list[QuoteLine]] = {}
    for line in quote.lines:
        if line.id in left:
            speaks = _head(line, lines)  # a part of a bundle goes where its head goes
            key = tuple(_value(speaks, field) for field in way.fields)
            groups.setdefault(key, []).append(line)
    for together in groups.values():
        heads = [_head(line, lines) for line in together]
        places, days = _distinct(h.ship_to for h in heads), _distinct(h.requested_date for h in heads)
        day = days[0] if len(days) == 1 else None
        trigger = Trigger(start="date", on=day) if day else way.otherwise
        slot = Slot(ship_to=places[0] if len(places) == 1 else None, trigger=trigger)
        yield slot, {line.id: left[line.id] for line in together}


def _value(line: QuoteLine, field: str) -> Any:
    if field == "ship_to":
        return line.ship_to
    own = getattr(line, field, None) if field in QuoteLine.model_fields else line.given(field)
    found = testable(own)
    return None if found == "" else found


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _evenly(quote: Quote, left: Mapping[str, Decimal], way: Even) -> Iterable[Part]:
    lines = {line.id: line for line in quote.lines}
    waves: dict[str, list[Decimal]] = {}

    def of(id: str) -> list[Decimal]:
        if id not in waves:
            line = lines[id]
            if _follows(line, lines) and line.requires in left:
                ahead = of(line.requires or "")
                waves[id] = [part * left[id] / left[line.requires or ""] for part in ahead]
            else:
                waves[id] = largest_remainder(left[id], [Decimal(1)] * way.waves, line.counted_in)
        return waves[id]

    for n in range(way.waves):
        trigger = Trigger(start="date", on=later(way.first, way.every, n)) if way.first else way.slot.trigger
        some = {id: of(id)[n] for id in left if of(id)[n]}
        yield way.slot.evolve(trigger=trigger), some


STEPS = {"month": 1, "quarter": 3, "year": 12}


def later(first: date, every: str, times: int) -> date:
    """The day so many days, weeks, months … after the first; the end of a month where it is shorter."""
    if every in ("day", "week"):
        return first + timedelta(days=times * (7 if every == "week" else 1))
    months = first.year * 12 + first.month - 1 + times * STEPS[every]
    year, month = divmod(months, 12)
    last = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month + 1, min(first.day, last))


# --- bundles ----------------------------------------------------------------------------------------------------------


def _follows(line: QuoteLine, lines: Mapping[str, QuoteLine]) -> bool:
    return line.requires is not None and not line.severable and line.requires in lines


def _head(line: QuoteLine, lines: Mapping[str, QuoteLine]) -> QuoteLine:
    """The line that speaks for a bundle."""
    seen = {line.id}
    while _follows(line, lines) and line.requires not in seen:
        line = lines[line.requires or ""]
        seen.add(line.id)
    return line


def check_bundles(lines: Mapping[str, QuoteLine], parts: Iterable[Mapping[str, Decimal]]) -> None:
    """A part of a bundle goes with its head, in the ratio it was quoted in. Raises Invalid naming the line."""
    followers = {id: line for id, line in lines.items() if _follows(line, lines)}
    for some in parts if followers else ():
        for id, line in followers.items():
            head = lines[line.requires or ""]
            heads, given = some.get(head.id, Decimal(0)), some.get(id, Decimal(0))
            if given * head.quantity != heads * line.quantity or given % line.counted_in:
                wanted, not_so = (plain_number(round(n, 4)) for n in (heads * line.quantity / head.quantity, given))
                what = Sentence(
                    "belongs to {head}: with {heads:n} of it go {wanted:n}, not {not_so:n}",
                    head=head.id,
                    heads=plain_number(heads),
                    wanted=wanted,
                    not_so=not_so,
                )
                raise Invalid.field(f"lines.{id}", what)


def check_whole(lines: Mapping[str, QuoteLine], some: Mapping[str, Decimal]) -> None:
    """Nobody orders a part of what is not divisible. Raises Invalid naming the line."""
    for id, quantity in some.items():
        if (line := lines.get(id)) and quantity % line.counted_in:
            what = Sentence(
                "{quantity:n} cannot be ordered: it is counted in {counted_in:n}",
                quantity=plain_number(quantity),
                counted_in=plain_number(line.counted_in),
            )
            raise Invalid.field(f"lines.{id}", what)
