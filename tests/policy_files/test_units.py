"""Values with units: read strictly, and refused with what to write instead."""

from __future__ import annotations

from datetime import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.model.measurement import Unit
from autocanary.policy_files.units import (
    QuantityError,
    format_duration,
    format_number,
    format_value,
    parse_duration,
    parse_threshold,
    parse_time_of_day,
    percent,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("15s", 15.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("1h2m3s4ms", 3723.004),
        ("0s", 0.0),
        (" 5m ", 300.0),
        ("8784h", 366 * 86400.0),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    """Hours, minutes, seconds and milliseconds, in this order."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        (5, "the duration 5 has no unit", "5m"),
        (0.5, "the duration 0.5 has no unit", "0.5s"),
        ("500", "the duration 500 has no unit", "500ms"),
        ("1e3", "has no unit", "1e3s"),
        (True, "true is not a duration", "30s"),
        (None, "None is not a duration", "30s"),
        ([], "a list is not a duration", "30s"),
        ("", "'' is not a duration", "1h30m"),
        ("5 m", "'5 m' is not a duration", "1h30m"),
        ("30m1h", "'30m1h' is not a duration", "in this order"),
        ("2d", "'2d' is not a duration", "24h"),
        ("-5m", "'-5m' is not a duration", "1h30m"),
        ("5min", "'5min' is not a duration", "1h30m"),
        ("5M", "'5M' is not a duration", "1h30m"),
        ("9000h", "longer than a year", "shorter"),
        ("9" * 400 + "h", "longer than a year", "shorter"),
        ("٥m", "is not a duration", "1h30m"),
    ],
)
def test_invalid_durations(value: Any, message: str, hint: str) -> None:
    """Nothing is guessed: not a unit, not an order, not a calendar day."""
    with pytest.raises(QuantityError) as raised:
        parse_duration(value)
    assert message in raised.value.message
    assert hint in raised.value.hint


@given(st.integers(0, 366 * 86400 * 1000))
def test_a_duration_survives_being_printed(milliseconds: int) -> None:
    """``parse_duration`` reads back what ``format_duration`` writes."""
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    ("value", "expected"),
    [(99, 99.0), (99.5, 99.5), ("99%", 99.0), ("0.5 %", 0.5), (0, 0.0), ("100%", 100.0), (1, 1.0)],
)
def test_percent(value: Any, expected: float) -> None:
    """With or without the sign."""
    assert percent(value) == expected


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        (0.99, "0.99 looks like a ratio", "write 99% if 99 percent is meant, or 0.99% if that is"),
        (0.001, "0.001 looks like a ratio", "write 0.1%"),
        ("99", "'99' is text, not a number", "leave the quotes out"),
        ("99 percent", "is not a percentage", "99.5%"),
        (101, "101 is not within 0 and 100 percent", ""),
        ("100.1%", "100.1 is not within 0 and 100 percent", ""),
        (-1, "-1 is not within", ""),
        (float("nan"), "nan is not a number that can be compared", "finite"),
        pytest.param(10**400, "not a number that can be compared", "finite", id="huge"),
        (False, "false is not a percentage", ""),
    ],
)
def test_invalid_percentages(value: Any, message: str, hint: str) -> None:
    """A bare ratio is refused, since half of the tools mean 0..1 and half mean percent."""
    with pytest.raises(QuantityError) as raised:
        percent(value)
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_bare_1_is_refused_where_it_may_be_a_ratio() -> None:
    """1 is a usual error rate in percent, and an unusual success rate."""
    assert percent(1) == 1.0
    assert percent("1%", one_is_ratio=True) == 1.0
    with pytest.raises(QuantityError, match="1 looks like a ratio"):
        percent(1, one_is_ratio=True)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("500ms", Unit.SECONDS, 0.5),
        (99, Unit.PERCENT, 99.0),
        (0.5, Unit.NUMBER, 0.5),
        (-3, Unit.NUMBER, -3.0),
        (100, Unit.REQUESTS, 100.0),
    ],
)
def test_bound(value: Any, unit: Unit, expected: float) -> None:
    """The end of a range, in the metric's unit."""
    assert parse_threshold(value, unit) == expected


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        (500, Unit.SECONDS, "the duration 500 has no unit"),
        ("500ms", Unit.NUMBER, "'500ms' is not a plain number"),
        ("99%", Unit.NUMBER, "'99%' is not a plain number"),
        ("1e-3", Unit.NUMBER, "'1e-3' is text, not a number"),
        (float("inf"), Unit.NUMBER, "is not a number that can be compared"),
        (True, Unit.REQUESTS, "true is not a number"),
    ],
)
def test_invalid_thresholds(value: Any, unit: Unit, message: str) -> None:
    """Each unit has its own way to be written."""
    with pytest.raises(QuantityError, match=message):
        parse_threshold(value, unit)


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("09:00", False, time(9)),
        ("23:59", False, time(23, 59)),
        ("00:00", True, time(0)),
        ("24:00", True, time(0)),
    ],
)
def test_time_of_day(text: str, end: bool, expected: time) -> None:
    """Two digits, a colon, two digits; 24:00 ends a day."""
    assert parse_time_of_day(text, end=end) == expected


@pytest.mark.parametrize(
    ("value", "end", "words"),
    [
        (1020, False, 'if 17:00 was meant, write "17:00"'),
        (5000, False, "in quotes"),
        (True, False, "true is not a time of day"),
        ("9:00", False, 'as in "09:00"'),
        ("24:00", False, 'to "23:59"'),
        ("24:01", True, 'to "24:00"'),
        ("12:60", False, "the day goes"),
        ("noon", False, "noon is not a time of day"),
        (None, False, "None is not a time of day"),
    ],
)
def test_invalid_times_of_day(value: Any, end: bool, words: str) -> None:
    """The number that YAML 1.1 makes of a bare time is explained."""
    with pytest.raises(QuantityError) as raised:
        parse_time_of_day(value, end=end)
    assert words in f"{raised.value.message}: {raised.value.hint}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "true"),
        (5, "5"),
        (0.25, "0.25"),
        (10**60, "a number of many digits"),
        ({}, "a mapping"),
        ("x" * 50, "x" * 40 + "…"),
    ],
)
def test_values_in_messages_are_short(value: Any, expected: str) -> None:
    """A message never repeats a whole document."""
    assert format_value(value) == expected


def test_numbers_in_messages_have_no_needless_digits() -> None:
    """5.0 is shown as 5."""
    assert [format_number(each) for each in (5.0, 0.1 + 0.2, 99.5)] == ["5", "0.3", "99.5"]
