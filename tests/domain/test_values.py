import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.values import Value, counted


@given(st.integers(0, 10**9 - 1))
def test_digits_are_counted(number: int) -> None:
    assert counted(str(number)) == number


@given(st.text(st.characters(categories=["Nd", "No", "Nl", "Ps"])) | st.integers(10**9).map(str) | st.just("9" * 5000))
def test_whatever_else_looks_like_a_number_is_none(text: str) -> None:
    assert counted(text) == (int(text) if text and len(text) < 10 and all(c in "0123456789" for c in text) else None)


def test_a_value_evolves_in_fields_that_it_has() -> None:
    class Place(Value):
        city: str
        floor: int = 0

    assert Place(city="Porto").evolve(floor=2) == Place(city="Porto", floor=2)
    with pytest.raises(TypeError, match="Place has no field flor"):
        Place(city="Porto").evolve(flor=2)
