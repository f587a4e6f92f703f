"""What the metrics of one evaluation show, in the order of certainty: the first finding is the verdict.

Over 300 lines because the findings are one ordered chain over the same evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autocanary.analysis.combined_evidence import TRAFFIC_SHARE
from autocanary.analysis.comparisons import ComparisonResult
from autocanary.analysis.failure_budget import FailureBudget
from autocanary.analysis.parameters import parameters_of
from autocanary.analysis.thresholds import (
    UNBOUNDED,
    is_long_enough_in_range,
    reached_limit_text,
    value_text,
    violation_ratio,
    violation_text,
    violations_text,
)
from autocanary.analysis.verdict import AnalysisInput, Outcome
from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.comparison_wording import evidence_text, proof_text, worse_text
from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import MeasurementKind
from autocanary.model.policy import Analysis, Metric
from autocanary.model.progress import MetricState
from autocanary.model.reason import Reason
from autocanary.model.value_wording import describe_measurement, metric_title

__all__ = ["BUDGET_METRIC", "EvaluatedMetrics", "Finding", "is_spent"]

_OUTAGES: Mapping[MeasurementKind, Reason] = {
    MeasurementKind.OUTAGE: Reason.METRICS_OUTAGE,
    MeasurementKind.REFUSED: Reason.METRICS_OUTAGE,
    MeasurementKind.UNSUPPORTED: Reason.METRICS_OUTAGE,
    MeasurementKind.AMBIGUOUS: Reason.METRICS_OUTAGE,
    MeasurementKind.STALE: Reason.METRICS_STALE,
    MeasurementKind.PARTIAL: Reason.METRICS_PARTIAL,
}
_NO_DATA: Mapping[MeasurementKind, Reason] = {
    MeasurementKind.NO_SERIES: Reason.NO_DATA,
    MeasurementKind.NOT_A_NUMBER: Reason.METRICS_NOT_A_NUMBER,
}

BUDGET_METRIC = "failed-requests"
"""The name under which the measurement for the budget of failed requests comes."""


def is_spent(budget: FailureBudget | None, analysis: Analysis) -> bool:
    """Whether the candidate has failed as many requests as the policy lets it."""
    most = analysis.max_failed_requests
    return budget is not None and most is not None and budget.failed >= most


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the metrics show; ``metric`` is the one it is about, "" when it is about all."""

    outcome: Outcome
    reason: Reason
    message: str
    metric: str = ""


def _title(metric: Metric) -> str:
    """What every sentence calls the metric."""
    return metric_title(metric.name, metric.quantile)


def _rate(counts: tuple[float, float]) -> str:
    requests, failed = counts
    return f"{100 * failed / requests:.3g} %"


@dataclass(frozen=True, slots=True)
class EvaluatedMetrics:
    """Everything that is known at one evaluation; ``findings`` are in the order of certainty, the first counts."""

    analysis: Analysis
    metrics: tuple[Metric, ...]
    threshold_states: Mapping[str, MetricState]
    comparison_result: ComparisonResult | None
    analysis_input: AnalysisInput
    budget: FailureBudget | None = None

    @property
    def gating(self) -> list[tuple[Metric, MetricState]]:
        return [
            (metric, self.threshold_states[metric.name])
            for metric in self.metrics
            if metric.name in self.threshold_states and not metric.dry_run
        ]

    def state(self, name: str) -> MetricState:
        """The metric's state with its comparison summary; without a range only the summary decides."""
        state = self.threshold_states[name]
        if self.comparison_result is None or name not in self.comparison_result.summaries:
            return state
        standing = self.comparison_result.summaries[name]
        # Not replace(): this is done for every metric at every evaluation.
        state = MetricState(
            state.violations,
            state.passes,
            state.ok,
            state.last,
            standing,
            state.violations_in_row,
            state.passes_in_row,
        )
        metric = next(each for each in self.metrics if each.name == name)
        if metric.range != UNBOUNDED or state.ok is None:
            return state
        worse = self.comparison_result.failed or self.comparison_result.suspicious
        if worse and self.comparison_result.conclusion.largest_contributor == name:
            return replace(state, ok=False, passes=state.passes - 1)
        return state if self._is_non_inferior(metric) else replace(state, ok=None, passes=state.passes - 1)

    def findings(self) -> Iterator[Finding]:
        yield from self._budget_spent()
        yield from self._failure_limits_reached()
        yield from self._failed_comparisons()
        yield from self._without_data()
        yield from self._shared_outage()
        yield from self._suspicious()
        yield from self._candidate_in_outage()
        yield from self._restarted()
        yield from self._undecided_thresholds()
        yield from self._undecided_comparisons()
        gating = self.gating
        if gating and all(state.ok or self._passes_by_comparison(metric, state) for metric, state in gating):
            between = ", " if self.comparison_result is None else "; "
            message = between.join(self._pass_text(metric, state) for metric, state in gating)
            yield Finding(Outcome.PASS, Reason.ANALYSING, message)
        yield Finding(Outcome.NO_DATA, Reason.NO_DATA, "nothing was measured")

    def _worst_first(self) -> Sequence[tuple[Metric, MetricState]]:
        """The metrics that decide and are out of range, the one farthest beyond its limit first."""
        violated = [each for each in self.gating if each[1].ok is False]
        return sorted(violated, key=lambda each: violation_ratio(*each), reverse=True) if violated else violated

    def _budget_spent(self) -> Iterator[Finding]:
        most = self.analysis.max_failed_requests
        if self.budget is not None and most is not None and is_spent(self.budget, self.analysis):
            message = f"{self.budget.failed:,} failed requests, the budget is {most:,}"
            yield Finding(Outcome.FAIL, Reason.FAILED_REQUESTS_EXCEEDED, message)

    def _failure_limits_reached(self) -> Iterator[Finding]:
        for metric, state in self._worst_first():
            if reached := reached_limit_text(metric, state):
                message = f"{violation_text(metric, state)}, {reached}"
                yield Finding(Outcome.FAIL, Reason.METRIC_VIOLATION, message, metric.name)

    def _failed_comparisons(self) -> Iterator[Finding]:
        comparison_result = self.comparison_result
        if comparison_result is None:
            return
        if comparison_result.traffic_missing:
            message = f"{self._missing_traffic_text()} ({self._confidence_text()})"
            yield Finding(Outcome.FAIL, Reason.TRAFFIC_MISSING, message)
        if comparison_result.failed:
            message = f"{self._contribution_text('is')} ({self._confidence_text()})"
            yield Finding(Outcome.FAIL, Reason.WORSE_THAN_STABLE, message, self._largest_contributor())

    def _without_data(self) -> Iterator[Finding]:
        budget_measurement = self.analysis_input.measurements.get(BUDGET_METRIC) if self.budget is not None else None
        if budget_measurement is not None:
            uncounted = budget_measurement.is_value and budget_measurement.failures is None
            reason = Reason.METRICS_OUTAGE if uncounted else _OUTAGES.get(budget_measurement.kind)
            if reason is not None:
                message = f"the failed requests cannot be counted: {describe_measurement(budget_measurement)}"
                yield Finding(Outcome.OUTAGE, reason, message)
        for metric, _ in self.gating:
            side = self.comparison_result.silent.get(metric.name) if self.comparison_result is not None else None
            if side is not None:
                why = "its pods are gone or no longer scraped" if metric.counts_requests else "the service has none"
                message = f"{_title(metric)}: no current sample of {side}: {why}"
                yield Finding(Outcome.OUTAGE, Reason.METRICS_STALE, message, metric.name)
        for outcome, kinds in ((Outcome.OUTAGE, _OUTAGES), (Outcome.NO_DATA, _NO_DATA)):
            for metric, state in self.gating:
                if state.last is None or state.last.kind not in kinds:
                    continue
                if outcome is Outcome.NO_DATA and metric.range == UNBOUNDED and self._has_requests_in_step():
                    continue
                message = f"{_title(metric)}: {describe_measurement(state.last)}"
                yield Finding(outcome, kinds[state.last.kind], message, metric.name)

    def _shared_outage(self) -> Iterator[Finding]:
        health = self.comparison_result.health if self.comparison_result is not None else None
        if health is not None and health.stable_in_outage and health.candidate_in_outage:
            message = (
                f"both revisions fail, {_rate(health.recent)} of the candidate's last requests and "
                f"{_rate(health.stable)} of stable's: no step above {100 * health.bar:.3g} %"
            )
            yield Finding(Outcome.OUTAGE, Reason.SHARED_OUTAGE, message)

    def _candidate_in_outage(self) -> Iterator[Finding]:
        """Whatever the comparison says: it may rest on a stable that failed as well."""
        health = self.comparison_result.health if self.comparison_result is not None else None
        if health is not None and health.candidate_in_outage:
            bar = f"no step above {100 * health.bar:.3g} %"
            message = f"{_rate(health.recent)} of the candidate's last requests fail: {bar}"
            yield Finding(Outcome.SUSPICIOUS, Reason.SUSPICIOUS, message)

    def _restarted(self) -> Iterator[Finding]:
        if self.comparison_result is not None and self.comparison_result.restarted and self._compared_metrics():
            message = "the comparison begins again: its stored state is of another version, or not readable"
            yield Finding(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, message)

    def _suspicious(self) -> Iterator[Finding]:
        comparison_result = self.comparison_result
        if comparison_result is None:
            return
        if comparison_result.suspicious:
            evidence_percent = evidence_text(round(comparison_result.conclusion.evidence_percent, 1))  # as it is stored
            if comparison_result.conclusion.largest_contributor == TRAFFIC_SHARE:
                message = f"{self._missing_traffic_text()}: {evidence_percent}"
                yield Finding(Outcome.SUSPICIOUS, Reason.TRAFFIC_MISSING, message)
            message = f"{self._contribution_text('looks')}; {evidence_percent}"
            yield Finding(Outcome.SUSPICIOUS, Reason.SUSPICIOUS, message, self._largest_contributor())
        for name in comparison_result.conclusion.beyond_limit:
            metric = next(each for each in self.metrics if each.name == name)
            message = f"{violation_text(metric, self.threshold_states[name])}; it is not shown to be worse than stable"
            yield Finding(Outcome.SUSPICIOUS, Reason.BEYOND_OBJECTIVE, message, name)

    def _undecided_thresholds(self) -> Iterator[Finding]:
        for metric, state in self._worst_first():
            if state.ok is False and metric.objective:
                message = f"{violation_text(metric, state)}, which is an objective"
                yield Finding(Outcome.INCONCLUSIVE, Reason.VIOLATION_SEEN, message, metric.name)
            elif state.ok is False:
                message = f"{violation_text(metric, state)}, {violations_text(metric, state)}"
                yield Finding(Outcome.INCONCLUSIVE, Reason.VIOLATION_SEEN, message, metric.name)
        for metric, state in self.gating:
            if state.last is not None and state.last.kind is MeasurementKind.TOO_FEW:
                message = f"{_title(metric)}: {describe_measurement(state.last)}"
                yield Finding(Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, message, metric.name)
        for metric, state in self.gating:
            if state.ok and not is_long_enough_in_range(metric, state):
                message = (
                    f"{_title(metric)} {value_text(metric, state)}: in range at "
                    f"{state.passes_in_row} of {metric.consecutive_success_limit} evaluations in a row"
                )
                yield Finding(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, message, metric.name)

    def _undecided_comparisons(self) -> Iterator[Finding]:
        for metric, standing in self._compared_metrics():
            required = self._required_requests(metric)
            if standing.not_compared_reason:
                message = f"{_title(metric)}: {standing.not_compared_reason}"
                yield Finding(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, message, metric.name)
            elif standing.step_requests < required:
                message = f"{_title(metric)}: {standing.step_requests:.0f} of {required:g} requests in this step"
                yield Finding(Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, message, metric.name)
            elif not self._is_non_inferior(metric):
                fails = self.comparison_result is not None and self.comparison_result.health.stable_in_outage
                waits = "; stable itself is in an outage, which shows nothing" if fails else ""
                message = f"{_title(metric)}: {standing}; {proof_text(standing)}{waits}"
                yield Finding(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, message, metric.name)

    def _compared_metrics(self) -> list[tuple[Metric, ComparisonSummary]]:
        comparison_result = self.comparison_result
        if comparison_result is None:
            return []
        return [
            (metric, comparison_result.summaries[metric.name])
            for metric, _ in self.gating
            if metric.name in comparison_result.summaries
        ]

    def _required_requests(self, metric: Metric) -> float:
        return metric.min_requests if metric.min_requests is not None else self.analysis.min_requests

    def _is_non_inferior(self, metric: Metric) -> bool:
        comparison_result = self.comparison_result
        if comparison_result is None or metric.name not in comparison_result.summaries:
            return True
        enough = comparison_result.summaries[metric.name].step_requests >= self._required_requests(metric)
        return enough and metric.name in comparison_result.non_inferior_percent

    def _has_requests_in_step(self) -> bool:
        """A quiet window is not missing data where the requests of the whole step are counted."""
        return any(standing.step_requests > 0 for _, standing in self._compared_metrics())

    def _passes_by_comparison(self, metric: Metric, state: MetricState) -> bool:
        """A quiet window takes nothing from a comparison that has shown the candidate to be fine."""
        quiet = state.last is not None and state.last.kind in _NO_DATA
        compared = self.comparison_result is not None and metric.name in self.comparison_result.summaries
        return quiet and compared and metric.range == UNBOUNDED and self._is_non_inferior(metric)

    def _largest_contributor(self) -> str:
        largest_contributor = (
            self.comparison_result.conclusion.largest_contributor if self.comparison_result is not None else ""
        )
        return "" if largest_contributor == TRAFFIC_SHARE else largest_contributor

    def _contribution_text(self, verb: str) -> str:
        """The metric that carries most of the evidence, in words."""
        name = self._largest_contributor()
        if self.comparison_result is None or name not in self.comparison_result.summaries:
            return self._missing_traffic_text()
        standing = self.comparison_result.summaries[name]
        part = (
            f"; it carries {100 * standing.contribution:.0f} % of the evidence" if standing.contribution < 0.95 else ""
        )
        title = next((_title(each) for each in self.metrics if each.name == name), name)
        return f"{title} {verb} worse than stable's: {worse_text(standing)}{part}"

    def _missing_traffic_text(self) -> str:
        weight = self.analysis_input.evaluation.weight
        return f"the candidate completes less than half of the requests that {weight} % of the traffic are"

    def _confidence_text(self) -> str:
        alphas = [parameters_of(metric.compare).alpha for metric, _ in self.gating if metric.compare is not None]
        return f"confidence {100 * (1 - min(alphas, default=0.05)):g} %"

    def _pass_text(self, metric: Metric, state: MetricState) -> str:
        standing = self.comparison_result.summaries.get(metric.name) if self.comparison_result is not None else None
        if standing is None:
            return f"{_title(metric)} {value_text(metric, state)}"
        value = f"{value_text(metric, state)}, " if metric.range != UNBOUNDED else ""
        return f"{_title(metric)} {value}{standing}"
