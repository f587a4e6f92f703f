"""One metric's comparison in figures: how the candidate compares with stable, or why it is not compared."""

from __future__ import annotations

from math import log

from autocanary.analysis.combined_evidence import CombinedEvidence
from autocanary.analysis.needed_requests import needed_requests
from autocanary.analysis.parameters import ComparisonParameters
from autocanary.analysis.sequential_test import Comparison
from autocanary.analysis.verdict import Evaluation
from autocanary.model.comparison_summary import ComparisonSummary, RevisionCounts
from autocanary.model.measurement import Measurement, MeasurementKind
from autocanary.model.policy import FULL_WEIGHT, Metric

__all__ = ["KINDS_WITH_COUNTS", "summarize"]


KINDS_WITH_COUNTS = frozenset(
    {MeasurementKind.VALUE, MeasurementKind.TOO_FEW, MeasurementKind.NO_SERIES, MeasurementKind.NOT_A_NUMBER}
)
"""Measurements whose counts are whole; a window without requests is no reason to doubt the totals."""


def summarize(
    state: Comparison,
    parameters: ComparisonParameters,
    conclusion: CombinedEvidence,
    metric: Metric,
    measurement: Measurement | None,
    began: float | None,
    at: Evaluation,
    required: float,
    stable_in_outage: bool,
) -> ComparisonSummary:
    name, outcome = metric.name, _worst_outcome(state)
    n_c, e_c, n_s, e_s = state.total.outcome(outcome)
    recent_n_c, recent_e_c, recent_n_s, recent_e_s = state.recent.counts.outcome(outcome)
    needed = None
    if not stable_in_outage:  # such blocks prove nothing
        needed = needed_requests(state, parameters, step=at.step, steps=at.steps, required=required)
    without_stable = at.weight >= FULL_WEIGHT and state.history.requests > 0.0
    counters = measurement.counters if measurement is not None else None
    gates = name in conclusion.inferiority  # the others are shown all the same
    inferiority = conclusion.inferiority[name] if gates else state.evidence
    non_inferiority = conclusion.non_inferiority[name] if gates else state.non_inferiority / -log(parameters.beta)
    return ComparisonSummary(
        candidate=RevisionCounts(float(n_c), float(e_c)),
        stable=RevisionCounts(float(n_s), float(e_s)),
        step_requests=float(state.step.candidate),
        evidence_percent=round(100.0 * min(max(inferiority / parameters.bound, 0.0), 1.0), 1),
        non_inferior_percent=round(100.0 * min(max(non_inferiority, 0.0), 1.0), 1),
        contribution=round(conclusion.contribution.get(name, 0.0), 3),
        seconds=round(counters.at - began, 1) if counters is not None and began is not None else 0.0,
        slower_than=state.bounds[outcome] if state.bounds else None,
        not_compared_reason=_reason_not_compared(state, parameters, measurement),
        recent_candidate=RevisionCounts(float(recent_n_c), float(recent_e_c)),
        recent_stable=RevisionCounts(float(recent_n_s), float(recent_e_s)),
        recent_seconds=round(state.recent.seconds, 1),
        needed_requests=needed.requests if needed is not None else None,
        needed_seconds=needed.seconds if needed is not None else None,
        limit_percent=round(100.0 * state.history.upper_rate(outcome), 4) if without_stable else None,
        confidence=round(100.0 * (1.0 - parameters.alpha), 6),
    )


def _worst_outcome(state: Comparison) -> int:
    """Of the latency bounds, the one that says most against the candidate."""
    if len(state.outcomes) < 2:
        return 0
    return max(range(len(state.outcomes)), key=lambda index: state.outcomes[index].inferiority)


def _reason_not_compared(state: Comparison, parameters: ComparisonParameters, measurement: Measurement | None) -> str:
    """Why nothing is compared; "" when it is, or when the reading says it already."""
    if measurement is None or measurement.kind not in KINDS_WITH_COUNTS:
        return ""
    source = f" of {measurement.source.value}" if measurement.source is not None else ""
    if measurement.counters is None:
        if measurement.kind is not MeasurementKind.VALUE:
            return ""
        why = f": {measurement.detail}" if measurement.detail else ""
        return f"the source{source} does not count the requests of both revisions, so nothing is compared{why}"
    if not measurement.counters.exact:
        return f"the counts{source} are approximate: thresholds may use them, a comparison may not"
    if parameters.latency and not measurement.counters.bounds:
        return f"the source{source} has no latency histogram, so nothing is compared"
    if parameters.latency and not state.bounds:
        return "stable has completed too few requests to say what slow is"
    return ""
