"""What an evaluation adds to the series that a rollout's plots are drawn from. Nothing is decided from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autocanary.analysis.comparisons import evidence_percent_of
from autocanary.decide.decision_input import DecisionInput
from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.decision import Decision
from autocanary.model.measurement import RequestCounters, RequestTotals, Unit
from autocanary.model.policy import Metric
from autocanary.model.progress import MetricState
from autocanary.model.series import EVIDENCE, WEIGHT, Point, append_point, metric_series, parse_points

__all__ = ["record_series"]

_ERROR_RATE, _SUCCESS_RATE = "error-rate", "request-success-rate"


def record_series(decision: Decision, given: DecisionInput) -> Decision:
    """``decision`` with the points of this evaluation in its progress; itself where there is nothing new."""
    progress = decision.progress
    at = max(0, round(given.now - progress.started_at))
    series = progress.series
    weight = Point(at, _number(progress.step.weight), _number(progress.step.observed_weight))
    last = parse_points(str(series.get(WEIGHT, "")).rpartition(" ")[2])
    if not last or last[0][1:3] != weight[1:3]:
        series = append_point(series, WEIGHT, weight)
    if given.verdict is not None:
        for metric in given.policy.analysis.metrics:
            state = given.verdict.metrics.get(metric.name)
            if state is not None:
                point = _point(at, metric, state, _counters(given, metric.name))
                series = append_point(series, metric_series(metric.name), point)
        percent = evidence_percent_of(progress.analysis.evidence)
        if percent is not None and given.verdict.metrics:
            series = append_point(series, EVIDENCE, Point(at, percent))
    if series is progress.series:
        return decision
    return replace(decision, progress=replace(progress, series=series))


def _counters(given: DecisionInput, metric: str) -> RequestCounters | None:
    basis = given.verdict.analysis_input if given.verdict is not None else None
    measurement = basis.measurements.get(metric) if basis is not None else None
    return measurement.counters if measurement is not None else None


def _point(at: int, metric: Metric, state: MetricState, counters: RequestCounters | None) -> Point:
    value = state.last.value if state.last is not None else None
    return Point(at, value, _stable_value(metric, state, counters), *_difference(state.comparison_summary))


def _difference(summary: ComparisonSummary | None) -> tuple[float | None, float | None, float | None]:
    difference = summary.difference if summary is not None and not summary.not_compared_reason else None
    return (difference.points, difference.low, difference.high) if difference is not None else (None, None, None)


def _stable_value(metric: Metric, state: MetricState, counters: RequestCounters | None) -> float | None:
    """Stable's value beside the candidate's, where its requests are counted.

    A rate is that of the comparison's latest minutes; a latency is stable's since its requests are counted, because one
    evaluation holds too few of them for a quantile.
    """
    summary = state.comparison_summary
    if metric.query or summary is None:
        return None
    if metric.unit is Unit.SECONDS and metric.quantile is not None:
        return _quantile(metric.quantile, counters.bounds, counters.stable) if counters is not None else None
    recent = summary.recent_stable if summary.recent_stable.requests > 0 else summary.stable
    percent = recent.percent
    if percent is None or summary.slower_than is not None:
        return None
    return {_ERROR_RATE: percent, _SUCCESS_RATE: 100.0 - percent}.get(metric.name)


def _quantile(quantile: float, bounds: Sequence[float], totals: RequestTotals) -> float | None:
    """Linear within the bucket, as Prometheus' histogram_quantile; the highest bound above all buckets."""
    if not bounds or len(totals.bucket_counts) != len(bounds) or totals.requests <= 0:
        return None
    wanted, lower, counted = quantile * totals.requests, 0.0, 0.0
    for bound, within in zip(bounds, totals.bucket_counts, strict=True):
        if within >= wanted:
            return lower + (bound - lower) * ((wanted - counted) / (within - counted) if within > counted else 1.0)
        lower, counted = bound, max(counted, within)
    return bounds[-1]


def _number(weight: int | None) -> float | None:
    return float(weight) if weight is not None else None
