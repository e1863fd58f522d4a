"""What is wrong with a field is said in our own words, whatever pydantic finds."""

import pickle
from string import Formatter
from typing import get_args

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticKnownError
from pydantic_core.core_schema import ErrorType

from domain.errors import Invalid
from domain.orders.split import Slot
from domain.people import Person
from domain.problems import WORDS, invalid_fields, problem_of
from domain.quotes import Quote
from domain.sentences import Sentence
from domain.values import Value

CONTEXT = {
    "max_length": 9, "min_length": 2, "actual_length": 1, "field_type": "List", "pattern": "a+", "gt": 1, "ge": 1, "lt": 1,
    "le": 1, "multiple_of": 2, "max_digits": 9, "decimal_places": 2, "whole_digits": 3, "expected": "'a' or 'b'",
    "tag": "c", "expected_tags": "'a', 'b'", "discriminator": "kind", "error": "why", "class_name": "Quote",
}  # fmt: skip


@pytest.mark.parametrize("kind", WORDS)
def test_the_words_of_each_kind_of_error_are_filled_by_what_pydantic_tells(kind: str) -> None:
    assert kind in get_args(ErrorType)
    theirs = PydanticKnownError(kind, CONTEXT)  # type: ignore[arg-type]
    said = problem_of({"type": kind, "ctx": CONTEXT})
    assert "{" not in said
    assert said != theirs.message()
    filled = {name for _, name, _, _ in Formatter().parse(WORDS[kind]) if name} - {"choices"}
    assert filled <= {name for _, name, _, _ in Formatter().parse(theirs.message_template) if name}


def problems(kind: type[Value], sent: object) -> dict[str, str]:
    with pytest.raises((ValidationError, Invalid)) as caught:
        kind.model_validate(sent)
    assert isinstance(caught.value, ValidationError)
    return {e["field"]: e["problem"] for e in invalid_fields("it cannot be read", caught.value).facts["errors"]}


def test_each_field_is_named_with_what_it_must_be() -> None:
    line = {"id": "a b", "product": "", "quantity": "many", "list_price": "1e40"}
    assert problems(Quote, {"id": "Q-1", "customer": {"id": "c", "name": "\u2028", "vip": 1}, "lines": [line]}) == {
        "currency": "is missing",
        "customer.vip": "is not known here",
        "customer.name": "must be one line of printable characters",
        "owner": "is missing",
        "lines.0.id": "must be 1 to 64 letters of A to Z, digits, points, hyphens or underscores",
        "lines.0.list_price": "has more than 28 digits",
        "lines.0.product": "must be 1 to 64 letters of A to Z, digits, points, hyphens or underscores",
        "lines.0.quantity": "must be a number",
    }
    assert problems(Slot, {"trigger": {"start": "soon"}}) == {
        "trigger.start": "must be one of 'date', 'now', 'manual', 'after'"
    }
    assert problems(Slot, {"trigger": {"start": "date", "on": "soon"}}) == {
        "trigger.on": "must be a day like 2026-12-31"
    }
    assert problems(Person, {"id": "x", "name": "X", "email": "\ud800"})["email"].startswith("must be")


def test_a_sentence_remembers_what_it_was_made_of() -> None:
    sentence = Sentence("It is {state}: {n} are open", state="in_approval", n=3)
    assert sentence == "It is in approval: 3 are open"
    assert (sentence.template, sentence.words) == ("It is {state}: {n} are open", {"state": "in_approval", "n": "3"})
    assert pickle.loads(pickle.dumps(sentence)).words == sentence.words
