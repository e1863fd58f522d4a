"""What the first line of a reply means: a whole line that is one word of the reader's language or of English."""

import re
import unicodedata
from typing import Literal

from domain.people import Language

Verb = Literal["approve", "reject"]
WORDS: dict[Language, dict[Verb, tuple[str, ...]]] = {
    Language.ENGLISH: {"approve": ("approve", "approved", "yes"), "reject": ("reject", "rejected", "no")},
    Language.PORTUGUESE: {
        "approve": ("aprovar", "aprovo", "aprovado", "aprovada", "sim"),
        "reject": ("rejeitar", "rejeito", "rejeitado", "rejeitada", "não", "nao"),
    },
    Language.ICELANDIC: {"approve": ("samþykkja", "samþykki", "samþykkt", "já"), "reject": ("hafna", "hafnað", "nei")},
}


QUESTION_MARKS = "?？؟"


def meaning(first_line: str, language: Language) -> Verb | None:
    """The decision a line stands for; None for everything else, a question too: it is asked again, never guessed."""
    if any(mark in first_line for mark in QUESTION_MARKS):
        return None
    word = re.sub(r"[^\w\s]|_", "", unicodedata.normalize("NFC", first_line)).strip().casefold()
    for known in (language, Language.ENGLISH):
        for verb, words in WORDS[known].items():
            if word in words:
                return verb
    return None
