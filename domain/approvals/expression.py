"""Custom rule logic: conditions by their index, joined by AND, OR, NOT and parentheses."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from domain.sentences import Sentence

TOKEN = re.compile(r"\s*(?:(?P<index>\d{1,4})|(?P<word>[A-Za-z]+)|(?P<sign>[()]))")
MAX_LENGTH = 2_000
MAX_DEPTH = 50
ENDS, UNEXPECTED = "ends too early (at character {place})", "did not expect {token!r} (at character {place})"


class BadExpression(ValueError):
    """The expression cannot be read; `place` is the position of the character, counted from 1."""

    def __init__(self, sentence: str, place: int, **words: object) -> None:
        self.sentence = Sentence(sentence, place=place, **words)
        self.place = place
        super().__init__(self.sentence)


@dataclass(frozen=True)
class Node:
    """`test` holds a condition's index; `not` has one part, `and` and `or` have two or more."""

    kind: Literal["test", "not", "and", "or"]
    index: int = 0
    parts: tuple["Node", ...] = ()

    def holds(self, outcomes: Mapping[int, bool]) -> bool:
        if self.kind == "test":
            return outcomes[self.index]
        if self.kind == "not":
            return not self.parts[0].holds(outcomes)
        together = all if self.kind == "and" else any
        return together(part.holds(outcomes) for part in self.parts)

    def polarities(self, plain: bool = True) -> dict[int, set[bool]]:
        """For each condition how it stands: True plain, False under an odd number of NOTs; it may stand both ways."""
        if self.kind == "test":
            return {self.index: {plain}}
        found: dict[int, set[bool]] = {}
        for part in self.parts:
            for index, ways in part.polarities(plain is not (self.kind == "not")).items():
                found.setdefault(index, set()).update(ways)
        return found

    def indexes(self) -> set[int]:
        return {self.index} if self.kind == "test" else set().union(*(part.indexes() for part in self.parts))


@dataclass
class _Reader:
    tokens: list[tuple[str, int]]
    at: int = 0
    depth: int = 0

    def peek(self) -> str:
        return self.tokens[self.at][0]

    @property
    def place(self) -> int:
        return self.tokens[self.at][1]

    def take(self, word: str) -> bool:
        if self.peek() == word:
            self.at += 1
            return True
        return False

    def joined(self, word: Literal["OR", "AND"]) -> Node:
        below = self.unit if word == "AND" else lambda: self.joined("AND")
        parts = [below()]
        while self.take(word):
            parts.append(below())
        return parts[0] if len(parts) == 1 else Node("and" if word == "AND" else "or", parts=tuple(parts))

    def unit(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise BadExpression("nested more than {most} deep (at character {place})", self.place, most=MAX_DEPTH)
        node = self._unit()
        self.depth -= 1
        return node

    def _unit(self) -> Node:
        token = self.peek()
        if self.take("NOT"):
            return Node("not", parts=(self.unit(),))
        if self.take("("):
            inner = self.joined("OR")
            if not self.take(")"):
                raise self._unexpected("expected ')' but found {token} (at character {place})")
            return inner
        if token.isdigit():
            self.at += 1
            return Node("test", int(token))
        raise self._unexpected("expected a condition's number, NOT or '(' but found {token} (at character {place})")

    def _unexpected(self, sentence: str) -> BadExpression:
        """`sentence` says what stands there instead."""
        return BadExpression(sentence if self.peek() else ENDS, self.place, token=self.peek())


@lru_cache(maxsize=4096)
def parse(text: str) -> Node:
    """Read `1 AND (2 OR NOT 3)`; AND binds closer than OR. Raises BadExpression with the place."""
    if len(text) > MAX_LENGTH:
        raise BadExpression("is longer than {max_length} characters", MAX_LENGTH, max_length=MAX_LENGTH)
    reader = _Reader(_tokens(text))
    node = reader.joined("OR")
    if reader.peek():
        raise BadExpression(UNEXPECTED, reader.place, token=reader.peek())
    return node


def _tokens(text: str) -> list[tuple[str, int]]:
    tokens, at = [], 0
    end = len(text.rstrip())
    while at < end:
        found = TOKEN.match(text, at)
        word = found and (found["index"] or found["word"] or found["sign"])
        if not found or not word or (found["word"] and word.upper() not in ("AND", "OR", "NOT")):
            place = at + len(text[at:]) - len(text[at:].lstrip())
            raise BadExpression(UNEXPECTED, place + 1, token=text[place : place + 10])
        tokens.append((word.upper(), found.end() - len(word) + 1))
        at = found.end()
    return [*tokens, ("", end + 1)]
