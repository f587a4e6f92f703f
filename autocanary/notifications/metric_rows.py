"""What was measured when a transition was decided, as rows that every channel shows in its own form.

Taking a step clears the metrics of the step before it, so the numbers that led to a transition are read from
the decision that was recorded with it; the rollout's present metrics are the second choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autocanary.model.comparison_summary import Standing
from autocanary.model.measurement import Reading
from autocanary.model.policy import Metric, Policy, Range
from autocanary.model.progress import MetricState
from autocanary.model.time_format import iso
from autocanary.model.value_wording import bounds, quantity, spoken
from autocanary.ports import Message

__all__ = ["Evidence", "deciding", "evidence"]

_ANY = Range()
_VERDICTS = {True: "pass", False: "breach", None: "inconclusive"}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One metric: what it said, against what, from how many requests, and how stable did beside it."""

    metric: str
    ok: bool | None
    reading: Reading
    range: Range = _ANY
    dry_run: bool = False
    standing: Standing | None = None

    @property
    def comparison(self) -> tuple[str, ...]:
        """Both sides' numbers and how much they prove, a line each; none where nothing is compared."""
        standing = self.standing
        if standing is None:
            return ()
        if standing.note:
            return (standing.note,)
        meters = f"{_meter(standing.meter)} of what rolls back, {_meter(standing.cleared)} of what passes"
        return (str(standing), f"evidence: {meters}")

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
    def measured(self) -> str:
        """``97.2 %``, or in words why there is no number."""
        if self.value is None:
            return spoken(self.reading)
        number = quantity(self.value, self.reading.unit)
        return number if self.reading.is_value else f"{number} ({spoken(self.reading)})"

    @property
    def threshold(self) -> str:
        """``at least 99 %``; "" when the policy is not known."""
        return "" if self.range == _ANY else bounds(self.range, self.reading.unit)


def evidence(message: Message, policy: Policy | None) -> tuple[Evidence, ...]:
    """The metrics behind the transition: breaches first, then what gave no answer, then the rest."""
    known = {metric.name: metric for metric in policy.analysis.metrics} if policy else {}
    rows = [_row(name, state, known.get(name)) for name, state in _states(message).items() if state.last]
    order = {False: 0, None: 1, True: 2}
    return tuple(sorted(rows, key=lambda row: (row.dry_run, order[row.ok])))


def deciding(rows: tuple[Evidence, ...]) -> Evidence | None:
    """The row to name when there is room for one only."""
    return rows[0] if rows and not rows[0].dry_run else None


def _row(name: str, state: MetricState, metric: Metric | None) -> Evidence:
    assert state.last is not None  # noqa: S101 - the caller has left out metrics that were never read
    if metric is None:
        return Evidence(name, state.ok, state.last, standing=state.standing)
    return Evidence(name, state.ok, state.last, metric.range, metric.dry_run, state.standing)


def _meter(percent: float) -> str:
    return f"{min(max(percent, 0.0), 100.0):.0f} %"


def _states(message: Message) -> Mapping[str, MetricState]:
    telling, progress = message.telling, message.rollout.progress
    for decision in reversed(progress.decisions):
        if decision.get("event") == telling.event and decision.get("time") == iso(telling.at):
            recorded = _recorded(decision)
            if recorded:
                return recorded
    return progress.metrics


def _recorded(decision: Mapping[str, object]) -> dict[str, MetricState]:
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
