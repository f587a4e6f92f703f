"""A comparison in words: the meter, both revisions' counts, their difference, and what is still needed.

``status``, Slack, Events, records and the webhook's payload make their sentences here, so that all of them say the
same. Two totals never stand beside each other without the time that each of them is of.
"""

from __future__ import annotations

from collections.abc import Mapping

from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.measurement import Unit
from autocanary.model.progress import MetricState
from autocanary.model.value_wording import format_duration

__all__ = [
    "comparison_lines",
    "counted_percent",
    "difference_text",
    "evidence_text",
    "needed_text",
    "proof_text",
    "worse_text",
    "worst_first",
]

_LATE = 1.2
"""How many times the whole rollout's rate the latest one must be to be shown in its place."""


def evidence_text(percent: float) -> str:
    """The meter, of all comparisons together: ``worse than stable: 40 % of the proof needed to roll back``."""
    return f"worse than stable: {_whole(percent)} of the proof needed to roll back"


def proof_text(summary: ComparisonSummary) -> str:
    """``no worse than stable: 60 % of the proof needed to pass the step; needs about …``."""
    needed = needed_text(summary)
    text = f"no worse than stable: {_whole(summary.non_inferior_percent)} of the proof needed to pass the step"
    return f"{text}; {needed}" if needed else text


def needed_text(summary: ComparisonSummary) -> str:
    """``needs about 1,900 more requests: 12m at this traffic``; "" when it needs none, or that cannot be said."""
    requests, seconds = summary.needed_requests, summary.needed_seconds
    if not requests or seconds is None:
        return ""
    return f"needs about {_about(requests)} more requests: {format_duration(_rounded(seconds))} at this traffic"


def difference_text(summary: ComparisonSummary) -> str:
    """``0.50 points more than stable (95 % interval at all times: -0.12 to 1.31)``; "" without a difference."""
    difference = summary.difference
    if difference is None:
        return ""
    more = "more" if difference.points >= 0 else "less"
    low, high = f"{difference.low:.2f}", f"{difference.high:.2f}"
    interval = f"{difference.confidence:g} % interval at all times: {low} to {high}"
    return f"{abs(difference.points):.2f} points {more} than stable ({interval})"


def counted_percent(summary: ComparisonSummary | None, unit: Unit) -> float | None:
    """The candidate's rate since the rollout began, for a metric that is a share of its requests; None for others.

    Beside the counts of the rollout, the value of the last window would be a second number for the same thing.
    """
    if summary is None or summary.not_compared_reason or unit is not Unit.PERCENT:
        return None
    return summary.candidate.percent


def worse_text(summary: ComparisonSummary) -> str:
    """The counts that say most against the candidate, with the time that they are of where it is not the rollout."""
    recent, total = summary.recent_candidate.percent, summary.candidate.percent
    text = str(summary)
    if summary.recent_text and recent is not None and total is not None and recent > _LATE * total:
        text = f"in the last {format_duration(summary.recent_seconds)}: {summary.recent_text}"
    return text if summary.limit_percent is None else f"{text}; {_limit_text(summary.limit_percent)}"


def _limit_text(limit_percent: float) -> str:
    return f"stable has no traffic, and by its past would show at most {limit_percent:.2f} %"


def comparison_lines(summary: ComparisonSummary) -> tuple[str, ...]:
    """Everything that is known of one comparison, a sentence a line; the reason alone where nothing is compared."""
    if summary.not_compared_reason:
        return (summary.not_compared_reason,)
    recent = summary.recent_text
    lines = [f"since the rollout began: {summary}"]
    if recent and recent != str(summary):
        lines.append(f"in the last {format_duration(summary.recent_seconds)}: {recent}")
    if summary.limit_percent is not None:
        lines.append(_limit_text(summary.limit_percent))
    difference = difference_text(summary)
    if difference:
        lines.append(difference)
    lines.append(f"this metric alone: {_whole(summary.evidence_percent)} of the proof needed to roll back")
    if summary.limit_percent is None:
        lines.append(proof_text(summary))
    return tuple(lines)


def worst_first(metrics: Mapping[str, MetricState]) -> list[tuple[str, MetricState]]:
    """The metrics in the order in which they are shown: violations, then by the evidence against the candidate."""
    return sorted(metrics.items(), key=lambda each: _badness(each[1]), reverse=True)


def _badness(state: MetricState) -> tuple[bool, float, bool]:
    summary = state.comparison_summary
    evidence = summary.evidence_percent if summary is not None else 0.0
    return state.ok is False, evidence, state.ok is None


def _whole(percent: float) -> str:
    """Never 100 % before it is."""
    percent = min(max(percent, 0.0), 100.0)
    shown = round(percent)
    if shown == 100 and percent < 100.0:
        shown = 99
    return f"{shown} %"


def _about(number: float) -> str:
    """Two digits: it is an estimate."""
    return f"{_rounded(number):,.0f}"


def _rounded(number: float) -> float:
    digits = len(f"{number:.0f}") - 2
    return max(round(number, -digits), 1.0) if digits > 0 else max(round(number), 1)
