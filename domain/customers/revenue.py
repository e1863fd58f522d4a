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
from domain.errors import Invalid, Locked
from domain.money import rounded
from domain.orders.ledger import ZERO
from domain.quotes import HUNDRED, Recognition
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
        for key, amount in wanted.items() if (difference := amount - booked.get(key, ZERO))
    ]  # fmt: skip


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


def _as_it_happens(facts: list[Fact], terms: Terms) -> Iterator[Contribution]:
    """In proportion to what was delivered or reached, when it was; what came back is taken off price and revenue."""
    price = ordered = arrived = back = reached = earned = credited = ZERO
    first = min((fact.on for fact in facts if fact.kind is Kind.ORDERED), default=date.min)
    percents = {milestone.name: milestone.percent for milestone in terms.milestones}
    for n, fact in enumerate(facts):
        price += fact.net if fact.kind is Kind.ORDERED else ZERO
        ordered += fact.quantity if fact.kind is Kind.ORDERED else ZERO
        arrived += fact.quantity if fact.kind is Kind.DELIVERED else ZERO
        back += {Kind.RETURNED: fact.quantity, Kind.REPLACED: -fact.quantity}.get(fact.kind, ZERO)
        reached += percents.get(fact.source, ZERO) if fact.kind is Kind.MILESTONE else ZERO
        done, of = (reached, HUNDRED) if terms.recognition is Recognition.MILESTONE else (arrived, ordered)
        credit = _part(price, back, ordered, fact.currency)
        due = _part(price, done, of, fact.currency) - credit
        owed = (fact.net if fact.kind is Kind.ORDERED else ZERO) - (credit - credited)
        if owed:
            yield "price", fact.id, fact.on, owed
        if due != earned:
            yield "earned", fact.id, max(first, _recognised_on(fact, terms, facts[n:])), due - earned
        earned, credited = due, credit


def _part(whole: Decimal, done: Decimal, of: Decimal, currency: str) -> Decimal:
    if done <= 0 or of <= 0:
        return ZERO
    return whole if done >= of else rounded(whole * done / of, currency)


def _recognised_on(fact: Fact, terms: Terms, since: Iterable[Fact]) -> date:
    """What the customer must accept counts when they do, or when they let the time for it pass."""
    if terms.acceptance_days is None or fact.kind is not Kind.DELIVERED:
        return fact.on
    deemed = fact.on + timedelta(days=terms.acceptance_days)
    accepted = min((later.on for later in since if later.kind is Kind.ACCEPTED), default=deemed)
    return max(fact.on, min(accepted, deemed))


# --- periods ----------------------------------------------------------------------------------------------------------


def check_closing(month: date, closed_through: date | None, today: date) -> None:
    """Months are closed one after the other, each once, when they are over. Raises Locked or Invalid."""
    if closed_through and month <= closed_through:
        raise Locked(f"{month:%Y-%m} is closed already.", state="closed", closed_through=f"{closed_through:%Y-%m}")
    if closed_through and month != (following := months_after(closed_through, 1)):
        raise Locked(f"Close {following:%Y-%m} first.", state="out_of_order", next=f"{following:%Y-%m}")
    if months_after(month, 1) > today:
        raise Invalid.field("month", f"{month:%Y-%m} is not over yet")
