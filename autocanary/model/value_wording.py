"""Values in words: numbers with units, measurements, durations, and what a rollout waits for.

Every sentence that logs, Events, Slack and ``status`` show is made here or in the rules, so that they all
say the same.
"""

from __future__ import annotations

from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import Policy, Range
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = [
    "describe_limit",
    "describe_measurement",
    "describe_range",
    "describe_wait",
    "format_duration",
    "format_value",
    "metric_title",
    "rollout_title",
]

_METRIC_TITLES = {
    "request-success-rate": "success rate",
    "request-duration": "latency",
    "error-rate": "error rate",
}
_WORDS = {
    MeasurementKind.VALUE: "measured",
    MeasurementKind.TOO_FEW: "too few requests",
    MeasurementKind.NO_SERIES: "no data",
    MeasurementKind.NOT_A_NUMBER: "not a number",
    MeasurementKind.STALE: "only old samples",
    MeasurementKind.PARTIAL: "a partial answer",
    MeasurementKind.AMBIGUOUS: "several series where one was expected",
    MeasurementKind.UNSUPPORTED: "not given by this source",
    MeasurementKind.REFUSED: "the query is refused",
    MeasurementKind.OUTAGE: "no answer",
}


def format_value(value: float, unit: Unit) -> str:
    """A value with its unit: ``99.2 %``, ``340 ms``, ``1,234 requests``."""
    if unit is Unit.PERCENT:
        return f"{_short(value)} %"
    if unit is Unit.SECONDS:
        return f"{_short(value * 1000)} ms" if abs(value) < 1 else f"{_short(value)} s"
    if unit is Unit.REQUESTS:
        return f"{value:,.0f} requests"
    return _short(value)


def _short(value: float) -> str:
    if value != 0 and abs(value) < 0.001:
        return f"{value:.2g}"
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".")


def describe_range(range_: Range, unit: Unit) -> str:
    """``at least 99 %``, ``at most 500 ms``, ``between …``."""
    if range_.min is not None and range_.max is not None:
        return f"between {format_value(range_.min, unit)} and {format_value(range_.max, unit)}"
    if range_.min is not None:
        return f"at least {format_value(range_.min, unit)}"
    if range_.max is not None:
        return f"at most {format_value(range_.max, unit)}"
    return "any value"


def describe_limit(range_: Range, unit: Unit) -> str:
    """The limit beside a value: ``needs 99 %``, ``limit 500 ms``, ``needs between …``."""
    if range_.min is not None and range_.max is None:
        return f"needs {format_value(range_.min, unit)}"
    if range_.max is not None and range_.min is None:
        return f"limit {format_value(range_.max, unit)}"
    return f"needs {describe_range(range_, unit)}"


def metric_title(name: str, quantile: float | None = None) -> str:
    """What messages call a metric: ``success rate``, ``p99 latency``; a name of the policy's own stays as it is."""
    title = _METRIC_TITLES.get(name, name)
    return f"p{100 * quantile:g} {title}" if quantile is not None and title != name else title


def format_duration(seconds: float) -> str:
    """``90`` -> ``1m30s``; below a minute in seconds, at most two units.

    >>> duration(5400), duration(45), duration(0.4)
    ('1h30m', '45s', '0s')
    """
    whole = max(0, round(seconds))
    parts = [
        (whole // 86400, "d"),
        (whole % 86400 // 3600, "h"),
        (whole % 3600 // 60, "m"),
        (whole % 60, "s"),
    ]
    kept = [f"{count}{unit}" for count, unit in parts if count]
    return "".join(kept[:2]) or "0s"


def describe_measurement(measurement: Measurement) -> str:
    """A measurement in words, with the adapter's detail when there is one."""
    if measurement.kind is MeasurementKind.OUTAGE and measurement.detail:
        return measurement.detail  # it is a sentence of its own: Prometheus does not answer
    words = _WORDS[measurement.kind]
    return f"{words}: {measurement.detail}" if measurement.detail else words


def rollout_title(rollout: Rollout) -> str:
    """``models/mnist: mnist-predictor-00002 instead of mnist-predictor-00001``."""
    return f"{rollout.namespace}/{rollout.service}: {rollout.candidate} instead of {rollout.stable}"


_STAGING_WAITS = {
    Reason.WINDOW_CLOSED: "the window to open",
    Reason.WEBHOOK_PENDING: "the yes of a webhook",
}


def describe_wait(rollout: Rollout, policy: Policy | None, now: float) -> str:
    """What has to happen next, in words; "" for a finished rollout."""
    progress = rollout.progress
    if progress.phase.is_final:
        return ""
    if progress.phase is Phase.STAGING and progress.reason is Reason.WAITING_FOR_COMPONENT:
        return "the rollout of another component of the service"
    if progress.phase is Phase.STAGING and progress.reason in _STAGING_WAITS:
        return _STAGING_WAITS[progress.reason]
    if progress.phase is Phase.STAGING:
        return f"{rollout.candidate} to become ready"
    if progress.phase is Phase.FINALIZING:
        return "the candidate to be stable in the spec too"
    if progress.phase is Phase.ROLLING_BACK:
        return "the traffic to be back on stable"
    if progress.phase is Phase.PAUSED:
        approval = progress.reason is Reason.AWAITING_APPROVAL
        return "your approval: promote or abort" if approval else "a user: promote, resume or abort"
    if progress.step.verified_at is None:
        return f"the traffic to show {progress.step.weight} %"
    if policy is not None and 0 <= progress.step.index < len(policy.steps):
        step = policy.steps[progress.step.index]
        left = progress.step.verified_at + step.hold - now
        if left > 0:
            what = "the end of the bake" if progress.phase is Phase.BAKING else "the end of the step"
            return f"{what} in {format_duration(left)}"
    return progress.message or progress.reason.value
