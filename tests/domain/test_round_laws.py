"""Laws of a round, whatever people and clocks do to it: groups, chains that wait, stand-ins, hand-overs, escalation."""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.approvals.acts import apply
from domain.approvals.escalation import escalation_targets
from domain.approvals.matching import most_votes
from domain.approvals.path import waits_on, with_approval
from domain.approvals.policy import Chain, OnRejection, Who
from domain.approvals.round import Approval, ApprovalStatus, Round, RoundStatus, Vote
from domain.delegation import Delegation, acts_for, circle
from domain.runs import Command, Outcome, expiry
from tests.support import NOW, RUN, TODAY, a_policy, a_round, a_rule, people, with_group

NAMES = ("ana", "bob", "cyd", "dan", "eve")
TEAM = with_group(with_group(people(*NAMES[:2], cyd=("dan", None), dan=("eve", None), eve=(None, None)),
                             "two", "ana", "bob"), "three", "bob", "cyd", "dan")  # fmt: skip
CHAINS = (Chain(name="one"), Chain(name="two"), Chain(name="last", after=("one", "two")))
WHO = st.sampled_from([
    Who(user="ana"), Who(user="ana"), Who(user="bob"), Who(group="two", quorum=2), Who(group="two", quorum="all"),
    Who(group="three", quorum=2), Who(group="three", quorum=2), Who(group="three", quorum="all"),
])  # fmt: skip
RULE = st.fixed_dictionaries({
    "ask": WHO, "chain": st.sampled_from(["one", "two", "two", "last"]), "step": st.sampled_from([1, 1, 2]),
    "escalate_after_hours": st.sampled_from([None, 5, 5]), "expire_after_hours": st.sampled_from([None] * 4 + [40]),
    "remind_every_hours": st.sampled_from([None, None, 3]), "effect": st.sampled_from(["approve"] * 4 + ["inform"]),
    "explicit": st.sampled_from([False, False, True]), "escalate_to": st.sampled_from(["manager", Who(user="eve"), Who(group="three")]),
})  # fmt: skip
CROSSING = [{"ask": Who(user="ana"), "chain": "one", "step": 1}, {"ask": Who(user="ana"), "chain": "two", "step": 1},
            {"ask": Who(user="bob"), "chain": "two", "step": 2}]  # fmt: skip
"""One decision covers the beginning of another chain."""
PERSON = st.sampled_from((*NAMES, "rita"))
DECIDED = (ApprovalStatus.APPROVED, ApprovalStatus.REJECTED, ApprovalStatus.REQUESTED)


def as_allowed(drawn: dict[str, Any]) -> dict[str, Any]:
    """What the check of policies lets through: who is only told has no clocks."""
    told = drawn.get("effect") == "inform"
    return {k: v for k, v in drawn.items() if not (told and ("after" in k or "every" in k or k == "escalate_to"))}


class Rounds(RuleBasedStateMachine):
    """One round, with delegations as services would look them up."""

    round: Round

    @initialize(
        drawn=st.lists(RULE, min_size=2, max_size=4) | st.lists(RULE, max_size=1).map(lambda more: [*CROSSING, *more]), on_rejection=st.sampled_from(["end", "collect"]),
        absences=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=4),
    )  # fmt: skip
    def open(self, drawn: list[dict[str, Any]], on_rejection: OnRejection, absences: list[tuple[str, str]]) -> None:
        rules = [a_rule(f"r{n}", **as_allowed(fields)) for n, fields in enumerate(drawn)]
        self.round = a_round(a_policy(*rules, chains=CHAINS, on_rejection=on_rejection), TEAM)
        self.begun = self.round
        self.at, self.standing = NOW, list[Delegation]()
        self.orders = 0
        for person, delegate in absences:
            self.go_away(person, delegate)

    # --- what services look up ----------------------------------------------------------------------------------------

    def stands_in_for(self, who: str) -> list[str]:
        return acts_for(who, self.standing, NOW, "quote")

    def command(self, verb: str, actor: str, approval: Approval, **payload: Any) -> Command:
        """With the person it is given for, as `services.runs.authority` finds them."""
        holders = approval.holders if approval.status is ApprovalStatus.REQUESTED else []
        behalf = None if actor in holders else next((p for p in self.stands_in_for(actor) if p in holders), None)
        self.orders += 1
        return Command(id=f"c-{self.orders}", run=RUN, actor=actor, verb=verb, on_behalf_of=behalf,
                       payload={"approval": approval.id, "comment": "so", **payload})  # fmt: skip

    def act(self, command: Command) -> Outcome:
        before = self.round
        self.round, outcome = apply(self.round, command, self.at)
        if not outcome.applied:
            assert self.round.model_copy(update={"seq": before.seq}) == before, "a refusal changes nothing"
        return outcome

    def pick(self, n: int) -> Approval:
        return self.round.approvals[n % len(self.round.approvals)]

    # --- what happens ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.round.running)
    @rule(n=st.integers(0, 9), who=PERSON, verb=st.sampled_from(["approve", "approve", "approve", "reject"]))
    def decide(self, n: int, who: str, verb: str) -> None:
        approval = self.pick(n)
        held = {who, *self.stands_in_for(who)} & set(approval.holders)
        outcome = self.act(self.command(verb, who, approval))
        asked = approval.status is ApprovalStatus.REQUESTED and bool(held)
        assert outcome.applied is (asked and who not in approval.voters and who != "rita")

    def asked(self, n: int, m: int) -> tuple[Approval, str]:
        """Somebody who may decide something now: a holder, or who stands in for one."""
        approval = self.round.requested[n % len(self.round.requested)]
        deciders = [one for h in approval.holders for one in (h, *(p for p in NAMES if h in self.stands_in_for(p)))]
        return approval, deciders[m % len(deciders)]

    @precondition(lambda self: self.round.running)
    @rule(n=st.integers(0, 9), m=st.integers(0, 9), verb=st.sampled_from(["approve"] * 5 + ["reject"]))
    def decide_as_asked(self, n: int, m: int, verb: str) -> None:
        approval, who = self.asked(n, m)
        self.act(self.command(verb, who, approval))

    @precondition(lambda self: self.round.running)
    @rule(n=st.integers(0, 9))
    def think_again(self, n: int) -> None:
        given = [(a, s.by or s.holder) for a in self.round.approvals for s in a.seats if s.vote is Vote.APPROVED]
        if given:
            self.undo(*given[n % len(given)])

    @precondition(lambda self: self.round.running)
    @rule(
        n=st.integers(0, 9),
        m=st.integers(0, 9),
        to=st.sampled_from(NAMES),
        decide=st.sampled_from(["", "approve", "reject"]),
    )
    def hand_over(self, n: int, m: int, to: str, decide: str) -> None:
        approval, who = self.asked(n, m)
        self.seat_moves(self.command("delegate", who, approval, to=to))
        now = self.round.approval(approval.id)
        if decide and now and self.round.running:
            self.act(self.command(decide, to, now))

    @precondition(lambda self: self.round.running)
    @rule(n=st.integers(0, 9), m=st.integers(0, 3), to=st.sampled_from(NAMES))
    def replace(self, n: int, m: int, to: str) -> None:
        approval = self.pick(n)
        old = approval.holders[m % len(approval.holders)] if approval.holders else "ana"
        command = self.command("reassign", "adam", approval, to=to, authority="approvals_admin", **{"from": old})
        can_leave = self.can_leave(approval, old, to)
        self.seat_moves(command)
        now = self.round.approval(approval.id)
        assert not can_leave or (now and old not in now.holders), "who is replaced is asked no more"

    @staticmethod
    def can_leave(approval: Approval, old: str, to: str) -> bool:
        """Whether somebody can be replaced: by somebody new, or by somebody asked already, if enough are left."""
        if not approval.status.open or old not in approval.holders or old == to:
            return False
        if approval.seat_of(to) is None:
            return to not in approval.voters
        ordinary = {seat.holder for seat in approval.seats if not seat.escalated}
        left = len((ordinary - {old}) | ({to} if old in ordinary else set()))
        return left > 0 and (approval.everybody or left >= approval.needed)

    def seat_moves(self, command: Command) -> None:
        was = self.round.approval(command.payload["approval"])
        self.act(command)
        now = self.round.approval(command.payload["approval"])
        assert was
        assert now
        assert len([s for s in now.seats if not s.escalated]) <= len([s for s in was.seats if not s.escalated])
        if len(now.seats) == len(was.seats):
            assert [s.escalated for s in now.seats] == [s.escalated for s in was.seats], "a seat keeps what it is"

    @precondition(lambda self: self.round.running)
    @rule(n=st.integers(0, 9), who=PERSON)
    def take_back(self, n: int, who: str) -> None:
        self.undo(self.pick(n), who)

    def undo(self, approval: Approval, who: str) -> None:
        if not self.act(self.command("take_back", who, approval)).applied:
            return
        for later in self.round.approvals:
            if waits_on(self.round, later, approval) and later.status in DECIDED:
                raise AssertionError(f"{later.rule} was built on {approval.rule}, and still stands")

    @precondition(lambda self: self.round.running)
    @rule(n=st.integers(0, 9), who=PERSON, seat=st.sampled_from(NAMES), step=st.sampled_from([None, 2, 4]))
    def add_approver(self, n: int, who: str, seat: str, step: int | None) -> None:
        step_of = {"step": step} if step else {}
        self.act(self.command("add_approver", who, self.pick(n), seats=[seat], **step_of))

    @precondition(lambda self: self.round.running)
    @rule(n=st.integers(0, 9), who=PERSON)
    def remove_approver(self, n: int, who: str) -> None:
        self.act(self.command("remove_approver", who, self.pick(n)))

    @precondition(lambda self: self.round.running)
    @rule(n=st.integers(0, 9), who=PERSON, to=PERSON)
    def consult(self, n: int, who: str, to: str) -> None:
        self.act(self.command("consult", who, self.pick(n), to=to))
        self.act(self.command("advise", to, self.pick(n)))

    @precondition(lambda self: self.round.running and self.round.due is not None)
    @rule()
    def time_passes(self) -> None:
        due = self.round.due
        assert due is not None
        self.at = max(self.at, due)
        for a in self.round.requested:
            if a.escalate_at and a.escalate_at <= due:
                excluded = {*self.round.barred, *a.voters, *(s.holder for s in a.seats)}
                to = escalation_targets(a.escalation, a.holders, TEAM, excluded)
                self.round = with_approval(self.round, a.model_copy(update={"escalate_to": to}))
        assert self.act(expiry(RUN, self.round.seq, due)).applied
        assert self.round.due is None or self.round.due > due, "each clock acts once"

    @rule(person=st.sampled_from(NAMES), delegate=st.sampled_from(NAMES))
    def go_away(self, person: str, delegate: str) -> None:
        new = Delegation(id=f"d{len(self.standing)}", person=person, delegate=delegate, first=TODAY)
        if person != delegate and circle(new, self.standing) is None:
            self.standing.append(new)

    @rule()
    def come_back(self) -> None:
        self.standing = self.standing[1:]

    @precondition(lambda self: self.round.running)
    @rule(chance=st.randoms(use_true_random=False))
    def much_happens(self, chance: Random) -> None:
        """Forty acts that are possible, so that stories go far; a round that ended begins anew."""
        for _ in range(40):
            self.something_happens(chance)
            self.check()
            if not self.round.running:
                self.round = self.begun

    def something_happens(self, chance: Random) -> None:
        n, m, who = chance.randrange(10), chance.randrange(10), chance.choice(NAMES)
        to, verb = chance.choice((*NAMES, "rita")), "reject" if chance.random() < 0.1 else "approve"
        acts: list[Callable[[], None]] = [
            lambda: self.decide_as_asked(n, m, verb),
            lambda: self.decide_as_asked(n, m, "approve"),
            lambda: self.decide(n, who, "approve"),
            lambda: self.think_again(n),
            lambda: self.hand_over(n, m, to, chance.choice(["", "", "approve", "reject"])),
            lambda: self.hand_to_who_voted(n, m),
            lambda: self.hand_over_what_escalated(to),
            lambda: self.replace(n, m, who),
            lambda: self.add_approver(n, "rita", who, None),
            lambda: self.go_away(who, to),
            self.come_back,
        ]
        if self.round.due:
            acts += [self.time_passes, self.time_passes]
        chance.choice(acts)()

    def hand_to_who_voted(self, n: int, m: int) -> None:
        approval, who = self.asked(n, m)
        for voter in approval.voters:
            self.seat_moves(self.command("delegate", who, approval, to=voter))

    def hand_over_what_escalated(self, to: str) -> None:
        for approval in self.round.requested:
            for seat in approval.seats:
                if seat.escalated and seat.vote is None and self.round.running:
                    self.seat_moves(self.command("delegate", seat.holder, approval, to=to))
                    return

    def check(self) -> None:
        self.a_quorum_is_distinct_humans()
        self.nobody_decides_for_themselves()
        self.a_rejection_settles_what_it_can()
        self.nobody_is_asked_before_what_they_wait_for_is_given()
        self.what_is_asked_is_decided_in_order()
        self.a_pending_round_asks_somebody_who_can_act()
        self.what_was_asked_because_of_a_cover_is_asked_while_it_stands()
        self.what_is_settled_has_no_clock()

    @precondition(lambda self: self.round.running and self.orders > 12)
    @rule()
    def recall(self) -> None:
        self.act(Command(id="recall", run=RUN, actor="rita", verb="recall"))
        assert self.round.status is RoundStatus.RECALLED

    # --- what always holds ----------------------------------------------------------------------------------------------

    @invariant()
    def a_quorum_is_distinct_humans(self) -> None:
        for a in self.round.approvals:
            given = [seat.by or seat.holder for seat in a.seats if seat.vote is Vote.APPROVED]
            assert len(set(a.voters)) == len(a.voters), "everybody votes once"
            if a.status is ApprovalStatus.APPROVED:
                assert len(given) >= a.needed

    @invariant()
    def nobody_decides_for_themselves(self) -> None:
        assert not {person for a in self.round.approvals for person in a.voters} & set(self.round.barred)
        assert not {s.holder for a in self.round.approvals if not a.inform for s in a.seats} & set(self.round.barred)

    @invariant()
    def what_is_asked_is_decided_in_order(self) -> None:
        """Who was asked because of what was undone since is not asked any more."""
        if self.round.running:
            for chain in {a.chain for a in self.round.approvals}:
                asked = [a for a in self.round.requested if a.chain == chain]
                assert len({a.order for a in asked}) <= 1, "one step of a chain at a time"

    @invariant()
    def a_rejection_settles_what_it_can(self) -> None:
        for a in self.round.requested:
            rejected = [s for s in a.seats if s.vote is Vote.REJECTED]
            ordinary = [s for s in a.seats if not s.escalated]
            assert not (rejected and (a.any_decides or a.needed == len(ordinary)))
            assert len(ordinary) - len(rejected) >= a.needed, "enough are left to approve"
        lost = [a for a in self.round.approvals if a.status is ApprovalStatus.REJECTED]
        assert all(any(s.vote is Vote.REJECTED for s in a.seats) for a in lost), "somebody rejected it"
        if lost and self.round.on_rejection == "end":
            assert self.round.status is RoundStatus.REJECTED

    @invariant()
    def nobody_is_asked_before_what_they_wait_for_is_given(self) -> None:
        if not self.round.running:
            return
        for later in self.round.approvals:
            if later.status in DECIDED and not later.inform:
                open_ = [a.rule for a in self.round.approvals if waits_on(self.round, later, a) and a.status.open]
                assert not open_, f"{later.rule} is {later.status} before {open_}"

    @invariant()
    def a_pending_round_asks_somebody_who_can_act(self) -> None:
        if self.round.status is not RoundStatus.PENDING:
            return
        assert self.round.requested
        for a in self.round.requested:
            voted = set(a.voters)
            stand_ins = {holder: {one for one in NAMES if holder in self.stands_in_for(one)} for holder in a.holders}
            voters = {holder: ({holder} | stand_ins[holder]) - voted for holder in a.holders}
            given = len([s for s in a.seats if s.vote is Vote.APPROVED])
            assert given + most_votes(voters) >= a.needed

    @invariant()
    def what_was_asked_because_of_a_cover_is_asked_while_it_stands(self) -> None:
        """An approval is covered by one that is given: taken back, what it covered waits again."""
        for a in self.round.approvals:
            covering = self.round.approval(a.covered_by)
            assert covering is None or covering.status is ApprovalStatus.APPROVED

    @invariant()
    def what_is_settled_has_no_clock(self) -> None:
        for a in self.round.approvals:
            if a.status is not ApprovalStatus.REQUESTED:
                assert (a.due, a.remind_at, a.escalate_at) == (None, None, None)
        assert self.at - NOW < timedelta(days=60)


TestRounds = Rounds.TestCase
TestRounds.settings = settings(max_examples=300, stateful_step_count=8, deadline=None)
