"""Tests of autocanary.notifications.metric_rows."""

from __future__ import annotations

import pytest

from autocanary.model.comparison_summary import ComparisonSummary, RevisionCounts
from autocanary.model.decision import Event
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.progress import MetricState
from autocanary.notifications.metric_rows import MetricRow, deciding_row, metric_rows, rows_to_show
from tests.notifications.example_messages import (
    METRICS,
    PASSED,
    POLICY,
    VIOLATED,
    decision,
    message,
    progress,
    rollout,
)


def test_violations_come_first_and_dry_run_metrics_last() -> None:
    """The order is what a reader needs: what broke, what is silent, what is fine, what is only watched."""
    rows = metric_rows(message(), POLICY)
    assert [row.metric for row in rows] == ["request-success-rate", "request-duration", "drift"]
    first, second, last = rows
    assert (first.verdict, first.measurement_text, first.threshold) == ("violation", "97.2 %", "at least 99 %")
    assert (second.verdict, second.measurement_text, second.threshold) == ("pass", "340 ms", "at most 500 ms")
    assert (last.verdict, last.measurement_text, last.dry_run) == (
        "inconclusive",
        "no data: no series matches",
        True,
    )
    assert first.requests == 1234.0


def test_prefers_the_metrics_recorded_with_the_decision() -> None:
    """A step clears the metrics; what led to it is in the decision recorded at the same moment."""
    recorded = (decision(Event.HELD, METRICS), decision(Event.STEP, {"request-duration": PASSED}))
    about = rollout(progress=progress(metrics={}, decisions=recorded))
    rows = metric_rows(message(Event.STEP, about=about), POLICY)
    assert [(row.metric, row.value) for row in rows] == [("request-duration", 0.34)]


@pytest.mark.parametrize(
    "recorded",
    [
        {"time": "2025-01-01T00:00:00Z", "event": "rollout_rolled_back", "inputs": {"metrics": {"x": {}}}},
        {"time": "2026-01-01T00:00:00Z", "event": "rollout_rolled_back"},
        {"time": "2026-01-01T00:00:00Z", "event": "rollout_rolled_back", "inputs": {"metrics": None}},
        {"time": "2026-01-01T00:00:00Z", "event": "rollout_rolled_back", "inputs": {"metrics": {"x": 7}}},
        {
            "time": "2026-01-01T00:00:00Z",
            "event": "rollout_rolled_back",
            "inputs": {"metrics": {"x": {"last": {"kind": "newer"}}}},
        },
    ],
)
def test_falls_back_to_current_metrics(recorded: dict[str, object]) -> None:
    """Another moment's decision, or one from another version, is passed over."""
    about = rollout(progress=progress(decisions=(recorded,)))
    assert len(metric_rows(message(about=about), POLICY)) == 3


def test_without_policy_there_are_no_thresholds() -> None:
    """Numbers are shown even where the policy cannot be read."""
    rows = metric_rows(message(), None)
    assert {row.threshold for row in rows} == {""}
    assert not any(row.dry_run for row in rows)


def test_metric_never_read_is_left_out() -> None:
    """A metric without a measurement says nothing."""
    about = rollout(progress=progress(metrics={"x": MetricState()}))
    assert metric_rows(message(about=about), POLICY) == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_value_that_is_not_finite_is_none(value: float) -> None:
    """NaN and infinities are said in words."""
    row = MetricRow("m", None, Measurement(MeasurementKind.NOT_A_NUMBER, value, Unit.PERCENT))
    assert row.value is None
    assert row.measurement_text == "not a number"


def test_unusable_value_is_shown_with_its_reason() -> None:
    """A number from too few requests is shown with that."""
    row = MetricRow("m", None, Measurement(MeasurementKind.TOO_FEW, 80.0, Unit.PERCENT, 3.0, detail="3 of 50 requests"))
    assert row.measurement_text == "80 % (too few requests: 3 of 50 requests)"


def test_deciding_row() -> None:
    """The first row is named unless it is only watched, or there is none."""
    watched = MetricRow("m", False, Measurement(MeasurementKind.VALUE, 1.0), dry_run=True)
    named = metric_rows(message(), POLICY)
    assert deciding_row(named) is named[0]
    assert named[0].ok is VIOLATED.ok
    assert deciding_row((watched,)) is None
    assert deciding_row(()) is None


def test_a_comparison_is_shown_in_sentences() -> None:
    """Both sides' numbers, and how much of what is needed they prove; the ends of the scale are kept."""
    comparison_summary = ComparisonSummary(
        RevisionCounts(1000, 10), RevisionCounts(9000, 45), evidence_percent=140.0, non_inferior_percent=-3.0
    )
    states = {"error-rate": MetricState(last=VIOLATED.last, comparison_summary=comparison_summary)}
    [row] = metric_rows(message(about=rollout(progress=progress(metrics=states))), None)
    assert row.lines == (
        "since the rollout began: canary 10/1000 = 1.00 %, stable 45/9000 = 0.50 %, 2.0x",
        "0.50 points more than stable (95 % interval at all times: -0.65 to 2.47)",
        "this metric alone: 100 % of the proof needed to roll back",
        "no worse than stable: 0 % of the proof needed to pass the step",
    )


def test_shows_why_nothing_is_compared() -> None:
    """And a metric that is not to be compared says nothing of it."""
    states = {
        "error-rate": MetricState(
            last=VIOLATED.last,
            comparison_summary=ComparisonSummary(not_compared_reason="stable has no traffic"),
        )
    }
    [row] = metric_rows(message(about=rollout(progress=progress(metrics=states))), None)
    assert row.lines == ("97.2 %, 1,234 requests", "stable has no traffic")
    assert all(len(each.lines) == 1 for each in metric_rows(message(), POLICY))


def test_the_metric_farthest_beyond_its_limit_comes_first() -> None:
    """Twice as many failures as allowed is less than a latency of eight times its limit."""
    slow = MetricState(3, 0, False, Measurement(MeasurementKind.VALUE, 4.0, Unit.SECONDS, requests=1234.0))
    rows = metric_rows(message(about=rollout(progress=progress(metrics={**METRICS, "request-duration": slow}))), POLICY)
    assert [row.title for row in rows] == ["p99 latency", "success rate", "drift"]
    assert [round(row.ratio, 1) for row in rows[:2]] == [8.0, 2.8]


def test_rows_to_show_leaves_out_what_the_message_says() -> None:
    """Each number is named once."""
    given = message()
    assert [row.title for row in metric_rows(given, POLICY)] == ["success rate", "p99 latency", "drift"]
    assert [row.title for row in rows_to_show(given, POLICY)] == ["p99 latency", "drift"]
    other = message(message="success rate is fine")
    assert [row.title for row in rows_to_show(other, POLICY)] == ["success rate", "p99 latency", "drift"]
