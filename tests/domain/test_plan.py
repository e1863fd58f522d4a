from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals import subject
from domain.approvals.evaluation import aggregated, evaluate
from domain.approvals.policy import Aggregate, Chain, Condition, Filter, Variable, Who
from domain.people import Person, Role
from domain.quotes import Quote
from tests.support import TODAY, a_line, a_policy, a_quote, a_rule, a_subject, people, planned, with_group

TEAM = people("ana", "bob", "cyd", "dan")


def over(percent: int, index: int = 1) -> Condition:
    return Condition(index=index, field="discount_percent", operator="greater_than", value=percent)


def who(plan: object) -> list[tuple[str, ...]]:
    return [a.seats for a in plan.approvals]  # type: ignore[attr-defined]


def test_a_rule_fires_with_its_reason() -> None:
    plan = planned(a_policy(a_rule("deep", "ana", over(20))), TEAM, subject=a_subject(discount="27.5"))
    assert plan.approvals[0].reasons == ("discount_percent 27.5 > 20",)


@pytest.mark.parametrize(("discount", "asked"), [("5", []), ("15", ["ana"]), ("25", ["ana", "bob"])])
def test_deeper_discounts_need_more_people(discount: str, asked: list[str]) -> None:
    policy = a_policy(a_rule("a", "ana", over(10)), a_rule("b", "bob", over(20)))
    assert [s[0] for s in who(planned(policy, TEAM, subject=a_subject(discount=discount)))] == asked


def test_rules_may_ask_for_all_any_or_a_formula() -> None:
    conditions = (over(10, 1), over(20, 2), over(30, 3))
    fires = {
        logic: bool(
            planned(
                a_policy(a_rule("r", "ana", *conditions, logic=logic)), TEAM, subject=a_subject(discount="15")
            ).approvals
        )
        for logic in ("all", "any", "1 AND NOT 2", "2 OR 3")
    }
    assert fires == {"all": False, "any": True, "1 AND NOT 2": True, "2 OR 3": False}


def test_a_rule_without_conditions_always_fires() -> None:
    assert planned(a_policy(a_rule()), TEAM).approvals[0].reasons == ("always",)


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        ({"active": False}, "inactive"),
        ({"effective_from": date(2026, 3, 3)}, "not_effective"),
        ({"effective_to": date(2026, 3, 1)}, "not_effective"),
        ({"excluded_statuses": ("draft",)}, "excluded_status"),
    ],
)
def test_a_closed_gate_keeps_a_rule_from_firing(gate: dict[str, object], why: str) -> None:
    finding = evaluate(a_policy(a_rule(**gate)), a_subject(), "draft", TODAY)[0]  # type: ignore[arg-type]
    assert (finding.fired, finding.why) == (False, why)


@pytest.mark.parametrize("day", [date(2026, 3, 1), date(2026, 3, 2)])
def test_effective_dates_are_inclusive(day: date) -> None:
    rule = a_rule(effective_from=date(2026, 3, 1), effective_to=date(2026, 3, 2))
    assert planned(a_policy(rule), TEAM, today=day).approvals


def test_an_override_field_fires_a_rule_regardless() -> None:
    policy = a_policy(a_rule("r", "ana", over(50), override_field="strategic"))
    assert planned(policy, TEAM, subject=a_subject(fields={"strategic": True})).approvals
    assert not planned(policy, TEAM, subject=a_subject(fields={"strategic": False})).approvals


LINES = [
    {"family": "EQP", "net_total": Decimal(10), "list_total": Decimal(20), "x": None},
    {"family": "EQP", "net_total": Decimal(30), "list_total": Decimal(40), "x": Decimal(4)},
    {"family": "BEV", "net_total": Decimal(50), "list_total": Decimal(50), "x": Decimal(6)},
]


@pytest.mark.parametrize(
    ("aggregate", "lines", "expected"),
    [
        ({"aggregate": "count"}, LINES, 3),
        ({"aggregate": "count", "field": "x"}, LINES, 2),
        ({"aggregate": "sum", "field": "net_total"}, LINES, 90),
        ({"aggregate": "average", "field": "x"}, LINES, 5),
        ({"aggregate": "min", "field": "x"}, LINES, 4),
        ({"aggregate": "max", "field": "net_total"}, LINES, 50),
        ({"aggregate": "sum", "field": "net_total"}, [], 0),
        ({"aggregate": "count"}, [], 0),
        ({"aggregate": "average", "field": "x"}, [], None),
        ({"aggregate": "min", "field": "x"}, [], None),
        ({"aggregate": "max", "field": "x"}, [], None),
        ({"aggregate": "discount", "list": "list_total", "net": "net_total"}, LINES[:2], Decimal(100) / 3),
        ({"aggregate": "discount", "list": "list_total", "net": "net_total"}, [], None),
    ],
)
def test_a_variable_gathers_lines(aggregate: dict[str, str], lines: list[dict[str, object]], expected: object) -> None:
    found = aggregated(
        Variable(name="v", **aggregate),  # type: ignore[arg-type]
        lambda name: [subject.testable(line.get(name)) for line in lines],
        range(len(lines)),
    )
    assert found == expected or (expected is not None and abs(found - expected) < Decimal("1e-20"))  # type: ignore[operator]


def test_variables_filter_lines_and_add_up() -> None:
    equipment = Filter(field="family", operator="equals", value="EQP")
    variables = (
        Variable(name="eqp", aggregate=Aggregate.SUM, field="net_total", where=(equipment,)),
        Variable(name="both", aggregate=Aggregate.COUNT, plus="eqp"),
    )
    condition = Condition(index=1, variable="both", operator="equals", value=202)
    policy = a_policy(a_rule("r", "ana", condition), variables=variables)
    lines = [a_line("1", family="EQP"), a_line("2", family="BEV", quantity="7")]
    lines[0]["quantity"] = "2"
    assert planned(policy, TEAM, subject=a_subject(a_quote(lines=lines))).approvals


def test_conditions_compare_with_fields_and_variables() -> None:
    most = Variable(name="most", aggregate=Aggregate.MAX, field="discount_percent")
    conditions = (
        Condition(index=1, variable="most", operator="greater_than", other_field="discount_percent"),
        Condition(index=2, field="discount_percent", operator="less_than", other_variable="most"),
    )
    policy = a_policy(a_rule("r", "ana", *conditions), variables=(most,))
    lines = [a_line("1", discount_percent="30"), a_line("2")]
    plan = planned(policy, TEAM, subject=a_subject(a_quote(lines=lines)))
    assert plan.approvals[0].reasons == ("most 30 > 15", "discount_percent 15 < 30")


# --- whom a rule asks


def test_a_group_gives_each_member_a_seat() -> None:
    directory = with_group(TEAM, "desk", "ana", "bob", "cyd")
    needed = {
        quorum: planned(a_policy(a_rule(ask=Who(group="desk", quorum=quorum))), directory).approvals[0].needed  # type: ignore[arg-type]
        for quorum in ("any", "all", 2)
    }
    assert needed == {"any": 1, "all": 3, 2: 2}


def test_a_quorum_that_nobody_can_reach_is_unresolved() -> None:
    directory = with_group(TEAM, "desk", "ana", "rita")
    plan = planned(a_policy(a_rule(ask=Who(group="desk", quorum=2))), directory)
    assert plan.unresolved[0].rule == "r"


def test_a_field_names_the_approver() -> None:
    plan = planned(a_policy(a_rule(ask=Who(field="sponsor"))), TEAM, subject=a_subject(fields={"sponsor": "cyd"}))
    assert who(plan) == [("cyd",)]


def test_a_field_that_names_nobody_falls_back() -> None:
    rule = a_rule(ask=Who(field="sponsor"), fallback=Who(user="dan"))
    plan = planned(a_policy(rule), TEAM)
    assert who(plan) == [("dan",)]
    assert plan.approvals[0].notes == ("field sponsor names nobody",)


CHAIN = people("rita", rita=("mia", None), mia=("max", "100"), max=("mo", "1000"), mo=(None, "9999"))


@pytest.mark.parametrize(
    ("price", "asked"), [("50", ["mia"]), ("100", ["mia"]), ("101", ["mia", "max"]), ("5000", ["mia", "max", "mo"])]
)
def test_the_chain_of_command_is_climbed_to_the_first_whose_limit_covers(price: str, asked: list[str]) -> None:
    subject = a_subject(a_quote(lines=[a_line(list_price=price)]))
    plan = planned(a_policy(a_rule(ask=Who(manager="net_total"))), CHAIN, subject=subject)
    assert [(a.seats[0], a.tier) for a in plan.approvals] == [(name, n) for n, name in enumerate(asked)]


def test_an_amount_above_every_limit_is_unresolved() -> None:
    subject = a_subject(a_quote(lines=[a_line(list_price="10000")]))
    plan = planned(a_policy(a_rule(ask=Who(manager="net_total"))), CHAIN, subject=subject)
    assert "no manager above rita" in plan.unresolved[0].why


def test_managers_in_a_circle_end_the_climb() -> None:
    circle = people(rita=("mia", None), mia=("rita", "1"))
    assert [m.id for m in circle.managers("rita")] == ["mia"]


# --- separation of duties


def test_nobody_approves_what_they_submitted() -> None:
    boss = people("ana", ana=("bob", None), bob=(None, None))
    plan = planned(a_policy(a_rule("r", "ana")), boss, submitter="ana")
    assert who(plan) == [("bob",)]
    assert "goes to their manager bob" in plan.approvals[0].notes[0]


@pytest.mark.parametrize("role", ["owner", "editor"])
def test_owner_and_editors_are_passed_over_too(role: str) -> None:
    quote: Quote = a_quote(owner="ana" if role == "owner" else "rita")
    subject = a_subject(quote, editors=("ana",) if role == "editor" else ())
    directory = with_group(TEAM, "desk", "ana", "bob")
    plan = planned(a_policy(a_rule(ask=Who(group="desk"))), directory, subject=subject)
    assert who(plan) == [("bob",)]


def test_someone_who_left_or_has_no_role_is_passed_over() -> None:
    gone = Person(id="ana", name="Ana", roles=(Role.APPROVER,), active=False)
    clerk = Person(id="bob", name="Bob", roles=(Role.REP,))
    directory = TEAM.model_copy(update={"people": {**TEAM.people, "ana": gone, "bob": clerk}})
    rule = a_rule(ask=Who(user="ana"), fallback=Who(user="bob"))
    plan = planned(a_policy(rule), directory)
    assert plan.unresolved[0].why == "ana is unknown or has left; bob does not have the role approver"


def test_chains_know_only_the_waits_that_matter_here() -> None:
    policy = a_policy(
        a_rule("a", "ana", chain="one"), a_rule("b", "bob", over(99), chain="two"), a_rule("c", "cyd", chain="three"),
        chains=[Chain(name="one"), Chain(name="two"), Chain(name="three", after=("one", "two"))],
    )  # fmt: skip
    assert planned(policy, TEAM).after == {"one": (), "three": ("one",)}


# --- what does not fit together -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "families", "reasons"),
    [
        ({"excludes": ("EQP", "SRV")}, ["EQP", "SRV"], ("EQP (line 0) does not go with SRV (line 1)",)),
        ({"excludes": ("EQP", "SRV")}, ["EQP", "EQP"], None),
        ({"requires": ("EQP", "SRV")}, ["EQP", "EQP"], ("EQP (lines 0, 1) needs SRV",)),
        ({"requires": ("EQP", "SRV")}, ["SRV"], None),
        ({"requires": ("EQP", "SRV")}, ["EQP", "SRV"], None),
    ],
)
def test_products_that_do_not_fit_together_are_named_with_their_lines(
    rule: dict[str, Any], families: list[str], reasons: tuple[str, ...] | None
) -> None:
    quote = a_quote(lines=[a_line(str(n), family=family) for n, family in enumerate(families)])
    found = planned(a_policy(a_rule("r", "ana", **rule)), people("ana"), subject=a_subject(quote))
    assert [a.reasons for a in found.approvals] == ([reasons] if reasons else [])


@given(st.permutations(["net_total", "term_months", "colour"]), st.integers(0, 40), st.sampled_from([6, 24]))
def test_a_plan_depends_on_the_subject_and_the_version_only(order: list[str], discount: int, months: int) -> None:
    """Neither the order in which fields stand, nor what was evaluated before, nor who reads it changes the answer."""
    rules = (
        a_rule("deep", "ana", over(20)),
        a_rule("long", "bob", Condition(index=1, field="term_months", operator="greater_than", value=12)),
    )
    policy = a_policy(*rules)
    subject = a_subject(discount=str(discount), term_months=months, fields={"colour": "red"})
    shuffled = subject.model_copy(update={"fields": {**{n: subject.fields[n] for n in order}, **subject.fields}})
    plans = [planned(p, TEAM, subject=s) for p in (policy, policy.model_copy()) for s in (subject, shuffled, subject)]
    assert all(plan == plans[0] for plan in plans)
    assert {a.rule for a in plans[0].approvals} == {
        n for n, is_so in (("deep", discount > 20), ("long", months > 12)) if is_so
    }
