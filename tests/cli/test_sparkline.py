"""The course of a metric in one line."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.text import Text

from autocanary.cli.rollout_view import RolloutView, rollout_panel
from autocanary.cli.sparkline import course_table, sparkline
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import Metric, Range
from autocanary.model.progress import MetricState
from autocanary.model.series import Point, append_point, metric_series
from tests.cli.fake_client import POLICY, START, metrics, rollout
from tests.cli.test_rollout_view import rendered_text

RATE = "request-success-rate"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([0.0, 1.0, 2.0, 3.0], "▁▃▆█"),
        ([5.0, 5.0, 5.0, 5.0], "▁▁▁▁"),
        ([1.0, None, None, 2.0], "▁  █"),
        ([None, None, None, None], ""),
    ],
)
def test_low_to_high_in_the_order_of_time(values: list[float | None], line: str) -> None:
    """What was not measured is blank, and a value that never changes is flat."""
    points = [Point(at, value) for at, value in enumerate(values, 1)]
    assert sparkline([Point(0, values[0]), *points], width=4) == line


def test_time_is_the_axis_not_the_number_of_points() -> None:
    """A value that lasts is recorded as its first and its last point."""
    assert sparkline([Point(0, 1.0), Point(80, 1.0), Point(100, 2.0)], width=10) == "▁▁▁▁▁▁▁▁▁█"


def test_no_course_without_enough_points() -> None:
    """And none of a metric that was never measured."""
    assert course_table(rollout(metrics=metrics(99.5)), {}, [RATE]) is None


def test_the_panel_shows_the_course_with_its_range_and_time() -> None:
    """Without them a line of blocks says nothing."""
    one = rollout(metrics=metrics(98.5))
    series: dict[str, str] = {}
    for at, value in ((30, 100.0), (60, 99.2), (90, 98.5), (120, 98.5)):
        series = dict(append_point(series, metric_series(RATE), Point(at, value)))
    one = replace(one, progress=replace(one.progress, series=series))
    text = rendered_text(rollout_panel(RolloutView(one, POLICY), START + 200), width=80)
    assert re.search(r"success rate +[▁▂▃▄▅▆▇█]{24} +98\.5 % to 100 % in 1m30s", text)


def test_names_of_metrics_are_never_cut_at_80_columns() -> None:
    """Two that differ in their last letter alone are distinguished."""
    names = [f"feature-store-lookup-latency-of-the-model-{end}" for end in ("p50", "p99")]
    analysis = replace(
        POLICY.analysis, metrics=tuple(Metric(each, Range(max=500.0), Unit.NUMBER, "up") for each in names)
    )
    state = MetricState(ok=True, last=Measurement(MeasurementKind.VALUE, 123.45, requests=1234.0))
    view = RolloutView(rollout(metrics=dict.fromkeys(names, state)), replace(POLICY, analysis=analysis))
    text = rendered_text(rollout_panel(view, START + 200), width=80)
    assert max(Text(line).cell_len for line in text.splitlines()) <= 80
    column = "".join(line[2:26].strip() for line in text.splitlines()[5:])
    for name in names:
        assert name in column
    assert "…" not in text
