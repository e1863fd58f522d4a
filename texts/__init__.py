"""What people read, in their language. English is written in the code; `*.po` beside this file holds the others."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from babel.messages.pofile import read_po
from babel.numbers import get_decimal_symbol

from domain.sentences import Sentence, filled

FOLDER = Path(__file__).parent
LANGUAGES = {"en": "English", "pt-BR": "Português (Brasil)", "is": "Íslenska"}
Translate = Callable[..., str]


@cache
def catalog(language: str) -> dict[str, str]:
    file = FOLDER / f"{language.replace('-', '_')}.po"
    if not file.exists():
        return {}
    with file.open("rb") as source:
        return {str(m.id): str(m.string) for m in read_po(source) if m.id and m.string}


@cache
def translator(language: str) -> Translate:
    """A function from an English text to the language's; `{names}` in it are filled from its keyword arguments."""
    known, locale = catalog(language), locale_of(language)

    def translate(text: str, **facts: object) -> str:
        if isinstance(text, Sentence):
            state = text.words.get("state", "").replace("_", " ")
            words = {**text.words, "state": known.get(state.capitalize(), state).lower()}
            return filled(known.get(text.template, text.template), words, get_decimal_symbol(locale))
        said = known.get(text, text)
        return said.format(**facts) if facts else said

    return translate


def locale_of(language: str) -> str:
    """The name babel knows a language by."""
    return language.replace("-", "_")
