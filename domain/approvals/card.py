"""What a subject is called: made for each reader out of its figures, never stored as a sentence alone."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from babel.numbers import format_decimal

from domain.money import formatted, legible
from domain.values import Value

DECIMALS = (2, 4, 8, 12, 16, 20)


def _same(text: str) -> str:
    return text


@dataclass(frozen=True)
class Say:
    """A language: how its words are said and its figures written."""

    word: Callable[[str], str] = _same
    locale: str = "en"


class Card(Value):
    """`Quote Q-1 · Acme · 27.5 % · 120,000.00 EUR`, in figures."""

    kind: str
    """`Quote` or `Order`: a word that is translated."""
    id: str
    customer: str
    percent: Decimal | None = None
    amounts: tuple[Decimal, ...] = ()
    """Several where one becomes another."""
    currency: str

    def title(self, say: Callable[[str], str], locale: str) -> str:
        """As people of a language and a country read it."""
        percent = [] if self.percent is None else [percent_in_words(self.percent, locale)]
        amounts = " → ".join(formatted(amount, self.currency, locale) for amount in self.amounts)
        return " · ".join([f"{say(self.kind)} {self.id}", self.customer, *percent, amounts])


def percent_in_words(percent: Decimal, locale: str) -> str:
    """`27,5 %`. 30.001 is never 30."""
    return f"{format_decimal(legible(percent, DECIMALS), '#,##0.0###################', locale)} %"
