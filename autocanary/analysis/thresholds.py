"""Thresholds: measurements against the ranges of the policy.

A measurement counts only when it is a number made from enough fresh requests. Everything else is a reason to
wait: it neither passes the candidate nor counts against it.

The policy's `rollout` webhooks, judged like metrics: a repeated no counts as a failure.
"""

from __future__ import annotations

import math

from autocanary.analysis.new_samples import counts_sample
from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import Metric, Range
from autocanary.model.progress import MetricState
from autocanary.model.value_wording import describe_limit, format_value, metric_title

__all__ = [
    "UNBOUNDED",
    "WEBHOOK_FAILURE_LIMIT",
    "WEBHOOK_PREFIX",
    "evaluate_threshold",
    "has_enough_requests",
    "is_long_enough_in_range",
    "reached_limit_text",
    "value_text",
    "violation_ratio",
    "violation_text",
    "violations_text",
    "webhook_metric",
]

UNBOUNDED = Range()
"""The range of a metric that is only compared."""


def evaluate_threshold(
    metric: Metric, measurement: Measurement, state: MetricState, min_requests: float, interval: float = 0.0
) -> MetricState:
    """The state of one metric after one more measurement.

    Beyond an objective is no violation that is counted; requests are counted over the step where a metric is
    only compared, not over the window. A sample that ``counts_sample`` says not to count leaves the state as it is;
    ``interval`` is the policy's, in seconds.
    """
    required = _required_requests(metric, min_requests)
    few = not has_enough_requests(metric, measurement, min_requests)
    if measurement.counters is not None:
        measurement = _without_counters(measurement)  # the comparison keeps what it needs of them
    if measurement.is_value and few and (metric.compare is None or metric.range != UNBOUNDED):
        detail = f"{measurement.requests:g} of {required:g} requests"
        measurement = replace(measurement, kind=MeasurementKind.TOO_FEW, detail=detail)
    if measurement.is_value and measurement.requests is None and metric.web is not None and metric.min_requests:
        detail = f'the answer has no "samples", and minRequests needs {metric.min_requests:g}'
        measurement = replace(measurement, kind=MeasurementKind.UNSUPPORTED, detail=detail)
    if not measurement.is_value or measurement.value is None:
        return replace(state, ok=None, last=measurement)
    if metric.range != UNBOUNDED and not counts_sample(metric, measurement, state, interval):
        return state
    if metric.range.contains(measurement.value):
        violations, in_row = 0 if metric.consecutive else state.violations, state.passes_in_row + 1
        return MetricState(violations, state.passes + 1, True, measurement, passes_in_row=in_row)
    violations = state.violations if metric.objective else state.violations + 1
    in_row = 0 if metric.objective else state.violations_in_row + 1
    return MetricState(violations, state.passes, False, measurement, violations_in_row=in_row)


def has_enough_requests(metric: Metric, measurement: Measurement, min_requests: float) -> bool:
    """Whether a value is made from enough requests, as far as they are known; ``min_requests`` is the policy's."""
    return measurement.requests is None or measurement.requests >= _required_requests(metric, min_requests)


def _required_requests(metric: Metric, min_requests: float) -> float:
    return metric.min_requests if metric.min_requests is not None else min_requests


def _without_counters(measurement: Measurement) -> Measurement:
    """Not replace(): this is done for every compared metric at every evaluation."""
    return Measurement(
        measurement.kind,
        measurement.value,
        measurement.unit,
        measurement.requests,
        measurement.age,
        measurement.source,
        measurement.detail,
        failures=measurement.failures,
        exporter=measurement.exporter,
        window=measurement.window,
        scrape_interval=measurement.scrape_interval,
        sample_at=measurement.sample_at,
    )


def reached_limit_text(metric: Metric, state: MetricState) -> str:
    """``2 of 2 violations``, ``3 violations in a row, the limit is 3``; "" while no limit is reached."""
    if state.ok is not False or metric.objective:
        return ""
    if metric.failure_limit is not None and state.violations >= metric.failure_limit:
        return violations_text(metric, state)
    in_row = metric.consecutive_failure_limit
    if in_row is not None and state.violations_in_row >= in_row:
        return f"{state.violations_in_row} violations in a row, the limit is {in_row}"
    return ""


def violations_text(metric: Metric, state: MetricState) -> str:
    """``1 of 3 violations``, ``1 of 3 violations in a row``."""
    if metric.failure_limit is not None:
        return f"{state.violations} of {metric.failure_limit} violations"
    return f"{state.violations_in_row} of {metric.consecutive_failure_limit} violations in a row"


def is_long_enough_in_range(metric: Metric, state: MetricState) -> bool:
    """Whether enough evaluations in a row were in range; True where the policy does not ask for that."""
    limit = metric.consecutive_success_limit
    return limit is None or state.passes_in_row >= limit


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
