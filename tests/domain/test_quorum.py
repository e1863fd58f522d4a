"""A quorum is distinct humans, and asks somebody who can act, or says that nobody can."""

from datetime import date, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals.acts import apply
from domain.approvals.matching import most_votes
from domain.approvals.plan import Plan
from domain.approvals.policy import Who
from domain.approvals.quorum import missing_votes
from domain.approvals.round import Round
from domain.delegation import Delegation
from domain.people import Directory
from domain.runs import Outcome
from tests.support import NOW, TODAY, a_policy, a_round, a_rule, act, people, planned, states, tell, with_group

TEAM = with_group(people("ana", "bob", "cyd", "dan", "eve"), "desk", "ana", "bob", "cyd")


def vote(round: Round, who: str, behalf: str | None = None, verb: str = "approve") -> tuple[Round, Outcome]:
    command = act(verb, who, approval=round.approvals[0].id, comment="so")
    return apply(round, command.model_copy(update={"on_behalf_of": behalf}), NOW)


def away(*pairs: tuple[str, str], last: date | None = None) -> Directory:
    """The team with these people away, each with who stands in."""
    given = tuple(
        Delegation(id=f"d{n}", person=a, delegate=b, first=TODAY, last=last) for n, (a, b) in enumerate(pairs)
    )
    return TEAM.model_copy(update={"delegations": given, "at": NOW})


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_who_voted_does_not_vote_again_for_a_colleague(second: str) -> None:
    round, _ = vote(a_round(a_policy(a_rule("g", Who(group="desk", quorum=2))), TEAM), "ana")
    after, outcome = vote(round, "ana", "bob", second)
    assert (outcome.code, outcome.facts["holders"]) == ("already_voted", ["bob", "cyd"])
    assert "bob, cyd can still vote" in outcome.sentence
    assert states(after) == {"g": "requested"}
    assert states(vote(round, "bob")[0]) == {"g": "approved"}


def test_an_outsider_who_stands_in_for_everybody_votes_once() -> None:
    round, _ = vote(a_round(a_policy(a_rule("g", Who(group="desk", quorum="all"))), TEAM), "dan", "ana")
    assert vote(round, "dan", "bob")[1].code == "already_voted"


def test_who_voted_for_somebody_is_not_handed_a_place_as_well() -> None:
    round, _ = vote(a_round(a_policy(a_rule("g", Who(group="desk", quorum=2))), TEAM), "dan", "ana")
    _, outcome = tell(round, "delegate", "bob", "g", to="dan")
    assert outcome.code == "already_an_approver"


def test_a_group_with_too_few_humans_there_goes_to_the_fallback_or_says_who_is_away_until_when() -> None:
    rule = a_rule("g", Who(group="desk", quorum=2), fallback=Who(user="eve"))
    directory = away(("ana", "cyd"), ("bob", "cyd"), last=TODAY + timedelta(days=12))
    assert [a.seats for a in planned(a_policy(rule), directory).approvals] == [("eve",)]
    plan = planned(a_policy(rule.model_copy(update={"fallback": None})), directory)
    assert plan.unresolved[0].why == (
        "ana is away until 2026-03-14, and cyd stands in; bob is away until 2026-03-14, and cyd stands in; "
        "1 of group desk can vote now, 2 needed"
    )


@pytest.mark.parametrize(
    ("quorum", "absences", "found"),
    [
        (2, [("ana", "bob")], True),
        ("all", [("ana", "bob")], False),
        ("all", [("ana", "dan")], True),
        ("all", [("ana", "dan"), ("bob", "dan")], False),
        ("all", [("ana", "dan"), ("bob", "eve")], True),
        (3, [("ana", "bob"), ("bob", "dan")], False),
        ("any", [("ana", "dan"), ("bob", "dan"), ("cyd", "dan")], True),
        ("any", [("ana", "rita"), ("bob", "rita"), ("cyd", "rita")], False),
    ],
)
def test_a_quorum_counts_the_humans_who_are_there(quorum: object, absences: list[tuple[str, str]], found: bool) -> None:
    policy = a_policy(a_rule("g", Who(group="desk", quorum=quorum)))  # type: ignore[arg-type]
    plan: Plan = planned(policy, away(*absences))
    assert bool(plan.approvals) is found
    assert bool(plan.unresolved) is not found


def test_one_person_is_asked_all_the_same_and_the_plan_says_that_nobody_can_decide_until_they_are_back() -> None:
    (approval,) = planned(a_policy(a_rule("r", "ana")), away(("ana", "rita"))).approvals
    assert approval.seats == ("ana",)
    assert "nobody can until they are back" in approval.notes[0]


@given(st.dictionaries(st.sampled_from("ABCD"), st.frozensets(st.sampled_from("wxyz")), max_size=4))
def test_the_most_votes_are_the_largest_matching(voters: dict[str, frozenset[str]]) -> None:
    """Checked against every way to give the seats different humans."""
    seats = list(voters)
    humans = ["w", "x", "y", "z"]
    ways = permutations(humans, len(seats))
    best = max((sum(h in voters[s] for s, h in zip(seats, way, strict=True)) for way in ways), default=0)
    assert most_votes(voters) == best


@pytest.mark.parametrize(
    ("quorum", "votes", "absences", "missing"),
    [
        (2, [], [], 0),
        (2, [], [("ana", "bob"), ("cyd", "bob")], 1),
        (2, ["bob"], [("ana", "bob"), ("cyd", "bob")], 1),
        (2, ["ana"], [("ana", "bob"), ("cyd", "bob")], 0),
        ("all", ["ana"], [("cyd", "ana")], 1),
        ("any", [], [("ana", "rita"), ("bob", "rita"), ("cyd", "rita")], 1),
    ],
)
def test_a_round_knows_how_many_votes_nobody_there_can_give(
    quorum: object, votes: list[str], absences: list[tuple[str, str]], missing: int
) -> None:
    round = a_round(a_policy(a_rule("g", Who(group="desk", quorum=quorum))), TEAM)  # type: ignore[arg-type]
    for who in votes:
        round, _ = vote(round, who)
    assert missing_votes(round.approvals[0], away(*absences), "quote", round.barred) == missing
