"""Quantities are typed in the reader's own way, and never guessed."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.view import Reader
from domain.approvals.card import percent_in_words
from domain.errors import Invalid
from domain.people import Language, Person


def reader(language: Language) -> Reader:
    return Reader(Person(id="x", name="x", language=language))


EN, PT, IS = (reader(language) for language in (Language.ENGLISH, Language.PORTUGUESE, Language.ICELANDIC))


@pytest.mark.parametrize(
    ("read", "typed", "expected"),
    [
        (EN, "1,000", "1000"), (EN, "2.000", "2"), (EN, "1.5", "1.5"), (EN, "12,345.75", "12345.75"), (EN, " 7 ", "7"),
        (PT, "2.000", "2000"), (PT, "1,5", "1.5"), (PT, "12.345,75", "12345.75"), (IS, "1.000", "1000"), (IS, "0,25", "0.25"),
    ],
)  # fmt: skip
def test_a_quantity_is_read_as_its_reader_writes_it(read: Reader, typed: str, expected: str) -> None:
    assert read.parse_quantity(typed, "line") == Decimal(expected)


@pytest.mark.parametrize(
    ("read", "typed"),
    [
        (EN, "1,5"), (EN, "1,00"), (EN, "1.000.000"), (PT, "1.5"), (IS, "1.5"), (EN, "1e5"), (EN, "NaN"), (EN, "-1"),
        (EN, "1_000"), (EN, "١٢"), (EN, ""), (EN, "1.0000000000001"), (PT, "1,000,000"),
    ],
)  # fmt: skip
def test_what_could_mean_something_else_is_refused_with_an_example(read: Reader, typed: str) -> None:
    with pytest.raises(Invalid) as error:
        read.parse_quantity(typed, "lines.1")
    assert error.value.facts["errors"][0]["field"] == "lines.1"
    assert "1" in error.value.facts["errors"][0]["problem"]


@given(st.decimals(0, 10**9, places=6), st.sampled_from([EN, PT, IS]))
def test_what_is_shown_is_read_as_the_same(value: Decimal, read: Reader) -> None:
    assert read.parse_quantity(read.quantity(value), "line") == value


@pytest.mark.parametrize(
    ("percent", "locale", "shown"),
    [
        ("30.01", "pt_BR", "30,01 %"), ("24.99", "is", "24,99 %"), ("30", "en", "30.0 %"), ("30.00001", "en", "30.00001 %"),
        ("29.999999", "en", "29.999999 %"), ("29.9999999999999", "en", "29.9999999999999 %"), ("33.3333333333333333", "en", "33.3333 %"), ("27.5", "is", "27,5 %"), ("0", "en", "0.0 %"),
    ],
)  # fmt: skip
def test_a_percentage_never_looks_like_a_rounder_one(percent: str, locale: str, shown: str) -> None:
    assert percent_in_words(Decimal(percent), locale) == shown


@given(st.decimals(0, 100, places=10), st.sampled_from([Decimal(n) / 4 for n in range(401)]))
def test_no_percentage_is_shown_on_the_other_side_of_a_threshold(percent: Decimal, threshold: Decimal) -> None:
    shown = Decimal(percent_in_words(percent, "en").removesuffix(" %").replace(",", ""))
    assert (shown > threshold, shown == threshold) == (percent > threshold, percent == threshold)
