"""What the plots of a rollout are drawn from: each metric over time, in a compact form that fits into its record.

A point is ``time,value,stable,difference,low,high``, and points are separated by spaces. Times are whole seconds since
the rollout started; what is not known is empty, and empty fields at the end are left out. Text costs a status write
less than lists of numbers do, and one more point is one short text at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "EVIDENCE",
    "POINTS_KEPT",
    "SERIES_BYTES",
    "WEIGHT",
    "Point",
    "append_point",
    "metric_series",
    "parse_points",
    "thin_points",
]

POINTS_KEPT = 300
"""Points of one series; there are fewer where a rollout has many metrics."""

SERIES_BYTES = 48 * 1024
"""What all series of a rollout may take together in its record, of which etcd stores at most 1.5 MiB."""

WEIGHT, EVIDENCE = "weight", "evidence"
"""The series of the candidate's weight, and of the evidence against it, both in percent."""

_METRIC_PREFIX = "metric/"
_BYTES_KEPT = 12 * 1024
_BUCKET = 12
"""Points that become at most six: the lowest and highest value of each side, and the ends of the interval."""


class Point(NamedTuple):
    """One evaluation. ``at`` is in seconds since the rollout started.

    ``value`` and ``stable`` are the candidate's and stable's, in the metric's unit. ``difference`` is the candidate's
    bad requests less stable's, in percentage points of the requests; ``low`` and ``high`` hold the true one.
    """

    at: int
    value: float | None = None
    stable: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None


def metric_series(name: str) -> str:
    """The key of a metric's series among the others."""
    return f"{_METRIC_PREFIX}{name}"


def append_point(series: Mapping[str, Any], key: str, point: Point) -> Mapping[str, str]:
    """``series`` with one more point, within the limits; a value that lasts is its first and its last point."""
    texts = {name: text for name, text in series.items() if isinstance(text, str)}
    before = texts.get(key, "")
    earlier, last_two = _split_last_two(before)
    fields = _fields(point)
    if len(last_two) == 2 and all(each.partition(",")[2] == fields for each in last_two):
        last_two = last_two[:1]
    at = str(point.at)
    text = " ".join(filter(None, (earlier, *last_two, f"{at},{fields}" if fields else at)))
    texts[key] = _within_limits(text, min(_BYTES_KEPT, SERIES_BYTES // max(1, len(texts) + (key not in texts))))
    return texts


def parse_points(text: object) -> tuple[Point, ...]:
    """The points of one series in their order; what is not readable is left out."""
    if not isinstance(text, str):
        return ()
    found: list[Point] = []
    for each in text.split(" "):
        try:
            at, *values = each.split(",")
            point = Point(int(at), *(float(value) if value else None for value in values))
        except (ValueError, TypeError):
            continue
        if all(value is None or math.isfinite(value) for value in point):
            found.append(point)
    return tuple(found)


def thin_points(points: Sequence[Point]) -> tuple[Point, ...]:
    """About half of the points: the first and the last, and every extreme of every field."""
    if len(points) <= _BUCKET:
        return tuple(points)
    kept = [points[0]]
    inner = points[1:-1]
    for begin in range(0, len(inner), _BUCKET):
        kept += _extremes(inner[begin : begin + _BUCKET])
    return (*kept, points[-1])


def _extremes(points: Sequence[Point]) -> Iterable[Point]:
    places: set[int] = set()
    for pick, of in _EXTREMES:
        known = [(value, place) for place, point in enumerate(points) if (value := of(point)) is not None]
        if known:
            places.add(pick(known)[1])
    return [points[place] for place in sorted(places or {0})]


_Pick = Callable[[list[tuple[float, int]]], tuple[float, int]]
_EXTREMES: tuple[tuple[_Pick, Callable[[Point], float | None]], ...] = (
    (min, lambda point: point.value),
    (max, lambda point: point.value),
    (min, lambda point: point.stable),
    (max, lambda point: point.stable),
    (min, lambda point: point.low),
    (max, lambda point: point.high),
)


def _within_limits(text: str, limit: int) -> str:
    while text.count(" ") >= POINTS_KEPT or len(text) > limit:
        points = parse_points(text)
        thinned = thin_points(points)
        if len(thinned) >= len(points):  # too few to choose from: the newest stay
            thinned = points[len(points) // 2 :] if len(points) > 1 else ()
        text = " ".join(f"{point.at},{fields}" if (fields := _fields(point)) else str(point.at) for point in thinned)
    return text


def _fields(point: Point) -> str:
    return ",".join("" if each is None else f"{each:.5g}" for each in point[1:]).rstrip(",")


def _split_last_two(text: str) -> tuple[str, list[str]]:
    if not text:
        return "", []
    parts = text.rsplit(" ", 2)
    return (parts[0], parts[1:]) if len(parts) == 3 else ("", parts)
