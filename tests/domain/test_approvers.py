"""Who is found for a rule: by the lines' own fields, in narrowed groups; and how long they will take."""

from decimal import Decimal

import pytest

from domain.approvals.expected import expected_hours
from domain.approvals.plan import Past, Plan, plan
from domain.approvals.policy import Chain, Condition, Narrowing, Who
from domain.approvals.smart import PriorApproval
from domain.people import Directory
from tests.support import NOW, a_line, a_policy, a_quote, a_rule, a_subject, people, planned, with_group

TEAM = people("ana", "bob", "cyd", "dan", rita=("cyd", None))
BY_LINE = Who(line_field="product_manager")


def lines(*managers: str | None) -> list[dict[str, object]]:
    return [a_line(str(n), product_manager=who) for n, who in enumerate(managers, 1)]


def found(plan: Plan) -> list[tuple[tuple[str, ...], str]]:
    return [(a.seats, a.reasons[-1]) for a in plan.approvals]


def test_each_person_the_lines_name_is_asked_once_about_their_lines_all_at_the_same_time() -> None:
    needed = planned(a_policy(a_rule("r", BY_LINE)), TEAM, subject=a_subject(lines=lines("ana", "bob", None, "ana")))
    assert found(needed) == [(("ana",), "for lines 1, 4"), (("bob",), "for line 2")]
    assert {(a.step, a.tier) for a in needed.approvals} == {(1, 0)}


def test_who_may_not_decide_their_own_line_passes_it_up_and_two_lines_may_meet_there() -> None:
    needed = planned(a_policy(a_rule("r", BY_LINE)), TEAM, subject=a_subject(lines=lines("rita", "cyd")))
    assert found(needed) == [(("cyd",), "for lines 1, 2")]


def test_a_line_nobody_could_approve_goes_to_the_fallback_or_refuses_the_submission() -> None:
    subject = a_subject(lines=lines("ana", "ghost"))
    with_fallback = planned(a_policy(a_rule("r", BY_LINE, fallback=Who(user="dan"))), TEAM, subject=subject)
    assert [a.seats for a in with_fallback.approvals] == [("dan",)]
    (nobody,) = planned(a_policy(a_rule("r", BY_LINE)), TEAM, subject=subject).unresolved
    assert "line 2 would be approved by nobody" in nobody.why


def test_lines_that_name_nobody_leave_the_rule_without_an_approver() -> None:
    (nobody,) = planned(a_policy(a_rule("r", BY_LINE)), TEAM, subject=a_subject(lines=lines(None))).unresolved
    assert "no line names anybody in product_manager" in nobody.why


def units(**of: str) -> Directory:
    directory = with_group(TEAM, "desk", "ana", "bob", "cyd")
    moved = {id: person.model_copy(update={"unit": of.get(id, "")}) for id, person in directory.people.items()}
    return directory.model_copy(update={"people": moved})


NARROWED = Who(group="desk", quorum="all", where=Narrowing(unit="region"))


def test_a_group_is_narrowed_to_those_of_the_subjects_unit() -> None:
    subject = a_subject(fields={"region": "Nordics"})
    needed = planned(
        a_policy(a_rule("r", NARROWED)), units(ana="Nordics", cyd="Nordics", bob="Iberia"), subject=subject
    )
    (approval,) = needed.approvals
    assert (approval.seats, approval.needed, approval.asked) == (
        ("ana", "cyd"), 2, "group desk of region (all): Nordics",
    )  # fmt: skip


@pytest.mark.parametrize(("fields", "why"), [({"region": "Alps"}, "region is Alps"), ({}, "region is blank")])
def test_a_narrowed_group_without_anybody_left_finds_nobody(fields: dict[str, str], why: str) -> None:
    subject = a_subject(fields=fields)
    (nobody,) = planned(a_policy(a_rule("r", NARROWED)), units(ana="Nordics"), subject=subject).unresolved
    assert why in nobody.why


def test_what_one_units_people_approved_does_not_carry_to_another_units() -> None:
    condition = Condition(index=1, field="discount_percent", operator="greater_than", value=5, smart=True)
    policy = a_policy(a_rule("r", NARROWED, condition))
    directory = units(ana="Nordics", bob="Iberia").model_copy(update={"at": NOW})
    subjects = {unit: a_subject(a_quote(discount="10", fields={"region": unit})) for unit in ("Nordics", "Iberia")}
    first = planned(policy, directory, subject=subjects["Nordics"]).approvals[0]
    given = PriorApproval(
        rule="r", approver=first.approver, basis=first.basis, number=1, by=("ana",), at=NOW, grounds=first.grounds
    )
    carried = {
        unit: plan(policy, subject, directory, "rita", "draft", NOW.date(), Past([given]))[0].approvals[0].carried
        is not None
        for unit, subject in subjects.items()
    }
    assert carried == {"Nordics": True, "Iberia": False}


# --- how long it takes ------------------------------------------------------------------------------------------------


def hours(*of: int) -> list[Decimal]:
    return [Decimal(n) for n in of]


PAST = {("ana", "a"): hours(1, 2, 30), ("bob", "b"): hours(5), ("cyd", "c"): hours(10), ("dan", "c"): hours(4)}


def test_steps_add_up_and_parallel_chains_do_not() -> None:
    rules = (a_rule("a", "ana", chain="one"), a_rule("b", "bob", chain="one", step=2), a_rule("c", "cyd"))
    needed = planned(a_policy(*rules), TEAM)
    assert expected_hours(needed, PAST) == 10
    assert expected_hours(needed, {**PAST, ("bob", "b"): hours(20)}) == 22


def test_a_chain_begins_when_those_before_it_end() -> None:
    chains = [Chain(name="one"), Chain(name="two", after=("one",))]
    policy = a_policy(a_rule("a", "ana", chain="one"), a_rule("b", "bob", chain="two"), chains=chains)
    assert expected_hours(planned(policy, TEAM), PAST) == 7


def test_a_group_takes_as_long_as_the_last_it_needs() -> None:
    directory = with_group(TEAM, "desk", "cyd", "dan")
    for quorum, expected in (("any", 4), ("all", 10)):
        needed = planned(a_policy(a_rule("c", Who(group="desk", quorum=quorum))), directory)
        assert expected_hours(needed, PAST) == expected


def test_without_history_of_somebody_needed_nothing_is_expected() -> None:
    assert expected_hours(planned(a_policy(a_rule("a", "ana"), a_rule("z", "dan")), TEAM), PAST) is None
    assert expected_hours(planned(a_policy(a_rule("z", "dan", effect="inform")), TEAM), PAST) == 0
