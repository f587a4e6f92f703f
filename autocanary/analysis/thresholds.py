"""Thresholds: readings against the ranges of the policy.

A reading counts only when it is a number made from enough fresh requests. Everything else is a reason to
wait: it neither passes the candidate nor blames it.

The policy's `rollout` webhooks, judged like metrics: a repeated no counts as a failure.
"""

from __future__ import annotations

from dataclasses import replace

from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import Metric, Range
from autocanary.model.progress import MetricState
from autocanary.model.value_wording import describe_range, format_value

__all__ = [
    "UNBOUNDED",
    "WEBHOOK_FAILURE_LIMIT",
    "WEBHOOK_PREFIX",
    "evaluate_threshold",
    "value_text",
    "violation_text",
    "webhook_metric",
]

UNBOUNDED = Range()
"""The range of a metric that is only compared."""


def evaluate_threshold(metric: Metric, reading: Measurement, state: MetricState, min_requests: float) -> MetricState:
    """The state of one metric after one more reading.

    Beyond an objective is no breach that is counted; requests are counted over the step where a metric is
    only compared, not over the window.
    """
    required = metric.min_requests if metric.min_requests is not None else min_requests
    few = reading.requests is not None and reading.requests < required
    if reading.counters is not None:
        reading = replace(reading, counters=None)  # the comparison keeps what it needs of them
    if reading.is_value and few and (metric.compare is None or metric.range != UNBOUNDED):
        detail = f"{reading.requests:g} of {required:g} requests"
        reading = replace(reading, kind=MeasurementKind.TOO_FEW, detail=detail)
    if not reading.is_value or reading.value is None:
        return replace(state, ok=None, last=reading)
    if metric.range.contains(reading.value):
        violations = 0 if metric.consecutive else state.violations
        return MetricState(violations=violations, passes=state.passes + 1, ok=True, last=reading)
    violations = state.violations if metric.objective else state.violations + 1
    return MetricState(violations=violations, passes=state.passes, ok=False, last=reading)


def violation_text(metric: Metric, state: MetricState) -> str:
    """ "request-success-rate is 79.6 %, must be at least 99 % (1,234 requests)"."""
    requests = state.last.requests if state.last else None
    seen = f" ({requests:,.0f} requests)" if requests is not None else ""
    return f"{metric.name} is {value_text(metric, state)}, must be {describe_range(metric.range, metric.unit)}{seen}"


def value_text(metric: Metric, state: MetricState) -> str:
    value = state.last.value if state.last else None
    return "unknown" if value is None else format_value(value, metric.unit)


WEBHOOK_PREFIX = "webhook/"
"""How the names of these metrics begin."""

WEBHOOK_FAILURE_LIMIT = 3
"""A webhook says no this many times in a row before it counts as a failure of the candidate."""


def webhook_metric(name: str) -> Metric:
    """``name`` with ``WEBHOOK_PREFIX`` before it; its value is 1 for a yes and 0 for a no."""
    return Metric(
        name, Range(min=1), Unit.NUMBER, failure_limit=WEBHOOK_FAILURE_LIMIT, consecutive=True, min_requests=0
    )
