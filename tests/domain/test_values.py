from hypothesis import given
from hypothesis import strategies as st

from domain.values import counted


@given(st.integers(0, 10**9 - 1))
def test_digits_are_counted(number: int) -> None:
    assert counted(str(number)) == number


@given(st.text(st.characters(categories=["Nd", "No", "Nl", "Ps"])) | st.integers(10**9).map(str) | st.just("9" * 5000))
def test_whatever_else_looks_like_a_number_is_none(text: str) -> None:
    assert counted(text) == (int(text) if text and len(text) < 10 and all(c in "0123456789" for c in text) else None)
