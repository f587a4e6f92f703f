"""One evaluation of all metrics of a candidate: thresholds and comparisons in, one verdict out."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.analysis.comparisons import evaluate_comparisons
from autocanary.analysis.evaluated_metrics import BUDGET_METRIC, EvaluatedMetrics, is_spent
from autocanary.analysis.failure_budget import FailureBudget
from autocanary.analysis.thresholds import evaluate_threshold
from autocanary.analysis.verdict import AnalysisInput, Outcome, Verdict
from autocanary.model.policy import Analysis, Metric
from autocanary.model.progress import MetricState
from autocanary.model.reason import Reason

__all__ = ["BUDGET_METRIC", "analyse"]


def analyse(
    analysis: Analysis,
    metrics: Sequence[Metric],
    analysis_input: AnalysisInput,
    all_metrics: Sequence[Metric] | None = None,
) -> Verdict:
    """One evaluation of ``analysis_input``, which holds one measurement per metric name.

    A metric without a measurement keeps its state. ``all_metrics`` are those of all steps of the rollout, None: the
    same as ``metrics``.

    The order of the checks is the order of certainty: a failure limit that was reached, or evidence that
    sufficed, is not taken back by another metric's silence, and no number passes while another is missing.
    """
    threshold_states = {
        metric.name: evaluate_threshold(
            metric,
            analysis_input.measurements[metric.name],
            analysis_input.states.get(metric.name, MetricState()),
            analysis.min_requests,
            analysis.interval,
        )
        for metric in metrics
        if metric.name in analysis_input.measurements
    }
    for metric in metrics:  # of an early evaluation, which does not ask for everything
        if metric.name not in threshold_states and metric.name in analysis_input.states:
            threshold_states[metric.name] = analysis_input.states[metric.name]
    comparison_result = evaluate_comparisons(
        metrics,
        analysis_input.measurements,
        analysis_input.evidence,
        analysis_input.evaluation,
        analysis.min_requests,
        all_metrics,
        analysis.interval,
    )
    evidence = comparison_result.evidence if comparison_result is not None else None
    budget = _budget_after(analysis, analysis_input)
    failed_requests = budget.to_dict() | {"max": analysis.max_failed_requests} if budget is not None else None
    if analysis_input.evaluation.warming and not is_spent(budget, analysis):
        message = "the counts belong to the split before"
        return Verdict(
            Outcome.INCONCLUSIVE,
            Reason.WARMING_UP,
            message,
            {},
            evidence=evidence,
            analysis_input=analysis_input,
            failed_requests=failed_requests,
        )
    evaluated = EvaluatedMetrics(analysis, tuple(metrics), threshold_states, comparison_result, analysis_input, budget)
    conclusion = next(evaluated.findings())
    states = {name: evaluated.state(name) for name in threshold_states}
    return Verdict(
        conclusion.outcome,
        conclusion.reason,
        conclusion.message,
        states,
        conclusion.metric,
        evidence,
        analysis_input,
        failed_requests,
    )


def _budget_after(analysis: Analysis, analysis_input: AnalysisInput) -> FailureBudget | None:
    """The budget's state after this evaluation; None where the policy has none."""
    if analysis.max_failed_requests is None:
        return None
    measurement = analysis_input.measurements.get(BUDGET_METRIC)
    counts = measurement.failures if measurement is not None else None
    before = FailureBudget.from_dict(analysis_input.failed_requests)
    return before.add(counts, count_from_zero=not analysis_input.retried)
