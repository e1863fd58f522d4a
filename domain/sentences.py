"""English sentences that can be said in another language, although something of the day stands in them."""

from typing import Any


class Sentence(str):
    """The sentence that a template and its words make. It remembers both, so that a translation can be filled too.

    Words are kept as they are shown. What is called `state` is a state by its code, such as `in_approval`."""

    template: str
    words: dict[str, str]

    def __new__(cls, template: str, /, **words: Any) -> "Sentence":
        shown = {name: str(word) for name, word in words.items()}
        plain = {name: word.replace("_", " ") if name == "state" else word for name, word in shown.items()}
        made = super().__new__(cls, template.format(**plain))
        made.template, made.words = template, shown
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.template, self.words)


def _restored(template: str, words: dict[str, str]) -> Sentence:
    return Sentence(template, **words)
