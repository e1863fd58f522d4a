"""Contracts: what a customer's subscriptions and assets stand in, and when they end together."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import computed_field

from domain.customers.facts import Fact, Kind, Terms
from domain.customers.holdings import Asset, Subscription
from domain.customers.proration import prorated
from domain.errors import Invalid
from domain.orders.ledger import ZERO
from domain.orders.split import Coterm
from domain.values import Amount, Value, short_id

Grouping = Literal["single", "by_end_date"]
"""One contract for a customer, or one for each day on which subscriptions end."""
ContractKind = Literal["renewable", "evergreen"]


class Contract(Value):
    id: str
    customer: str
    kind: ContractKind
    """Evergreen ones run until somebody ends them; they never mix with those that are renewed."""
    ends: date | None = None
    """The day on which the last of its subscriptions runs no more."""
    made_on: date
    made_by: str
    """The order that brought it about."""


def contract_id(customer: str, kind: ContractKind, key: str) -> str:
    """The same customer, kind and end give the same contract, whoever comes first."""
    plain = "-".join(part for part in (customer, kind, key) if part)
    return plain if len(plain) <= 64 else short_id("k", plain)


def contract_of_line(
    customer: str, terms: Terms | None, ends: date | None, grouping: Grouping
) -> tuple[str, ContractKind]:
    kind: ContractKind = "evergreen" if terms and terms.subscribed and ends is None else "renewable"
    key = ends.isoformat() if grouping == "by_end_date" and ends else ""
    return contract_id(customer, kind, key), kind


# --- co-termination ---------------------------------------------------------------------------------------------------


def cotermed(
    facts: list[Fact], coterm: Coterm, running: Iterable[Subscription], grouping: Grouping, today: date
) -> list[Fact]:
    """Every ordered fact in its contract; subscriptions end as chosen: by themselves, or with the contract's.
    Other lengths are other prices, by each line's policy of proration.

    `running` are the customer's subscriptions before."""
    end = common_end(s for s in running if s.ends and s.ends > today and s.recurring)
    shortens = coterm == "contract" and end is not None
    found = [_with_end(fact, end) if shortens and end and fact.ends and end < fact.ends else fact for fact in facts]
    return [_contracted(fact, grouping) for fact in found]


class Ending(Value):
    """What a way to co-terminate makes of one subscription."""

    order: str
    line: str
    product: str
    name: str
    currency: str
    starts: date
    ended: date | None
    """Where it would end by itself, or ends until now."""
    ends: date | None
    agreed: Amount
    """What it costs by itself, or until now."""
    price: Amount


def endings(facts: Sequence[Fact], made: Sequence[Fact]) -> list[Ending]:
    """The new subscriptions, before and after they were co-terminated."""
    return [
        _ending(before, after)
        for before, after in zip(facts, made, strict=True)
        if before.terms and before.terms.subscribed
    ]


def _ending(before: Fact, after: Fact) -> Ending:
    assert before.starts is not None
    told = before.model_dump(include={"order", "line", "product", "name", "currency", "starts"})
    return Ending(**told, ended=before.ends, ends=after.ends, agreed=before.net, price=after.net)


def common_end(subscriptions: Iterable[Subscription]) -> date | None:
    """The day on which the last of them ends; what a co-termed one ends with."""
    return max((s.ends for s in subscriptions if s.ends), default=None)


def check_coterm(coterm: Coterm, running: Iterable[Subscription], first: date) -> None:
    """There must be something to end with, and others do not run longer because of it. Raises Invalid."""
    end = common_end(running)
    if coterm == "extend":
        raise Invalid.field("coterm", "an extension of others is an order of its own: make it for the customer")
    if coterm == "contract" and (end is None or end <= first):
        if end is None:
            raise Invalid.field("coterm", "cannot end with the contract: no subscription of the customer ends")
        what = "cannot end with the contract, on {day}: this starts on {first}"
        raise Invalid.field("coterm", what, day=end, first=first)


def _with_end(fact: Fact, end: date) -> Fact:
    terms = fact.terms
    if fact.kind is not Kind.ORDERED or not fact.starts or not fact.ends or not terms or not terms.subscribed:
        return fact
    if end == fact.ends or end <= fact.starts:
        return fact
    net = prorated(fact.net, (fact.starts, fact.ends), (fact.starts, end), terms.proration, fact.currency)
    return fact.evolve(ends=end, net=net)


def _contracted(fact: Fact, grouping: Grouping) -> Fact:
    if fact.kind not in (Kind.ORDERED, Kind.EXTENDED):
        return fact
    id, _ = contract_of_line(fact.customer, fact.terms, fact.ends, grouping)
    return fact.evolve(contract=id)


def contracts_of(facts: Iterable[Fact], grouping: Grouping) -> list[Contract]:
    """The contracts that these facts belong to, as they would be made by them."""
    found: dict[str, Contract] = {}
    for fact in facts:
        if fact.contract is None or fact.contract in found:
            continue
        _, kind = contract_of_line(fact.customer, fact.terms, fact.ends, grouping)
        found[fact.contract] = Contract(
            id=fact.contract, customer=fact.customer, kind=kind, made_on=fact.on, made_by=fact.order
        )
    return sorted(found.values(), key=lambda contract: contract.id)


class Contents(Value):
    """What stands in a contract, and what it is worth in each currency."""

    contract: Contract
    subscriptions: list[Subscription]
    assets: list[Asset]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def value(self) -> dict[str, Decimal]:
        found: dict[str, Decimal] = {}
        priced = [(s.currency, s.price) for s in self.subscriptions] + [(a.currency, a.price) for a in self.assets]
        for currency, price in priced:
            found[currency] = found.get(currency, ZERO) + price
        return found


def contents(contract: Contract, subscriptions: Iterable[Subscription], assets: Iterable[Asset]) -> Contents:
    mine = [s for s in subscriptions if s.contract == contract.id]
    last = common_end(mine)
    return Contents(
        contract=contract.evolve(ends=last),
        subscriptions=mine,
        assets=[asset for asset in assets if asset.contract == contract.id],
    )
