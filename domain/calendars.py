"""Business time: hours of a working calendar, over weekends, public holidays and changes of the clock."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated

import holidays
from pydantic import Field, model_validator

from domain.delegation import zone_of
from domain.sentences import Sentence
from domain.values import Value, Word

FURTHEST_DAYS = 3_700
Weekday = Annotated[int, Field(ge=0, le=6)]


class Calendar(Value):
    """When somebody works: weekdays (0 is Monday), from `start` to `end`, except on the country's public holidays."""

    country: Word = ""
    """ISO 3166 code such as BR; empty: no public holidays."""
    region: Word = ""
    """A part of the country such as SP."""
    weekdays: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] = (0, 1, 2, 3, 4)
    start: time = time(9)
    end: time = time(17)

    @model_validator(mode="after")
    def _sound(self) -> "Calendar":
        if self.start.tzinfo or self.end.tzinfo or self.start >= self.end:
            raise ValueError("end must be after start, both without a zone")
        try:
            public_holidays(self.country, self.region, 2026)
        except NotImplementedError:
            place = f"{self.country} {self.region}".strip()
            raise ValueError(Sentence("{place} has no public holidays that we know", place=place)) from None
        return self

    def works_on(self, day: date) -> bool:
        return day.weekday() in self.weekdays and day not in public_holidays(self.country, self.region, day.year)


@lru_cache(maxsize=512)
def public_holidays(country: str, region: str, year: int) -> frozenset[date]:
    """Raises NotImplementedError for a country or region nobody keeps holidays of."""
    if not country:
        return frozenset()
    return frozenset(holidays.country_holidays(country, subdiv=region or None, years=year))


def after_hours(start: datetime, hours: Decimal, calendar: Calendar | None, zone: str) -> datetime:
    """The instant at which so many working hours have passed since `start`; without a calendar all hours count.

    A day on which clocks change has an hour more or less, and only if people work through it."""
    left = timedelta(seconds=float(hours * 3600))
    if calendar is None:
        return start.astimezone(UTC) + left  # in a zone of its own a day would keep its wall clock
    for opens, closes in _shifts(start, calendar, zone):
        if opens + left <= closes:
            return (opens + left).astimezone(UTC)
        left -= closes - opens
    return start + timedelta(days=FURTHEST_DAYS)


def hours_between(start: datetime, end: datetime, calendar: Calendar | None, zone: str) -> Decimal:
    """The working hours from one instant to a later one; without a calendar all hours count."""
    if calendar is None:
        return Decimal((end - start) / timedelta(hours=1))
    worked = timedelta()
    for opens, closes in _shifts(start, calendar, zone):
        if opens >= end:
            break
        worked += min(closes, end) - opens
    return Decimal(worked / timedelta(hours=1))


def _shifts(start: datetime, calendar: Calendar, zone: str) -> Iterator[tuple[datetime, datetime]]:
    """The working spans from an instant on, as instants."""
    local = zone_of(zone)
    first = start.astimezone(local).date()
    for n in range(FURTHEST_DAYS):
        day = first + timedelta(days=n)
        if calendar.works_on(day):
            opens, closes = (
                datetime.combine(day, at, tzinfo=local).astimezone(UTC) for at in (calendar.start, calendar.end)
            )
            if closes > start:
                yield max(opens, start.astimezone(UTC)), closes
