"""The comparisons of a policy at one evaluation: from measurements to the evidence, and how it is shown.

The state is a versioned mapping that the rollout's progress carries along (``Progress.evidence``). One that
cannot be read, because another version wrote it or it was edited, begins again: that can delay a decision,
not make a wrong one.

Over 300 lines because every count passes the same checks, from its measurement to the evidence, in one order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autocanary.analysis.combined_evidence import (
    TRAFFIC_SHARE,
    CombinedEvidence,
    Comparisons,
    combine_evidence,
    update_comparisons,
)
from autocanary.analysis.count_blocks import is_silent
from autocanary.analysis.metric_summaries import KINDS_WITH_COUNTS, summarize
from autocanary.analysis.new_samples import COUNTS_SPACING, is_spaced
from autocanary.analysis.parameters import ComparisonParameters, parameters_of
from autocanary.analysis.service_health import ServiceHealth
from autocanary.analysis.verdict import Evaluation
from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import Measurement, RequestCounters, Unit
from autocanary.model.policy import FULL_WEIGHT, Metric

__all__ = [
    "MISSING_TRAFFIC_SECONDS",
    "STATE_VERSION",
    "ComparisonResult",
    "evaluate_comparisons",
    "evidence_percent_of",
    "has_new_counts",
    "parameters_by_name",
]

STATE_VERSION = 3
_READABLE_VERSIONS = (2, STATE_VERSION)
_NEW_HEALTH = ServiceHealth()
MISSING_TRAFFIC_SECONDS = 60.0
"""Seconds for which missing traffic must last: pods that start late complete it at once."""
_OBJECTIVE_END = {"error-rate": "max", "request-success-rate": "min"}


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """``evidence`` is the state after the evaluation, ``conclusion`` what all comparisons say together.

    ``summaries`` are for users, by metric. ``failed`` and ``traffic_missing``: the evidence suffices that the
    candidate is worse than stable, or completes too little. ``suspicious``: it seems so.
    ``non_inferior_percent`` are the metrics that may pass. ``silent`` says, by metric, which side has no
    current sample although it had one before. ``health`` says whether the service itself is in an outage.
    ``restarted``: the stored state could not be read, so everything is counted from here on.
    """

    evidence: Mapping[str, Any]
    conclusion: CombinedEvidence
    summaries: Mapping[str, ComparisonSummary]
    failed: bool
    traffic_missing: bool
    suspicious: bool
    non_inferior_percent: frozenset[str]
    silent: Mapping[str, str] = field(default_factory=dict)
    health: ServiceHealth = _NEW_HEALTH
    restarted: bool = False


class _StoredState(Mapping[str, Any]):
    """What is recorded of the comparisons. The JSON form is made when it is read, once in many evaluations."""

    __slots__ = ("_extra", "comparisons")

    def __init__(self, comparisons: Comparisons, extra: Mapping[str, Any]) -> None:
        self.comparisons, self._extra = comparisons, extra

    def __getitem__(self, name: str) -> Any:
        return self.comparisons.to_dict() if name == "comparisons" else self._extra[name]

    def __iter__(self) -> Iterator[str]:
        yield "comparisons"
        yield from self._extra

    def __len__(self) -> int:
        return len(self._extra) + 1


def parameters_by_name(metrics: Sequence[Metric]) -> dict[str, ComparisonParameters]:
    """The parameters of the metrics that are compared."""
    return {
        metric.name: parameters_of(metric.compare, latency=metric.unit is Unit.SECONDS)
        for metric in metrics
        if metric.compare is not None
    }


def evaluate_comparisons(
    metrics: Sequence[Metric],
    measurements: Mapping[str, Measurement],
    evidence: Mapping[str, Any],
    at: Evaluation,
    min_requests: float = 0.0,
    all_metrics: Sequence[Metric] | None = None,
    interval: float = 0.0,
) -> ComparisonResult | None:
    """One evaluation; None when the policy compares nothing at this step.

    An early evaluation counts what is at least half an ``interval`` (seconds) after the last counts, a regular one all.
    ``min_requests``: for metrics without their own. ``all_metrics`` are those of all steps, None: the same. The
    evidence is the mean over all that are compared at any step: one that is not yet counts as 1, and one that no
    longer is keeps what it has shown.
    """
    parameters = parameters_by_name(metrics)
    if not parameters:
        return None
    elsewhere: Mapping[str, ComparisonParameters] = {}
    if all_metrics is not None:
        parameters, elsewhere = _with_other_steps(parameters, all_metrics)
    compared = {metric.name: metric for metric in metrics if metric.name in parameters}
    comparisons, traffic_missing_since, restarted = _load_state(evidence)
    counters = {name: _spaced_counters(name, measurements, comparisons, at, interval) for name in parameters}
    gating = [name for name, metric in compared.items() if not metric.dry_run]
    after, conclusion = update_comparisons(
        comparisons,
        parameters,
        counters,
        step=at.step,
        steps=at.steps,
        weight=at.weight,
        limits=_limits(compared.values()),
        warming=at.warming,
        gating=gating,
        elsewhere=elsewhere,
        not_of_requests=[name for name, metric in compared.items() if not metric.counts_requests],
    )
    share_decides = _is_decided_by_share(after, parameters, gating, conclusion, elsewhere) and not comparisons.latched
    silent = {name for name, each in counters.items() if each is not None and is_silent(each, at.weight)}
    of_requests = [name for name in gating if compared[name].counts_requests]
    if silent.intersection(of_requests[:1]):
        share_decides, after = False, after if comparisons.latched else replace(after, latched=False)
    since = (traffic_missing_since if traffic_missing_since is not None else at.now) if share_decides else None
    traffic_missing = since is not None and at.now - since >= MISSING_TRAFFIC_SECONDS
    if share_decides and not traffic_missing:
        after = replace(after, latched=False)
    began = _counting_since(evidence, counters)
    summaries = {
        name: summarize(
            after.metrics[name],
            parameters[name],
            conclusion,
            metric,
            measurements.get(name),
            began,
            at,
            metric.min_requests if metric.min_requests is not None else min_requests,
            after.health.stable_in_outage,
        )
        for name, metric in compared.items()
    }
    extra: dict[str, Any] = {
        "version": STATE_VERSION,
        "evidence_percent": round(conclusion.evidence_percent, 1),
    }
    extra |= {"missingSince": since} if since is not None and not traffic_missing else {}
    extra |= {"began": began} if began is not None else {}
    return ComparisonResult(
        evidence=_StoredState(after, extra),
        conclusion=conclusion,
        summaries=summaries,
        failed=after.latched and not traffic_missing,
        traffic_missing=traffic_missing,
        suspicious=conclusion.suspicious,
        non_inferior_percent=frozenset(
            name
            for name in parameters
            if name not in silent
            and after.metrics[name].step.bad  # the candidate was measured in this step
            and (at.weight >= FULL_WEIGHT or name in conclusion.passed)
        ),
        silent={
            name: _silent_side(each)
            for name, each in counters.items()
            if each is not None and name in silent and after.metrics[name].total.candidate > 0
        },
        health=after.health,
        restarted=restarted,
    )


def has_new_counts(
    metrics: Sequence[Metric],
    measurements: Mapping[str, Measurement],
    evidence: Mapping[str, Any],
    at: Evaluation,
    interval: float,
) -> bool:
    """Whether an evaluation at ``at`` would add counts to a comparison; the arguments are ``evaluate_comparisons``'."""
    compared = [metric.name for metric in metrics if metric.compare is not None]
    if not compared:
        return False
    comparisons, _, _ = _load_state(evidence)
    for name in compared:
        counters, known = _spaced_counters(name, measurements, comparisons, at, interval), comparisons.metrics.get(name)
        if counters is not None and (known is None or counters.at > known.block_counter.at):
            return True
    return False


def _spaced_counters(
    name: str, measurements: Mapping[str, Measurement], comparisons: Comparisons, at: Evaluation, interval: float
) -> RequestCounters | None:
    """The counters of a metric; None as well at an early evaluation that is too near the last ones that were used.

    Which counts are used depends on their time alone, never on how the requests ended. Regular evaluations use all, so
    that no block ends later because of early ones.
    """
    counters, known = _counters(measurements.get(name)), comparisons.metrics.get(name)
    if counters is None or known is None or not at.early or at.warming:
        return counters
    before = known.block_counter
    is_same = (before.account_id, before.step, before.weight) == (counters.account_id, at.step, at.weight)
    if not is_same or before.count_from is None or is_silent(counters, at.weight):
        return counters
    return counters if is_spaced(counters.at, before.at, COUNTS_SPACING * interval) else None


def _with_other_steps(
    parameters: dict[str, ComparisonParameters], all_metrics: Sequence[Metric]
) -> tuple[dict[str, ComparisonParameters], dict[str, ComparisonParameters]]:
    """The parameters with the strictest confidence of any step, and those of metrics that decide at others alone."""
    deciding = {
        metric.name: parameters_of(metric.compare, latency=metric.unit is Unit.SECONDS)
        for metric in all_metrics
        if metric.compare is not None and not metric.dry_run
    }
    alphas = [parameters_of(each.compare).alpha for each in all_metrics if each.compare and not each.dry_run]
    strictest = min(alphas, default=1.0)
    here = {
        name: replace(each, alpha=strictest) if each.alpha > strictest and name in deciding else each
        for name, each in parameters.items()
    }
    return here, {name: each for name, each in deciding.items() if name not in parameters}


def _silent_side(counters: RequestCounters) -> str:
    if counters.candidate_current:
        return "stable"
    return "the candidate" if counters.stable_current else "either revision"


def evidence_percent_of(evidence: Mapping[str, Any]) -> float | None:
    """The evidence against the candidate in percent of what rolls it back; None where nothing is compared."""
    evidence_percent = evidence.get("evidence_percent")
    return float(evidence_percent) if isinstance(evidence_percent, int | float) else None


def _load_state(evidence: Mapping[str, Any]) -> tuple[Comparisons, float | None, bool]:
    """The state, since when traffic is missing, and whether a stored state was dropped."""
    if isinstance(evidence, _StoredState):
        return evidence.comparisons, evidence.get("missingSince"), False
    if evidence.get("version") not in _READABLE_VERSIONS:
        return Comparisons(), None, bool(evidence)
    try:
        return Comparisons.from_dict(evidence["comparisons"]), evidence.get("missingSince"), False
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return Comparisons(), None, True


def _counters(measurement: Measurement | None) -> RequestCounters | None:
    return measurement.counters if measurement is not None and measurement.kind in KINDS_WITH_COUNTS else None


def _counting_since(evidence: Mapping[str, Any], counters: Mapping[str, RequestCounters | None]) -> float | None:
    known = evidence.get("began")
    times = [each.at for each in counters.values() if each is not None]
    return known if known is not None else min(times, default=None)


def _limits(metrics: Any) -> dict[str, float]:
    """The largest acceptable fraction of failed requests, of the metrics whose range is an objective."""
    limits: dict[str, float] = {}
    for metric in metrics:
        end = _OBJECTIVE_END.get(metric.name) if metric.counts_requests else "max"
        if not metric.objective or end is None:
            continue
        bound = metric.range.max if end == "max" else metric.range.min
        if bound is not None:
            limit = bound / 100.0 if end == "max" else 1.0 - bound / 100.0
            if 0.0 < limit < 1.0:
                limits[metric.name] = limit
    return limits


def _is_decided_by_share(
    comparisons: Comparisons,
    parameters: Mapping[str, ComparisonParameters],
    gating: Sequence[str],
    conclusion: CombinedEvidence,
    elsewhere: Mapping[str, ComparisonParameters],
) -> bool:
    """Whether the evidence suffices, and would not without the traffic that is missing."""
    if conclusion.log_e < conclusion.bound or not gating:
        return False
    decisive = {**{name: parameters[name] for name in gating}, **elsewhere}
    frozen = comparisons.frozen(elsewhere)
    states = {name: comparisons.metrics[name] for name in gating} | frozen
    others = combine_evidence(states, decisive, frozen=frozen)
    return others.log_e < others.bound and conclusion.largest_contributor == TRAFFIC_SHARE
