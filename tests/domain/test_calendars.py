"""Business time over weekends, public holidays and changes of the clock."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.calendars import Calendar, after_hours

PAULO, REYKJAVIK, CHICAGO = "America/Sao_Paulo", "Atlantic/Reykjavik", "America/Chicago"
BR = Calendar(country="BR", region="SP")
IS = Calendar(country="IS")
US = Calendar(country="US")


def at(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("calendar", "zone", "start", "hours", "end"),
    [
        (IS, REYKJAVIK, "2026-03-02T10:00", "4", "2026-03-02T14:00"),
        (IS, REYKJAVIK, "2026-03-02T15:00", "4", "2026-03-03T11:00"),
        (IS, REYKJAVIK, "2026-03-06T16:00", "2", "2026-03-09T10:00"),  # over a weekend
        (IS, REYKJAVIK, "2026-03-07T12:00", "1", "2026-03-09T10:00"),  # from a Saturday
        (IS, REYKJAVIK, "2026-03-02T05:00", "8", "2026-03-02T17:00"),  # before the office opens; ends as it closes
        (IS, REYKJAVIK, "2026-06-16T16:00", "2", "2026-06-18T10:00"),  # the seventeenth of June
        (IS, REYKJAVIK, "2026-04-22T16:00", "2", "2026-04-24T10:00"),  # first day of summer
        (BR, PAULO, "2026-07-08T16:00", "2", "2026-07-10T10:00"),  # São Paulo's own ninth of July
        (BR, PAULO, "2026-09-04T16:00", "2", "2026-09-08T10:00"),  # independence on a Monday
        (US, CHICAGO, "2026-07-02T16:00", "2", "2026-07-06T10:00"),  # the Fourth falls on a Saturday: Friday is off
        (US, CHICAGO, "2026-11-25T16:00", "2", "2026-11-27T10:00"),  # Thanksgiving
        (US, CHICAGO, "2026-03-06T16:00", "2", "2026-03-09T10:00"),  # clocks go forward on the Sunday between
        (US, CHICAGO, "2026-10-30T16:00", "2", "2026-11-02T10:00"),  # and back
        (None, CHICAGO, "2026-03-07T12:00", "24", "2026-03-08T13:00"),  # without a calendar all hours count, 24 of them
    ],
)
def test_hours_count_while_people_work(calendar: Calendar | None, zone: str, start: str, hours: str, end: str) -> None:
    assert after_hours(at(start, zone), Decimal(hours), calendar, zone) == at(end, zone)


def test_a_shift_through_the_night_the_clocks_change_has_its_real_length() -> None:
    """On 8 March 2026 Chicago skips from 2 to 3: from midnight to six are five hours."""
    nights = Calendar(weekdays=(5, 6), start=time(0), end=time(6))
    start = at("2026-03-08T00:00", CHICAGO)
    assert after_hours(start, Decimal(5), nights, CHICAGO) == at("2026-03-08T06:00", CHICAGO)
    back = at("2026-11-01T00:00", CHICAGO)
    assert after_hours(back, Decimal(7), nights, CHICAGO) == at("2026-11-01T06:00", CHICAGO)


def test_a_region_counts_only_there() -> None:
    rio = Calendar(country="BR", region="RJ")
    start = at("2026-07-09T10:00", PAULO)
    assert after_hours(start, Decimal(1), rio, PAULO) == at("2026-07-09T11:00", PAULO)
    assert after_hours(start, Decimal(1), BR, PAULO) == at("2026-07-10T10:00", PAULO)


@pytest.mark.parametrize(
    "wrong",
    [
        {"country": "XX"},
        {"country": "BR", "region": "ZZ"},
        {"start": "17:00", "end": "09:00"},
        {"start": "09:00", "end": "17:00-04:00"},
        {"weekdays": []},
        {"weekdays": [7]},
    ],
)
def test_a_calendar_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Calendar.model_validate(wrong)


HOURS = st.decimals(min_value=0, max_value=60, places=1)
STARTS = st.integers(0, 330 * 24 * 60).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@given(STARTS, HOURS, HOURS.filter(bool))
def test_waiting_twice_is_waiting_once_for_both(start: datetime, a: Decimal, b: Decimal) -> None:
    split = after_hours(after_hours(start, a, BR, PAULO), b, BR, PAULO)
    assert abs(split - after_hours(start, a + b, BR, PAULO)) < timedelta(seconds=1)


@given(STARTS, HOURS)
def test_time_never_runs_backwards_nor_faster_than_the_clock(start: datetime, hours: Decimal) -> None:
    assert after_hours(start, hours, US, CHICAGO) >= start + timedelta(hours=float(hours))
