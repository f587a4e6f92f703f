"""The series of the plots: small, bounded, and true to their extremes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.model.series import (
    POINTS_KEPT,
    SERIES_BYTES,
    WEIGHT,
    Point,
    append_point,
    metric_series,
    parse_points,
    thin_points,
)

NUMBERS = st.none() | st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.5g}"))
POINTS = st.builds(Point, st.integers(0, 10**6), NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@given(st.lists(POINTS, max_size=40))
def test_points_are_read_as_they_were_appended(points: list[Point]) -> None:
    """Up to five significant digits; of values that last, the ends stay."""
    series: Mapping[str, str] = {}
    for point in points:
        series = append_point(series, WEIGHT, point)
    read = parse_points(series.get(WEIGHT))
    assert set(read) <= set(points)
    if points:
        assert read[0][1:] == points[0][1:]
        assert read[-1] == points[-1]


def test_a_value_that_lasts_is_two_points() -> None:
    """A service without errors costs nothing."""
    series: Mapping[str, str] = {}
    for at in range(1000):
        series = append_point(series, "x", Point(at, 100.0))
    series = append_point(series, "x", Point(1000, 99.0))
    assert series["x"] == "0,100 999,100 1000,99"


@pytest.mark.parametrize("metrics", [1, 4, 50])
def test_the_limits_hold_for_every_number_of_metrics(metrics: int) -> None:
    """Points of one series, and bytes of all together; the newest point is always there."""
    series: Mapping[str, str] = {}
    for at in range(0, 9000, 15):
        for number in range(metrics):
            noise = math.sin(at * (number + 1)) * 1234.567
            point = Point(at, noise, -noise, noise / 3, noise / 7, noise / 11)
            series = append_point(series, metric_series(f"m{number}"), point)
    assert len(series) == metrics
    for text in series.values():
        points = parse_points(text)
        assert 2 <= len(points) <= POINTS_KEPT
        assert points[-1].at == 8985
    assert sum(map(len, series.values())) <= SERIES_BYTES


@given(st.lists(POINTS, min_size=2, max_size=400))
def test_thinning_keeps_the_ends_and_every_extreme(points: list[Point]) -> None:
    """The lowest and highest value of both sides, the lowest low and the highest high."""
    kept = thin_points(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert len(kept) <= max(12, len(points) // 2 + 8)
    for extreme, name in (
        (min, "value"),
        (max, "value"),
        (min, "stable"),
        (max, "stable"),
        (min, "low"),
        (max, "high"),
    ):
        before = [getattr(each, name) for each in points if getattr(each, name) is not None]
        after = [getattr(each, name) for each in kept if getattr(each, name) is not None]
        assert extreme(before, default=None) == extreme(after, default=None)


def test_a_spike_survives_a_day() -> None:
    """One bad evaluation among six thousand is still in the series."""
    series: Mapping[str, str] = {}
    for at in range(0, 86400, 15):
        series = append_point(series, "x", Point(at, 100.0 - (at % 7) / 100 if at != 4500 else 12.5))
    points = parse_points(series["x"])
    assert Point(4500, 12.5) in points
    assert len(points) <= POINTS_KEPT


@pytest.mark.parametrize(
    "text",
    [None, 5, "", "x", "1,", "nonsense,1", "1,2,3,4,5,6,7,8", "1,inf", "1,nan", "1,<script>", [], "9" * 5000],
)
def test_what_another_client_has_written_breaks_nothing(text: object) -> None:
    """A record can be edited: what cannot be read is left out."""
    assert all(math.isfinite(value) for point in parse_points(text) for value in point if value is not None)
    assert isinstance(append_point({"x": text} if isinstance(text, str) else {}, "x", Point(1, 2.0))["x"], str)


def test_a_series_of_another_kind_is_dropped_when_a_point_is_appended() -> None:
    """Only texts are kept."""
    assert append_point({"x": 5, "y": "1,2"}, "x", Point(1, 3.0)) == {"x": "1,3", "y": "1,2"}
