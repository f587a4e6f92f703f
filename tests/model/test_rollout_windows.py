"""Rollout windows are local wall-clock time, right on days of 23 and 25 hours."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.model.rollout_windows import Window, is_open, next_opening

SEOUL, NEW_YORK, BERLIN, UTC = (
    ZoneInfo("Asia/Seoul"),
    ZoneInfo("America/New_York"),
    ZoneInfo("Europe/Berlin"),
    ZoneInfo("UTC"),
)
EVERY_DAY = tuple(range(7))
MON, TUE, WED, THU, FRI, SAT, SUN = EVERY_DAY


def at(text: str, zone: tzinfo = timezone.utc) -> float:
    """Epoch seconds of a local time; ``+fold`` picks the second of two equal hours."""
    text, fold, _ = text.partition("+fold")
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=1 if fold else 0).timestamp()


def window(start: str, end: str, *, days: tuple[int, ...] = EVERY_DAY, zone: tzinfo = UTC) -> Window:
    return Window(days, time.fromisoformat(start), time.fromisoformat(end), zone)


OFFICE = window("09:00", "17:00", days=(MON, TUE, WED, THU), zone=SEOUL)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-02T08:59:59", False),
        ("2026-03-02T09:00:00", True),
        ("2026-03-02T16:59:59", True),
        ("2026-03-02T17:00:00", False),
        ("2026-03-06T12:00:00", False),  # a Friday
        ("2026-03-08T12:00:00", False),  # a Sunday
    ],
)
def test_the_end_is_exclusive_and_days_are_local(moment: str, expected: bool) -> None:
    """Office hours in Seoul, asked in Seoul's own time."""
    assert is_open((OFFICE,), at(moment, SEOUL)) is expected


def test_the_zone_of_the_window_counts_not_that_of_the_machine() -> None:
    """Sunday 23:59 UTC is Monday 08:59 in Seoul."""
    assert not is_open((OFFICE,), at("2026-03-01T23:59:00"))
    assert is_open((OFFICE,), at("2026-03-02T00:00:00"))


def test_no_windows_are_always_open() -> None:
    """A policy without windows may step at any time."""
    assert is_open((), 0.0)
    assert next_opening((), 0.0) is None


def test_one_open_window_is_enough() -> None:
    """Windows add up."""
    early, late = window("01:00", "02:00"), window("03:00", "04:00")
    assert is_open((early, late), at("2026-03-02T03:30:00"))
    assert not is_open((early, late), at("2026-03-02T02:30:00"))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-06T21:59:59", False),
        ("2026-03-06T22:00:00", True),  # Friday evening
        ("2026-03-07T00:00:00", True),  # Saturday, still Friday's window
        ("2026-03-07T01:59:59", True),
        ("2026-03-07T02:00:00", False),
        ("2026-03-07T23:00:00", False),  # Saturday has none of its own
        ("2026-03-06T01:00:00", False),  # Thursday had none either
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_it_opens(moment: str, expected: bool) -> None:
    """22:00 to 02:00 on Fridays ends on Saturday."""
    night = window("22:00", "02:00", days=(FRI,), zone=SEOUL)
    assert is_open((night,), at(moment, SEOUL)) is expected


def test_equal_ends_are_a_whole_day() -> None:
    """00:00 to 00:00 is open all day and on no other."""
    sunday = window("00:00", "00:00", days=(SUN,))
    assert is_open((sunday,), at("2026-03-08T00:00:00"))
    assert is_open((sunday,), at("2026-03-08T23:59:59"))
    assert not is_open((sunday,), at("2026-03-09T00:00:00"))
    assert not is_open((sunday,), at("2026-03-07T23:59:59"))


def test_spring_takes_an_hour_out_of_a_night_window() -> None:
    """On 8 March 2026 New York jumps from 02:00 to 03:00: 22:00 to 06:00 lasts seven hours."""
    night = window("22:00", "06:00", days=(SAT,), zone=NEW_YORK)
    opens, closes = at("2026-03-07T22:00:00", NEW_YORK), at("2026-03-08T06:00:00", NEW_YORK)
    assert closes - opens == timedelta(hours=7).total_seconds()
    assert is_open((night,), closes - 1)
    assert not is_open((night,), closes)


def test_autumn_gives_a_night_window_an_hour() -> None:
    """On 25 October 2026 Berlin has 02:00 to 03:00 twice; the window is open in both."""
    night = window("01:30", "03:00", days=(SUN,), zone=BERLIN)
    assert is_open((night,), at("2026-10-25T02:30:00", BERLIN))
    assert is_open((night,), at("2026-10-25T02:30:00+fold", BERLIN))
    opens, closes = at("2026-10-25T01:30:00", BERLIN), at("2026-10-25T03:00:00", BERLIN)
    assert closes - opens == timedelta(hours=2.5).total_seconds()
    assert is_open((night,), opens)
    assert not is_open((night,), closes)


def test_an_end_within_the_doubled_hour_is_its_first() -> None:
    """A window to 02:30 closes when clocks first show it, and does not open again an hour later."""
    night = window("01:00", "02:30", days=(SUN,), zone=BERLIN)
    first = at("2026-10-25T02:30:00", BERLIN)
    assert is_open((night,), first - 1)
    assert not is_open((night,), first)
    assert not is_open((night,), first + 3600 - 1)


def test_a_start_within_the_skipped_hour_opens_after_it() -> None:
    """02:30 does not exist on 29 March 2026 in Berlin; the window opens at what clocks call 03:30."""
    night = window("02:30", "05:00", days=(SUN,), zone=BERLIN)
    jump = at("2026-03-29T03:00:00", BERLIN)
    opening = next_opening((night,), jump - 7200)
    assert opening is not None
    assert opening == at("2026-03-29T03:30:00", BERLIN)
    assert not is_open((night,), opening - 1)
    assert is_open((night,), opening)


def test_office_hours_keep_their_hour_across_the_change() -> None:
    """Nine o'clock stays nine o'clock, though it is another hour in UTC."""
    office = window("09:00", "10:00", zone=NEW_YORK)
    assert is_open((office,), at("2026-03-07T14:00:00"))
    assert not is_open((office,), at("2026-03-07T13:00:00"))
    assert is_open((office,), at("2026-03-08T13:00:00"))
    assert not is_open((office,), at("2026-03-08T14:00:00"))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-02T08:00:00", "2026-03-02T09:00:00"),
        ("2026-03-02T09:00:00", "2026-03-03T09:00:00"),  # already open: the one after
        ("2026-03-02T18:00:00", "2026-03-03T09:00:00"),
        ("2026-03-05T18:00:00", "2026-03-09T09:00:00"),  # Thursday evening: Monday
        ("2026-03-08T23:59:59", "2026-03-09T09:00:00"),
    ],
)
def test_next_opening(now: str, expected: str) -> None:
    """The next start, past days on which the window does not open."""
    assert next_opening((OFFICE,), at(now, SEOUL)) == at(expected, SEOUL)


def test_next_opening_of_a_weekly_window_is_a_week_away() -> None:
    """Just after a window that opens once a week has opened."""
    weekly = window("09:00", "10:00", days=(MON,), zone=SEOUL)
    opened = at("2026-03-02T09:00:00", SEOUL)
    assert next_opening((weekly,), opened) == opened + 7 * 86400


def test_next_opening_is_the_earliest_of_all_windows() -> None:
    """Windows may have different zones."""
    berlin = window("09:00", "10:00", zone=BERLIN)
    assert next_opening((OFFICE, berlin), at("2026-03-02T07:00:00")) == at("2026-03-02T08:00:00")


@given(
    now=st.integers(1_750_000_000, 1_813_000_000),
    start=st.times().map(lambda each: each.replace(second=0, microsecond=0)),
    end=st.times().map(lambda each: each.replace(second=0, microsecond=0)),
    days=st.sets(st.sampled_from(EVERY_DAY), min_size=1).map(lambda each: tuple(sorted(each))),
    zone=st.sampled_from([SEOUL, NEW_YORK, BERLIN, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Pacific/Apia")]),
)
def test_a_closed_window_opens_at_its_next_opening(
    now: int, start: time, end: time, days: tuple[int, ...], zone: ZoneInfo
) -> None:
    """The promised opening lies ahead and at most eight days away, in every zone and season."""
    only = Window(days, start, end, zone)
    opening = next_opening((only,), now)
    assert opening is not None
    assert now < opening <= now + 8 * 86400 + 2 * 3600
