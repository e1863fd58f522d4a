"""Revenue: what of each line's price is earned in which month, to the minor unit, and by which fact.

Entries are appended and never changed. What the facts now say, less what was booked for them, is what is booked next;
where its month is closed, in the first one that is open."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from domain.customers.facts import Fact, Kind, Terms
from domain.customers.holdings import terms_of_line
from domain.customers.proration import months_after
from domain.customers.units import part_of, returned_quantity
from domain.errors import Invalid, Locked
from domain.money import rounded
from domain.orders.ledger import ZERO
from domain.quotes import HUNDRED, Recognition
from domain.sentences import Sentence
from domain.values import Amount, Value

EntryKind = Literal["price", "earned"]
"""`price` is what the customer owes for it in all; `earned` the part that is recognised."""


class Key(NamedTuple):
    """What an amount was booked for."""

    kind: EntryKind
    fact: str
    month: date


class Entry(Value):
    kind: EntryKind
    fact: str
    """The fact that earned it."""
    month: date
    """The first day of the month in which it counts."""
    earned_in: date
    """That of the month in which it was earned: an earlier one, if that was closed."""
    amount: Amount


def month_of(day: date) -> date:
    return day.replace(day=1)


def entries(facts: list[Fact], booked: Mapping[Key, Decimal], closed_through: date | None) -> list[Entry]:
    """What is to be booked so that the books say what the facts of one line say.

    `closed_through` is the first day of the last month that is closed."""
    wanted = dict.fromkeys(booked, ZERO)
    for kind, fact, day, amount in _contributions(facts):
        key = Key(kind, fact, month_of(day))
        wanted[key] = wanted.get(key, ZERO) + amount
    first_open = months_after(closed_through, 1) if closed_through else date.min
    return [
        Entry(kind=key.kind, fact=key.fact, month=max(key.month, first_open), earned_in=key.month, amount=difference)
        for key, amount in wanted.items()
        if (difference := amount - booked.get(key, ZERO))
    ]


Contribution = tuple[EntryKind, str, date, Decimal]


def _contributions(facts: list[Fact]) -> Iterator[Contribution]:
    terms = terms_of_line(facts)
    if terms is None:
        return
    if terms.runs:
        yield from _by_the_day(facts)
    else:
        yield from _as_it_happens(facts, terms)


def _by_the_day(facts: Iterable[Fact]) -> Iterator[Contribution]:
    """Each tranche evenly over the days that it runs."""
    for fact in facts:
        if fact.span is None:
            continue
        starts, ends = fact.span
        yield "price", fact.id, fact.on, fact.net
        before, days = ZERO, (ends - starts).days
        month = month_of(starts)
        while month < ends:
            following = months_after(month, 1)
            gone = (min(following, ends) - starts).days
            so_far = rounded(fact.net * gone / days, fact.currency)
            if so_far != before:
                yield "earned", fact.id, max(month, starts), so_far - before
            before, month = so_far, following


class _Progress:
    """How much of a line is ordered, done and back, as its facts come one after the other."""

    def __init__(self, terms: Terms) -> None:
        self._by_milestone = terms.recognition is Recognition.MILESTONE
        self._percents = {milestone.name: milestone.percent for milestone in terms.milestones}
        self.price = self.ordered = self.arrived = self.back = self.reached = ZERO

    def add(self, fact: Fact) -> None:
        match fact.kind:
            case Kind.ORDERED:
                self.price, self.ordered = self.price + fact.net, self.ordered + fact.quantity
            case Kind.DELIVERED:
                self.arrived += fact.quantity
            case Kind.MILESTONE:
                self.reached += self._percents.get(fact.source, ZERO)
        self.back += returned_quantity([fact])

    def credit(self, currency: str) -> Decimal:
        """What the customer does not owe any more, for it came back."""
        return part_of(self.price, self.back, self.ordered, currency)

    def earned(self, currency: str) -> Decimal:
        done, of = (self.reached, HUNDRED) if self._by_milestone else (self.arrived, self.ordered)
        return part_of(self.price, done, of, currency) - self.credit(currency)


def _as_it_happens(facts: list[Fact], terms: Terms) -> Iterator[Contribution]:
    """The price when it is agreed or credited; revenue in proportion to what was done, when that is recognised."""
    currency, owed, progress = facts[0].currency, ZERO, _Progress(terms)
    for fact in facts:
        progress.add(fact)
        now = progress.price - progress.credit(currency)
        if now != owed:
            yield "price", fact.id, fact.on, now - owed
        owed = now
    first = min((fact.on for fact in facts if fact.kind is Kind.ORDERED), default=date.min)
    earned, progress = ZERO, _Progress(terms)
    recognised = [(max(first, day), fact) for day, fact in _recognition_days(facts, terms)]
    for day, fact in sorted(recognised, key=lambda found: found[0]):
        progress.add(fact)
        due = progress.earned(currency)
        if due != earned:
            yield "earned", fact.id, day, due - earned
        earned = due


def _recognition_days(facts: list[Fact], terms: Terms) -> Iterator[tuple[date, Fact]]:
    """For each fact the day on which it counts for revenue.

    What the customer must accept counts when they do, or when they let the time for it pass; what came back before
    that is taken off on that day."""
    deliveries = [
        (_acceptance_day(fact, terms, facts[n:]), fact) for n, fact in enumerate(facts) if fact.kind is Kind.DELIVERED
    ]
    days, back = {fact.id: day for day, fact in deliveries}, ZERO
    deliveries.sort(key=lambda found: found[0])
    for fact in facts:
        day = days.get(fact.id, fact.on)
        if moved := returned_quantity([fact]):
            back += moved
            day = max(day, _day_covered(deliveries, back))
        yield day, fact


def _day_covered(deliveries: Iterable[tuple[date, Fact]], back: Decimal) -> date:
    """The day by which so much is recognised that no more is taken off than was. `deliveries` come by day."""
    recognised, found = ZERO, date.min
    for day, fact in deliveries:
        if recognised >= back:
            break
        recognised, found = recognised + fact.quantity, day
    return found


def _acceptance_day(fact: Fact, terms: Terms, since: Iterable[Fact]) -> date:
    if terms.acceptance_days is None:
        return fact.on
    deemed = fact.on + timedelta(days=terms.acceptance_days)
    accepted = min((later.on for later in since if later.kind is Kind.ACCEPTED), default=deemed)
    return max(fact.on, min(accepted, deemed))


# --- periods ----------------------------------------------------------------------------------------------------------


def check_closing(month: date, closed_through: date | None, today: date) -> None:
    """Months are closed one after the other, each once, when they are over. Raises Locked or Invalid."""
    if closed_through and month <= closed_through:
        raise Locked(
            Sentence("{month} is closed already.", month=f"{month:%Y-%m}"),
            state="closed",
            closed_through=f"{closed_through:%Y-%m}",
        )
    if closed_through and month != (following := months_after(closed_through, 1)):
        raise Locked(
            Sentence("Close {month} first.", month=f"{following:%Y-%m}"),
            state="out_of_order",
            next=f"{following:%Y-%m}",
        )
    if months_after(month, 1) > today:
        raise Invalid.field("month", "{month} is not over yet", month=f"{month:%Y-%m}")
