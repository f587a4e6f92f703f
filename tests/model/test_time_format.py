"""Durations as users write them."""

from __future__ import annotations

import pytest

from autocanary.model.time_format import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("500ms", 0.5),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2d", 172800),
        (" 1m ", 60),
        ("0s", 0),
        ("30", 30),
        ("1.5", 1.5),
    ],
)
def test_a_duration_is_its_seconds(text: str, seconds: float) -> None:
    """Every unit, fractions, and several parts are understood; a plain number is seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected a duration such as"),
        ("-5s", "expected a duration such as"),
        ("5 s", "expected a duration such as"),
        ("5y", "expected a duration such as"),
        ("٥s", "expected a duration such as"),
        ("30m1h", "largest unit first"),
        ("1m1m", "each unit once"),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text: str, sentence: str) -> None:
    """A strange order is a slip of the pen."""
    with pytest.raises(ValueError, match=sentence):
        parse_duration(text)
