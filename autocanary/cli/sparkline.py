"""The course of each metric as one line of text: a block per slice of time, its lowest and highest value, its time."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from autocanary.model.measurement import Unit
from autocanary.model.policy import Metric
from autocanary.model.rollout import Rollout
from autocanary.model.series import Point, metric_series, parse_points
from autocanary.model.value_wording import format_duration, format_value, metric_title

__all__ = ["course_table", "sparkline"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 24
_FEWEST = 3
"""With fewer points there is no course to see."""


def sparkline(points: Sequence[Point], width: int = _WIDTH) -> str:
    """One character per slice of time, low to high; a slice without a point keeps the value before it.

    A time in which nothing was measured is blank.
    """
    known = [point.value for point in points if point.value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    first, last = points[0].at, points[-1].at
    slices: list[str] = []
    at, shown = 0, points[0].value
    for index in range(width):
        until = first + (last - first) * (index + 1) / width
        inside = []
        while at < len(points) and points[at].at <= until:
            shown = points[at].value
            inside.append(shown)
            at += 1
        values = [each for each in inside or [shown] if each is not None]
        slices.append(_block(max(values), low, high) if values else " ")
    return "".join(slices)


def _block(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low) if high > low else 0.0
    return _BLOCKS[min(len(_BLOCKS) - 1, int(share * len(_BLOCKS)))]


def course_table(rollout: Rollout, metrics: dict[str, Metric], names: Sequence[str]) -> Table | None:
    """A line for each metric that was measured often enough; None where none was."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True, width=_WIDTH)
    table.add_column(overflow="fold", style="dim")
    for name in names:
        points = parse_points(rollout.progress.series.get(metric_series(name)))
        known = [point.value for point in points if point.value is not None]
        if len(known) < _FEWEST:
            continue
        metric = metrics.get(name)
        unit = metric.unit if metric is not None else Unit.NUMBER
        low, high = format_value(min(known), unit), format_value(max(known), unit)
        span = format_duration(points[-1].at - points[0].at)
        table.add_row(
            Text(metric_title(name, metric.quantile if metric is not None else None)),
            Text(sparkline(points)),
            Text(f"{low} in {span}" if low == high else f"{low} to {high} in {span}"),
        )
    return table if table.row_count else None
