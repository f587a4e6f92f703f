"""Plots as SVG, made on the server: the page reads without JavaScript, prints, and is the same as the report.

The drawing is stretched to the width that there is; lines keep their width, and the labels of both axes are HTML beside
it, so that they are as large on a telephone as on a wide screen. Only numbers of this program enter the markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from autocanary.model.value_wording import format_duration

__all__ = ["Axis", "Line", "Mark", "Plot", "Region", "bar", "sparkline", "time_axis", "value_axis"]

_WIDTH, _HEIGHT = 600.0, 160.0
_TIME_STEPS = (
    *(1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 900.0, 1200.0, 1800.0),
    *(3600.0, 7200.0, 10800.0, 21600.0, 43200.0),
    *(86400.0, 2 * 86400.0, 5 * 86400.0, 10 * 86400.0, 30 * 86400.0, 90 * 86400.0, 366 * 86400.0),
)
_SPARK_WIDTH, _SPARK_HEIGHT = 80.0, 20.0


@dataclass(frozen=True, slots=True)
class Axis:
    """From ``low`` to ``high``; ``labels`` are evenly spaced over it, both ends included."""

    low: float
    high: float
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """``points`` are (seconds, value); None breaks the line. ``kind`` is its CSS class. ``steps``: a value lasts until
    the next."""

    kind: str
    points: tuple[tuple[float, float | None], ...]
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Region:
    """Between ``low`` and ``high`` over the whole time, as what a limit forbids, or along ``edges`` of (seconds, low,
    high), as an interval."""

    kind: str
    low: float = 0.0
    high: float = 0.0
    edges: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at ``at`` seconds; ``kind``: step, hold, rollback, promoted or other."""

    at: float
    kind: str


@dataclass(frozen=True, slots=True)
class Plot:
    """``title`` says to users who do not see the drawing what it shows. ``limits`` are lines over the whole time."""

    title: str
    times: Axis
    values: Axis
    lines: tuple[Line, ...] = ()
    regions: tuple[Region, ...] = ()
    limits: tuple[tuple[str, float], ...] = ()
    marks: tuple[Mark, ...] = field(default=())

    def svg(self) -> str:
        """The drawing without its labels."""
        return "".join(self._parts())

    def _parts(self) -> Iterator[str]:
        yield f'<svg class="plot" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" preserveAspectRatio="none" aria-hidden="true">'
        parts = max(1, len(self.values.labels) - 1)
        for each in range(parts + 1):
            yield _stroke("grid", f"M0 {_HEIGHT * each / parts:.1f}H{_WIDTH:g}")
        for region in self.regions:
            yield self._region(region)
        for mark in self.marks:
            if self.times.low <= mark.at <= self.times.high:
                yield _stroke(f"mark mark-{mark.kind}", f"M{self._x(mark.at)} 0V{_HEIGHT:g}")
        for kind, value in self.limits:
            if self.values.low <= value <= self.values.high:
                yield _stroke(f"limit {kind}", f"M0 {self._y(value)}H{_WIDTH:g}")
        for line in self.lines:
            path = self._path(line)
            if path:
                yield _stroke(f"line {line.kind}", path)
        yield "</svg>"

    def _x(self, at: float) -> str:
        return f"{_WIDTH * (at - self.times.low) / (self.times.high - self.times.low):.1f}"

    def _y(self, value: float) -> str:
        share = (value - self.values.low) / (self.values.high - self.values.low)
        return f"{_HEIGHT * (1.0 - min(1.0, max(0.0, share))):.1f}"

    def _path(self, line: Line) -> str:
        parts: list[str] = []
        pen_down = False
        for at, value in line.points:
            if value is None:
                pen_down = False
                continue
            x, y = self._x(at), self._y(value)
            if not pen_down:
                parts.append(f"M{x} {y}h0")  # a single point is a dot: its line has round ends
            else:
                parts.append(f"H{x}V{y}" if line.steps else f"L{x} {y}")
            pen_down = True
        return "".join(parts)

    def _region(self, region: Region) -> str:
        if region.edges:
            upper = " ".join(f"{self._x(at)},{self._y(high)}" for at, _, high in region.edges)
            lower = " ".join(f"{self._x(at)},{self._y(low)}" for at, low, _ in reversed(region.edges))
            return f'<polygon class="region {region.kind}" points="{upper} {lower}"/>'
        top, bottom = float(self._y(region.high)), float(self._y(region.low))
        if bottom - top < 0.05:
            return ""
        return f'<rect class="region {region.kind}" x="0" y="{top:g}" width="{_WIDTH:g}" height="{bottom - top:.1f}"/>'


def time_axis(seconds: float) -> Axis:
    """From 0 to at least ``seconds``, labelled with round durations."""
    seconds = max(seconds, 2.0)
    choices = [
        (count * step - seconds, count, step) for step in _TIME_STEPS if 2 <= (count := math.ceil(seconds / step)) <= 6
    ]
    _, count, step = min(choices, default=(0.0, 2, seconds / 2))
    return Axis(0.0, count * step, tuple(format_duration(step * each) for each in range(count + 1)))


def value_axis(
    values: Sequence[float],
    label: str,
    *,
    scale: float = 1.0,
    floor: float | None = None,
    ceiling: float | None = None,
    always: Sequence[float] = (),
) -> Axis:
    """Around ``values`` and, where they are not far away, ``always``. ``label`` is the unit after each number, which
    is the value times ``scale``. Nothing lies below ``floor`` or above ``ceiling``."""
    shown = [each for each in (*values, *always) if math.isfinite(each)] or [0.0, 1.0]
    low, high = min(shown), max(shown)
    if high - low < 1e-9 * max(1.0, abs(high)):
        spread = abs(high) * 0.1 or 1.0
        low, high = low - spread, high + spread
    padding = 0.06 * (high - low)
    low, high = low - padding, high + padding
    if floor is not None:
        low = max(low, floor)
    if ceiling is not None:
        high = min(high, ceiling)
    return _labelled(low, high, label, scale, floor, ceiling)


def _labelled(low: float, high: float, label: str, scale: float, floor: float | None, ceiling: float | None) -> Axis:
    """The range of two to four equal parts, with round ends, that is least larger than what is shown."""
    best: tuple[float, int, float, float] | None = None
    for step in _round_steps((high - low) * scale):
        step /= scale
        first, last = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        first = first if floor is None else max(first, floor)
        last = last if ceiling is None else min(last, ceiling)
        count = round((last - first) / step)
        if 2 <= count <= 4 and abs(first + count * step - last) < 1e-6 * step:
            found = (last - first, count, first, last)
            best = found if best is None or found < best else best
    if best is None:
        best = (high - low, 2, low, high)
    _, count, low, high = best
    labels = (f"{_number((low + (high - low) * each / count) * scale)}{label}" for each in range(count + 1))
    return Axis(low, high, tuple(labels))


def _round_steps(span: float) -> Iterator[float]:
    """Round numbers between a fifth of ``span`` and the whole of it."""
    power: float = 10.0 ** (math.floor(math.log10(span)) - 1)
    for factor in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 80.0):
        if 0.15 * span <= factor * power <= 1.3 * span:
            yield factor * power


def _number(value: float) -> str:
    text = f"{value:,.6f}".rstrip("0").rstrip(".") if abs(value) >= 1e-4 or value == 0 else f"{value:.2g}"
    return "0" if text in ("-0", "") else text.replace("-", "−")


def _stroke(kind: str, path: str) -> str:
    return f'<path class="{kind}" d="{path}" vector-effect="non-scaling-stroke"/>'


def bar(percent: float, kind: str, *, target: float | None = None) -> str:
    """A bar of 100 %, of which ``percent`` is filled; ``target`` is where it is going."""
    filled = min(100.0, max(0.0, percent))
    wanted = ""
    if target is not None and target > filled:
        wanted = f'<rect class="bar-target" x="0" y="0" width="{min(100.0, target):g}" height="8" rx="2"/>'
    return (
        f'<svg class="bar bar-{kind}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="bar-all" x="0" y="0" width="100" height="8" rx="2"/>{wanted}'
        f'<rect class="bar-part" x="0" y="0" width="{filled:g}" height="8" rx="2"/></svg>'
    )


def sparkline(values: Sequence[float]) -> str:
    """The course of a metric without axes; "" with fewer than two values."""
    shown = [each for each in values if math.isfinite(each)]
    if len(shown) < 2:
        return ""
    low, high = min(shown), max(shown)
    span = high - low or 1.0
    step = _SPARK_WIDTH / (len(shown) - 1)
    points = " ".join(
        f"{at * step:.1f},{(_SPARK_HEIGHT - 3) * (1 - (value - low) / span) + 1.5:.1f}"
        for at, value in enumerate(shown)
    )
    return (
        f'<svg class="sparkline" viewBox="0 0 {_SPARK_WIDTH:g} {_SPARK_HEIGHT:g}" preserveAspectRatio="none" '
        f'aria-hidden="true"><polyline class="line canary" points="{points}" vector-effect="non-scaling-stroke"/></svg>'
    )
