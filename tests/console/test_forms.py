"""Parts of a policy as forms: what is shown is what is read, whatever it holds."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import FormData

from console import forms
from domain.approvals.exchange import read_policy
from domain.approvals.operators import Operator
from domain.approvals.policy import Aggregate, Chain, Condition, Filter, Policy, Rule, Variable, Who
from domain.errors import Invalid
from tests.conftest import ROOT

SAMPLE = read_policy((ROOT / "samples" / "policy-quote.yaml").read_text())


def posted(place: str, shape: forms.Shape) -> FormData:
    """What a browser sends of the form as shown."""
    fields: list[tuple[str, Any]] = []
    for name, value in shape.items():
        if name == "after":
            fields += [("after", chain) for chain in value]
        elif name == "rows":
            for n, row in enumerate(value):
                fields += [(column, row.get(column, "")) for column in ("tested", "operator", "value", "index")]
                fields += [(mark, str(n)) for mark in ("smart", "other") if row.get(mark)]
        elif value is not False:
            fields.append((name, "1" if value is True else value))
    return FormData(fields)


def read_again(place: str, part: Rule | Variable | Chain, policy: Policy) -> Any:
    return forms.read(place, forms.filled(place, posted(place, forms.shape_of(part, policy.kind))), policy)


@pytest.mark.parametrize("place", ["rules", "variables", "chains"])
def test_a_policy_shown_and_saved_untouched_is_the_same_policy(place: str) -> None:
    for part in getattr(SAMPLE, place):
        assert read_again(place, part, SAMPLE) == part


PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)
WORDS = PLAIN.map(str.strip).filter(bool)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9)
SCALARS = st.one_of(st.booleans(), NUMBERS, st.dates(date(1990, 1, 1)), PLAIN)
LISTS = st.lists(WORDS, min_size=1, max_size=3).map(tuple)
FIELDS = st.sampled_from(["customer", "net_total", "order_by", "colour", "deepest_line_discount"])


@st.composite
def conditions(draw: st.DrawFn, index: int) -> Condition:
    tested = draw(FIELDS)
    named = {"variable" if tested == "deepest_line_discount" else "field": tested}
    operator = draw(st.sampled_from(Operator))
    if operator in forms.UNARY:
        return Condition(index=index, operator=operator, smart=draw(st.booleans()), **named)
    if operator in forms.LISTINGS:
        return Condition(index=index, operator=operator, value=draw(LISTS), **named)
    if draw(st.integers(0, 3)) == 0:
        return Condition(index=index, operator=operator, other_field="list_total", **named)
    value = draw(PLAIN if tested == "customer" else SCALARS)  # a text is compared with nothing else
    return Condition(index=index, operator=operator, value=value, smart=draw(st.booleans()), **named)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    who = st.one_of(
        st.builds(Who, user=st.just("ana")),
        st.builds(Who, group=st.just("desk"), quorum=st.sampled_from(["any", "all", 2])),
        st.builds(Who, manager=st.just("net_total")),
        st.builds(Who, line_field=st.just("owner")),
    )
    numbers = draw(st.lists(st.integers(1, 99), unique=True, max_size=3))
    hours = st.none() | st.decimals(min_value=1, max_value=99, places=1)
    pair = st.none() | st.tuples(WORDS, WORDS)
    return Rule(
        name="r", title=draw(st.none() | WORDS), step=draw(st.integers(1, 99)), ask=draw(st.none() | who),
        logic=draw(st.sampled_from(["all", "any", "1 AND NOT 2"])), fallback=draw(st.none() | who),
        conditions=tuple(draw(conditions(n)) for n in numbers), active=draw(st.booleans()),
        explicit=draw(st.booleans()), smart_mode=draw(st.sampled_from(["worse", "literal"])),
        effect=draw(st.sampled_from(["approve", "inform"])), excludes=draw(pair), requires=draw(pair),
        effective_from=draw(st.none() | st.dates(date(1990, 1, 1))), consult_hours=draw(hours),
        expire_after_hours=draw(hours), excluded_statuses=draw(st.lists(WORDS, max_size=2).map(tuple)),
        escalate_to=draw(st.just("manager") | st.builds(Who, user=st.just("bob"))),
    )  # fmt: skip


@given(rules())
def test_whatever_a_rule_says_it_still_says_after_it_was_shown_and_saved(rule: Rule) -> None:
    assert read_again("rules", rule, SAMPLE) == rule


@given(st.lists(st.builds(Filter, field=FIELDS, operator=st.just(Operator.EQUALS), value=SCALARS), max_size=3))
def test_whatever_a_variable_filters_it_still_filters(where: list[Filter]) -> None:
    variable = Variable(name="v", aggregate=Aggregate.SUM, field="net_total", where=tuple(where))
    assert read_again("variables", variable, SAMPLE) == variable


@pytest.mark.parametrize(
    ("text", "operator", "value"),
    [
        ("20", "greater_than", Decimal(20)), ("true", "equals", True), ("2026-02-30", "equals", "2026-02-30"),
        ("2026-02-03", "equals", date(2026, 2, 3)), ("'20'", "equals", "20"), ("", "equals", None),
        ("Net 60; Net 90", "in", ["Net 60", "Net 90"]), ('"a;b"; c', "in", ["a;b", "c"]), ("x", "is_blank", None),
    ],
)  # fmt: skip
def test_what_is_typed_is_what_it_looks_like(text: str, operator: str, value: Any) -> None:
    assert forms.typed(text, operator) == value


def test_a_new_condition_gets_the_next_number_and_a_blank_row_is_left_out() -> None:
    rule = SAMPLE.rules[0]
    shape = forms.shape_of(rule, "quote")
    shape["rows"][2] = {"tested": "term_months", "operator": "greater_than", "value": "12"}
    made = forms.read("rules", forms.filled("rules", posted("rules", shape)), SAMPLE)
    assert isinstance(made, Rule)
    assert [(c.index, c.tested_name, c.value) for c in made.conditions][2:] == [(3, "term_months", Decimal(12))]


@pytest.mark.parametrize(
    ("field", "text", "named"),
    [
        ("step", "many", "step"),
        ("excludes", "A", "excludes"),
        ("name", "a b", "name"),
        ("effective_to", "soon", "effective_to"),
    ],
)
def test_what_cannot_be_read_names_its_field(field: str, text: str, named: str) -> None:
    shape = {**forms.shape_of(SAMPLE.rules[0], "quote"), field: text}
    with pytest.raises(Invalid) as error:
        forms.read("rules", shape, SAMPLE)
    assert error.value.facts["errors"][0]["field"] == named
