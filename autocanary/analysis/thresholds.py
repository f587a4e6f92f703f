"""Thresholds: measurements against the ranges of the policy.

A measurement counts only when it is a number made from enough fresh requests. Everything else is a reason to
wait: it neither passes the candidate nor counts against it.

The policy's `rollout` webhooks, judged like metrics: a repeated no counts as a failure.
"""

from __future__ import annotations

import math
from dataclasses import replace

from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import Metric, Range
from autocanary.model.progress import MetricState
from autocanary.model.value_wording import describe_limit, format_value, metric_title

__all__ = [
    "UNBOUNDED",
    "WEBHOOK_FAILURE_LIMIT",
    "WEBHOOK_PREFIX",
    "evaluate_threshold",
    "value_text",
    "violation_ratio",
    "violation_text",
    "webhook_metric",
]

UNBOUNDED = Range()
"""The range of a metric that is only compared."""


def evaluate_threshold(metric: Metric, reading: Measurement, state: MetricState, min_requests: float) -> MetricState:
    """The state of one metric after one more reading.

    Beyond an objective is no violation that is counted; requests are counted over the step where a metric is
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
    """ "success rate 79.6 % (needs 99 %), 1,234 requests"."""
    requests = state.last.requests if state.last else None
    seen = f", {requests:,.0f} requests" if requests is not None else ""
    limit = describe_limit(metric.range, metric.unit)
    return f"{metric_title(metric.name, metric.quantile)} {value_text(metric, state)} ({limit}){seen}"


def violation_ratio(metric: Metric, state: MetricState) -> float:
    """How far a value is beyond its limit: 1 at the limit, 2 at twice as many failures or twice the limit."""
    value, limits = state.last.value if state.last else None, metric.range
    if value is None:
        return 0.0
    ratios = [0.0]
    if limits.max is not None:
        ratios.append(value / limits.max if limits.max > 0 else math.inf if value > limits.max else 0.0)
    if limits.min is not None and metric.unit is Unit.PERCENT:
        ratios.append((100.0 - value) / (100.0 - limits.min) if limits.min < 100 else math.inf if value < 100 else 0.0)
    elif limits.min is not None:
        ratios.append(limits.min / value if value > 0 else math.inf)
    return max(ratios)


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
