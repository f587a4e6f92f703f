"""Plots: round labels, nothing outside of the drawing, and no markup but this program's."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.page.plots import Axis, Line, Mark, Plot, Region, bar, sparkline, time_axis, value_axis

FINITE = st.floats(-1e9, 1e9)


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (9, ("0s", "2s", "4s", "6s", "8s", "10s")),
        (540, ("0s", "2m", "4m", "6m", "8m", "10m")),
        (3600, ("0s", "10m", "20m", "30m", "40m", "50m", "1h")),
        (86400 * 3, ("0s", "12h", "1d", "1d12h", "2d", "2d12h", "3d")),
    ],
)
def test_times_have_round_labels(seconds: float, labels: tuple[str, ...]) -> None:
    """With as little empty space at the end as may be."""
    axis = time_axis(seconds)
    assert axis.high >= seconds
    assert axis.high <= 1.5 * seconds
    assert axis.labels[0] == labels[0]
    assert len(axis.labels) >= 3


@given(st.floats(0, 86400 * 365))
def test_every_duration_fits_on_its_axis(seconds: float) -> None:
    """From an instant to a year."""
    axis = time_axis(seconds)
    assert axis.low == 0.0
    assert axis.high >= seconds
    assert 3 <= len(axis.labels) <= 7


@given(st.lists(FINITE, max_size=20), st.lists(FINITE, max_size=2))
def test_every_value_lies_on_its_axis(values: list[float], always: list[float]) -> None:
    """With three to five labels."""
    axis = value_axis(values, " %", always=always)
    shown = [*values, *always]
    slack = 1e-6 * max(1.0, *(abs(each) for each in shown)) if shown else 0.0
    assert axis.low < axis.high
    assert all(axis.low - slack <= each <= axis.high + slack for each in shown)
    assert 3 <= len(axis.labels) <= 5


def test_percent_ends_at_its_bounds() -> None:
    """No rate is above 100 % or below 0."""
    axis = value_axis([99.2, 100.0], " %", floor=0.0, ceiling=100.0, always=[99.0])
    assert axis.high == 100.0
    assert axis.labels[-1] == "100 %"
    assert value_axis([0.0, 0.4], " %", floor=0.0).low == 0.0


def _plot(**more: object) -> Plot:
    values: dict[str, object] = {
        "title": "a <b> & c",
        "times": Axis(0.0, 100.0, ("0s", "100s")),
        "values": Axis(0.0, 10.0, ("0", "5", "10")),
        "lines": (Line("canary", ((0.0, 1.0), (50.0, None), (60.0, 12.0), (70.0, 3.0))),),
        "regions": (Region("forbidden", 8.0, 10.0), Region("interval", edges=((0.0, 1.0, 2.0), (10.0, 0.0, 3.0)))),
        "limits": (("edge", 8.0), ("edge", 80.0)),
        "marks": (Mark(10.0, "step"), Mark(1000.0, "rollback")),
    }
    return Plot(**{**values, **more})  # type: ignore[arg-type]


def test_a_drawing_is_well_formed_and_inside_its_box() -> None:
    """Values beyond the axis are drawn at its edge; marks and limits beyond it are left out."""
    svg = _plot().svg()
    root = ElementTree.fromstring(svg)  # noqa: S314 - of our own making
    assert root.attrib["viewBox"] == "0 0 600 160"
    assert svg.count('class="mark') == 1
    assert svg.count('class="limit') == 1
    numbers = [float(each) for path in root.iter("path") for each in re.findall(r"-?\d+\.?\d*", path.attrib["d"])]
    assert all(0 <= each <= 600 for each in numbers)
    assert "M0.0 144.0h0M360.0 0.0h0L420.0 112.0" in svg


def test_a_gap_breaks_the_line_and_a_single_point_is_a_dot() -> None:
    """Missing data are not drawn as if they were there."""
    svg = _plot(lines=(Line("canary", ((5.0, 5.0), (6.0, None), (7.0, 5.0))),)).svg()
    assert svg.count("h0") == 2


def test_nothing_of_a_title_enters_the_drawing() -> None:
    """The title is HTML beside it, escaped by the template."""
    assert "<b>" not in _plot().svg()


def test_nothing_is_drawn_of_nothing() -> None:
    """Two values make a line."""
    assert sparkline([]) == sparkline([1.0]) == sparkline([math.nan, 1.0]) == ""
    assert sparkline([1.0, 1.0, 2.0]).count(",") == 3


@pytest.mark.parametrize(("percent", "width"), [(-5, "0"), (0, "0"), (25, "25"), (100, "100"), (250, "100")])
def test_a_bar_is_between_nothing_and_everything(percent: float, width: str) -> None:
    """Whatever is written into a record."""
    assert f'class="bar-part" x="0" y="0" width="{width}"' in bar(percent, "moving")
