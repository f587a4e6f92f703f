"""Each metric of a rollout as the page shows it: its numbers, its course, and the difference to stable's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autocanary.analysis.parameters import parameters_of
from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.comparison_wording import difference_text
from autocanary.model.measurement import Unit
from autocanary.model.policy import Metric, Policy, Range
from autocanary.model.rollout import Rollout
from autocanary.model.series import WEIGHT, Point, metric_series, parse_points
from autocanary.model.time_format import parse_time
from autocanary.model.value_wording import format_value, metric_title
from autocanary.page.plots import Axis, Line, Mark, Plot, Region, time_axis, value_axis
from autocanary.views import EvidenceRow

__all__ = ["MetricCard", "decision_marks", "metric_cards", "rollout_times", "weight_plot"]

_EVENT_MARKS = {
    "rollout_started": "step",
    "step_taken": "step",
    "rollout_held": "hold",
    "rollout_paused": "hold",
    "rollback_started": "rollback",
    "rollout_rolled_back": "rollback",
    "rollout_promoted": "promoted",
}
_FAR = 8.0
"""A limit so many times as high as every value is not drawn: the course would be a flat line at the bottom."""


@dataclass(frozen=True, slots=True)
class MetricCard:
    """``row`` is the present state in words; ``values`` and ``difference`` are None without enough points.

    ``difference_text`` is the difference with its interval, ``margin_text`` how much is tolerated.
    """

    row: EvidenceRow
    values: Plot | None
    has_stable: bool
    limit_text: str
    difference: Plot | None
    difference_text: str
    margin_text: str
    query: str


def rollout_times(rollout: Rollout, now: float) -> Axis:
    """One axis of time for all plots of a rollout, so that they can be read above each other."""
    progress = rollout.progress
    end = progress.finished_at if progress.finished_at is not None else now
    last = max((points[-1].at for text in progress.series.values() if (points := parse_points(_last(text)))), default=0)
    return time_axis(max(end - progress.started_at if progress.finished_at is None else 0.0, last, 10.0))


def _last(text: object) -> str:
    return text.rpartition(" ")[2] if isinstance(text, str) else ""


def decision_marks(rollout: Rollout) -> tuple[Mark, ...]:
    """What was decided, where its time is known."""
    marks = []
    for entry in rollout.progress.decisions:
        try:
            at = parse_time(str(entry.get("time") or ""))
        except ValueError:
            continue
        if at is not None:
            kind = _EVENT_MARKS.get(str(entry.get("event", "")), "other")
            marks.append(Mark(max(0.0, at - rollout.progress.started_at), kind))
    return tuple(marks)


def weight_plot(rollout: Rollout, now: float, times: Axis) -> Plot | None:
    """The weight that was asked for, and the one that the traffic showed."""
    progress = rollout.progress
    points = parse_points(progress.series.get(WEIGHT))
    if not points:
        return None
    end = (progress.finished_at if progress.finished_at is not None else now) - progress.started_at
    asked = _until_end([(float(point.at), point.value) for point in points], end)
    observed = _until_end([(float(point.at), point.stable) for point in points], end)
    return Plot(
        title=f"Weight of {rollout.candidate} over time, from 0 to {max(point.value or 0 for point in points):g} %",
        times=times,
        values=Axis(0.0, 100.0, ("0 %", "50 %", "100 %")),
        lines=(Line("observed", observed, steps=True), Line("asked", asked, steps=True)),
        marks=decision_marks(rollout),
    )


def _until_end(points: list[tuple[float, float | None]], end: float) -> tuple[tuple[float, float | None], ...]:
    if points and end > points[-1][0]:
        points.append((end, points[-1][1]))
    return tuple(points)


def metric_cards(
    rollout: Rollout,
    policy: Policy | None,
    rows: Sequence[EvidenceRow],
    times: Axis,
    query_text: Callable[[str], str],
) -> tuple[MetricCard, ...]:
    """A card for each metric that has a state or a course: the policy's order, then what the policy does not name."""
    metrics = {metric.name: metric for metric in policy.analysis.metrics} if policy is not None else {}
    by_name = {row.metric: row for row in rows}
    series = rollout.progress.series
    with_course = [name for name in metrics if series.get(metric_series(name))]
    names = list(dict.fromkeys([*(name for name in metrics if name in by_name or name in with_course), *by_name]))
    marks = decision_marks(rollout)
    return tuple(
        _card(
            rollout,
            by_name.get(name) or _empty_row(name, metrics[name]),
            metrics.get(name),
            times,
            marks,
            query_text(name),
        )
        for name in names
    )


def _empty_row(name: str, metric: Metric) -> EvidenceRow:
    """Of a metric that has a course, and no state in the present step."""
    return EvidenceRow(
        metric=name,
        title=metric_title(name, metric.quantile),
        now="not measured in this step",
        needed="",
        verdict=None,
        value=None,
        unit=metric.unit.value,
        minimum=metric.range.min,
        maximum=metric.range.max,
        requests=None,
        requests_since_start=False,
        violations=0,
        failure_limit=metric.failure_limit,
        worse_percent=None,
        pass_percent=None,
        comparison=(),
        source="",
        dry_run=metric.dry_run,
    )


def _card(
    rollout: Rollout, row: EvidenceRow, metric: Metric | None, times: Axis, marks: tuple[Mark, ...], query: str
) -> MetricCard:
    points = parse_points(rollout.progress.series.get(metric_series(row.metric)))
    range_ = metric.range if metric is not None else Range(row.minimum, row.maximum)
    unit = Unit(row.unit) if row.unit else Unit.NUMBER
    state = rollout.progress.analysis.metrics.get(row.metric)
    summary = state.comparison_summary if state is not None else None
    margin = _margin_points(metric, summary)
    return MetricCard(
        row=row,
        values=_value_plot(row.title, points, range_, unit, times, marks),
        has_stable=any(point.stable is not None for point in points),
        limit_text=_limit_text(range_, unit),
        difference=_difference_plot(row.title, points, margin, times, marks),
        difference_text=_difference_text(points, summary),
        margin_text=f"tolerated: {margin:+.2g} points" if margin is not None else "",
        query=query,
    )


def _limit_text(range_: Range, unit: Unit) -> str:
    parts = []
    if range_.min is not None:
        parts.append(f"at least {format_value(range_.min, unit)}")
    if range_.max is not None:
        parts.append(f"at most {format_value(range_.max, unit)}")
    return ", ".join(parts)


def _value_plot(
    title: str, points: Sequence[Point], range_: Range, unit: Unit, times: Axis, marks: tuple[Mark, ...]
) -> Plot | None:
    values = [each for point in points for each in (point.value, point.stable) if each is not None]
    if not values:
        return None
    highest = max(abs(each) for each in values)
    limits = [each for each in (range_.min, range_.max) if each is not None and abs(each) <= _FAR * (highest or 1.0)]
    scale, label = 1.0, ""
    if unit is Unit.SECONDS:
        scale, label = (1000.0, " ms") if max([highest, *map(abs, limits)]) < 1.0 else (1.0, " s")
    elif unit is Unit.PERCENT:
        label = " %"
    axis = value_axis(
        values,
        label,
        scale=scale,
        floor=0.0 if min(values) >= 0 else None,
        ceiling=100.0 if unit is Unit.PERCENT and max(values) <= 100.0 else None,
        always=limits,
    )
    regions = []
    if range_.min is not None and range_.min > axis.low:
        regions.append(Region("forbidden", low=axis.low, high=min(range_.min, axis.high)))
    if range_.max is not None and range_.max < axis.high:
        regions.append(Region("forbidden", low=max(range_.max, axis.low), high=axis.high))
    lowest = format_value(min(values), unit)
    return Plot(
        title=f"{title} over time, between {lowest} and {format_value(max(values), unit)}",
        times=times,
        values=axis,
        lines=(
            Line("stable", tuple((float(point.at), point.stable) for point in points if point.stable is not None)),
            Line("canary", tuple((float(point.at), point.value) for point in points)),
        ),
        regions=tuple(regions),
        limits=tuple(("edge", each) for each in (range_.min, range_.max) if each is not None),
        marks=marks,
    )


def _margin_points(metric: Metric | None, summary: ComparisonSummary | None) -> float | None:
    """How much worse than stable's present rate the candidate may be, in percentage points."""
    if metric is None or metric.compare is None or summary is None or summary.stable.percent is None:
        return None
    ratio, slack = parameters_of(metric.compare, latency=metric.unit is Unit.SECONDS).fail_margin
    return (ratio - 1.0) * summary.stable.percent + 100.0 * slack


def _difference_plot(
    title: str, points: Sequence[Point], margin: float | None, times: Axis, marks: tuple[Mark, ...]
) -> Plot | None:
    known = [point for point in points if point.difference is not None]
    edges = tuple(
        (float(point.at), point.low, point.high) for point in known if point.low is not None and point.high is not None
    )
    if len(known) < 2:
        return None
    # The first intervals are wide; the later ones, which decide, must be readable.
    later = known[len(known) // 4 :]
    values = [each for point in later for each in (point.difference, point.low, point.high) if each is not None]
    axis = value_axis(values, " pts", always=(0.0, *((margin,) if margin is not None else ())))
    return Plot(
        title=f"{title}: difference to stable in percentage points, with the interval that holds it",
        times=times,
        values=axis,
        lines=(Line("canary", tuple((float(point.at), point.difference) for point in known)),),
        regions=(Region("interval", edges=edges),) if edges else (),
        limits=(("zero", 0.0), *((("margin", margin),) if margin is not None else ())),
        marks=marks,
    )


def _difference_text(points: Sequence[Point], summary: ComparisonSummary | None) -> str:
    if summary is not None and not summary.not_compared_reason and (text := difference_text(summary)):
        return text
    last = next((point for point in reversed(points) if point.difference is not None), None)
    if last is None or last.difference is None:
        return ""
    between = (
        f", between {last.low:+.2f} and {last.high:+.2f}" if last.low is not None and last.high is not None else ""
    )
    return f"{last.difference:+.2f} points at the last evaluation{between}"
