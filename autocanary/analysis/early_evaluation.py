"""Whether measurements between two regular evaluations hold something that must not wait for the next one."""

from __future__ import annotations

from autocanary.analysis.analyse import BUDGET_METRIC
from autocanary.analysis.comparisons import has_new_counts
from autocanary.analysis.failure_budget import FailureBudget
from autocanary.analysis.new_samples import counts_sample
from autocanary.analysis.thresholds import UNBOUNDED, has_enough_requests
from autocanary.analysis.verdict import AnalysisInput
from autocanary.model.policy import Analysis, Metric

__all__ = ["is_worth_an_evaluation"]


def is_worth_an_evaluation(analysis: Analysis, analysis_input: AnalysisInput) -> bool:
    """Whether a metric is newly out of range, a comparison has new counts, or the budget of failed requests is spent.

    A value in range changes nothing between two evaluations: everything else waits for the next one.
    """
    return (
        any(_is_new_violation(metric, analysis, analysis_input) for metric in analysis.metrics)
        or has_new_counts(
            analysis.metrics,
            analysis_input.measurements,
            analysis_input.evidence,
            analysis_input.evaluation,
            analysis.interval,
        )
        or _is_budget_spent(analysis, analysis_input)
    )


def _is_new_violation(metric: Metric, analysis: Analysis, analysis_input: AnalysisInput) -> bool:
    measurement = analysis_input.measurements.get(metric.name)
    if measurement is None or not measurement.is_value or measurement.value is None or measurement.sample_at is None:
        return False
    if metric.range == UNBOUNDED or metric.range.contains(measurement.value):
        return False
    if not has_enough_requests(metric, measurement, analysis.min_requests):
        return False
    state = analysis_input.states.get(metric.name)
    return state is None or counts_sample(metric, measurement, state, analysis.interval)


def _is_budget_spent(analysis: Analysis, analysis_input: AnalysisInput) -> bool:
    most, measurement = analysis.max_failed_requests, analysis_input.measurements.get(BUDGET_METRIC)
    if most is None or measurement is None:
        return False
    before = FailureBudget.from_dict(analysis_input.failed_requests)
    return before.add(measurement.failures, count_from_zero=not analysis_input.retried).failed >= most
