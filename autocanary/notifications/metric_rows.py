"""What was measured when a transition was decided, as rows that every channel shows in its own form.

Taking a step clears the metrics of the step before it, so the numbers that led to a transition are read from
the decision that was recorded with it; the rollout's present metrics are the second choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.measurement import Measurement
from autocanary.model.policy import Metric, Policy, Range
from autocanary.model.progress import MetricState
from autocanary.model.time_format import format_time
from autocanary.model.value_wording import describe_measurement, describe_range, format_value
from autocanary.ports import Message

__all__ = ["MetricRow", "deciding_row", "metric_rows"]

_ANY = Range()
_VERDICTS = {True: "pass", False: "violation", None: "inconclusive"}


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric: what it said, against what, from how many requests, and how stable did beside it."""

    metric: str
    ok: bool | None
    reading: Measurement
    range: Range = _ANY
    dry_run: bool = False
    comparison_summary: ComparisonSummary | None = None

    @property
    def comparison_lines(self) -> tuple[str, ...]:
        """Both sides' numbers and how much they prove, a line each; none where nothing is compared."""
        comparison_summary = self.comparison_summary
        if comparison_summary is None:
            return ()
        if comparison_summary.not_compared_reason:
            return (comparison_summary.not_compared_reason,)
        percentages = (
            f"{_percent_text(comparison_summary.evidence_percent)} of what rolls "
            f"back, {_percent_text(comparison_summary.non_inferior_percent)} of what passes"
        )
        return (str(comparison_summary), f"evidence: {percentages}")

    @property
    def verdict(self) -> str:
        return _VERDICTS[self.ok]

    @property
    def value(self) -> float | None:
        """The number, when there is one that JSON and people can read."""
        value = self.reading.value
        return value if value is not None and math.isfinite(value) else None

    @property
    def requests(self) -> float | None:
        return self.reading.requests

    @property
    def measurement_text(self) -> str:
        """``97.2 %``, or in words why there is no number."""
        if self.value is None:
            return describe_measurement(self.reading)
        number = format_value(self.value, self.reading.unit)
        return number if self.reading.is_value else f"{number} ({describe_measurement(self.reading)})"

    @property
    def threshold(self) -> str:
        """``at least 99 %``; "" when the policy is not known."""
        return "" if self.range == _ANY else describe_range(self.range, self.reading.unit)


def metric_rows(message: Message, policy: Policy | None) -> tuple[MetricRow, ...]:
    """The metrics behind the transition: breaches first, then what gave no answer, then the rest."""
    known = {metric.name: metric for metric in policy.analysis.metrics} if policy else {}
    rows = [_row(name, state, known.get(name)) for name, state in _metric_states(message).items() if state.last]
    order = {False: 0, None: 1, True: 2}
    return tuple(sorted(rows, key=lambda row: (row.dry_run, order[row.ok])))


def deciding_row(rows: tuple[MetricRow, ...]) -> MetricRow | None:
    """The row to name when there is room for one only."""
    return rows[0] if rows and not rows[0].dry_run else None


def _row(name: str, state: MetricState, metric: Metric | None) -> MetricRow:
    assert state.last is not None  # noqa: S101 - the caller has left out metrics that were never read
    if metric is None:
        return MetricRow(name, state.ok, state.last, comparison_summary=state.comparison_summary)
    return MetricRow(name, state.ok, state.last, metric.range, metric.dry_run, state.comparison_summary)


def _percent_text(percent: float) -> str:
    return f"{min(max(percent, 0.0), 100.0):.0f} %"


def _metric_states(message: Message) -> Mapping[str, MetricState]:
    notification, progress = message.notification, message.rollout.progress
    for decision in reversed(progress.decisions):
        if decision.get("event") == notification.event and decision.get("time") == format_time(notification.at):
            recorded = _states_from_decision(decision)
            if recorded:
                return recorded
    return progress.metrics


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
    ):  # written by another version: show less, tell anyway
        return {}
