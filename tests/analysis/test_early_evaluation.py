"""What must not wait for the next regular evaluation."""

from __future__ import annotations

from dataclasses import replace

from autocanary.analysis import AnalysisInput, Evaluation
from autocanary.analysis.analyse import BUDGET_METRIC
from autocanary.analysis.comparisons import evaluate_comparisons
from autocanary.analysis.early_evaluation import is_worth_an_evaluation
from autocanary.analysis.thresholds import evaluate_threshold
from autocanary.model.measurement import (
    FailureCounts,
    Measurement,
    MeasurementKind,
    RequestCounters,
    RequestTotals,
    Unit,
)
from autocanary.model.policy import Analysis, ComparisonPolicy, Metric, Range
from autocanary.model.progress import MetricState

_START = 1_700_000_000.0


def measured(value: float, at: float, scrape: float = 1.0) -> Measurement:
    return Measurement(
        MeasurementKind.VALUE, value, Unit.PERCENT, 500.0, 0.0, scrape_interval=scrape, sample_at=_START + at
    )


def test_only_news_is_worth_an_early_evaluation() -> None:
    """A value in range, one without its sample, one of too few requests, and a violation that was counted wait."""
    metric = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=3)
    analysis = Analysis(metrics=(metric,), interval=15.0, min_requests=50.0)
    bad = measured(90.0, 10.0, 1.0)

    def worth(measurement: Measurement, state: MetricState | None = None) -> bool:
        states = {metric.name: state} if state is not None else {}
        return is_worth_an_evaluation(
            analysis, AnalysisInput(Evaluation(weight=10, early=True), {metric.name: measurement}, states)
        )

    assert worth(bad)
    assert not worth(measured(100.0, 10.0))
    assert not worth(replace(bad, sample_at=None))
    assert not worth(replace(bad, requests=10.0))
    counted = evaluate_threshold(metric, bad, MetricState(), 50.0, 15.0)
    assert not worth(measured(90.0, 11.0, 1.0), counted)
    assert worth(measured(90.0, 23.0, 1.0), counted)


def test_new_counts_are_worth_an_evaluation_twice_per_interval() -> None:
    """Not those of every sample, and never those that were used."""
    metric = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy())
    analysis = Analysis(metrics=(metric,), interval=20.0, min_requests=50.0)

    def compared(at: float) -> Measurement:
        totals = RequestTotals(10 * at, 0.0)
        return replace(measured(0.0, at), counters=RequestCounters("account", _START + at, totals, totals))

    def evaluation(at: float, *, early: bool) -> Evaluation:
        return Evaluation(now=_START + at, weight=10, early=early)

    evidence: dict[str, object] = {}
    for at in (20.0, 40.0, 60.0, 80.0):
        found = evaluate_comparisons((metric,), {metric.name: compared(at)}, evidence, evaluation(at, early=False))
        assert found is not None
        evidence = dict(found.evidence)

    def worth(at: float) -> bool:
        basis = AnalysisInput(evaluation(at, early=True), {metric.name: compared(at)}, {}, evidence)
        return is_worth_an_evaluation(analysis, basis)

    assert [worth(at) for at in (80.0, 81.0, 89.0, 90.0, 95.0)] == [False, False, False, True, True]


def test_spent_budget_is_worth_an_evaluation() -> None:
    """Requests that have failed, but not yet too many, wait."""
    metric = Metric("error-rate", Range(max=50.0), Unit.PERCENT)
    analysis = Analysis(metrics=(metric,), interval=20.0, min_requests=50.0, max_failed_requests=10)

    def worth(failed: float) -> bool:
        measurement = replace(measured(0.0, 0.0), failures=FailureCounts("account", failed, {"pod": failed}))
        measurements = {metric.name: measured(0.0, 0.0), BUDGET_METRIC: measurement}
        return is_worth_an_evaluation(analysis, AnalysisInput(Evaluation(weight=10, early=True), measurements))

    assert not worth(9.0)
    assert worth(10.0)
