"""What an evaluation adds to the series of a record."""

from __future__ import annotations

import json

from autocanary.app.demo_run import Demo
from autocanary.model.progress_json import progress_from_json, progress_to_json
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_json import from_document, to_document
from autocanary.model.series import EVIDENCE, WEIGHT, metric_series, parse_points
from tests.page.compared import run_compared


def _demo(name: str, seconds: float) -> Rollout:
    demo = Demo(name)
    demo.advance(seconds)
    ((rollout, _, _),) = demo.shown()
    return rollout


def test_a_finished_rollout_has_its_whole_course() -> None:
    """Weight at every change, and each metric from the first evaluation to the last."""
    rollout = _demo("healthy", 900.0)
    weights = [point.value for point in parse_points(rollout.progress.series[WEIGHT])]
    assert rollout.is_final
    assert [each for at, each in enumerate(weights) if at == 0 or weights[at - 1] != each] == [0, 10, 25, 50, 100]
    latency = parse_points(rollout.progress.series[metric_series("request-duration")])
    assert len(latency) > 15
    assert latency[-1].at > 0.9 * (rollout.progress.finished_at or 0.0) - 0.9 * rollout.progress.started_at


def test_the_last_evaluation_before_a_rollback_is_there() -> None:
    """The violation that rolled it back is what a user looks for."""
    rollout = _demo("errors", 300.0)
    points = parse_points(rollout.progress.series[metric_series("request-success-rate")])
    assert points[-1].value is not None
    assert points[-1].value < 99.0


def test_a_comparison_has_stable_the_difference_and_the_evidence() -> None:
    """The interval holds the difference."""
    rollout, _ = run_compared(seconds=400)
    points = parse_points(rollout.progress.series[metric_series("error-rate")])
    known = [each for each in points if each.difference is not None]
    assert len(known) >= 2
    for point in known:
        assert point.low is not None
        assert point.high is not None
        assert point.difference is not None
        assert point.low <= point.difference <= point.high
    assert any(each.stable is not None for each in points)
    slow = parse_points(rollout.progress.series[metric_series("request-duration")])
    assert any(each.stable is not None and 0 < each.stable < 10 for each in slow)
    assert parse_points(rollout.progress.series[EVIDENCE])


def test_the_series_survive_the_record() -> None:
    """Written and read again they are the same; a record of before has none, and an older version drops them."""
    rollout = _demo("healthy", 200.0)
    document = json.loads(json.dumps(to_document(rollout)))
    assert from_document(document).progress.series == rollout.progress.series != {}
    del document["status"]["progress"]["series"]
    assert from_document(document).progress.series == {}
    assert progress_from_json({**progress_to_json(rollout.progress), "of_a_later_version": 1}) == rollout.progress


def test_the_inputs_of_decisions_do_not_repeat_them() -> None:
    """Eight decisions keep their inputs: with the series in each, a record would be eight times as large."""
    rollout = _demo("healthy", 900.0)
    inputs = [each["inputs"] for each in rollout.progress.decisions if "progress" in each.get("inputs", {})]
    assert inputs
    assert all(not each["progress"].get("series") for each in inputs)
