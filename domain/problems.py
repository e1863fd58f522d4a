"""What is wrong with a field, in our own words: they name no library, and each can be said in another language."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from domain.errors import Invalid, problem
from domain.sentences import Sentence

MOST_PROBLEMS = 50
UNREADABLE = "cannot be read"
NUMBER, WHOLE, TEXT, LIST = "must be a number", "must be a whole number", "must be a text", "must be a list"
TRUTH, DAY, TIME = "must be true or false", "must be a day like 2026-12-31", "must be a time like 09:30"
INSTANT, OBJECT = "must be an instant like 2026-12-31T09:30:00Z", "must be an object with named fields"
CHOICE, EMPTY = "must be one of {choices}", "must not be empty"
WORDS = MappingProxyType({
    "missing": "is missing", "extra_forbidden": "is not known here", "none_required": "must be left out",
    "string_type": TEXT, "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "must have at least {min_length} characters", "string_unicode": "must be a text in UTF-8",
    "string_pattern_mismatch": "does not match the pattern {pattern}",
    "int_type": WHOLE, "int_parsing": WHOLE, "int_parsing_size": WHOLE, "int_from_float": WHOLE,
    "float_type": NUMBER, "float_parsing": NUMBER, "decimal_type": NUMBER, "decimal_parsing": NUMBER,
    "finite_number": NUMBER, "decimal_max_digits": "has more than {max_digits} digits",
    "decimal_max_places": "has more than {decimal_places} decimals",
    "decimal_whole_digits": "has more than {whole_digits} digits before its decimals",
    "greater_than": "must be more than {gt}", "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}", "less_than_equal": "must be {le} or less",
    "multiple_of": "must be a multiple of {multiple_of}",
    "bool_type": TRUTH, "bool_parsing": TRUTH,
    "enum": CHOICE, "literal_error": CHOICE, "union_tag_invalid": CHOICE,
    "union_tag_not_found": "needs {discriminator}",
    "date_type": DAY, "date_parsing": DAY, "date_from_datetime_parsing": DAY, "date_from_datetime_inexact": DAY,
    "datetime_type": INSTANT, "datetime_parsing": INSTANT, "datetime_from_date_parsing": INSTANT,
    "datetime_object_invalid": INSTANT, "timezone_aware": INSTANT,
    "time_type": TIME, "time_parsing": TIME,
    "list_type": LIST, "tuple_type": LIST, "set_type": LIST, "frozen_set_type": LIST,
    "too_short": "must have at least {min_length} entries", "too_long": "has more than {max_length} entries",
    "dict_type": OBJECT, "mapping_type": OBJECT, "model_type": OBJECT, "model_attributes_type": OBJECT,
    "json_invalid": "is not JSON: {error}",
})  # fmt: skip
"""By pydantic's kinds of errors; what is not among them cannot be read."""
SEVERAL_TYPES = "must be a text, a number, a day, true or false, or a list of texts"
ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
ID_WORDS = "must be 1 to 64 letters of A to Z, digits, points, hyphens or underscores"


def problem_of(error: Mapping[str, Any]) -> str:
    """What pydantic found wrong, as a sentence of ours. Never the input itself."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return _own_words(context["error"])
    if kind == "string_pattern_mismatch" and context["pattern"] == ID_PATTERN:
        return ID_WORDS
    if kind in ("string_too_short", "too_short") and context["min_length"] == 1:
        return EMPTY
    if kind in ("too_long", "too_short") and isinstance(error.get("input"), str):
        kind = f"string_{kind}"
    choices = str(context.get("expected") or context.get("expected_tags", "")).replace(" or ", ", ")
    template = WORDS.get(kind, UNREADABLE)
    return Sentence(template, **context, choices=choices) if "{" in template else template


def _own_words(error: ValueError) -> str:
    """The sentence that a validator of ours raised."""
    said = error.args[0] if len(error.args) == 1 else UNREADABLE  # what Python itself raises has more to it
    return said if isinstance(said, str) else UNREADABLE


def invalid_request(errors: Iterable[Mapping[str, Any]], sentence: str = "", *, skip: int = 0) -> Invalid:
    """Errors of pydantic as a refusal: each field by its path, but for the first `skip` steps of it."""
    found = [problem(_path(error["loc"], skip), problem_of(error)) for error in errors]
    return Invalid.fields(found[:MOST_PROBLEMS], sentence)


def _path(loc: tuple[str | int, ...], skip: int) -> str:
    return ".".join(str(step) for step in loc[skip:] or loc) or "body"


def invalid_fields(sentence: str, error: ValidationError) -> Invalid:
    """A value that cannot be made of what was sent."""
    return invalid_request(error.errors(include_url=False), sentence)
