"""What helps to write a policy: warnings, differences in words, hints that are proved."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals.compare import Backtest, differences, effect
from domain.approvals.evaluation import evaluate
from domain.approvals.exchange import read_policy
from domain.approvals.hints import hints
from domain.approvals.lint import warnings
from domain.approvals.operators import Operator
from domain.approvals.policy import Condition
from domain.people import Group
from tests.support import EUR, TODAY, a_line, a_policy, a_quote, a_rule, a_subject, people, with_group

O = Operator  # noqa: E741
TEAM = with_group(people("ana", boss=(None, None)), "desk", "ana", "gone")
HEAD = "kind: quote\n"
STEEP = "{field: discount_percent, operator: greater_than, value: 9, smart: true}"
ASK = "ask: {user: ana}, fallback: {user: boss}"
FIELD = "conditions: [{field: net_total, operator: greater_than, value: 5}]"


@pytest.mark.parametrize(
    ("text", "field", "what"),
    [
        (f"rules: [{{name: r, {ASK}, {FIELD}, active: false}}]", "rules.r.active", "inactive"),
        (f"rules: [{{name: r, {ASK}}}]", "rules.r.conditions", "always fires"),
        (f"rules: [{{name: r, {ASK}, {FIELD}, effective_to: 2026-03-01}}]", "rules.r.effective_to", "has passed"),
        (f"rules: [{{name: r, {ASK}, logic: 1 OR 1, conditions: [{{field: id, operator: is_blank}}, {{field: id, operator: is_blank}}]}}]",
         "rules.r.logic", "condition 2"),
        (f"rules: [{{name: r, {ASK}, conditions: [{{field: colour, operator: is_blank}}]}}]", "rules.r.conditions", "'colour' is no field"),
        (f"rules: [{{name: r, ask: {{group: desk}}, {FIELD}}}]", "rules.r.ask.group", "'gone' of group 'desk'"),
        (f"rules: [{{name: r, ask: {{group: one, quorum: all}}, {FIELD}}}]", "rules.r.ask.quorum", "one person"),
        (f"rules: [{{name: r, ask: {{user: boss}}, {FIELD}}}]", "rules.r.fallback", "has no manager"),
        (f"rules: [{{name: r, ask: {{manager: net_total}}, {FIELD}}}]", "rules.r.fallback", "is missing"),
        (f"rules: [{{name: r, {ASK}, conditions: [{STEEP}, {{field: net_total, operator: greater_than, value: 9}}]}}]",
         "rules.r.conditions.2", "not smart beside one that is"),
        (f"rules: [{{name: r, {ASK}, logic: (1 AND 2) OR NOT 1, conditions: [{STEEP}, {STEEP}]}}]",
         "rules.r.conditions.1", "both plain and under NOT"),
        (f"rules: [{{name: r, {ASK}, conditions: [{{field: id, operator: equals, value: x, smart: true}}]}}]",
         "rules.r.conditions.1", "knows no better value"),
        (f"rules: [{{name: r, {ASK}, smart_mode: literal, logic: 1 OR 2, conditions: [{STEEP}, {{field: id, operator: is_blank}}]}}]",
         "rules.r.smart_mode", "plain conditions alone"),
        ("variables: [{name: v, aggregate: count}]", "variables.v", "not used"),
        ("variables: [{name: v, aggregate: sum, field: weight}]", "variables.v", "'weight' is no line field"),
        ("chains: [{name: c}]", "chains.c", "never reached"),
        (f"chains: [{{name: c}}, {{name: d, after: [c]}}]\nrules: [{{name: r, chain: d, {ASK}, {FIELD}}}]", "chains.d.after", "no active rule"),
    ],
)  # fmt: skip
def test_what_deserves_a_second_look_is_named(text: str, field: str, what: str) -> None:
    directory = TEAM.model_copy(
        update={"groups": {**TEAM.groups, "one": Group(id="one", name="one", members=("ana",))}}
    )
    found = warnings(read_policy(HEAD + text), directory, TODAY)
    assert [w for w in found if w["field"] == field and what in w["problem"]], found


def test_a_sound_policy_has_no_warnings() -> None:
    assert warnings(read_policy(f"{HEAD}rules: [{{name: r, {ASK}, {FIELD}}}]"), TEAM, TODAY) == []


BOUNDS = st.tuples(
    st.sampled_from([O.GREATER_THAN, O.GREATER_OR_EQUALS, O.LESS_THAN, O.LESS_OR_EQUALS, O.EQUALS]), st.integers(0, 6)
)


@given(st.lists(BOUNDS, min_size=1, max_size=4), st.integers(-1, 13))
def test_a_rule_called_impossible_never_fires(bounds: list[tuple[Operator, int]], halves: int) -> None:
    conditions = [
        Condition(index=n, field="amount", operator=operator, value=Decimal(value))
        for n, (operator, value) in enumerate(bounds, 1)
    ]
    policy = a_policy(a_rule("r", "ana", *conditions))
    impossible = any("never hold together" in w["problem"] for w in warnings(policy, TEAM, TODAY))
    subject = a_subject(a_quote(custom={"amount": halves / 2}))
    assert not (impossible and evaluate(policy, subject, "draft", TODAY)[0].fired)


def test_versions_differ_in_words() -> None:
    old = read_policy(f"{HEAD}rules: [{{name: r, {ASK}, {FIELD}}}, {{name: s, {ASK}}}]")
    new = read_policy(
        f"{HEAD}rules: [{{name: r, ask: {{group: desk}}, fallback: {{user: boss}}, step: 2, {FIELD.replace('5', '9')}}}, {{name: t, {ASK}, {FIELD}}}]"
    )
    assert differences(old, new) == [
        "rule r fires when net_total > 9, and no longer when net_total > 5",
        "rule r asks group desk (any) instead of ana",
        "rule r: step 1 → 2",
        "rule s is gone: it asked ana when always",
        "rule t is new: asks ana when net_total > 5",
    ]
    assert differences(old, old) == []


def test_a_backtest_counts_what_changes_and_whom_it_burdens() -> None:
    more = Condition(index=1, field="net_total", operator=O.GREATER_THAN, value=Decimal(50))
    old, new = a_policy(a_rule("r", "ana", more)), a_policy(a_rule("r", "boss", more))
    found = [effect(old, new, a_subject(a_quote(discount=d)), "draft", TODAY) for d in ("0", "60")]
    total = Backtest().plus(found[0]).plus(found[1])
    assert (found[0].added, found[0].removed, found[1].added) == (("R: boss",), ("R: ana",), ())
    assert (total.records, total.changed, total.added, total.removed) == (2, 1, 1, 1)
    assert (total.load, total.load_before) == ({"boss": 1}, {"ana": 1})


STEEP = Condition(index=1, field="discount_percent", operator=O.GREATER_THAN, value=Decimal(20))
LONG = Condition(index=1, field="term_months", operator=O.GREATER_OR_EQUALS, value=Decimal(36))


def test_the_nearest_discount_that_drops_an_approval_is_hinted() -> None:
    policy = a_policy(a_rule("cfo", "ana", STEEP), a_rule("legal", "ana", LONG))
    quote = a_quote(discount="27.5", term_months=48)
    assert quote.discount_percent == Decimal("27.5")
    found = hints(policy, quote, lambda q: a_subject(q), {"cfo", "legal"}, "draft", TODAY)
    assert [(h.rule, h.field, h.value) for h in found] == [
        ("cfo", "discount_percent", Decimal(20)),
        ("legal", "term_months", Decimal(35)),
    ]


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.sampled_from(["discount_percent", "net_total", "term_months"]), st.integers(0, 60)), min_size=1
    ),
)
def test_every_hint_is_true(discounts: list[int], rules: list[tuple[str, int]]) -> None:
    """With the hinted discount on every line, the rule no longer fires."""
    policy = a_policy(
        *(
            a_rule(f"r{n}", "ana", Condition(index=1, field=field, operator=O.GREATER_THAN, value=Decimal(value)))
            for n, (field, value) in enumerate(rules)
        )
    )
    quote = a_quote(lines=[a_line(str(n), discount_percent=str(d)) for n, d in enumerate(discounts)], term_months=24)
    fired = {f.rule.name for f in evaluate(policy, a_subject(quote), "draft", TODAY) if f.fired}
    for hint in hints(policy, quote, lambda q: a_subject(q), fired, "draft", TODAY):
        if hint.field == "term_months":
            changed = quote.changed(term_months=int(hint.value))
        else:
            lines = [a_line(str(n), discount_percent=str(min(Decimal(d), hint.value))) for n, d in enumerate(discounts)]
            changed = a_quote(lines=lines, term_months=24)
        still = {f.rule.name for f in evaluate(policy, a_subject(changed), "draft", TODAY) if f.fired}
        assert hint.rule not in still
    assert EUR
