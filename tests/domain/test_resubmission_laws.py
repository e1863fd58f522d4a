"""Laws of resubmission, whatever is edited meanwhile: no carry passes beyond what people saw who could approve it today.

What may carry is worked out here by hand for each rule, beside the rules themselves."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from domain.approvals.acts import apply
from domain.approvals.operators import Operator
from domain.approvals.plan import Past, Plan, PlannedApproval, barred_people, plan
from domain.approvals.policy import Condition, Policy, Rule, Who
from domain.approvals.round import Round, added_approvals, new_round, past_decisions
from domain.approvals.subject import Subject, quote_subject
from domain.delegation import Delegation, acts_for, delegates_of
from domain.people import Directory, Person, Role
from domain.quotes import Quote
from domain.runs import Command
from tests.support import NOW, TODAY, a_line, a_policy, a_quote, a_rule, act, people, with_group

O = Operator  # noqa: E741 - as in operators
NAMES = ("ana", "bob", "cyd", "dan")
STEEP = Condition(index=1, field="discount_percent", operator=O.GREATER_THAN, value=Decimal(10), smart=True)
GENTLE = Condition(index=1, field="discount_percent", operator=O.LESS_OR_EQUALS, value=Decimal(10), smart=True)
LATE = Condition(index=2, field="payment_terms", operator=O.NOT_EQUALS, value="Net 30")
LARGE = Condition(index=2, field="net_total", operator=O.GREATER_THAN, value=Decimal(500))


@dataclass(frozen=True)
class Facts:
    """The quote as people see it."""

    discount: int = 20
    terms: str = "Net 30"
    customer: str = "C-1"
    currency: str = "EUR"
    forced: bool = False
    families: tuple[str, ...] = ("EQP", "SRV")
    price: int = 100

    def quote(self) -> Quote:
        lines = [a_line(str(n), family=family, discount_percent=str(self.discount), list_price=str(self.price))
                 for n, family in enumerate(self.families)]  # fmt: skip
        return a_quote(lines=lines, payment_terms=self.terms, customer={"id": self.customer, "name": "Acme"},
                       currency=self.currency, fields={"risky": self.forced})  # fmt: skip


def steep_no_worse(then: Facts, now: Facts) -> bool:
    return now.discount <= 10 or 10 < then.discount >= now.discount


def late_the_same(then: Facts, now: Facts) -> bool:
    return now.terms == "Net 30" or then.terms == now.terms


def large_the_same(then: Facts, now: Facts) -> bool:
    """Compared in the quote's own currency: a new rate is no change."""

    def net(facts: Facts) -> Decimal:
        return facts.quote().net_total

    return net(then) == net(now)


NO_WORSE: dict[str, Callable[[Facts, Facts], bool]] = {
    "steep": steep_no_worse,
    "under-not": steep_no_worse,
    "either": lambda then, now: steep_no_worse(then, now) and late_the_same(then, now),
    "large": lambda then, now: steep_no_worse(then, now) and large_the_same(then, now),
    "forced": lambda then, now: then.forced == now.forced and steep_no_worse(then, now),
    "misfit": lambda then, now: (
        (sorted(then.families), then.price, then.discount) == (sorted(now.families), now.price, now.discount)
    ),
}


def rules_for(ask: Who) -> list[Rule]:
    return [
        a_rule("steep", ask, STEEP),
        a_rule("under-not", ask, GENTLE, logic="NOT 1"),
        a_rule("either", ask, STEEP, LATE, logic="any"),
        a_rule("large", ask, STEEP, LARGE),
        a_rule("forced", ask, STEEP, override_field="risky"),
        a_rule("misfit", ask, STEEP, excludes=("EQP", "SRV")),
    ]


WHO = st.sampled_from(
    [Who(user="ana"), Who(group="g", quorum="any"), Who(group="g", quorum=2), Who(group="g", quorum="all")]
)


CHANGE = st.one_of(
        st.builds(dict, discount=st.sampled_from([5, 10, 15, 20, 25])), st.builds(dict, price=st.sampled_from([100, 400])),
        st.builds(dict, terms=st.sampled_from(["Net 30", "Net 60", "Net 90"])), st.builds(dict, forced=st.booleans()),
        st.builds(dict, customer=st.sampled_from(["C-1", "C-2"])), st.builds(dict, currency=st.sampled_from(["EUR", "USD"])),
        st.builds(dict, families=st.sampled_from([("EQP", "SRV"), ("SRV", "EQP"), ("EQP",), ("EQP", "SRV", "SRV")])),
)  # fmt: skip


@dataclass
class Memory:
    """What this test remembers by itself of one approval that people gave."""

    facts: Facts
    policy: Policy
    votes: list[tuple[str, str]] = field(default_factory=list)
    """Holder and who voted for them."""


class Stories(RuleBasedStateMachine):
    """One quote, submitted again and again while everything around it changes."""

    @initialize(ask=WHO, which=st.lists(st.sampled_from(sorted(NO_WORSE)), min_size=1, max_size=3, unique=True))
    def begin(self, ask: Who, which: list[str]) -> None:
        self.which, self.ask = which, ask
        self.policy = self.made()
        self.directory = with_group(people(*NAMES), "g", "ana", "bob", "cyd")
        self.standing: list[Delegation] = []
        self.facts, self.rates, self.at = Facts(), {"EUR": Decimal(1), "USD": Decimal("0.9")}, NOW
        self.past: list[tuple[Round, Plan]] = []
        self.remembered: dict[tuple[str, str], Memory | None] = {}

    def made(self, **changes: Any) -> Policy:
        rules = [r.model_copy(update=changes) for r in rules_for(self.ask) if r.name in self.which]
        return a_policy(*rules, valid_for_days=30)

    @property
    def pending(self) -> Round | None:
        return self.past[0][0] if self.past and self.past[0][0].running else None

    def now(self) -> Directory:
        return self.directory.model_copy(update={"delegations": tuple(self.standing), "at": self.at})

    # --- what happens ---------------------------------------------------------------------------------------------------

    def edit(self, change: dict[str, Any]) -> None:
        self.facts = Facts(**{**self.facts.__dict__, **change})

    @rule(rate=st.sampled_from(["0.9", "0.95"]))
    def rates_change(self, rate: str) -> None:
        self.rates = {"EUR": Decimal(1), "USD": Decimal(rate)}

    @rule(change=st.sampled_from([{}, {"title": "Other"}, {"remind_every_hours": Decimal(4)}, {"step": 2}]))
    def policy_changes(self, change: dict[str, Any]) -> None:
        self.policy = self.made(**change)

    @rule(who=st.sampled_from(NAMES), active=st.booleans(), approver=st.booleans())
    def people_come_and_go(self, who: str, active: bool, approver: bool) -> None:
        person = Person(id=who, name=who, roles=(Role.APPROVER,) if approver else (), active=active)
        self.directory = self.directory.model_copy(update={"people": {**self.directory.people, who: person}})

    @rule(members=st.sampled_from([("ana", "bob", "cyd"), ("ana", "bob"), ("bob", "cyd", "dan"), ("dan", "ana")]))
    def the_group_changes(self, members: tuple[str, ...]) -> None:
        self.directory = with_group(self.directory, "g", *members)

    @rule(person=st.sampled_from(NAMES), delegate=st.sampled_from(NAMES))
    def go_away(self, person: str, delegate: str) -> None:
        self.standing = (
            [] if person == delegate else [Delegation(id="d", person=person, delegate=delegate, first=TODAY)]
        )

    @rule(days=st.sampled_from([1, 29, 31]))
    def time_passes(self, days: int) -> None:
        self.at += timedelta(days=days)

    @rule(n=st.integers(0, 3), who=st.sampled_from(NAMES))
    @precondition(lambda self: self.pending is not None)
    def reject_and_recall(self, n: int, who: str) -> None:
        self.decide(n, who, "reject")
        if self.pending:
            self.recall()

    def decide(self, n: int, who: str, verb: str) -> None:
        round, made = self.past[0]
        if not round.requested or not self.directory.can_approve(who):
            return
        approval = round.requested[n % len(round.requested)]
        behalf = None if who in approval.holders else next(
            (p for p in acts_for(who, self.standing, self.at, "quote") if p in approval.holders), None)  # fmt: skip
        command = Command(id="c", run="r", actor=who, verb=verb, on_behalf_of=behalf,
                          payload={"approval": approval.id, "comment": "so"})  # fmt: skip
        after, outcome = apply(round, command, self.at)
        if outcome.applied:
            self.past[0] = (after, made)
            self.remember(round, after, made)

    @rule(voters=st.permutations(NAMES))
    @precondition(lambda self: self.pending is not None)
    def everybody_decides(self, voters: list[str]) -> None:
        for n in range(6):
            for who in voters:
                if self.pending:
                    self.decide(n, who, "approve")

    @rule()
    @precondition(lambda self: self.pending is not None)
    def recall(self) -> None:
        round, made = self.past[0]
        self.past[0] = (apply(round, act("recall", "rita"), self.at)[0], made)

    def remember(self, before: Round, after: Round, made: Plan) -> None:
        for was, now, planned in zip(before.approvals, after.approvals, made.approvals, strict=True):
            key = planned.rule, planned.approver
            if any(seat.vote == "rejected" for seat in now.seats) and now.status != "approved":
                self.remembered[key] = None
            elif now.status in ("approved", "covered") and was.status != now.status:
                decided = now if now.status == "approved" else after.approval(now.covered_by)
                votes = [(s.holder, s.by or s.holder) for s in (decided or now).seats if s.vote == "approved"]
                self.remembered[key] = Memory(self.facts, self.submitted, votes)
                self.given_at = {**getattr(self, "given_at", {}), key: self.at}

    # --- what must hold -------------------------------------------------------------------------------------------------

    @rule(chance=st.randoms(use_true_random=False))
    def much_happens(self, chance: Random) -> None:
        """Ten submissions, with changes between them, so that stories go far."""
        for _ in range(10):
            if self.pending:
                self.everybody_decides(chance.sample(NAMES, len(NAMES)))
            if self.pending and chance.random() < 0.3:
                self.decide(chance.randrange(3), chance.choice(NAMES), "reject")
            if self.pending:
                self.recall()
            if chance.random() < 0.2:
                self.one_rejects_what_got_worse(chance.choice(NAMES))
            for _ in range(chance.choice([0, 1, 1, 2])):
                self.something_changes(chance)
            self.submit()

    def one_rejects_what_got_worse(self, who: str) -> None:
        """Everybody is asked again, one rejects, it is taken back: and then all is as it was when they approved."""
        before = self.facts
        self.edit({"discount": 25, "price": 300})
        self.submit()
        if self.pending:
            self.decide(0, who, "reject")
        if self.pending:
            self.recall()
        self.facts = before

    def something_changes(self, chance: Random) -> None:
        who = chance.choice(NAMES)
        chance.choice([
            lambda: self.edit({"discount": chance.choice([5, 10, 15, 20, 25])}),
            lambda: self.edit({"price": chance.choice([100, 400])}),
            lambda: self.edit({"terms": chance.choice(["Net 30", "Net 60", "Net 90"])}),
            lambda: self.edit({"forced": chance.random() < 0.5}),
            lambda: self.edit({"customer": chance.choice(["C-1", "C-1", "C-2"])}),
            lambda: self.edit({"currency": chance.choice(["EUR", "USD"])}),
            lambda: self.edit({"families": chance.choice([("EQP", "SRV"), ("SRV", "EQP"), ("EQP", "SRV", "SRV")])}),
            lambda: self.rates_change(chance.choice(["0.9", "0.95"])),
            lambda: self.policy_changes(chance.choice([{}, {}, {"title": "Other"}, {"step": 2}])),
            lambda: self.people_come_and_go(who, chance.random() < 0.8, chance.random() < 0.8),
            lambda: self.the_group_changes(chance.choice([("ana", "bob", "cyd"), ("ana", "bob"), ("bob", "cyd", "dan")])),
            lambda: self.the_group_changes(chance.choice([("ana", "bob", "cyd"), ("ana", "bob")])),
            lambda: self.go_away(who, chance.choice(NAMES)),
            lambda: self.time_passes(chance.choice([1, 29, 31])),
        ])()  # fmt: skip

    @rule(change=CHANGE)
    @precondition(lambda self: self.pending is None)
    def edit_and_submit(self, change: dict[str, Any]) -> None:
        self.edit(change)
        self.submit()

    @rule()
    @precondition(lambda self: self.pending is None)
    def submit(self) -> None:
        quote, directory = self.facts.quote(), self.now()

        def at_rate(rate: Decimal) -> Subject:
            return quote_subject(quote, 1, {quote.currency: rate}, ())

        subject = quote_subject(quote, 1, self.rates, ())
        earlier = Past(past_decisions(self.past), added_approvals(self.past), at_rate)
        made, _ = plan(self.policy, subject, directory, "rita", "draft", self.at.date(), earlier)
        if made.unresolved:
            return
        for planned in made.approvals:
            assert bool(planned.carried) is self.may_carry(planned), (planned.carried, planned.again)
            assert planned.carried is None or not planned.again
        number, self.submitted = len(self.past) + 1, self.policy
        round = new_round(
            f"quote:Q-1:approval:{number}", made, kind="quote", id="Q-1", number=number, digest=subject.digest,
            title="", customer="", submitter="rita", barred=barred_people(subject, "rita"), policy_version=1,
        )  # fmt: skip
        self.past.insert(0, (apply(round, act("open", "rita"), self.at)[0], made))

    def may_carry(self, planned: PlannedApproval) -> bool:
        """Worked out from what this test remembers."""
        key = planned.rule, planned.approver
        known = self.remembered.get(key)
        if known is None or self.at >= self.given_at[key] + timedelta(days=30):
            return False
        (then,) = (r for r in known.policy.rules if r.name == planned.rule)
        (now,) = (r for r in self.policy.rules if r.name == planned.rule)
        if (then.step, then.ask) != (now.step, now.ask):
            return False
        same = (known.facts.customer, known.facts.currency) == (self.facts.customer, self.facts.currency)
        return same and NO_WORSE[planned.rule](known.facts, self.facts) and self.could_give_it(planned, known)

    def could_give_it(self, planned: PlannedApproval, known: Memory) -> bool:
        able = [
            (holder, by) for holder, by in known.votes
            if holder in planned.seats and self.directory.can_approve(by)
            and by in (holder, *delegates_of(holder, self.standing, self.at, "quote"))
        ]  # fmt: skip
        group = self.ask.quorum if self.ask.group else "any"
        if group == "all" and {holder for holder, _ in able} != set(planned.seats):
            return False
        return len({by for _, by in able}) >= {"any": 1, "all": len(planned.seats), 2: 2}[group]


TestStories = Stories.TestCase
TestStories.settings = settings(max_examples=500, stateful_step_count=8, deadline=None)
