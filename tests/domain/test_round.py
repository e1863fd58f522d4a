from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals.acts import RoundMachine, apply
from domain.approvals.escalation import escalation_targets
from domain.approvals.narrate import visible
from domain.approvals.notices import notices
from domain.approvals.policy import Chain, Who
from domain.approvals.round import ApprovalStatus, Round, RoundStatus
from domain.runs import Command, expiry
from tests.support import NOW, RUN, a_policy, a_round, a_rule, act, people, states, tell, with_group

TEAM = people("ana", "bob", "cyd", "dan")


def series(*names: str, **fields: Any) -> Round:
    """One chain, a step for each name; rules are called s1, s2, …"""
    rules = [a_rule(f"s{n}", name, chain="main", step=n, **fields) for n, name in enumerate(names, 1)]
    return a_round(a_policy(*rules), TEAM)


def test_a_round_without_approvals_is_approved_when_opened() -> None:
    assert a_round(a_policy(), TEAM).status is RoundStatus.APPROVED


@pytest.mark.parametrize(
    ("late", "since"), [(0, 0), (0.01, 0), (60, 0), (61, 61), (86_400, 86_400), (-5, -5)],
    ids=["at once", "a moment later", "a minute later", "after an outage", "a day later", "a slow clock"],
)  # fmt: skip
def test_waiting_counts_from_the_submission_unless_asking_could_only_begin_later(late: float, since: float) -> None:
    new = a_round(a_policy(a_rule("s1", "ana")), TEAM, opened=False).model_copy(update={"submitted_at": NOW})
    round, _ = apply(new, act("open", "rita"), NOW + timedelta(seconds=late))
    (approval,) = round.approvals
    assert round.opened_at == approval.requested_at == NOW + timedelta(seconds=since)


def test_a_new_round_is_listed_as_it_will_stand_once_it_is_opened() -> None:
    rules = (a_rule("s1", "ana", remind_every_hours=4), a_rule("s2", "bob"))
    new = a_round(a_policy(*rules), TEAM, opened=False).model_copy(update={"submitted_at": NOW})
    opened, _ = apply(new, act("open", "rita"), NOW + timedelta(seconds=1))
    assert visible(new) == visible(opened)
    assert visible(new).waiting_on == ("ana", "bob")


def test_steps_are_asked_one_after_another() -> None:
    round = series("ana", "bob")
    assert round.waiting_on == ["ana"]
    round, _ = tell(round, "approve", "ana", "s1")
    assert round.waiting_on == ["bob"]
    round, outcome = tell(round, "approve", "bob", "s2")
    assert (round.status, outcome.facts["state"]) == (RoundStatus.APPROVED, "approved")


def test_the_same_step_and_other_chains_run_in_parallel() -> None:
    rules = (a_rule("a", "ana", chain="one"), a_rule("b", "bob", chain="one"), a_rule("c", "cyd"))
    assert set(a_round(a_policy(*rules), TEAM).waiting_on) == {"ana", "bob", "cyd"}


def test_a_chain_waits_for_the_chains_it_comes_after() -> None:
    chains = [Chain(name="one"), Chain(name="two", after=("one",))]
    policy = a_policy(a_rule("a", "ana", chain="one"), a_rule("b", "bob", chain="two"), chains=chains)
    round = a_round(policy, TEAM)
    assert round.waiting_on == ["ana"]
    assert tell(round, "approve", "ana", "a")[0].waiting_on == ["bob"]


def test_one_rejection_ends_the_round_and_revokes_the_rest() -> None:
    round, _ = tell(series("ana", "bob"), "reject", "ana", "s1", comment="too cheap")
    assert (round.status, states(round)) == (RoundStatus.REJECTED, {"s1": "rejected", "s2": "revoked"})


def refusal(round: Round, *args: Any, **payload: Any) -> str:
    after, outcome = tell(round, *args, **payload)
    assert after.model_copy(update={"seq": round.seq}) == round, "a refusal changes nothing but the sequence number"
    assert not outcome.applied
    assert outcome.sentence
    return outcome.code


def test_every_refusal_has_its_code() -> None:
    round = series("ana", "bob")
    assert refusal(round, "approve", "bob", "s2") == "not_your_turn"
    assert refusal(round, "approve", "cyd", "s1") == "not_an_approver"
    assert refusal(round, "approve", "rita", "s1") == "own_submission"
    assert refusal(round, "approve", "ana", "s1", digest="0" * 64) == "stale_version"
    assert refusal(round, "reject", "ana", "s1", comment="  ") == "comment_required"
    assert refusal(round, "approve", "ana") == "unknown_approval"
    assert refusal(round, "delegate", "ana", "s1") == "invalid"
    assert refusal(round, "delegate", "ana", "s1", to="rita") == "own_submission"
    assert refusal(round, "delegate", "ana", "s1", to="ana") == "already_an_approver"
    assert refusal(round, "recall", "ana") == "not_the_submitter"
    assert refusal(round, "dance", "ana") == "unknown_verb"
    assert refusal(round, "expire", "ana") == "unknown_verb"
    approved, _ = tell(round, "approve", "ana", "s1")
    assert refusal(approved, "approve", "ana", "s1") == "already_decided"
    assert refusal(approved, "reassign", "root", "s1", to="dan") == "already_decided"
    closed, _ = tell(approved, "approve", "bob", "s2")
    assert refusal(closed, "approve", "bob", "s2") == "round_closed"
    unopened = a_round(a_policy(a_rule()), TEAM, opened=False)
    assert refusal(unopened, "approve", "ana", "r") == "round_closed"


def test_a_late_decision_is_told_who_decided_and_when() -> None:
    directory = with_group(TEAM, "desk", "ana", "bob")
    policy = a_policy(a_rule("g", Who(group="desk"), chain="m", step=1), a_rule("n", "cyd", chain="m", step=2))
    round, _ = tell(a_round(policy, directory), "approve", "ana", "g")
    _, late = tell(round, "approve", "bob", "g")
    assert (late.code, late.facts["by"], late.facts["at"]) == ("already_decided", "ana", NOW.isoformat())


@pytest.mark.parametrize(
    ("quorum", "votes", "expected"),
    [
        ("any", ["ana+"], "approved"),
        ("any", ["ana-"], "rejected"),
        ("all", ["ana+", "bob+"], "requested"),
        ("all", ["ana+", "bob+", "cyd+"], "approved"),
        ("all", ["ana+", "bob-"], "rejected"),
        (2, ["ana+", "bob-"], "requested"),
        (2, ["ana+", "bob-", "cyd+"], "approved"),
        (2, ["ana-", "bob-"], "rejected"),
    ],
)
def test_a_quorum_settles_a_group(quorum: Any, votes: list[str], expected: str) -> None:
    directory = with_group(TEAM, "desk", "ana", "bob", "cyd")
    round = a_round(a_policy(a_rule("g", Who(group="desk", quorum=quorum))), directory)
    for vote in votes:
        round, outcome = tell(round, "approve" if vote[-1] == "+" else "reject", vote[:-1], "g", comment="because")
        assert outcome.applied
    assert states(round) == {"g": expected}


def test_a_member_counts_once() -> None:
    directory = with_group(TEAM, "desk", "ana", "bob")
    round, _ = tell(a_round(a_policy(a_rule("g", Who(group="desk", quorum=2))), directory), "approve", "ana", "g")
    assert refusal(round, "approve", "ana", "g") == "already_decided"


def test_delegating_hands_the_approval_over_and_restarts_its_clock() -> None:
    round = series("ana", expire_after_hours=Decimal(2))
    later = NOW + timedelta(hours=1)
    after, outcome = tell(round, "delegate", "ana", "s1", at=later, to="dan")
    assert outcome.facts == {"from": "ana", "to": "dan", "approval": round.approvals[0].id}
    assert (after.waiting_on, after.due) == (["dan"], later + timedelta(hours=2))
    assert refusal(after, "approve", "ana", "s1") == "not_an_approver"


def test_an_admin_reassigns_a_waiting_or_requested_approval() -> None:
    round, _ = tell(series("ana", "bob"), "reassign", "root", "s2", to="dan")
    round, _ = tell(round, "reassign", "root", "s1", **{"from": "ana", "to": "cyd"})
    assert round.waiting_on == ["cyd"]
    assert refusal(round, "reassign", "root", "s1", **{"from": "ana", "to": "bob"}) == "not_an_approver"


def test_the_submitter_or_an_admin_recalls() -> None:
    assert tell(series("ana"), "recall", "rita")[0].status is RoundStatus.RECALLED
    assert tell(series("ana"), "recall", "adam", authority="approvals_admin")[0].status is RoundStatus.RECALLED


def test_a_round_expires_with_its_approval() -> None:
    round = series("ana", "bob", expire_after_hours=Decimal("1.5"))
    assert round.due == NOW + timedelta(minutes=90)
    _, early = apply(round, expiry(RUN, round.seq), NOW)
    assert early.code == "not_due"
    expired, _ = apply(round, expiry(RUN, round.seq), round.due)
    assert (expired.status, expired.due) == (RoundStatus.EXPIRED, None)
    assert states(expired) == {"s1": "expired", "s2": "revoked"}


# --- one decision covers the same person's others


def test_a_run_of_steps_of_one_person_needs_one_decision() -> None:
    round, _ = tell(series("ana", "ana", "bob", "ana"), "approve", "ana", "s1")
    assert states(round) == {"s1": "approved", "s2": "covered", "s3": "requested", "s4": "waiting"}
    round, _ = tell(round, "approve", "bob", "s3")
    assert states(round)["s4"] == "requested"


def test_covering_reaches_the_same_person_in_other_chains() -> None:
    rules = (
        a_rule("a", "ana", chain="one"), a_rule("b", "ana", chain="two"),
        a_rule("c", "bob", chain="three", step=1), a_rule("d", "ana", chain="three", step=2),
    )  # fmt: skip
    round, _ = tell(a_round(a_policy(*rules), TEAM), "approve", "ana", "a")
    assert states(round) == {"a": "approved", "b": "covered", "c": "requested", "d": "covered"}


def test_a_chain_that_the_decision_itself_sets_going_is_reached_by_one_step_only() -> None:
    """X: [ana]; Y comes after X: [bob], [ana]. That is A, B, A."""
    chains = [Chain(name="x"), Chain(name="y", after=("x",))]
    rules = (
        a_rule("a", "ana", chain="x"),
        a_rule("b", "bob", chain="y", step=1),
        a_rule("c", "ana", chain="y", step=2),
    )
    round, _ = tell(a_round(a_policy(*rules, chains=chains), TEAM), "approve", "ana", "a")
    assert states(round) == {"a": "approved", "b": "requested", "c": "waiting"}


def test_an_explicit_approval_is_never_covered() -> None:
    rules = (a_rule("a", "ana", chain="one"), a_rule("b", "ana", chain="two", explicit=True))
    round, _ = tell(a_round(a_policy(*rules), TEAM), "approve", "ana", "a")
    assert states(round)["b"] == "requested"


def test_a_group_seat_is_not_covered_by_a_decision_of_ones_own() -> None:
    directory = with_group(TEAM, "desk", "ana", "bob")
    rules = (a_rule("a", "ana", chain="one"), a_rule("g", Who(group="desk"), chain="two"))
    round, _ = tell(a_round(a_policy(*rules), directory), "approve", "ana", "a")
    assert states(round)["g"] == "requested"


# --- laws

PEOPLE = ("ana", "bob", "cyd", "dan", "rita", "eve")


@st.composite
def policies(draw: st.DrawFn) -> Any:
    quorums = st.sampled_from(["any", "all", 2])
    asks = st.one_of(st.sampled_from(["ana", "bob", "cyd"]), quorums.map(lambda q: Who(group="desk", quorum=q)))
    chains = ["one", "two", "three"]
    rules = [
        a_rule(
            f"r{n}", draw(asks), chain=draw(st.sampled_from(chains)), step=draw(st.integers(1, 3)),
            explicit=draw(st.booleans()), expire_after_hours=draw(st.sampled_from([None, Decimal(1)])),
            consult_hours=draw(st.sampled_from([None, Decimal(2)])),
        )
        for n in range(draw(st.integers(0, 5)))
    ]  # fmt: skip
    told = [rule.model_copy(update={"effect": "inform"}) if draw(st.integers(0, 4)) == 0 else rule for rule in rules]
    after = [Chain(name="one"), Chain(name="two"), Chain(name="three", after=("one",) if draw(st.booleans()) else ())]
    return a_policy(*told, chains=after, on_rejection=draw(st.sampled_from(["end", "collect"])))


@st.composite
def commands(draw: st.DrawFn, round: Round) -> Command:
    verb = draw(st.sampled_from(["approve"] * 4 + list(RoundMachine.verbs) + ["?"]))
    ids = [a.id for a in round.approvals] or ["none"]
    payload = {"approval": draw(st.sampled_from(ids)), "comment": draw(st.sampled_from(["", "no"])),
               "to": draw(st.sampled_from(PEOPLE)), "from": draw(st.sampled_from(PEOPLE)),
               "seats": draw(st.lists(st.sampled_from(PEOPLE), max_size=2))}  # fmt: skip
    return act(verb, draw(st.sampled_from(PEOPLE)), **payload)


@given(st.data(), policies())
def test_laws_of_a_round(data: st.DataObject, policy: Any) -> None:
    """Whatever anybody sends in whatever order: one outcome, nothing lost, nobody decides for themselves."""
    round = a_round(policy, with_group(TEAM, "desk", "ana", "bob", "cyd"))
    required, at, opened = [a.id for a in round.approvals], NOW, round
    for _ in range(data.draw(st.integers(0, 25))):
        at += timedelta(minutes=data.draw(st.sampled_from([0, 30, 90])))
        command = expiry(RUN, round.seq) if data.draw(st.booleans()) and round.due else data.draw(commands(round))
        before = round
        round, outcome = apply(before, command, at)
        assert round.seq == before.seq + 1
        assert [a.id for a in round.approvals][: len(before.approvals)] == [a.id for a in before.approvals]
        assert len(round.approvals) == len(before.approvals) + (outcome.code == "added")
        assert outcome.applied or round.model_copy(update={"seq": before.seq}) == before
        if not before.running:
            assert not outcome.applied, "an ended round stays as it ended"
        for approval in round.approvals:
            voters = [s.holder for s in approval.seats if s.vote] + [s.by for s in approval.seats if s.by]
            assert not {"rita"} & set(voters), "the submitter never decides"
            if approval.status is ApprovalStatus.APPROVED:
                assert sum(s.vote == "approved" for s in approval.seats) >= approval.needed
            if approval.status is ApprovalStatus.COVERED:
                giver = round.approval(approval.covered_by)
                assert giver is not None
                assert giver.status is ApprovalStatus.APPROVED
                assert [s.holder for s in giver.seats] == [s.holder for s in approval.seats]
        if round.status is RoundStatus.APPROVED:
            assert all(a.status.settled for a in round.approvals)
            assert set(required) <= {a.id for a in round.approvals}
        elif round.status is RoundStatus.PENDING:
            assert round.waiting_on, "somebody is always asked while a round is pending"
        else:
            assert not any(a.status.open for a in round.approvals)
    assert Round.model_validate(round.stored()) == round
    told = [notice.id for notice in notices(RUN, opened, round, [])]
    assert len(set(told)) == len(told), "however much one record stores, no two messages have one id"


@given(
    st.text(max_size=300),
    st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text() | st.lists(st.none())),
)
def test_apply_never_raises(verb: str, payload: dict[str, Any]) -> None:
    for known in (verb, *RoundMachine.verbs, "expire"):
        apply(series("ana"), act(known, verb[:64], **{"approval": payload.get("approval"), **{}}), NOW)
        apply(series("ana"), Command(id="x", run=RUN, actor="ana", verb=known, payload=payload), NOW)


# --- time -----------------------------------------------------------------------------------------------------------


def tick(round: Round, **later: float) -> Any:
    at = NOW + timedelta(**later)
    return apply(round, expiry(RUN, round.seq), at)


PATIENCE = {"remind_every_hours": 4, "escalate_after_hours": 10, "expire_after_hours": 24}
CHAIN = people("ana", boss=(None, None), bob=("boss", None))


def test_time_reminds_then_escalates_then_ends() -> None:
    round = a_round(a_policy(a_rule("r", "bob", **PATIENCE)), CHAIN)
    assert round.due == NOW + timedelta(hours=4)
    round, outcome = tick(round, hours=4)
    assert (outcome.code, round.due) == ("reminded", NOW + timedelta(hours=8))
    round, outcome = tick(round, hours=8)
    assert (outcome.code, round.due) == ("reminded", NOW + timedelta(hours=10))
    round, outcome = tick(round, hours=10)
    assert (outcome.code, round.waiting_on) == ("escalated", ["bob", "boss"])
    round, outcome = tick(round, hours=24)
    assert (outcome.code, round.status, round.due) == ("expired", RoundStatus.EXPIRED, None)


def test_whoever_it_escalated_to_may_decide_and_the_holder_still_may_too() -> None:
    escalated, _ = tick(a_round(a_policy(a_rule("r", "bob", **PATIENCE)), CHAIN), hours=10)
    for who in ("bob", "boss"):
        assert tell(escalated, "approve", who, "r")[0].status is RoundStatus.APPROVED
        assert tell(escalated, "reject", who, "r", comment="no")[0].status is RoundStatus.REJECTED


def test_the_clock_starts_anew_with_a_new_holder() -> None:
    round, _ = tick(a_round(a_policy(a_rule("r", "bob", **PATIENCE)), CHAIN), hours=4)
    handed, _ = tell(round, "delegate", "bob", "r", at=NOW + timedelta(hours=5), to="ana")
    assert handed.due == NOW + timedelta(hours=9)
    assert handed.approvals[0].due == NOW + timedelta(hours=29)


def test_a_group_that_must_all_agree_still_must_after_an_escalation() -> None:
    both = with_group(CHAIN, "g", "ana", "bob")
    rule = a_rule("r", Who(group="g", quorum="all"), escalate_after_hours=1, escalate_to=Who(user="boss"))
    round, _ = tick(a_round(a_policy(rule), both), hours=1)
    assert tell(round, "reject", "ana", "r", comment="no")[0].status is RoundStatus.REJECTED
    half, _ = tell(round, "approve", "ana", "r")
    assert half.status is RoundStatus.PENDING
    assert tell(half, "approve", "boss", "r")[0].status is RoundStatus.APPROVED


def test_a_tick_before_its_time_does_nothing() -> None:
    round = a_round(a_policy(a_rule("r", "bob", **PATIENCE)), CHAIN)
    after, outcome = tick(round, hours=3)
    assert (outcome.code, after.approvals) == ("not_due", round.approvals)


ACTS = st.sampled_from(
    ["tick", "approve ana", "approve bob", "approve boss", "reject bob", "delegate bob", "recall rita"]
)


@given(st.lists(st.tuples(ACTS, st.integers(0, 12)), max_size=12))
def test_a_round_ends_once_whatever_the_order_of_people_and_time(story: list[tuple[str, int]]) -> None:
    """Time passes and people act in any order: one outcome, nothing asked after the end, nobody decides twice."""
    rules = (a_rule("r", "bob", chain="c", step=1, **PATIENCE), a_rule("s", "ana", chain="c", step=2, **PATIENCE))
    round = a_round(a_policy(*rules), CHAIN)
    at, ended = NOW, None
    for doing, hours in story:
        at += timedelta(hours=hours)
        verb, _, who = doing.partition(" ")
        named = round.requested[0] if round.requested else round.approvals[0]
        command = (
            expiry(RUN, round.seq) if verb == "tick" else act(verb, who, approval=named.id, comment="x", to="boss")
        )
        round, outcome = apply(round, command, at)
        if ended is not None:
            assert (round.status, outcome.applied) == (ended, False)
        elif not round.running:
            ended = round.status
    if ended is not None:
        assert (round.requested, round.due) == ([], None)
        assert all(not a.status.open for a in round.approvals)
    for approval in round.approvals:
        assert len({seat.holder for seat in approval.seats}) == len(approval.seats)


# --- taking back ----------------------------------------------------------------------------------------------------


def test_an_approval_is_taken_back_while_nothing_was_built_on_it() -> None:
    round, _ = tell(series("ana", "bob"), "approve", "ana", "s1")
    undone, outcome = tell(round, "take_back", "ana", "s1")
    assert (outcome.code, states(undone), undone.waiting_on) == (
        "taken_back", {"s1": "requested", "s2": "waiting"}, ["ana"],
    )  # fmt: skip
    again, _ = tell(undone, "approve", "ana", "s1")
    assert again.waiting_on == ["bob"]


def test_what_a_later_decision_was_built_on_stays() -> None:
    round, _ = tell(series("ana", "bob", "cyd"), "approve", "ana", "s1")
    round, _ = tell(round, "approve", "bob", "s2")
    after, outcome = tell(round, "take_back", "ana", "s1")
    assert (outcome.code, after.approvals) == ("built_on", round.approvals)


def test_taking_back_also_uncovers_what_it_covered_and_stops_chains_that_waited() -> None:
    rules = (a_rule("a", "ana", chain="one"), a_rule("b", "ana", chain="two"), a_rule("c", "bob", chain="three"))
    policy = a_policy(*rules, chains=(Chain(name="three", after=("one", "two")),))
    round, _ = tell(a_round(policy, TEAM), "approve", "ana", "a")
    assert states(round) == {"a": "approved", "b": "covered", "c": "requested"}
    undone, _ = tell(round, "take_back", "ana", "a")
    assert states(undone) == {"a": "requested", "b": "requested", "c": "waiting"}


def test_only_who_gave_it_takes_it_back_and_only_while_the_round_runs() -> None:
    round, _ = tell(series("ana", "bob"), "approve", "ana", "s1")
    assert tell(round, "take_back", "bob", "s1")[1].code == "not_an_approver"
    done, _ = tell(round, "approve", "bob", "s2")
    assert tell(done, "take_back", "ana", "s1")[1].code == "round_closed"


def test_one_of_a_group_takes_back_their_vote_alone() -> None:
    three = with_group(TEAM, "g", "ana", "bob", "cyd")
    round = a_round(a_policy(a_rule("r", Who(group="g", quorum=2))), three)
    round, _ = tell(round, "approve", "ana", "r")
    undone, outcome = tell(round, "take_back", "ana", "r")
    assert (outcome.applied, undone.waiting_on) == (True, ["ana", "bob", "cyd"])


# --- what is built on something undone ----------------------------------------------------------------------------------


def crossing() -> Round:
    """ana decides the first step of two chains at once; bob the second of the other one."""
    rules = (
        a_rule("a", "ana", chain="one"),
        a_rule("b", "ana", chain="two", step=1),
        a_rule("c", "bob", chain="two", step=2),
    )
    return a_round(a_policy(*rules), TEAM)


def test_what_followed_from_what_was_covered_waits_again() -> None:
    round, _ = tell(crossing(), "approve", "ana", "a")
    assert states(round) == {"a": "approved", "b": "covered", "c": "requested"}
    round, _ = tell(round, "take_back", "ana", "a")
    assert states(round) == {"a": "requested", "b": "requested", "c": "waiting"}


def test_a_decision_built_on_what_was_covered_forbids_taking_it_back() -> None:
    steps = (a_rule("b", "ana", chain="two", step=1), a_rule("c", "bob", chain="two", step=2))
    policy = a_policy(a_rule("a", "ana", chain="one"), *steps, a_rule("d", "cyd", chain="two", step=3))
    round, _ = tell(a_round(policy, TEAM), "approve", "ana", "a")
    round, _ = tell(round, "approve", "bob", "c")
    assert refusal(round, "take_back", "ana", "a") == "built_on"


def test_a_vote_in_a_group_that_rejected_is_not_taken_back() -> None:
    directory = with_group(TEAM, "g", "ana", "bob")
    rules = (a_rule("g", Who(group="g", quorum="all")), a_rule("r", "cyd"))
    round, _ = tell(a_round(a_policy(*rules, on_rejection="collect"), directory), "approve", "ana", "g")
    round, _ = tell(round, "reject", "bob", "g", comment="no")
    assert (round.status, states(round)["g"]) == (RoundStatus.PENDING, "rejected")
    assert refusal(round, "take_back", "ana", "g") == "already_decided"


# --- every property of a seat survives ------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["delegate", "reassign"])
def test_an_escalated_seat_stays_one_whoever_holds_it(verb: str) -> None:
    rule = a_rule("r", "ana", escalate_after_hours=1, escalate_to=Who(user="bob"))
    round, _ = apply(a_round(a_policy(rule), TEAM), expiry(RUN, 1), NOW + timedelta(hours=1))
    assert round.waiting_on == ["ana", "bob"]
    round, outcome = tell(round, verb, "bob" if verb == "delegate" else "root", "r", to="cyd", **{"from": "bob"})
    assert outcome.applied
    assert round.requested[0].seat_of("cyd").escalated  # type: ignore[union-attr]
    rejected, _ = tell(round, "reject", "cyd", "r", comment="no")
    assert rejected.status is RoundStatus.REJECTED, "one rejection of a single approval rejects it"


# --- who is asked when time has passed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("escalation", "holders", "expected"),
    [
        ("manager", ["ana"], ("mia",)),
        ("manager", ["bob"], ("max",)),
        ("manager", ["max"], ()),
        ("manager", ["max", "bob"], ()),
        ("user:cyd", ["ana"], ("cyd",)),
        ("user:gone", ["ana"], ()),
        ("group:g", ["ana"], ("bob", "cyd")),
        ("", ["ana"], ()),
    ],
)
def test_the_manager_of_the_present_holder_is_asked(
    escalation: str, holders: list[str], expected: tuple[str, ...]
) -> None:
    directory = with_group(people("cyd", ana=("mia", None), bob=("max", None), mia=("max", None), max=(None, None)),
                           "g", "ana", "bob", "cyd")  # fmt: skip
    assert escalation_targets(escalation, holders, directory, [*holders, "rita"]) == expected


def test_with_nobody_to_ask_the_history_says_so() -> None:
    rule = a_rule("r", "ana", escalate_after_hours=1)
    round, outcome = apply(a_round(a_policy(rule), TEAM), expiry(RUN, 1), NOW + timedelta(hours=1))
    assert (outcome.code, outcome.facts["nobody_to_ask"]) == ("nobody_to_ask", [round.approvals[0].id])
    assert round.waiting_on == ["ana"]
    assert round.due is None, "it is not tried again every minute"


def test_replacing_somebody_moves_what_would_escalate_to_them() -> None:
    rule = a_rule("r", "ana", escalate_after_hours=1, escalate_to=Who(user="bob"))
    round, outcome = tell(a_round(a_policy(rule), TEAM), "reassign", "root", "r", to="cyd", **{"from": "bob"})
    assert (outcome.code, round.approvals[0].escalation, round.waiting_on) == ("reassigned", "user:cyd", ["ana"])
    round, _ = apply(round, expiry(RUN, 1), NOW + timedelta(hours=1))
    assert round.waiting_on == ["ana", "cyd"]


@pytest.mark.parametrize(
    ("quorum", "before", "expected"),
    [("all", [], "requested"), ("all", ["bob"], "approved"), (2, [], None), ("any", [], "requested")],
)
def test_who_follows_a_colleague_of_the_same_group_keeps_one_place(
    quorum: Any, before: list[str], expected: str | None
) -> None:
    directory = with_group(TEAM, "g", "ana", "bob")
    round = a_round(a_policy(a_rule("g", Who(group="g", quorum=quorum))), directory)
    for who in before:
        round, _ = tell(round, "approve", who, "g")
    round, outcome = tell(round, "reassign", "root", "g", to="bob", **{"from": "ana"})
    if expected is None:
        assert outcome.code == "already_an_approver"
    else:
        assert (states(round)["g"], [s.holder for s in round.approvals[0].seats]) == (expected, ["bob"])


def test_who_was_asked_late_takes_over_the_ordinary_place_of_somebody_who_leaves() -> None:
    directory = with_group(people("ana", "bob", "eve"), "g", "ana", "bob")
    rule = a_rule("r", Who(group="g", quorum=2), escalate_after_hours=1, escalate_to=Who(user="eve"))
    round = a_round(a_policy(rule), directory)
    late = round.requested[0].model_copy(update={"escalate_to": ("eve",)})
    round, _ = tick(round.model_copy(update={"approvals": (late,)}), hours=1)
    round, _ = tell(round, "approve", "ana", "r")
    command = {"to": "eve", "from": "bob", "authority": "approvals_admin"}
    round, outcome = tell(round, "reassign", "adam", "r", **command)
    assert (outcome.applied, round.status, round.waiting_on) == (True, RoundStatus.PENDING, ["eve"])
    assert tell(round, "approve", "eve", "r")[0].status is RoundStatus.APPROVED
