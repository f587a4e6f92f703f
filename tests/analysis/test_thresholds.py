"""The threshold judge: what counts, what does not, and what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.analysis import AnalysisInput, Evaluation, Outcome, Verdict, analyse
from autocanary.analysis.thresholds import (
    evaluate_threshold,
    is_long_enough_in_range,
    reached_limit_text,
    violations_text,
)
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import Analysis, Metric, Range, WebMetric
from autocanary.model.progress import MetricState
from autocanary.model.reason import Reason
from tests.decide.builders import LATENCY, SUCCESS, value

ANALYSIS = Analysis(metrics=(SUCCESS, LATENCY))
GOOD = {"request-success-rate": value(99.9), "request-duration": value(0.2, unit=Unit.SECONDS)}


def look(
    measurements: dict[str, Measurement], states: dict[str, MetricState] | None = None, *metrics: Metric
) -> Verdict:
    return analyse(ANALYSIS, metrics or ANALYSIS.metrics, AnalysisInput(Evaluation(), measurements, states or {}))


def test_all_in_range_passes_and_says_the_values() -> None:
    """A pass names what was measured, with units."""
    found = look(GOOD)
    assert found.outcome is Outcome.PASS
    assert found.message == "success rate 99.9 %, p99 latency 200 ms"
    assert found.metrics["request-duration"].passes == 1


def test_violation_below_the_limit_does_not_fail() -> None:
    """The first violation of three neither passes nor fails."""
    found = look({**GOOD, "request-success-rate": value(80.0)})
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.VIOLATION_SEEN)
    assert "success rate 80 % (needs 99 %), 1,000 requests, 1 of 3 violations" in found.message


def test_fails_when_violations_reach_the_limit() -> None:
    """failureLimit 3 fails at the third violation of the step."""
    found = look({**GOOD, "request-success-rate": value(80.0)}, {"request-success-rate": MetricState(violations=2)})
    assert (found.outcome, found.metric) == (Outcome.FAIL, "request-success-rate")


def test_a_pass_between_keeps_earlier_violations() -> None:
    """Violations add up within a step unless the policy says consecutive."""
    states = {"request-success-rate": MetricState(violations=2)}
    assert look(GOOD, states).metrics["request-success-rate"].violations == 2


def test_consecutive_forgets_violations_at_a_pass() -> None:
    """With consecutive, a pass in between resets the count."""
    metric = replace(SUCCESS, consecutive=True)
    states = {"request-success-rate": MetricState(violations=2)}
    found = look({"request-success-rate": value(99.9)}, states, metric)
    assert found.metrics["request-success-rate"].violations == 0


def test_too_few_requests_neither_pass_nor_fail() -> None:
    """Below minRequests even a terrible number is no violation."""
    found = look({**GOOD, "request-success-rate": value(0.0, requests=12)})
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS)
    assert found.metrics["request-success-rate"].violations == 0
    assert "12 of 50 requests" in found.message


def test_a_metric_of_unknown_count_is_judged() -> None:
    """Custom PromQL without a request count is evaluated by its value alone."""
    assert look({**GOOD, "request-success-rate": value(99.5, requests=None)}).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("kind", "outcome", "reason"),
    [
        (MeasurementKind.OUTAGE, Outcome.OUTAGE, Reason.METRICS_OUTAGE),
        (MeasurementKind.REFUSED, Outcome.OUTAGE, Reason.METRICS_OUTAGE),
        (MeasurementKind.UNSUPPORTED, Outcome.OUTAGE, Reason.METRICS_OUTAGE),
        (MeasurementKind.AMBIGUOUS, Outcome.OUTAGE, Reason.METRICS_OUTAGE),
        (MeasurementKind.STALE, Outcome.OUTAGE, Reason.METRICS_STALE),
        (MeasurementKind.PARTIAL, Outcome.OUTAGE, Reason.METRICS_PARTIAL),
        (MeasurementKind.NO_SERIES, Outcome.NO_DATA, Reason.NO_DATA),
        (MeasurementKind.NOT_A_NUMBER, Outcome.NO_DATA, Reason.METRICS_NOT_A_NUMBER),
    ],
)
def test_outcome_by_measurement_kind(kind: MeasurementKind, outcome: Outcome, reason: Reason) -> None:
    """Every way to say nothing has its own name, and none of them passes or blames."""
    found = look({**GOOD, "request-success-rate": Measurement(kind, value=0.0, requests=1000)})
    assert (found.outcome, found.reason) == (outcome, reason)
    assert found.metrics["request-success-rate"].violations == 0


def test_violation_limit_outranks_a_metric_without_data() -> None:
    """A failure is certain even while the other metric's source is down."""
    measurements = {"request-success-rate": value(1.0), "request-duration": Measurement(MeasurementKind.OUTAGE)}
    found = look(measurements, {"request-success-rate": MetricState(violations=2)})
    assert found.outcome is Outcome.FAIL


def test_a_dry_run_metric_is_shown_and_never_decides() -> None:
    """dryRun violations are counted and shown, and decide nothing."""
    drift = Metric("drift", Range(max=0), Unit.NUMBER, dry_run=True)
    found = look({"drift": value(7.0, unit=Unit.NUMBER), **GOOD}, {}, *ANALYSIS.metrics, drift)
    assert found.outcome is Outcome.PASS
    assert found.metrics["drift"].violations == 1


KINDS = st.sampled_from(list(MeasurementKind))
MEASUREMENTS = st.builds(
    Measurement, kind=KINDS, value=st.floats(allow_nan=False), requests=st.none() | st.floats(0, 1e6)
)


@given(MEASUREMENTS, MEASUREMENTS, st.integers(0, 5))
def test_only_enough_numbers_in_range_pass(success: Measurement, latency: Measurement, violations: int) -> None:
    """PASS means that every gating metric gave a number in range from enough requests, whatever else."""
    states = {"request-success-rate": MetricState(violations=violations)}
    found = look({"request-success-rate": success, "request-duration": latency}, states)
    if found.outcome is Outcome.PASS:
        for metric, measurement in ((SUCCESS, success), (LATENCY, latency)):
            assert measurement.kind is MeasurementKind.VALUE
            assert measurement.value is not None
            assert metric.range.contains(measurement.value)
            assert measurement.requests is None or measurement.requests >= ANALYSIS.min_requests
    if found.outcome is Outcome.FAIL:
        named = found.metrics[found.metric]
        assert named.last is not None
        assert named.last.kind is MeasurementKind.VALUE
        assert named.ok is False


def test_a_violation_is_named_before_a_metric_with_too_few_requests() -> None:
    """Something was seen, so it is no mere want of evidence: `onInconclusive: promote` must not go on with it."""
    few = value(0.2, requests=3, unit=Unit.SECONDS)
    for measurements in (
        {"request-success-rate": value(80.0), "request-duration": few},
        {"request-success-rate": value(99.9, requests=3), "request-duration": value(9.0, unit=Unit.SECONDS)},
    ):
        found = look(measurements)
        assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.VIOLATION_SEEN)


def _in_a_row(metric: Metric, values: str) -> list[MetricState]:
    """The states after values in range (+), out of range (-) and missing (.)."""
    state, states = MetricState(), []
    for each in values:
        kind = MeasurementKind.NO_SERIES if each == "." else MeasurementKind.VALUE
        value = {"+": 100.0, "-": 50.0, ".": None}[each]
        state = evaluate_threshold(metric, Measurement(kind, value, Unit.PERCENT, 500.0), state, 50.0)
        states.append(state)
    return states


def test_violations_in_a_row_reach_their_own_limit() -> None:
    """Whatever the sum is; an evaluation without a number neither counts nor interrupts."""
    metric = Metric(
        "request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=None, consecutive_failure_limit=3
    )
    texts = [reached_limit_text(metric, state) for state in _in_a_row(metric, "--+--+-.-.-")]
    assert texts[:-1] == [""] * 10
    assert texts[-1] == "3 violations in a row, the limit is 3"
    both = replace(metric, failure_limit=5)
    texts = [reached_limit_text(both, state) for state in _in_a_row(both, "--+--+-")]
    assert texts == ["", "", "", "", "", "", "5 of 5 violations"]
    assert violations_text(metric, _in_a_row(metric, "+-")[-1]) == "1 of 3 violations in a row"


def test_passes_in_a_row_are_counted() -> None:
    """A violation begins the count again, a missing number does not."""
    metric = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, consecutive_success_limit=3)
    long_enough = [is_long_enough_in_range(metric, state) for state in _in_a_row(metric, "++-++.+")]
    assert long_enough == [False, False, False, False, False, False, True]
    assert is_long_enough_in_range(replace(metric, consecutive_success_limit=None), MetricState())


def test_counts_in_a_row_survive_json() -> None:
    metric = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT)
    for state in _in_a_row(metric, "--+++-"):
        assert MetricState.from_dict(state.to_dict()) == state


def test_min_requests_of_a_web_metric_need_samples_in_the_answer() -> None:
    """What cannot be checked does not pass; without a limit of the metric's own nothing is asked for."""
    metric = Metric("quality", Range(min=0.9), Unit.NUMBER, min_requests=20.0, web=WebMetric("http://eval/"))
    unsampled = Measurement(MeasurementKind.VALUE, 0.97)
    found = look({"quality": unsampled}, {}, metric)
    assert (found.outcome, found.reason) == (Outcome.OUTAGE, Reason.METRICS_OUTAGE)
    assert 'the answer has no "samples", and minRequests needs 20' in found.message
    assert look({"quality": replace(unsampled, requests=20.0)}, {}, metric).outcome is Outcome.PASS
    assert look({"quality": unsampled}, {}, replace(metric, min_requests=None)).outcome is Outcome.PASS
