"""Tests of autocanary.notifications.metric_rows."""

from __future__ import annotations

import pytest

from autocanary.model.comparison_summary import Side, Standing
from autocanary.model.decision import Event
from autocanary.model.measurement import Reading, ReadingKind, Unit
from autocanary.model.progress import MetricState
from autocanary.notifications.metric_rows import Evidence, deciding, evidence
from tests.notifications.examples import (
    BREACHED,
    METRICS,
    PASSED,
    POLICY,
    decision,
    message,
    progress,
    rollout,
)


def test_breaches_come_first_and_watched_metrics_last() -> None:
    """The order is what a reader needs: what broke, what is silent, what is fine, what is only watched."""
    rows = evidence(message(), POLICY)
    assert [row.metric for row in rows] == ["request-success-rate", "request-duration", "drift"]
    first, second, last = rows
    assert (first.verdict, first.measured, first.threshold) == ("breach", "97.2 %", "at least 99 %")
    assert (second.verdict, second.measured, second.threshold) == ("pass", "340 ms", "at most 500 ms")
    assert (last.verdict, last.measured, last.dry_run) == ("inconclusive", "no data: no series matches", True)
    assert first.requests == 1234.0


def test_numbers_of_the_decision_win_over_the_cleared_present() -> None:
    """A step clears the metrics; what led to it is in the decision recorded at the same moment."""
    recorded = (decision(Event.HELD, METRICS), decision(Event.STEP, {"request-duration": PASSED}))
    about = rollout(progress=progress(metrics={}, decisions=recorded))
    rows = evidence(message(Event.STEP, about=about), POLICY)
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
def test_decision_that_tells_nothing_leaves_the_present_metrics(recorded: dict[str, object]) -> None:
    """Another moment's decision, or one from another version, is passed over."""
    about = rollout(progress=progress(decisions=(recorded,)))
    assert len(evidence(message(about=about), POLICY)) == 3


def test_without_policy_there_are_no_thresholds() -> None:
    """Numbers are shown even where the policy cannot be read."""
    rows = evidence(message(), None)
    assert {row.threshold for row in rows} == {""}
    assert not any(row.dry_run for row in rows)


def test_metric_never_read_is_left_out() -> None:
    """A metric without a reading says nothing."""
    about = rollout(progress=progress(metrics={"x": MetricState()}))
    assert evidence(message(about=about), POLICY) == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_is_none(value: float) -> None:
    """NaN and infinities are said in words."""
    row = Evidence("m", None, Reading(ReadingKind.NOT_A_NUMBER, value, Unit.PERCENT))
    assert row.value is None
    assert row.measured == "not a number"


def test_number_that_does_not_count_says_why() -> None:
    """A number from too few requests is shown with that."""
    row = Evidence(
        "m", None, Reading(ReadingKind.TOO_FEW, 80.0, Unit.PERCENT, 3.0, detail="3 of 50 requests")
    )
    assert row.measured == "80 % (too few requests: 3 of 50 requests)"


def test_deciding_row() -> None:
    """The first row is named unless it is only watched, or there is none."""
    watched = Evidence("m", False, Reading(ReadingKind.VALUE, 1.0), dry_run=True)
    blamed = evidence(message(), POLICY)
    assert deciding(blamed) is blamed[0]
    assert blamed[0].ok is BREACHED.ok
    assert deciding((watched,)) is None
    assert deciding(()) is None


def test_a_comparison_is_two_lines() -> None:
    """Both sides' numbers, and how much of what is needed they prove; the ends of the scale are kept."""
    standing = Standing(Side(1000, 10), Side(9000, 45), meter=140.0, cleared=-3.0)
    states = {"error-rate": MetricState(last=BREACHED.last, standing=standing)}
    [row] = evidence(message(about=rollout(progress=progress(metrics=states))), None)
    assert row.comparison == (
        "canary 10/1000 = 1.00 %, stable 45/9000 = 0.50 %, 2.0x",
        "evidence: 100 % of what rolls back, 0 % of what passes",
    )


def test_why_nothing_is_compared_is_said() -> None:
    """And a metric that is not to be compared says nothing of it."""
    states = {"error-rate": MetricState(last=BREACHED.last, standing=Standing(note="stable has no traffic"))}
    [row] = evidence(message(about=rollout(progress=progress(metrics=states))), None)
    assert row.comparison == ("stable has no traffic",)
    assert all(each.comparison == () for each in evidence(message(), POLICY))
