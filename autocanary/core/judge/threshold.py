"""The threshold judge: readings against the ranges of the policy.

A reading counts only when it is a number made from enough fresh requests. Everything else is a reason to
wait: it neither passes the candidate nor blames it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autocanary.core.judge.verdict import Outcome, Verdict
from autocanary.core.policy import Analysis, Metric
from autocanary.core.progress import MetricState
from autocanary.core.reading import Reading, ReadingKind
from autocanary.core.reason import Reason
from autocanary.core.story import bounds, quantity, spoken

__all__ = ["judge", "weigh"]

_OUTAGES: Mapping[ReadingKind, Reason] = {
    ReadingKind.OUTAGE: Reason.METRICS_OUTAGE,
    ReadingKind.REFUSED: Reason.METRICS_OUTAGE,
    ReadingKind.UNSUPPORTED: Reason.METRICS_OUTAGE,
    ReadingKind.AMBIGUOUS: Reason.METRICS_OUTAGE,
    ReadingKind.STALE: Reason.METRICS_STALE,
    ReadingKind.PARTIAL: Reason.METRICS_PARTIAL,
}
_NO_DATA: Mapping[ReadingKind, Reason] = {
    ReadingKind.NO_SERIES: Reason.NO_DATA,
    ReadingKind.NOT_A_NUMBER: Reason.METRICS_NOT_A_NUMBER,
}


def weigh(metric: Metric, reading: Reading, state: MetricState, min_requests: float) -> MetricState:
    """The state of one metric after one more reading."""
    wanted = metric.min_requests if metric.min_requests is not None else min_requests
    if reading.is_value and reading.requests is not None and reading.requests < wanted:
        detail = f"{reading.requests:g} of {wanted:g} requests"
        reading = replace(reading, kind=ReadingKind.TOO_FEW, detail=detail)
    if not reading.is_value or reading.value is None:
        return replace(state, ok=None, last=reading)
    if metric.range.contains(reading.value):
        breaches = 0 if metric.consecutive else state.breaches
        return MetricState(breaches=breaches, passes=state.passes + 1, ok=True, last=reading)
    return MetricState(breaches=state.breaches + 1, passes=state.passes, ok=False, last=reading)


def judge(
    analysis: Analysis,
    metrics: Sequence[Metric],
    readings: Mapping[str, Reading],
    states: Mapping[str, MetricState],
) -> Verdict:
    """One look. ``readings`` holds one reading per metric name; ``states`` what was known before.

    The order of the checks is the order of certainty: a failure limit that was reached cannot be taken
    back by another metric's silence, and no number passes while another is missing.
    """
    after = {
        metric.name: weigh(
            metric, readings[metric.name], states.get(metric.name, MetricState()), analysis.min_requests
        )
        for metric in metrics
        if metric.name in readings
    }
    gating = [
        (metric, after[metric.name]) for metric in metrics if metric.name in after and not metric.dry_run
    ]

    for metric, state in gating:
        if state.ok is False and state.breaches >= metric.failure_limit:
            message = f"{breach(metric, state)}, breach {state.breaches} of {metric.failure_limit}"
            return Verdict(Outcome.FAIL, Reason.METRIC_BREACH, message, after, metric.name)
    for outcome, kinds in ((Outcome.OUTAGE, _OUTAGES), (Outcome.NO_DATA, _NO_DATA)):
        for metric, state in gating:
            if state.last is not None and state.last.kind in kinds:
                message = f"{metric.name}: {spoken(state.last)}"
                return Verdict(outcome, kinds[state.last.kind], message, after, metric.name)
    for metric, state in gating:
        if state.last is not None and state.last.kind is ReadingKind.TOO_FEW:
            message = f"{metric.name}: {spoken(state.last)}"
            return Verdict(Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, message, after, metric.name)
    for metric, state in gating:
        if state.ok is False:
            message = f"{breach(metric, state)}, breach {state.breaches} of {metric.failure_limit}"
            return Verdict(Outcome.INCONCLUSIVE, Reason.BREACH_SEEN, message, after, metric.name)
    if gating and all(state.ok for _, state in gating):
        message = ", ".join(f"{metric.name} {value_of(metric, state)}" for metric, state in gating)
        return Verdict(Outcome.PASS, Reason.ANALYSING, message, after)
    return Verdict(Outcome.NO_DATA, Reason.NO_DATA, "nothing was measured", after)


def breach(metric: Metric, state: MetricState) -> str:
    """ "request-success-rate is 79.6 %, must be at least 99 % (1,234 requests)"."""
    requests = state.last.requests if state.last else None
    seen = f" ({requests:,.0f} requests)" if requests is not None else ""
    return f"{metric.name} is {value_of(metric, state)}, must be {bounds(metric.range, metric.unit)}{seen}"


def value_of(metric: Metric, state: MetricState) -> str:
    value = state.last.value if state.last else None
    return "unknown" if value is None else quantity(value, metric.unit)
