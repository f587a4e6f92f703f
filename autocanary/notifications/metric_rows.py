"""What was measured when a transition was decided, as rows that every channel shows in its own form.

Taking a step clears the metrics of the step before it, so the numbers that led to a transition are read from
the decision that was recorded with it; the rollout's present metrics are the second choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autocanary.analysis.thresholds import violation_ratio
from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.comparison_wording import comparison_lines
from autocanary.model.decision import Event
from autocanary.model.measurement import Measurement, MeasurementKind
from autocanary.model.policy import Metric, Policy, Range
from autocanary.model.progress import MetricState
from autocanary.model.time_format import format_time
from autocanary.model.value_wording import (
    describe_limit,
    describe_measurement,
    describe_range,
    format_value,
    metric_title,
)
from autocanary.ports import Message

__all__ = ["MetricRow", "deciding_row", "metric_rows", "rows_to_show"]

_ANY = Range()
_VERDICTS = {True: "pass", False: "violation", None: "inconclusive"}


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric: its value, its limit, the requests behind it, and stable's numbers beside it.

    ``title`` is what messages call it, ``ratio`` how far it is beyond its limit.
    """

    metric: str
    ok: bool | None
    measurement: Measurement
    range: Range = _ANY
    dry_run: bool = False
    comparison_summary: ComparisonSummary | None = None
    title: str = ""
    ratio: float = 0.0

    @property
    def lines(self) -> tuple[str, ...]:
        """The value, its limit and the requests; where the metric is compared, both sides and the proof."""
        summary = self.comparison_summary
        if summary is None:
            return (self.text,)
        if summary.not_compared_reason:
            return (self.text, summary.not_compared_reason)
        compared_only = self.range == _ANY  # the counts of the rollout say it, not the last window's value
        return comparison_lines(summary) if compared_only else (self.text, *comparison_lines(summary))

    @property
    def evidence_percent(self) -> float:
        """The evidence of the comparison against the candidate; 0 without one."""
        return self.comparison_summary.evidence_percent if self.comparison_summary is not None else 0.0

    @property
    def verdict(self) -> str:
        return _VERDICTS[self.ok]

    @property
    def value(self) -> float | None:
        """The number, when it is finite, so that JSON can hold it."""
        value = self.measurement.value
        return value if value is not None and math.isfinite(value) else None

    @property
    def requests(self) -> float | None:
        return self.measurement.requests

    @property
    def measurement_text(self) -> str:
        """``97.2 %``, or in words why there is no number."""
        if self.value is None:
            return describe_measurement(self.measurement)
        number = format_value(self.value, self.measurement.unit)
        return number if self.measurement.is_value else f"{number} ({describe_measurement(self.measurement)})"

    @property
    def threshold(self) -> str:
        """``at least 99 %``; "" when the policy is not known."""
        return "" if self.range == _ANY else describe_range(self.range, self.measurement.unit)

    @property
    def text(self) -> str:
        """``97.2 % (needs 99 %), 1,234 requests``."""
        limit = "" if self.range == _ANY else f" ({describe_limit(self.range, self.measurement.unit)})"
        counted = self.requests is not None and self.measurement.kind is not MeasurementKind.TOO_FEW
        requests = f", {self.requests:,.0f} requests" if counted else ""
        return f"{self.measurement_text}{limit}{requests}{', not acted on' if self.dry_run else ''}"


def metric_rows(message: Message, policy: Policy | None) -> tuple[MetricRow, ...]:
    """The metrics behind the transition: violations first, the worst before the others, then what has no answer."""
    # A step is notified with the measurements of the step before it.
    step = message.notification.step - (2 if message.notification.event == Event.STEP.value else 1)
    known = policy.metrics_at(step) if policy else {}
    rows = [_row(name, state, known.get(name)) for name, state in _metric_states(message).items() if state.last]
    order = {False: 0, None: 1, True: 2}
    return tuple(sorted(rows, key=lambda row: (row.dry_run, order[row.ok], -row.ratio, -row.evidence_percent)))


def rows_to_show(message: Message, policy: Policy | None) -> tuple[MetricRow, ...]:
    """The rows that add something to the message: it has said the number of the others."""
    said = message.notification.message
    return tuple(row for row in metric_rows(message, policy) if not _is_said(row, said))


def _is_said(row: MetricRow, said: str) -> bool:
    if row.title not in said and row.metric not in said:
        return False
    if row.comparison_summary is not None and not row.comparison_summary.not_compared_reason:
        return str(row.comparison_summary) in said
    return (row.measurement_text if row.measurement.is_value else describe_measurement(row.measurement)) in said


def deciding_row(rows: tuple[MetricRow, ...]) -> MetricRow | None:
    """The row to name where one is named."""
    return rows[0] if rows and not rows[0].dry_run else None


def _row(name: str, state: MetricState, metric: Metric | None) -> MetricRow:
    assert state.last is not None  # noqa: S101 - the caller has left out metrics that were never read
    if metric is None:
        return MetricRow(
            name, state.ok, state.last, comparison_summary=state.comparison_summary, title=metric_title(name)
        )
    return MetricRow(
        name,
        state.ok,
        state.last,
        metric.range,
        metric.dry_run,
        state.comparison_summary,
        metric_title(name, metric.quantile),
        violation_ratio(metric, state),
    )


def _metric_states(message: Message) -> Mapping[str, MetricState]:
    notification, progress = message.notification, message.rollout.progress
    for decision in reversed(progress.decisions):
        if decision.get("event") == notification.event and decision.get("time") == format_time(notification.at):
            recorded = _states_from_decision(decision)
            if recorded:
                return recorded
    return progress.analysis.metrics


def _states_from_decision(decision: Mapping[str, object]) -> dict[str, MetricState]:
    inputs = decision.get("inputs")
    metrics = inputs.get("metrics") if isinstance(inputs, Mapping) else None
    if not isinstance(metrics, Mapping):
        return {}
    try:
        return {str(name): MetricState.from_dict(raw) for name, raw in metrics.items()}
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ):  # written by another version: show less, send anyway
        return {}
