"""Asking others: one more approver, advice, telling; and rounds that collect every answer."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from domain.approvals.acts import apply
from domain.approvals.clocks import Working, with_clocks
from domain.approvals.notices import notices
from domain.approvals.plan import ADDED, Past, plan
from domain.approvals.policy import Chain, Condition
from domain.approvals.round import Approval, Round, RoundStatus, explained
from domain.approvals.smart import PriorApproval
from domain.calendars import Calendar
from domain.runs import expiry
from tests.support import NOW, RUN, TODAY, a_policy, a_round, a_rule, a_subject, people, planned, states, tell

TEAM = people("ana", "bob", "cyd", "dan")


def series(*names: str, **fields: Any) -> Round:
    """One chain, a step for each name; rules are called s1, s2, …"""
    rules = [a_rule(f"s{n}", name, chain="main", step=n, **fields) for n, name in enumerate(names, 1)]
    return a_round(a_policy(*rules), TEAM)


def added(round: Round) -> Approval:
    return next(a for a in round.approvals if a.rule == ADDED)


# --- one more approver ------------------------------------------------------------------------------------------------


def test_the_submitter_and_who_is_asked_may_add_an_approver_to_a_later_step() -> None:
    for who in ("rita", "ana"):
        round, outcome = tell(series("ana", "bob"), "add_approver", who, "s1", seats=["dan"], comment="knows them")
        assert (outcome.code, added(round).step, added(round).status) == ("added", 2, "waiting")
        round, _ = tell(round, "approve", "ana", "s1")
        assert set(round.waiting_on) == {"bob", "dan"}
        round, _ = tell(round, "approve", "bob", "s2")
        assert round.status is RoundStatus.PENDING
        round, _ = tell(round, "approve", "dan", added(round))
        assert round.status is RoundStatus.APPROVED


def test_after_the_last_step_a_new_one_is_made_and_the_chains_that_wait_for_it_wait_longer() -> None:
    chains = [Chain(name="one"), Chain(name="two", after=("one",))]
    policy = a_policy(a_rule("a", "ana", chain="one"), a_rule("b", "bob", chain="two"), chains=chains)
    round, _ = tell(a_round(policy, TEAM), "add_approver", "ana", "a", seats=["dan"])
    assert (added(round).chain, added(round).step) == ("one", 2)
    round, _ = tell(round, "approve", "ana", "a")
    assert round.waiting_on == ["dan"]


def test_any_of_an_added_group_decides() -> None:
    round, _ = tell(series("ana"), "add_approver", "ana", "s1", seats=["cyd", "dan"], group="legal")
    round, _ = tell(round, "approve", "ana", "s1")
    round, _ = tell(round, "approve", "dan", added(round))
    assert round.status is RoundStatus.APPROVED


@pytest.mark.parametrize(
    ("who", "facts", "code"),
    [
        ("cyd", {"seats": ["dan"]}, "not_an_approver"),
        ("bob", {"seats": ["dan"]}, "not_an_approver"),  # not asked yet
        ("ana", {"seats": ["dan"], "step": 1}, "step_reached"),
        ("ana", {"seats": ["dan"], "step": 10**9}, "step_reached"),
        ("ana", {"seats": ["rita"]}, "own_submission"),
        ("ana", {"seats": ["bob"], "step": 2}, "already_an_approver"),
        ("ana", {"seats": []}, "invalid"),
        ("ana", {"seats": "dan"}, "invalid"),
        ("ana", {"seats": [7]}, "invalid"),
        ("ana", {}, "invalid"),
    ],
)
def test_who_cannot_be_added_and_where(who: str, facts: dict[str, Any], code: str) -> None:
    round = series("ana", "bob")
    after, outcome = tell(round, "add_approver", who, "s1", **facts)
    assert (outcome.applied, outcome.code, after.approvals) == (False, code, round.approvals)


def test_nothing_is_added_to_a_chain_that_is_finished() -> None:
    round = a_round(a_policy(a_rule("a", "ana"), a_rule("b", "bob")), TEAM)
    round, _ = tell(round, "approve", "ana", "a")
    assert tell(round, "add_approver", "bob", "a", seats=["dan"])[1].code == "step_reached"


def test_an_added_approver_decides_for_themselves_even_right_after_another_of_their_approvals() -> None:
    round, _ = tell(series("ana", "bob"), "add_approver", "rita", "s1", seats=["ana"])
    round, _ = tell(round, "approve", "ana", "s1")
    assert set(round.waiting_on) == {"bob", "ana"}


def test_an_added_approval_explains_itself() -> None:
    round, _ = tell(series("ana"), "add_approver", "rita", "s1", seats=["dan"], comment="he knows them")
    plan = planned(a_policy(a_rule("s1", "ana", chain="main")), TEAM)
    *_, (approval, why) = explained(round, plan)
    assert (approval.title, why.reasons) == ("Added by rita", ("rita asked for it: he knows them",))


# --- advice -----------------------------------------------------------------------------------------------------------

TIMED = {"expire_after_hours": 10, "consult_hours": 4}


def test_who_is_consulted_advises_and_the_holder_decides() -> None:
    round, outcome = tell(series("ana"), "consult", "ana", "s1", to="dan", comment="safe?")
    assert (outcome.code, round.waiting_on) == ("consulted", ["ana"])
    assert [c.person for c in round.requested[0].awaited_advice] == ["dan"]
    assert tell(round, "approve", "dan", "s1")[1].code == "not_an_approver"
    round, outcome = tell(round, "advise", "dan", "s1", comment="yes")
    assert (outcome.code, round.requested[0].awaited_advice) == ("advised", ())
    assert [(c.person, c.question, c.answer) for c in round.approvals[0].consultations] == [("dan", "safe?", "yes")]
    assert tell(round, "approve", "ana", "s1")[0].status is RoundStatus.APPROVED


def test_the_clock_waits_for_advice_at_most_as_long_as_the_rule_allows() -> None:
    round = series("ana", **TIMED)
    assert round.due == NOW + timedelta(hours=10)
    asked, _ = tell(round, "consult", "ana", "s1", NOW + timedelta(hours=2), to="dan", comment="safe?")
    assert asked.due == NOW + timedelta(hours=14)
    answered, _ = tell(asked, "advise", "dan", "s1", NOW + timedelta(hours=3), comment="yes")
    assert answered.due == NOW + timedelta(hours=11)
    again, _ = tell(answered, "consult", "ana", "s1", NOW + timedelta(hours=4), to="cyd", comment="sure?")
    assert again.due == NOW + timedelta(hours=14), "the allowance is for the approval, not for each question"


def test_without_an_allowance_the_clock_does_not_wait() -> None:
    round = series("ana", expire_after_hours=10)
    assert tell(round, "consult", "ana", "s1", to="dan", comment="safe?")[0].due == round.due


def test_advice_pauses_business_time_by_working_hours() -> None:
    office = Working(calendar=Calendar(), time_zone="UTC")  # 9 to 17; NOW is Monday noon
    fresh = a_round(a_policy(a_rule("s1", "ana", **TIMED)), TEAM, opened=False)
    round = with_clocks(fresh, tell(fresh, "open", "rita")[0], {"ana": office})
    assert f"{round.due:%a %H}" == "Tue 14"
    at = NOW + timedelta(hours=4)
    asked = with_clocks(round, tell(round, "consult", "ana", "s1", at, to="dan", comment="safe?")[0], {"ana": office})
    assert f"{asked.due:%a %H}" == "Wed 10"
    morning = NOW + timedelta(hours=22)  # Tuesday at ten: one hour of Monday, one of Tuesday
    told = with_clocks(asked, tell(asked, "advise", "dan", "s1", morning, comment="yes")[0], {"ana": office})
    assert f"{told.due:%a %H}" == "Tue 16"


def test_two_who_are_asked_at_a_time_may_both_answer_and_a_decision_ends_all_questions() -> None:
    round, _ = tell(series("ana"), "consult", "ana", "s1", to="dan", comment="safe?")
    round, _ = tell(round, "consult", "ana", "s1", to="cyd", comment="legal?")
    assert tell(round, "consult", "ana", "s1", to="dan", comment="sure?")[1].code == "already_consulted"
    round, outcome = tell(round, "advise", "dan", "s1", comment="yes")
    assert (outcome.code, [c.person for c in round.approvals[0].awaited_advice]) == ("advised", ["cyd"])
    assert tell(round, "advise", "dan", "s1", comment="again")[1].code == "not_consulted"
    assert tell(round, "advise", "cyd", "s1", comment="no")[1].code == "advised"
    done, _ = tell(round, "approve", "ana", "s1")
    assert done.approvals[0].awaited_advice == ()


def test_two_questions_at_a_time_stop_the_clock_once() -> None:
    def after(hours: int) -> datetime:
        return NOW + timedelta(hours=hours)

    round, _ = tell(series("ana", **TIMED), "consult", "ana", "s1", after(1), to="dan", comment="safe?")
    round, _ = tell(round, "consult", "ana", "s1", after(2), to="cyd", comment="legal?")
    round, _ = tell(round, "advise", "dan", "s1", after(3), comment="yes")
    assert round.due == after(14), "cyd has not answered: what is left of four hours counts"
    round, _ = tell(round, "advise", "cyd", "s1", after(4), comment="yes")
    assert round.due == after(13), "from the first hour to the fourth"


@pytest.mark.parametrize(
    ("who", "facts", "code"),
    [
        ("bob", {"to": "dan", "comment": "?"}, "not_an_approver"),
        ("ana", {"to": "ana", "comment": "?"}, "already_an_approver"),
        ("ana", {"to": "dan"}, "comment_required"),
        ("ana", {"comment": "?"}, "invalid"),
    ],
)
def test_advice_is_asked_by_the_holder_of_somebody_else_with_a_question(
    who: str, facts: dict[str, str], code: str
) -> None:
    assert tell(series("ana", "bob"), "consult", who, "s1", **facts)[1].code == code


def test_advice_says_something_and_comes_from_who_was_asked() -> None:
    round, _ = tell(series("ana"), "consult", "ana", "s1", to="dan", comment="safe?")
    assert tell(round, "advise", "cyd", "s1", comment="yes")[1].code == "not_consulted"
    assert tell(round, "advise", "dan", "s1", comment=" ")[1].code == "comment_required"


def test_one_person_asked_about_two_approvals_at_once_is_told_of_each() -> None:
    before = a_round(a_policy(a_rule("a", "ana"), a_rule("b", "bob")), TEAM)
    after, _ = tell(before, "consult", "ana", "a", to="dan", comment="safe?")
    after, _ = tell(after, "consult", "bob", "b", to="dan", comment="sure?")
    told = notices(RUN, before, after, [])
    assert [(n.person, n.template, n.facts["text"]) for n in told] == [
        ("dan", "consulted", "safe?"), ("dan", "consulted", "sure?"),
    ]  # fmt: skip
    assert len({n.id for n in told}) == 2


def test_advice_is_not_asked_for_without_end() -> None:
    round = series("ana")
    for _ in range(20):
        round, outcome = tell(round, "consult", "ana", "s1", to="dan", comment="safe?")
        assert outcome.applied
        round, _ = tell(round, "advise", "dan", "s1", comment="yes")
    assert tell(round, "consult", "ana", "s1", to="dan", comment="safe?")[1].code == "too_many"


# --- telling ----------------------------------------------------------------------------------------------------------


def test_who_is_only_told_holds_nothing_up() -> None:
    rules = (a_rule("told", "cyd", chain="main", step=1, effect="inform"), a_rule("asked", "ana", chain="main", step=2))
    round = a_round(a_policy(*rules), TEAM)
    assert (states(round), round.waiting_on) == ({"told": "informed", "asked": "requested"}, ["ana"])
    assert tell(round, "approve", "cyd", "told")[1].code == "already_decided"


def test_they_are_told_when_their_step_is_reached() -> None:
    rules = (a_rule("asked", "ana", chain="main", step=1), a_rule("told", "cyd", chain="main", step=2, effect="inform"))
    round = a_round(a_policy(*rules), TEAM)
    assert states(round)["told"] == "waiting"
    done, _ = tell(round, "approve", "ana", "asked")
    assert (done.status, states(done)["told"]) == (RoundStatus.APPROVED, "informed")


def test_a_round_that_only_tells_is_approved_at_once() -> None:
    assert a_round(a_policy(a_rule("told", "cyd", effect="inform")), TEAM).status is RoundStatus.APPROVED


def test_the_submitter_may_be_told_although_they_may_not_approve() -> None:
    directory = people("ana", "rita")
    plan = planned(a_policy(a_rule("told", "rita", effect="inform")), directory)
    assert plan.approvals[0].seats == ("rita",)


def test_nobody_to_tell_is_no_reason_to_refuse() -> None:
    assert planned(a_policy(a_rule("told", "gone", effect="inform")), TEAM).unresolved == ()


def test_being_told_in_between_does_not_end_a_run_of_ones_own_steps() -> None:
    rules = [a_rule(f"s{n}", name, chain="main", step=n, effect="inform" if name == "cyd" else "approve")
             for n, name in enumerate(("ana", "cyd", "ana"), 1)]  # fmt: skip
    done, _ = tell(a_round(a_policy(*rules), TEAM), "approve", "ana", "s1")
    assert (done.status, states(done)["s3"]) == (RoundStatus.APPROVED, "covered")


def test_what_was_told_stays_told_when_an_approval_is_taken_back() -> None:
    rules = [
        a_rule("a", "ana", chain="main", step=1),
        a_rule("told", "cyd", chain="main", step=2, effect="inform"),
        a_rule("b", "bob", chain="main", step=3),
    ]
    round, _ = tell(a_round(a_policy(*rules), TEAM), "approve", "ana", "a")
    undone, outcome = tell(round, "take_back", "ana", "a")
    assert (outcome.code, states(undone)) == ("taken_back", {"a": "requested", "told": "informed", "b": "waiting"})


# --- collecting -------------------------------------------------------------------------------------------------------


def collecting(*rules: Any) -> Round:
    return a_round(a_policy(*rules, on_rejection="collect"), TEAM)


PARALLEL = (
    a_rule("a", "ana", chain="one"),
    a_rule("b", "bob", chain="two"),
    a_rule("later", "cyd", chain="one", step=2),
)


def test_a_collecting_round_hears_everybody_who_is_asked_already_and_is_rejected_then() -> None:
    round, _ = tell(collecting(*PARALLEL), "reject", "ana", "a", comment="too cheap")
    assert (round.status, states(round)) == (
        RoundStatus.PENDING,
        {"a": "rejected", "b": "requested", "later": "revoked"},
    )
    round, _ = tell(round, "approve", "bob", "b")
    assert (round.status, states(round)["b"]) == (RoundStatus.REJECTED, "approved")


def test_once_rejected_a_collecting_round_asks_nobody_new_even_after_taking_back() -> None:
    rules = (*PARALLEL, a_rule("c", "dan", chain="three"), a_rule("c2", "cyd", chain="three", step=2))
    round, _ = tell(collecting(*rules), "approve", "dan", "c")
    round, _ = tell(round, "reject", "ana", "a", comment="no")
    assert states(round)["c2"] in ("revoked", "requested")
    for approval in round.requested:
        round, _ = tell(round, "approve", approval.holders[0], approval)
    assert round.status is RoundStatus.REJECTED


def test_taking_back_while_collecting_asks_the_same_person_again_and_still_ends_rejected() -> None:
    round, _ = tell(collecting(a_rule("a", "ana"), a_rule("b", "bob"), a_rule("c", "cyd")), "approve", "bob", "b")
    round, _ = tell(round, "reject", "ana", "a", comment="no")
    round, outcome = tell(round, "take_back", "bob", "b")
    assert (outcome.code, set(round.waiting_on)) == ("taken_back", {"bob", "cyd"})
    round, _ = tell(round, "approve", "bob", "b")
    round, _ = tell(round, "approve", "cyd", "c")
    assert round.status is RoundStatus.REJECTED


def test_time_ends_what_nobody_answers_while_collecting() -> None:
    rules = (a_rule("a", "ana"), a_rule("b", "bob", expire_after_hours=1))
    round, _ = tell(collecting(*rules), "reject", "ana", "a", comment="no")
    late, _ = apply(round, expiry(RUN, round.seq), NOW + timedelta(hours=2))
    assert (late.status, states(late)) == (RoundStatus.REJECTED, {"a": "rejected", "b": "expired"})


# --- lifetime ---------------------------------------------------------------------------------------------------------


def test_an_approval_is_good_for_as_long_as_the_policy_says() -> None:
    round = a_round(a_policy(a_rule("s1", "ana"), valid_for_days=30), TEAM)
    assert round.valid_until is None
    assert tell(round, "approve", "ana", "s1")[0].valid_until == NOW + timedelta(days=30)
    assert tell(round, "reject", "ana", "s1", comment="no")[0].valid_until is None


def test_what_was_approved_too_long_ago_does_not_carry() -> None:
    condition = Condition(index=1, field="discount_percent", operator="greater_than", value=5, smart=True)
    policy = a_policy(a_rule("r", "ana", condition), valid_for_days=30)
    subject = a_subject(discount="10")
    first = planned(policy, TEAM, subject=subject).approvals[0]
    now = TEAM.model_copy(update={"at": NOW})
    for age, carries in ((timedelta(days=30, minutes=-1), True), (timedelta(days=30), False)):
        at = NOW - age
        given = PriorApproval(
            rule="r", approver="ana", basis=first.basis, number=1, by=("ana",), at=at, grounds=first.grounds
        )
        found = plan(policy, subject, now, "rita", "draft", TODAY, Past([given]))[0].approvals[0]
        assert (found.carried is not None, found.again) == (carries, () if carries else ("it was given too long ago",))
