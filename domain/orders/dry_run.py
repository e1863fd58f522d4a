"""Trying a command without doing it: the same rules as the real thing, and nothing is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from domain.orders.acts import OrderMachine
from domain.orders.ledger import LineLedger
from domain.orders.order import Order, Phase, with_instants
from domain.orders.settle import settle
from domain.quotes import Quote
from domain.runs import Command, Outcome, RejectedByRecord


@dataclass(frozen=True)
class DryRun:
    """What came of it, the order after it, and what would be left of the quote."""

    outcome: Outcome
    order: Order
    ledger: dict[str, LineLedger]


def tried(order: Order, command: Command, ledger: Mapping[str, LineLedger], quote: Quote, at: datetime) -> DryRun:
    after, outcome = OrderMachine().apply(order, command, at)
    try:
        after, left = settle(order, after, ledger, quote, at.date())
    except RejectedByRecord as refusal:
        return DryRun(refusal.outcome, order, dict(ledger))
    return DryRun(outcome, with_instants(after, at), left)


def in_effect(order: Order, command: Command, ledger: Mapping[str, LineLedger], quote: Quote, at: datetime) -> DryRun:
    """How the order would stand with its change, were it made now and asked nobody."""
    payload = {name: value for name, value in command.payload.items() if name not in ("effective", "round", "version")}
    plain = order.evolve(change=None, parked=())
    before = command.verb == "amend" or order.phase in (Phase.WAITING, Phase.FALLOUT, Phase.NEW)
    plain = plain.evolve(phase=Phase.WAITING if before else Phase.ACTIVE)
    done = tried(plain, command.evolve(payload=payload), ledger, quote, at)
    if not (done.order.change and done.order.change.sent):
        return done
    answer = Command(id="answer", run=command.run, actor="", verb="accepted", payload={"version": done.order.version})
    return DryRun(done.outcome, tried(done.order, answer, done.ledger, quote, at).order, done.ledger)
