"""Windows that follow the scrape interval: long enough at once, and shared by services with about the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.model.measurement import MeasurementKind, MetricQuery
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.scrape_windows import ScrapeWindows, following_window
from tests.prometheus.scripted_prometheus import ManualClock, MetricsHarness, knative, metric_query, row, rows, traffic

FOLLOWING = replace(metric_query("error-rate"), follows_scrapes=True)


@pytest.mark.parametrize(
    ("interval", "window"), [(1, 60), (5, 60), (15, 60), (20, 60), (30, 90), (59.97, 180), (60.02, 180), (300, 900)]
)
def test_window_is_three_scrapes_and_at_least_a_minute(interval: float, window: float) -> None:
    """Jitter of the measured interval does not make a window of its own."""
    assert following_window(interval, 60) == window


@given(st.floats(min_value=0.1, max_value=3600))
def test_window_always_holds_two_scrapes(interval: float) -> None:
    """Whatever the interval, a rate has its two samples."""
    window = following_window(interval, 60)
    assert window >= 2.2 * interval
    assert window % 15 == 0


def scraped_every(interval: float) -> MetricsHarness:
    """Requests that a window of two scrapes sees, and an interval that is seen with any window."""

    def respond(query: str) -> QueryResponse:
        interval_row = row(interval, **knative(), autocanary="interval")
        if f"[{'3m' if interval == 60 else '1m'}]" not in query:
            return rows(*traffic(None), interval_row)
        return rows(*traffic(300.0, failed=3.0), interval_row)

    return MetricsHarness(respond)


def test_too_short_window_is_widened_within_the_round() -> None:
    """The first evaluation has a number; the next ones ask with the right window at once."""
    harness = scraped_every(60)
    found = harness.query_one(FOLLOWING)
    assert (found.kind, found.value, found.window, found.scrape_interval) == (MeasurementKind.VALUE, 1.0, 180, 60)
    assert len(harness.fake.queries) == 2
    assert harness.query_one(FOLLOWING) == found
    assert len(harness.fake.queries) == 3


def test_given_window_is_held_with_the_numbers() -> None:
    """A policy that says one minute means it."""
    found = scraped_every(60).query_one(metric_query("error-rate"))
    assert found.kind is MeasurementKind.UNSUPPORTED
    assert "is scraped every 1m, the window is 1m: use at least 3m" in found.detail


def test_frequent_scrapes_leave_the_window() -> None:
    """Nothing is asked twice."""
    harness = scraped_every(15)
    assert harness.query_one(FOLLOWING).window == 60
    assert len(harness.fake.queries) == 1


def test_window_of_a_custom_query_follows_too() -> None:
    """Its placeholder is filled with the window that the service needs."""
    harness = scraped_every(60)
    asked = replace(
        FOLLOWING, metric="", query="sum(rate(x[1m]))", query_template="sum(rate(x[{{ window }}]))", query_type="vector"
    )
    harness.query_one(asked)
    assert "sum(rate(x[3m]))" in harness.fake.queries
    harness.fake.rounds.clear()
    harness.query_one(asked)
    assert "sum(rate(x[3m]))" in harness.fake.queries
    assert "sum(rate(x[1m]))" not in harness.fake.queries


def test_windows_are_forgotten_after_an_hour_without_use() -> None:
    """Memory does not grow with the services that ever were."""
    clock = ManualClock()
    windows = ScrapeWindows(clock.now)
    assert windows.learn(FOLLOWING, 60.0) is not None
    assert windows.widened(FOLLOWING).window == 180
    clock.time += 4000
    assert windows.widened(FOLLOWING).window == 60


def test_shorter_interval_shortens_the_window_again() -> None:
    """The scrape configuration was corrected while the rollout ran."""
    windows = ScrapeWindows(ManualClock().now)
    windows.learn(FOLLOWING, 60.0)
    wide: MetricQuery = windows.widened(FOLLOWING)
    assert windows.learn(wide, 15.0) is None
    assert windows.widened(FOLLOWING).window == 60
