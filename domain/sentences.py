"""English sentences that can be said in another language, although something of the day stands in them."""

from string import Formatter
from typing import Any


class _Filling(Formatter):
    """Fills templates; `{quantity:n}` is a number, written with the sign before its decimals that readers know."""

    def __init__(self, decimal_sign: str) -> None:
        self._decimal_sign = decimal_sign

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "n":
            return str(value).replace(".", self._decimal_sign)
        return str(super().format_field(value, format_spec))


def filled(template: str, words: dict[str, str], decimal_sign: str = ".") -> str:
    return _Filling(decimal_sign).vformat(template, (), words)


class Sentence(str):
    """The sentence that a template and its words make. It remembers both, so that a translation can be filled too.

    Words are kept as they are shown. What is called `state` is a state by its code, such as `in_approval`."""

    template: str
    words: dict[str, str]

    def __new__(cls, template: str, /, **words: Any) -> "Sentence":
        shown = {name: str(word) for name, word in words.items()}
        plain = {name: word.replace("_", " ") if name == "state" else word for name, word in shown.items()}
        made = super().__new__(cls, filled(template, plain))
        made.template, made.words = template, shown
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.template, self.words)


def _restored(template: str, words: dict[str, str]) -> Sentence:
    return Sentence(template, **words)
