from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals.operators import NEGATIONS, Operator, holds
from domain.approvals.words import shown

D = Decimal


@pytest.mark.parametrize(
    ("tested", "operator", "compared", "expected"),
    [
        (D("27.5"), "greater_than", D(20), True),
        (D(20), "greater_than", D(20), False),
        (D(20), "greater_or_equals", D("20.0"), True),
        (D(3), "less_than", D(4), True),
        (D(4), "less_or_equals", D(4), True),
        ("2.0", "equals", D(2), True),
        (D(2), "equals", "2.00", True),
        ("two", "equals", D(2), False),
        (date(2026, 1, 2), "greater_than", date(2026, 1, 1), True),
        ("2026-01-02", "greater_than", date(2026, 1, 1), True),
        ("Net 30", "equals", "Net 30", True),
        ("net 30", "equals", "Net 30", False),
        ("Net 60", "starts_with", "Net", True),
        ("Net 60", "ends_with", "60", True),
        ("Net 60", "contains", "t 6", True),
        (("EQP", "BEV"), "contains", "EQP", True),
        (("EQP", "BEV"), "does_not_contain", "EQP", False),
        ("Net 60", "in", ("Net 60", "Net 90"), True),
        (D(60), "in", ("60", "90"), True),
        ("Net 30", "not_in", ("Net 60", "Net 90"), True),
        (True, "equals", True, True),
        ("true", "equals", True, True),
        (True, "equals", D(1), False),
        (None, "equals", "", True),
        (None, "equals", "x", False),
        (None, "not_equals", "x", True),
        (None, "is_blank", None, True),
        ((), "is_blank", None, True),
        (D(0), "is_blank", None, False),
        (D(0), "is_not_blank", None, True),
    ],
)
def test_an_operator_says(tested: object, operator: str, compared: object, expected: bool) -> None:
    assert holds(Operator(operator), tested, compared) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize("operator", ["less_than", "less_or_equals", "greater_than", "greater_or_equals"])
@pytest.mark.parametrize("other", [D(0), date(2026, 1, 1), "x", None])
def test_ordering_against_nothing_is_false(operator: str, other: object) -> None:
    assert not holds(Operator(operator), None, other)  # type: ignore[arg-type]
    assert not holds(Operator(operator), other, None)  # type: ignore[arg-type]


VALUES = st.one_of(
    st.none(), st.booleans(), st.decimals(allow_nan=False, allow_infinity=False), st.dates(), st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=3).map(tuple),
)  # fmt: skip


@given(st.sampled_from(sorted(NEGATIONS)), VALUES, VALUES)
def test_a_negated_operator_is_the_exact_complement(negated: Operator, tested: object, compared: object) -> None:
    positive = holds(NEGATIONS[negated], tested, compared)  # type: ignore[arg-type]
    assert holds(negated, tested, compared) is not positive  # type: ignore[arg-type]


@given(st.sampled_from(list(Operator)), VALUES, VALUES)
def test_every_operator_answers_for_every_pair(operator: Operator, tested: object, compared: object) -> None:
    assert isinstance(holds(operator, tested, compared), bool)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"),
    [("20", "20"), ("20.00001", "20.00001"), ("19.99999", "19.99999"), ("33.3333333333333", "33.3333"), ("27.50", "27.5"),
     ("0.0000001", "0.0000001"), ("12.30004", "12.30004")],
)  # fmt: skip
def test_no_figure_in_a_reason_looks_like_a_rounder_one(value: str, text: str) -> None:
    assert shown(Decimal(value)) == text
