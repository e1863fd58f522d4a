"""What was approved before need not be approved again, unless it got worse."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals.acts import apply
from domain.approvals.operators import Operator
from domain.approvals.plan import Plan, barred_people, plan
from domain.approvals.policy import Aggregate, Condition, Policy, Variable, Who
from domain.approvals.round import ApprovalStatus, Round, RoundStatus, decisions, new_round
from domain.approvals.smart import worse
from domain.people import Directory
from tests.support import NOW, TODAY, a_policy, a_quote, a_rule, a_subject, act, people, tell, with_group

O = Operator  # noqa: E741
ANA = people("ana", "bo", "cy")
STEEP = Condition(index=1, field="discount_percent", operator=O.GREATER_THAN, value=Decimal(10), smart=True)
Past = list[tuple[Round, Plan]]


def again(past: Past, policy: Policy, directory: Directory = ANA, editors: tuple[str, ...] = (), **quote: str) -> Past:
    """One more submission of the quote; the past with it in front, its round opened."""
    number = len(past) + 1
    subject = a_subject(a_quote(**quote), editors)
    made, _ = plan(policy, subject, directory, "rita", "draft", TODAY, decisions(past))
    round = new_round(
        f"quote:Q-1:approval:{number}", made, kind="quote", id="Q-1", number=number, digest=subject.digest,
        title="", customer="", submitter="rita", barred=barred_people(subject, "rita"), policy_version=1,
    )  # fmt: skip
    return [(apply(round, act("open", "rita"), NOW)[0], made), *past]


def decided(past: Past, verb: str, who: str, rule: str = "r") -> Past:
    round, outcome = tell(past[0][0], verb, who, rule, comment="so")
    assert outcome.applied, outcome
    return [(round, past[0][1]), *past[1:]]


def recalled(past: Past) -> Past:
    return [(tell(past[0][0], "recall", "rita")[0], past[0][1]), *past[1:]]


def test_an_approval_carries_when_nothing_got_worse() -> None:
    policy = a_policy(a_rule("r", "ana", STEEP), a_rule("s", "bo", chain="two"))
    past = recalled(decided(again([], policy, discount="20"), "approve", "ana"))
    round, made = again(past, policy, discount="18")[0]
    assert [a.status for a in round.approvals] == [ApprovalStatus.CARRIED, ApprovalStatus.REQUESTED]
    assert round.approvals[0].carried_from == 1
    assert made.approvals[0].carried is not None
    assert made.approvals[0].carried.by == ("ana",)
    assert made.approvals[1].again == (), "nobody gave it before, so there is nothing to explain"


def test_it_must_be_given_again_when_the_value_rose_above_what_was_approved() -> None:
    policy = a_policy(a_rule("r", "ana", STEEP))
    past = decided(again([], policy, discount="20"), "approve", "ana")
    (round, made), *_ = again(past, policy, discount="21")
    assert round.approvals[0].status is ApprovalStatus.REQUESTED
    assert made.approvals[0].again == ("discount_percent went from 20 to 21",)


def test_small_steps_cannot_creep() -> None:
    """Approved at 20, carried at 15: 18 is compared with the 20 that ana saw, and 21 too, whatever was carried between."""
    policy = a_policy(a_rule("r", "ana", STEEP))
    past = decided(again([], policy, discount="20"), "approve", "ana")
    past = again(past, policy, discount="15")
    assert past[0][0].status is RoundStatus.APPROVED
    assert again(past, policy, discount="18")[0][0].approvals[0].carried_from == 1
    assert again(past, policy, discount="21")[0][0].approvals[0].status is ApprovalStatus.REQUESTED


def test_an_approval_that_rested_while_its_rule_did_not_fire_is_remembered() -> None:
    policy = a_policy(a_rule("r", "ana", STEEP))
    past = again(decided(again([], policy, discount="20"), "approve", "ana"), policy, discount="5")
    assert past[0][0].approvals == ()
    assert again(past, policy, discount="20")[0][0].approvals[0].carried_from == 1


def test_a_rejection_ends_what_was_approved_before() -> None:
    policy = a_policy(a_rule("r", "ana", STEEP))
    past = decided(again([], policy, discount="20"), "approve", "ana")
    past = decided(again(past, policy, discount="30"), "reject", "ana")
    (_, made), *_ = again(past, policy, discount="20")
    assert made.approvals[0].carried is None
    assert made.approvals[0].again == ("rejected in round 2",)


def test_a_rule_without_a_smart_condition_never_carries() -> None:
    policy = a_policy(a_rule("r", "ana", STEEP.model_copy(update={"smart": False})))
    past = decided(again([], policy, discount="20"), "approve", "ana")
    assert again(past, policy, discount="20")[0][1].approvals[0].again == ("the rule has no smart condition",)


@pytest.mark.parametrize(
    "changed",
    [
        a_policy(a_rule("r", "ana", STEEP.model_copy(update={"value": Decimal(11)}))),
        a_policy(a_rule("r", "ana", STEEP, explicit=True)),
    ],
)
def test_a_changed_rule_is_approved_again(changed: Policy) -> None:
    past = decided(again([], a_policy(a_rule("r", "ana", STEEP)), discount="20"), "approve", "ana")
    assert again(past, changed, discount="20")[0][1].approvals[0].again == ("the rule changed",)


def test_a_changed_variable_changes_the_rules_that_test_it() -> None:
    deep = Condition(index=1, variable="v", operator=O.GREATER_THAN, value=Decimal(10), smart=True)
    highest, mean = (
        a_policy(a_rule("r", "ana", deep), variables=(Variable(name="v", aggregate=how, field="discount_percent"),))
        for how in (Aggregate.MAX, Aggregate.AVERAGE)
    )
    past = decided(again([], highest, discount="20"), "approve", "ana")
    assert again(past, highest, discount="20")[0][1].approvals[0].carried
    assert again(past, mean, discount="20")[0][1].approvals[0].again == ("the rule changed",)


def test_another_approver_is_asked_anew() -> None:
    past = decided(again([], a_policy(a_rule("r", "ana", STEEP)), discount="20"), "approve", "ana")
    (_, made), *_ = again(past, a_policy(a_rule("r", "bo", STEEP)), discount="20")
    assert (made.approvals[0].carried, made.approvals[0].again) == (None, ())


def test_a_completed_group_carries_whole_and_an_unfinished_one_does_not() -> None:
    both = with_group(ANA, "g", "ana", "bo")
    policy = a_policy(a_rule("r", Who(group="g", quorum="all"), STEEP))
    half = decided(again([], policy, both, discount="20"), "approve", "ana")
    assert again(recalled(half), policy, both, discount="20")[0][1].approvals[0].carried is None
    whole = decided(half, "approve", "bo")
    carried = again(whole, policy, both, discount="20")[0][1].approvals[0].carried
    assert carried is not None
    assert carried.by == ("ana", "bo")


def test_who_edited_it_since_no_longer_counts_as_its_approver() -> None:
    both = with_group(ANA, "g", "ana", "bo")
    policy = a_policy(a_rule("r", Who(group="g"), STEEP))
    past = decided(again([], policy, both, discount="20"), "approve", "ana")
    (_, made), *_ = again(past, policy, both, editors=("ana",), discount="20")
    assert made.approvals[0].carried is None
    assert "ana approved it, and has submitted, owns or edited it since" in made.approvals[0].again


def test_a_covered_approval_counts_as_given() -> None:
    policy = a_policy(a_rule("r", "ana", STEEP, chain="c", step=1), a_rule("s", "ana", STEEP, chain="c", step=2))
    past = decided(again([], policy, discount="20"), "approve", "ana")
    assert [a.status.value for a in past[0][0].approvals] == ["approved", "covered"]
    assert [a.status.value for a in again(past, policy, discount="20")[0][0].approvals] == ["carried", "carried"]


def test_what_a_condition_is_compared_with_counts_too() -> None:
    below = Condition(index=1, field="net_total", operator=O.LESS_THAN, other_field="floor", smart=True)
    policy = a_policy(a_rule("r", "ana", below))
    past = decided(again([], policy, custom={"floor": 200}), "approve", "ana")  # type: ignore[arg-type]
    assert again(past, policy, custom={"floor": 200})[0][1].approvals[0].carried  # type: ignore[arg-type]
    (_, made), *_ = again(past, policy, custom={"floor": 300})  # type: ignore[arg-type]
    assert made.approvals[0].again == ("floor went from 200 to 300",)


def test_literal_mode_applies_the_operator_itself() -> None:
    same = Condition(index=1, field="payment_terms", operator=O.EQUALS, value="Net 90", smart=True)
    past = decided(again([], a_policy(a_rule("r", "ana", same, smart_mode="literal")), payment_terms="Net 90"),
                   "approve", "ana")  # fmt: skip
    (_, made), *_ = again(past, a_policy(a_rule("r", "ana", same, smart_mode="literal")), payment_terms="Net 90")
    assert made.approvals[0].again == ("payment_terms is Net 90 as before",)


def test_what_was_carried_stays_carried_when_an_earlier_step_is_taken_back() -> None:
    first = a_rule("r", "bo", STEEP.model_copy(update={"smart": False}), chain="c", step=1)
    policy = a_policy(first, a_rule("s", "ana", STEEP, chain="c", step=2), a_rule("t", "cy", chain="c", step=3))
    past = decided(decided(again([], policy, discount="20"), "approve", "bo"), "approve", "ana", "s")
    past = decided(again(recalled(past), policy, discount="20"), "approve", "bo")
    assert [a.status.value for a in past[0][0].approvals] == ["approved", "carried", "requested"]
    past = decided(past, "take_back", "bo")
    assert [a.status.value for a in past[0][0].approvals] == ["requested", "carried", "waiting"]


@pytest.mark.parametrize(
    ("operator", "saw", "now", "expected"),
    [
        (O.GREATER_THAN, Decimal(5), Decimal(6), True),
        (O.GREATER_THAN, Decimal(5), Decimal(4), False),
        (O.GREATER_OR_EQUALS, "5.0", Decimal(5), False),
        (O.LESS_THAN, Decimal(5), Decimal(4), True),
        (O.LESS_THAN, Decimal(5), Decimal(6), False),
        (O.GREATER_THAN, None, Decimal(1), True),
        (O.GREATER_THAN, Decimal(1), None, True),
        (O.GREATER_THAN, None, None, False),
        (O.EQUALS, "Net 60", "Net 90", True),
        (O.IN, "Net 60", "Net 60", False),
        (O.IS_BLANK, None, "", False),
        (O.IS_NOT_BLANK, "a", "b", True),
        (O.GREATER_THAN, "2026-01-01", TODAY, True),
    ],
)
def test_worse_follows_the_operator(operator: Operator, saw: object, now: object, expected: bool) -> None:
    assert worse(operator, saw, now) is expected  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=8))
def test_carrying_never_passes_beyond_what_a_person_approved(story: list[tuple[int, bool]]) -> None:
    """Whatever the rounds: a carried value is at most one that ana herself approved since her last rejection."""
    policy = a_policy(a_rule("r", "ana", STEEP))
    past: Past = []
    seen: list[int] = []
    for discount, approves in story:
        past = again(past, policy, discount=str(discount))
        if not past[0][0].approvals:
            continue
        if past[0][0].approvals[0].status is ApprovalStatus.CARRIED:
            assert seen
            assert discount <= seen[-1]
            continue
        past = decided(past, "approve" if approves else "reject", "ana")
        seen = [*seen, discount] if approves else []
