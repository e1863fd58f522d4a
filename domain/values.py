"""The base of every value, the bounded types they are made of, and their canonical form."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from domain.problems import ID_PATTERN, SEVERAL_TYPES, problem_of

D = TypeVar("D", date, datetime)


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain a NUL character")
    text.encode()  # a lone surrogate cannot be stored: UnicodeEncodeError is a ValueError
    return text


DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Overrides of the reading direction: with them a name shows other letters than it has."""


def _undirected(text: str) -> str:
    if DIRECTIONS.search(text):
        raise ValueError("must not override the direction of reading (U+202A to U+202E, U+2066 to U+2069)")
    return text


def storable(text: str, longest: int) -> str:
    """Text from outside as it can be stored: without what no database takes or nobody can read, and cut."""
    kept = DIRECTIONS.sub("", text.replace("\x00", "")).encode(errors="replace").decode()
    return kept[:longest]


def _printable(text: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise ValueError("must be one line of printable characters")
    return text


def _reckonable(day: D) -> D:
    if not 1900 <= day.year < 3000:
        raise ValueError("must lie between the years 1900 and 2999")
    return day


Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable), AfterValidator(_undirected)
]
Text = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_storable)]
Word = Annotated[str, StringConstraints(max_length=64), AfterValidator(_printable), AfterValidator(_undirected)]
Amount = Annotated[Decimal, Field(max_digits=28, decimal_places=12, allow_inf_nan=False)]
Instant = AwareDatetime
Day = Annotated[date, AfterValidator(_reckonable)]
"""A day that somebody gives: one can count days, weeks and zones from it and stay within the calendar."""
GivenInstant = Annotated[AwareDatetime, AfterValidator(_reckonable)]


class Value(BaseModel):
    """A frozen fact. Unknown fields are an error, so that a typing mistake is not silently dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def evolve(self, **changes: Any) -> Self:
        """The same with other fields. Raises TypeError for a field that it does not have.

        As with `model_copy`, new values are not validated, and what is cached of the old one is kept."""
        if unknown := changes.keys() - type(self).model_fields.keys():
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        return self.model_copy(update=changes)


Testable = Decimal | bool | date | str | tuple[str, ...] | None
"""What a policy can test: a number, a truth, a day, a text, several texts, or nothing."""


NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,2})?", re.ASCII)
MOST_DIGITS = 60


def number_of(text: str) -> Decimal | None:
    """The number that a text stands for; None for what people do not write so, such as `1_000` or other digits."""
    text = text.strip()
    return Decimal(text) if len(text) <= MOST_DIGITS and NUMBER.fullmatch(text) else None


def _of_fifteen_digits(number: Decimal) -> Decimal:
    if len(number.normalize().as_tuple().digits) > 15:
        raise ValueError("has more than 15 significant digits")
    return number


def _as_json_number(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


CustomNumber = Annotated[Amount, AfterValidator(_of_fifteen_digits), PlainSerializer(_as_json_number, when_used="json")]
"""Stays a number in JSON, exactly: text and numbers of a company's own fields must come back as what they were."""

StorableText = Annotated[Text, AfterValidator(_undirected)]
Texts = Annotated[list[Annotated[StorableText, StringConstraints(max_length=200)]], Field(max_length=100)]


def _one_problem(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Of what can be of several types, one problem under its own name: that of the type it has, or what it can be."""
    try:
        return read(value)
    except ValidationError as error:
        found = [each for each in error.errors(include_url=False) if not each["type"].endswith(("_type", "_parsing"))]
        raise ValueError(problem_of(found[0]) if found else SEVERAL_TYPES) from None


OneProblem = WrapValidator(_one_problem)
Custom = Annotated[
    Mapping[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")],
        Annotated[StrictBool | CustomNumber | StorableText | Texts | None, OneProblem],
    ],
    Field(max_length=200),
]
"""Fields a company adds of its own: flat, bounded, testable in policies."""


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Decimal):
        return plain_number(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no canonical form")


def plain_number(number: Decimal) -> str:
    """The shortest plain notation: 1.50 and 1.5 are the same number, so they read the same."""
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def counted(text: str) -> int | None:
    """The number that one to nine digits make; None for every other text, whatever `str.isdigit` says of "²"."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def canonical(value: Any) -> str:
    """One text for equal values: sorted keys, no spaces, numbers in their shortest notation."""
    return json.dumps(value, default=_plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def short_id(prefix: str, *parts: object) -> str:
    """A stable id out of other names: the same parts always give the same id."""
    return f"{prefix}-{hashlib.sha256('|'.join(map(str, parts)).encode()).hexdigest()[:16]}"
