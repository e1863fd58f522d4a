import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approvals.expression import BadExpression, parse


@pytest.mark.parametrize(
    ("text", "true_ones", "expected"),
    [
        ("1", {1}, True),
        ("1 AND 2", {1}, False),
        ("1 OR 2 AND 3", {1}, True),
        ("(1 OR 2) AND 3", {1}, False),
        ("NOT 1", set(), True),
        ("NOT (1 AND 2) and not 3", {1}, True),
        ("1 or not not 2", {2}, True),
    ],
)
def test_logic(text: str, true_ones: set[int], expected: bool) -> None:
    assert parse(text).holds({n: n in true_ones for n in (1, 2, 3)}) is expected


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ("", "ends too early", 1),
        ("1 AND", "ends too early", 6),
        ("1 2", "did not expect '2'", 3),
        ("(1 OR 2", "ends too early", 8),
        ("1 XOR 2", "did not expect 'XOR 2'", 3),
        ("1 AND )", "found )", 7),
        ("1 & 2", "did not expect '& 2'", 3),
        ("(" * 60 + "1" + ")" * 60, "nested more than 50 deep", 51),
    ],
)
def test_a_bad_expression_names_its_place(text: str, what: str, place: int) -> None:
    with pytest.raises(BadExpression, match=r".*") as error:
        parse(text)
    assert what in str(error.value)
    assert error.value.place == place


@given(st.text(alphabet="12 ()ANDORTandort&", max_size=40))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    try:
        assert parse(text).indexes()
    except BadExpression as error:
        assert 1 <= error.place <= len(text) + 1
