from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals.check import problems
from domain.approvals.evaluation import evaluate
from domain.approvals.exchange import read_policy, write_policy
from domain.approvals.operators import Operator
from domain.approvals.policy import Aggregate, Chain, Condition, Filter, Policy, Rule, Variable, Who
from domain.errors import Invalid
from tests.support import NOW, a_subject, people, with_group

TEAM = with_group(people("ana", "bob"), "desk", "ana", "bob")


def policy(*rules: str, top: str = "") -> str:
    return "kind: quote\n" + top + "rules:\n" + "".join(f"- {{name: r{n}, {rule}}}\n" for n, rule in enumerate(rules))


def condition(text: str) -> str:
    return policy(f"ask: {{user: ana}}, conditions: [{{{text}}}]")


@pytest.mark.parametrize(
    ("text", "field", "what"),
    [
        (policy("ask: {user: nobody}"), "rules.r0.ask.user", "not an active user"),
        (policy("step: 1"), "rules.r0.ask", "needs an approver"),
        (policy("ask: {group: ghosts}"), "rules.r0.ask.group", "no group"),
        (policy("ask: {group: empty}"), "rules.r0.ask.group", "no active member"),
        (policy("ask: {group: desk, quorum: 3}"), "rules.r0.ask.quorum", "can never agree"),
        (policy("ask: {user: ana, group: desk}"), "rules.r0.ask", "exactly one"),
        (policy("ask: {user: ana, quorum: all}"), "rules.r0.ask.quorum", "belongs to a group"),
        (policy("ask: {manager: customer}"), "rules.r0.ask.manager", "needs an amount"),
        (policy("ask: {field: net_total}"), "rules.r0.ask.field", "a user's id is text"),
        (policy("ask: {user: ana}, chain: none"), "rules.r0.chain", "no chain"),
        (policy("ask: {user: ana}", top="neutral: [lines]\n"), "neutral", "part of what is approved"),
        (policy("ask: {user: ana}", top="neutral: [campaign]\nidentity: [campaign]\n"), "neutral", "part of what is approved"),
        (condition("field: payment_terms, operator: contains, value: 123"), "rules.r0.conditions.1.value", "quote it"),
        (policy("ask: {user: ana}, logic: 1 AND, conditions: [{field: id, operator: is_blank}]"), "rules.r0.logic", "at character 6"),
        (policy("ask: {user: ana}, logic: 1 OR 2, conditions: [{field: id, operator: is_blank}]"), "rules.r0.logic", "condition 2"),
        (policy("ask: {user: ana}", "ask: {user: ana}").replace("r1", "r0"), "rules.r0", "more than once"),
        (policy("ask: {user: ana}, effective_from: 2026-02-01, effective_to: 2026-01-01"), "rules.r0.effective_to", "before"),
        (policy(top="chains: [{name: a, after: [b]}, {name: b, after: [a]}]\n"), "chains.a.after", "a → b → a"),
        (policy(top="chains: [{name: a, after: [b]}]\n"), "chains.a.after", "no chain 'b'"),
        (policy(top="variables: [{name: v, aggregate: sum}]\n"), "variables.v.field", "is needed"),
        (policy(top="variables: [{name: v, aggregate: sum, field: family}]\n"), "variables.v.field", "needs numbers"),
        (policy(top="variables: [{name: v, aggregate: count, plus: w}, {name: w, aggregate: count, plus: v}]\n"), "variables.v.plus", "circle"),
        (policy(top="variables: [{name: v, aggregate: count, plus: x}]\n"), "variables.v.plus", "no variable"),
        (condition("field: net_total, operator: greater_than, value: many"), "rules.r0.conditions.1.value", "must be number"),
        (condition("field: order_by, operator: less_than, value: 5"), "rules.r0.conditions.1.value", "must be date"),
        (condition("field: customer, operator: greater_than, value: 5"), "rules.r0.conditions.1.operator", "does not work on text"),
        (condition("field: net_total, operator: contains, value: x"), "rules.r0.conditions.1.operator", "does not work on number"),
        (condition("field: net_total, operator: in, value: 5"), "rules.r0.conditions.1.value", "needs a list"),
        (condition("field: net_total, operator: is_blank, value: 5"), "rules.r0.conditions.1.value", "compares with nothing"),
        (condition("field: net_total, operator: greater_than"), "rules.r0.conditions.1.value", "needs a value"),
        (condition("field: colour, operator: greater_than, value: red"), "rules.r0.conditions.1.value", "number or a date"),
        (condition("operator: is_blank"), "rules.r0.conditions.1", "exactly one of a field or a variable"),
        (condition("variable: v, operator: is_blank"), "rules.r0.conditions.1.variable", "no variable"),
        (condition("field: net_total, operator: less_than, value: 5, other_field: list_total"), "rules.r0.conditions.1", "exactly one of a value"),
        (condition("field: net_total, operator: equals, other_field: customer"), "rules.r0.conditions.1", "never agree"),
        ("kind: planet\nrules: []\n", "kind", "is not one of"),
        (policy("ask: {user: ana, where: {unit: owner_unit}}"), "rules.r0.ask.where", "narrows a group"),
        (policy("ask: {group: desk, where: {unit: net_total}}"), "rules.r0.ask.where.unit", "a unit is text"),
        (policy("ask: {line_field: net_total}"), "rules.r0.ask.line_field", "which is text"),
        (policy("ask: {line_field: manager, user: ana}"), "rules.r0.ask", "exactly one"),
        (policy("ask: {user: ana}, effect: inform, expire_after_hours: 4"), "rules.r0.effect", "no clock"),
        (policy("ask: {user: ana}, conditions: [{field: colour, operator: is_blank}]", top="neutral: [colour]\n"), "neutral", "looked at"),
        (policy("ask: {manager: amount}", top="neutral: [amount]\n"), "neutral", "looked at"),
        (policy("ask: {group: desk, where: {unit: region}}", top="neutral: [region]\n"), "neutral", "looked at"),
        (policy("ask: {user: ana}", top="neutral: [net_total]\n"), "neutral", "part of what is approved"),
        (policy("ask: {user: ana}", top="neutral: [owner]\n"), "neutral", "part of what is approved"),
        (policy("ask: {user: ana}", top="routing: [discount_percent]\n"), "routing", "nobody sets it"),
    ],
)  # fmt: skip
def test_what_forbids_publishing(text: str, field: str, what: str) -> None:
    directory = with_group(TEAM, "empty")
    found = {p["field"]: p["problem"] for p in problems(read_policy(text), directory)}
    assert what in found.get(field, f"nothing; only {found}")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("kind: quote\nrules: [{name: x", "line 2, column 17"),
        ("kind: &a quote\nrules: *a\n", "line 2, column 8"),
        ("!!python/object/apply:os.system [ls]", "line 1, column 1"),
        ("just text", "policy"),
        ("kind: quote\nrules: [{name: 'a b', ask: {user: ana}}]", "rules.0.name"),
        ("kind: quote\nrules: [{name: a, colour: red}]", "rules.0.colour"),
        ("kind: quote\nrules: [{name: a, step: many}]", "rules.0.step"),
        (
            "kind: quote\nrules: [{name: a, conditions: [{field: id, operator: resembles}]}]",
            "rules.0.conditions.0.operator",
        ),
        ("kind: quote\nrules: 5", "rules"),
        ("kind: quote\nx: 1.0e+999999999", "line 2, column 4"),
        ("x" * 1_000_001, "policy"),
    ],
)
def test_a_policy_that_cannot_be_read_names_the_place(text: str, field: str) -> None:
    with pytest.raises(Invalid) as error:
        read_policy(text)
    assert error.value.facts["errors"][0]["field"] == field


NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True)
FIELDS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,10}", fullmatch=True)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
LITERALS = st.one_of(st.none(), st.booleans(), NUMBERS, st.dates(), TEXTS, st.lists(TEXTS, max_size=3).map(tuple))


@st.composite
def written(draw: st.DrawFn) -> Policy:
    condition = st.builds(
        Condition, index=st.integers(1, 9999), field=st.none() | FIELDS, variable=st.none() | NAMES,
        operator=st.sampled_from(Operator), value=LITERALS, other_field=st.none() | FIELDS, smart=st.booleans(),
    )  # fmt: skip
    who = st.builds(Who, user=st.none() | NAMES, group=st.none() | NAMES, quorum=st.sampled_from(["any", "all", 2]))
    rule = st.builds(
        Rule, name=NAMES, title=st.none() | TEXTS.filter(bool), chain=st.none() | NAMES, step=st.integers(1, 99),
        logic=TEXTS, conditions=st.lists(condition, max_size=3).map(tuple), ask=st.none() | who, fallback=st.none() | who,
        active=st.booleans(), effective_from=st.none() | st.dates(), explicit=st.booleans(),
        expire_after_hours=st.none() | NUMBERS.map(abs).filter(lambda n: 0 < n < 87_600),
        excluded_statuses=st.lists(TEXTS, max_size=2).map(tuple),
    )  # fmt: skip
    kept = st.builds(Filter, field=FIELDS, operator=st.sampled_from(Operator), value=LITERALS)
    variable = st.builds(
        Variable, name=NAMES, aggregate=st.sampled_from(Aggregate), field=st.none() | FIELDS,
        where=st.lists(kept, max_size=2).map(tuple), plus=st.none() | NAMES,
    )  # fmt: skip
    chain = st.builds(Chain, name=NAMES, after=st.lists(NAMES, max_size=2).map(tuple))
    return Policy(
        kind="quote", variables=tuple(draw(st.lists(variable, max_size=2))),
        chains=tuple(draw(st.lists(chain, max_size=2))), rules=tuple(draw(st.lists(rule, max_size=3))),
    )  # fmt: skip


@given(written())
def test_export_of_an_import_is_the_same_text_and_the_same_policy(policy: Policy) -> None:
    text = write_policy(policy)
    assert read_policy(text) == policy
    assert write_policy(read_policy(text)) == text


def test_numbers_stay_exact() -> None:
    text = condition("field: net_total, operator: greater_than, value: 0.1000000000000000055")
    value = read_policy(text).rules[0].conditions[0].value
    assert value == Decimal("0.1000000000000000055")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("NO", "NO"), ("yes", "yes"), ("on", "on"), ("00417", "00417"), ("0x1F", "0x1F"), ("12:30", "12:30"), ("1_000", "1_000"),
        ("1e3", "1e3"), ("12", Decimal(12)), ("-0.5", Decimal("-0.5")), ("true", True), ("2026-03-01", date(2026, 3, 1)),
        ("[DK, NO, 00417, 7, 1.50, true, 2026-03-01]", ("DK", "NO", "00417", "7", "1.5", "true", "2026-03-01")),
    ],
)  # fmt: skip
def test_a_written_value_is_what_stands_there(written: str, read: object) -> None:
    policy = read_policy(condition(f"field: country, operator: equals, value: {written}"))
    assert policy.rules[0].conditions[0].value == read
    assert read_policy(write_policy(policy)) == policy


def test_a_country_called_no_and_a_code_with_leading_zeros_fire() -> None:
    for field, written, value in (("country", "[DK, NO]", "NO"), ("code", "[00417]", "00417"), ("country", "NO", "NO")):
        operator = "in" if written.startswith("[") else "equals"
        policy = read_policy(condition(f"field: {field}, operator: {operator}, value: {written}"))
        subject = a_subject(fields={field: value})
        assert [judged.fired for judged in evaluate(policy, subject, "draft", NOW.date())] == [True]


@pytest.mark.parametrize("item", ["null", "~", "[1]"])
def test_a_list_says_which_item_is_no_value(item: str) -> None:
    with pytest.raises(Invalid, match="item 2 is no text or number; quote it"):
        read_policy(condition(f"field: terms, operator: in, value: [Net 30, {item}]"))
