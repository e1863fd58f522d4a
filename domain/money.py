"""Amounts are decimals with a currency beside them; each currency has its own minor unit."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from functools import cache

from babel.numbers import format_currency, get_currency_precision, list_currencies

from domain.errors import Invalid


@cache
def minor_digits(currency: str) -> int:
    """Decimal places of the currency's minor unit: 2 for EUR, 0 for ISK and JPY. Raises Invalid on an unknown code."""
    if currency not in known_currencies():
        raise Invalid.field("currency", "{currency!r} is not an ISO 4217 currency code", currency=currency)
    return get_currency_precision(currency)


@cache
def known_currencies() -> frozenset[str]:
    return frozenset(list_currencies())


def minor_unit(currency: str) -> Decimal:
    return Decimal(1).scaleb(-minor_digits(currency))


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Round half up to the currency's minor unit."""
    return amount.quantize(minor_unit(currency), ROUND_HALF_UP)


def formatted(amount: Decimal, currency: str, locale: str = "en") -> str:
    return format_currency(amount, currency, locale=locale)


class Rates:
    """Dated rates into the company's currency: `{currency: {from_date: company units for one}}`."""

    def __init__(self, company_currency: str, table: Mapping[str, Mapping[date, Decimal]]) -> None:
        self.company_currency = company_currency
        self._table = table

    def on(self, day: date) -> Mapping[str, Decimal]:
        """The rates in force on a day: for each currency the newest one not after it."""
        found = {self.company_currency: Decimal(1)}
        for currency, dated in self._table.items():
            if valid := [start for start in dated if start <= day]:
                found[currency] = dated[max(valid)]
        return found


def converted(amount: Decimal, currency: str, rates: Mapping[str, Decimal]) -> Decimal:
    """The amount in the company's currency. Raises Invalid when no rate is known."""
    if currency not in rates:
        raise Invalid.field(
            "currency", "no exchange rate is known for {currency}; ask an admin to add one", currency=currency
        )
    return amount * rates[currency]


ROUND = 2
"""With so many decimals a figure counts as round."""


def legible(value: Decimal, decimals: Iterable[int]) -> Decimal:
    """The figure with as many decimals, of those that are tried, as it takes not to look like another, rounder one."""
    shown = value
    for places in decimals:
        shown = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
        if shown == value or (places > ROUND and shown != shown.quantize(Decimal(1).scaleb(-ROUND))):
            break
    return shown
