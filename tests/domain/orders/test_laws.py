"""The laws of a quote's orders, whatever anybody does in whatever order: nothing is lost, made, early or twice."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.customers.entitlements import entitlements
from domain.customers.facts import Fact, Kind, by_line, happened, terms_of
from domain.customers.revenue import Key, entries
from domain.errors import Invalid
from domain.orders.acts import LATE_FACTS, OrderMachine
from domain.orders.documents import Message, answered, messages
from domain.orders.ledger import NOTHING, LineLedger
from domain.orders.order import Order, OrderStatus, Phase, new_order, order_run, with_instants
from domain.orders.settle import claims, settle
from domain.orders.split import nothing_ordered
from domain.runs import Command, Outcome, RejectedByRecord, expiry
from tests.domain.orders.test_split import made
from tests.support import NOW, a_line, a_quote

STEPS = [{"name": "begun", "percent": "33.3"}, {"name": "done", "percent": "66.7"}]
QUOTE = a_quote(
    lines=[
        a_line("1", quantity="10", list_price="33.45", discount_percent="15", over_percent="20"),
        a_line("2", quantity="4", list_price="9.99", under_percent="25"),
        a_line("3", quantity="4", list_price="1.01", requires="2"),
        a_line("4", quantity="2", list_price="12", billing="recurring", recognition="ratable", term_months=7),
        a_line("5", quantity="3", list_price="33.33", recognition="milestone", milestones=STEPS),
    ]
)  # fmt: skip
TERMS = {line.id: terms_of(line, QUOTE) for line in QUOTE.lines}
LINES = st.sampled_from(["1", "2", "3", "4", "5", "9"])
AMOUNTS = st.dictionaries(LINES, st.integers(0, 11).map(str), max_size=3)
GOODS = st.dictionaries(st.sampled_from(["1", "2", "3"]), st.integers(1, 4).map(str), min_size=1, max_size=3)
WHICH = st.integers(0, 5)
DAYS = st.sampled_from(["2026-03-01", "2026-03-03", "2026-03-05", "2026-04-01", "soon", None])


@dataclass
class Erp:
    """What the ERP was asked of one order, in its order, and what it has."""

    asked: list[tuple[int, Message]] = field(default_factory=list)
    answered: list[tuple[int, str]] = field(default_factory=list)
    quantities: dict[str, Decimal] = field(default_factory=dict)

    @property
    def waiting(self) -> list[tuple[int, Message]]:
        return self.asked[len(self.answered) :]

    def take(self, message: Message) -> None:
        for line in message.body["lines"]:
            self.quantities[line["line"]] = Decimal(line["quantity"])


class Orders(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.at: datetime = NOW
        self.ledger: dict[str, LineLedger] = nothing_ordered(QUOTE)
        self.orders: list[Order] = []
        self.restorable: dict[str, Order] = {}
        self.facts: list[Fact] = []
        self.booked: dict[Key, Decimal] = {}
        self.erp: dict[str, Erp] = {}

    @initialize()
    def a_first_order(self) -> None:
        self.split({"1": "6", "2": "2", "3": "2", "4": "1"}, {"start": "date", "on": "2026-03-04"})

    @rule(
        some=st.dictionaries(LINES, st.integers(1, 6).map(str), min_size=1, max_size=3),
        trigger=st.sampled_from([{"start": "now"}, {"start": "manual"}, {"start": "date", "on": "2026-03-04"}]),
    )
    def split(self, some: dict[str, str], trigger: dict[str, Any]) -> None:
        way = {"way": "hand", "groups": [{"lines": some, "slot": {"trigger": trigger}}]}
        try:
            planned = made(QUOTE, self.ledger, len(self.orders) + 1, **way)
        except Invalid:
            return
        self.ledger = dict(planned.ledger)
        self.orders.append(new_order(planned.orders[0], QUOTE, len(self.orders) + 1))
        self.tell(len(self.orders) - 1, "open")

    @rule(hours=st.integers(1, 60))
    def time_goes_by(self, hours: int) -> None:
        self.at += timedelta(hours=hours)

    @rule(n=WHICH)
    def a_timer_fires(self, n: int) -> None:
        order = self.orders[n % len(self.orders)]
        self.carry(n, expiry(order_run(order.id), order.seq))

    @rule(n=WHICH, lines=AMOUNTS, effective=DAYS, approved=st.booleans(), note=st.sampled_from(["", "ring"]))
    def change(self, n: int, lines: dict[str, str], effective: str | None, approved: bool, note: str) -> None:
        more = {} if approved else {"round": "r"}
        self.tell(
            n, "amend", lines=lines, policy=0, note=note, **more, **({"effective": effective} if effective else {})
        )

    @rule(n=WHICH, yes=st.booleans())
    def approvals_end(self, n: int, yes: bool) -> None:
        self.tell(n, "approval", round="r", approved=yes)

    @rule(n=WHICH, verb=st.sampled_from(["go_live", "retry", "accepted", "cancel"]), for_good=st.booleans())
    def plainly(self, n: int, verb: str, for_good: bool) -> None:
        self.tell(n, verb, for_good=for_good)

    @rule(n=WHICH, verb=st.sampled_from(["hold", "rejected", "close_short"]), reason=st.sampled_from(["why", ""]))
    def with_a_reason(self, n: int, verb: str, reason: str) -> None:
        self.tell(n, verb, reason=reason)

    @rule(n=WHICH, yes=st.integers(0, 3), off=st.sampled_from([0, 0, 0, 1, -1]))
    def the_erp_answers(self, n: int, yes: int, off: int) -> None:
        """Late, of a version that it was not asked for, or once more."""
        erp = self.erp.get(self.orders[n % len(self.orders)].id, Erp())
        if erp.asked:
            version = (erp.waiting or erp.asked)[0][0] + off
            verb, reason = ("accepted", {}) if yes else ("rejected", {"reason": "it is packed"})
            outcome = self.tell(n, verb, version=version, **reason)
            assert not (outcome.applied and off), "an answer to another question"

    @rule(n=WHICH, which=st.integers(0, 3))
    def release(self, n: int, which: int) -> None:
        holds = self.orders[n % len(self.orders)].holds
        self.tell(n, "release", hold=holds[which % len(holds)].id if holds else "h0")

    @rule(n=WHICH, on=DAYS)
    def move(self, n: int, on: str | None) -> None:
        self.tell(n, "reschedule", on=on, start=None if on else "now")

    @rule(n=WHICH)
    def it_starts_and_is_taken_over(self, n: int) -> None:
        for hold in self.orders[n % len(self.orders)].holds:
            self.tell(n, "release", hold=hold.id)
        self.tell(n, "go_live")
        self.tell(n, "accepted")

    @rule(n=WHICH, verb=st.sampled_from(["shipment", "delivery"]), id=st.sampled_from("abcdef"), lines=GOODS)
    def goods_go(self, n: int, verb: str, id: str, lines: dict[str, str]) -> None:
        self.tell(n, verb, id=id, lines=lines)

    @rule(n=WHICH, what=st.sampled_from(["shipment", "delivery"]), id=st.sampled_from("abcdef"), lines=GOODS)
    def a_report_is_corrected(self, n: int, what: str, id: str, lines: dict[str, str]) -> None:
        self.tell(n, "correct", what=what, id=id, lines=lines, reason="miscounted")

    @rule(n=WHICH, name=st.sampled_from(["begun", "done"]))
    def a_milestone_is_reached(self, n: int, name: str) -> None:
        self.tell(n, "milestone", name=name)

    @rule(n=WHICH, verb=st.sampled_from(["backorder", "picked"]), lines=GOODS)
    def the_warehouse_reports(self, n: int, verb: str, lines: dict[str, str]) -> None:
        self.tell(n, verb, lines=lines)

    @rule(n=WHICH, verb=st.sampled_from(["accept_excess", "dismiss"]))
    def somebody_sees_to_it(self, n: int, verb: str) -> None:
        tasks = self.orders[n % len(self.orders)].tasks
        self.tell(n, verb, task=tasks[0].id if tasks else "t0")

    @rule(n=WHICH)
    def undo(self, n: int) -> None:
        order = self.orders[n % len(self.orders)]
        before = self.restorable.get(order.id)
        outcome = self.tell(n, "undo")
        if outcome.applied and before is not None:
            now = self.orders[n % len(self.orders)]
            assert {line.line: line for line in now.lines} == {line.line: line for line in before.lines}
            assert (now.slot, now.change, now.starts_at) == (before.slot, before.change, before.starts_at)

    def tell(self, n: int, verb: str, **payload: Any) -> Outcome:
        order = self.orders[n % len(self.orders)]
        command = Command(id="c", run=order_run(order.id), actor="x", verb=verb, payload=payload)
        return self.carry(n, command)

    def carry(self, n: int, command: Command) -> Outcome:
        """What rules and tables do with a command, together."""
        n %= len(self.orders)
        before = start = self.orders[n]
        while True:
            after, outcome = OrderMachine().apply(start, command, self.at)
            assert after.seq == start.seq + 1
            try:
                after, self.ledger = settle(before, after, self.ledger, QUOTE, self.at.date())
            except RejectedByRecord as refusal:
                stands = start.if_rejected(command, refusal.outcome, self.at)
                after, outcome = stands.model_copy(update={"seq": start.seq + 1}), refusal.outcome
            after = self.brought_about(before, with_instants(after, self.at))
            self.told_the_erp(before, after)
            self.orders[n] = after
            self.check(before, after, [command.verb], outcome)
            if not after.ready:
                return outcome
            before = after
            command, start = after.without_first_parked()

    def told_the_erp(self, before: Order, after: Order) -> None:
        """The documents of one step, as tables keep them."""
        erp = self.erp.setdefault(after.id, Erp())
        if answer := answered(before, after):
            ((version, message),) = erp.waiting
            if answer.status == "accepted":
                erp.take(message)
            erp.answered.append((version, answer.status))
        erp.asked += [(after.version, message) for message in messages(before, after)]

    def brought_about(self, before: Order, after: Order) -> Order:
        """What is added when it is stored: facts, and what is booked for them."""
        new = happened(before, after, TERMS, "C-1", self.at.date(), self.at)
        self.facts += new
        for key, facts in by_line(self.facts).items():
            if any((fact.order, fact.line) == key for fact in new):
                mine = {k: amount for k, amount in self.booked.items() if k.fact in {fact.id for fact in facts}}
                for entry in entries(facts, mine, None):
                    this = Key(entry.kind, entry.fact, entry.earned_in)
                    self.booked[this] = self.booked.get(this, Decimal(0)) + entry.amount
        return after.model_copy(update={"news": ()})

    def check(self, before: Order, after: Order, verbs: list[str], outcome: Outcome) -> None:
        verb = verbs[-1]
        if len(verbs) == 1 and not outcome.applied and outcome.code != "parked":
            same = {"seq": before.seq, "due": before.due, "parked": before.parked, "parked_until": before.parked_until}
            assert after.model_copy(update=same) == before, "a refusal changes nothing"
        if before.phase is Phase.WAITING and after.phase is Phase.ACTIVATING:
            assert not before.holds, "never while held"
            assert verb == "go_live" or (before.starts_at is not None and before.starts_at <= self.at), "never early"
        if not before.running:
            assert not outcome.applied or verb in LATE_FACTS
        for line in after.lines:
            known = before.line(line.line)
            assert known is None or known.delivered <= line.delivered or verb == "correct"
            assert known is None or known.cancelled.quantity <= line.cancelled.quantity, "for good is for good"
            assert line.delivered <= line.share.quantity
            assert line.delivered + line.excess <= line.shipped or not line.shipped_goods
            assert line.implied >= 0
        if verb in ("amend", "reschedule") and outcome.applied:
            self.restorable[after.id] = before
        elif (outcome.applied and verb not in ("hold", "release")) or verb in ("hold", "release"):
            self.restorable.pop(after.id, None)

    @invariant()
    def every_piece_and_cent_has_its_place(self) -> None:
        for name, entry in self.ledger.items():
            assert entry.balanced
            held, ended = NOTHING, NOTHING
            for order in self.orders:
                mine, gone = claims(order).get(name, (NOTHING, NOTHING))
                held, ended = held.plus(mine), ended.plus(gone)
            assert (held, ended) == (entry.allocated, entry.cancelled), name

    @invariant()
    def an_order_waits_for_the_erp_exactly_while_one_document_does(self) -> None:
        for order in self.orders:
            erp = self.erp.get(order.id, Erp())
            asked = order.phase is Phase.ACTIVATING or (order.change is not None and order.change.sent)
            assert len(erp.waiting) == int(asked), order.id
            versions = [version for version, _ in erp.asked]
            assert versions == sorted(versions), "in the order of their versions"
            assert not (order.parked and not order.busy), "what is parked waits for somebody's answer"

    @invariant()
    def the_erp_has_what_the_order_says(self) -> None:
        for order in self.orders:
            erp = self.erp.get(order.id, Erp())
            if order.phase is Phase.ACTIVE and not erp.waiting and not order.tasks:
                for line in order.lines:
                    there = erp.quantities[line.line]
                    assert there in (line.share.quantity, min(there, line.locked)), line.line

    @invariant()
    def facts_say_what_the_orders_say(self) -> None:
        known = by_line(self.facts)
        for order in self.orders:
            for line in order.lines if order.phase is Phase.ACTIVE else ():
                mine = known[order.id, line.line]
                told = {kind: [fact for fact in mine if fact.kind is kind] for kind in Kind}
                assert sum(fact.quantity for fact in told[Kind.ORDERED]) == line.share.quantity
                assert sum(fact.net for fact in told[Kind.ORDERED]) == line.share.net
                if line.shipped_goods:
                    assert sum(fact.quantity for fact in told[Kind.DELIVERED]) == line.delivered

    @invariant()
    def what_is_earned_is_never_more_than_the_price_and_all_of_it_in_the_end(self) -> None:
        for (id, name), facts in by_line(self.facts).items():
            ids = {fact.id for fact in facts}
            price, earned = (
                sum(a for key, a in self.booked.items() if key.fact in ids and key.kind == kind)
                for kind in ("price", "earned")
            )
            order = next(order for order in self.orders if order.id == id)
            line = order.line(name) if order.phase is Phase.ACTIVE else None
            assert price == (line.share.net if line else 0), name
            assert 0 <= earned <= price
            if line and line.delivered == line.share.quantity:
                assert earned == price, name

    @invariant()
    def nobody_is_entitled_to_more_than_was_delivered(self) -> None:
        for found in entitlements(self.facts, self.at.date(), None, {}):
            order = next(order for order in self.orders if order.id == found.order)
            line = order.line(found.line)
            assert line is not None
            assert found.quantity <= line.delivered

    @invariant()
    def bundles_stay_together_until_they_are_sent(self) -> None:
        for order in self.orders:
            if order.phase is Phase.WAITING:
                two, three = (order.line(name) for name in ("2", "3"))
                assert (two.share.quantity if two else 0) == (three.share.quantity if three else 0)

    @invariant()
    def the_status_is_a_function_and_the_state_survives_being_stored(self) -> None:
        for order in self.orders:
            again = Order.model_validate(order.stored())
            assert (again, again.status) == (order, order.status)
            assert not order.unsettled
            assert not any(line.unpriced for line in order.lines)

    @precondition(lambda self: self.orders)
    @invariant()
    def nothing_is_due_while_held(self) -> None:
        for order in self.orders:
            change = order.change.effective_at if order.change else None
            assert order.due in (None, order.starts_at, change, order.parked_until)
            if order.status is OrderStatus.HELD:
                assert order.due in (None, change)
            assert bool(order.parked) == (order.parked_until is not None)

    def teardown(self) -> None:
        there = [order for order in self.orders if order.phase is not Phase.CANCELLED]
        total = sum((line.share.net - line.kept.net for order in there for line in order.lines), Decimal(0))
        assert total <= QUOTE.net_total


TestOrders = Orders.TestCase
TestOrders.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
