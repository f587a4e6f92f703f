"""Views of one rollout."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from autocanary.cli.rollout_view import (
    RolloutView,
    candidate_share,
    metric_table,
    phase_style,
    rollout_panel,
    steps,
    weight_bar,
)
from autocanary.model.measurement import Measurement, MeasurementKind
from autocanary.model.progress import MetricState, Phase
from autocanary.model.reason import Reason
from tests.cli.fake_client import POLICY, START, metrics, observation, rollout


def rendered_text(what: RenderableType | None, width: int = 120) -> str:
    assert what is not None
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def test_every_phase_has_a_style() -> None:
    """A new phase must not break the view."""
    assert {phase_style(phase) for phase in Phase} >= {"green", "red", "yellow"}


def test_share_prefers_observed_over_recorded_over_requested() -> None:
    """Users want to know the real share of the traffic, not the intended one."""
    one = rollout(weight=25, observed_weight=10)
    assert candidate_share(RolloutView(one, observation=observation(one, 11))) == 11
    assert candidate_share(RolloutView(one)) == 10
    assert candidate_share(RolloutView(rollout(weight=25))) == 25
    assert candidate_share(RolloutView(rollout(weight=None))) == 100


@pytest.mark.parametrize(("share", "cells"), [(0, 0), (1, 1), (25, 10), (99, 39), (100, 40)])
def test_the_bar_is_the_whole_traffic(share: int, cells: int) -> None:
    """A share of 1 % is seen, and one of 99 % leaves something to stable."""
    one = rollout()
    bar = weight_bar(RolloutView(one, observation=observation(one, share)))
    assert bar.plain.startswith(f"stable {100 - share:>3} % ")
    assert bar.plain.endswith(f" {share:>3} % candidate")
    assert (bar.plain.count("█"), bar.plain.count("░")) == (cells, 40 - cells)
    candidate = [span for span in bar.spans if span.style == phase_style(Phase.PROGRESSING)]
    assert sum(span.end - span.start for span in candidate) == cells


def test_the_steps_show_the_present_one() -> None:
    """10→25→50→100, and the approval."""
    assert steps(RolloutView(rollout(step=1), POLICY)).plain == "10 → [25] → 50 (approval) → 100"
    assert steps(RolloutView(rollout(step=-1), POLICY)).plain.startswith("10 → 25")
    assert "[" not in steps(RolloutView(rollout(Phase.PROMOTED, step=3), POLICY)).plain[-5:]


def test_the_step_of_a_rollback_is_struck_out() -> None:
    """It was there, and is no more."""
    line = steps(RolloutView(rollout(Phase.ROLLED_BACK, step=2), POLICY))
    assert any("strike" in str(span.style) for span in line.spans)


def test_without_a_policy_the_number_of_the_step_is_shown() -> None:
    """A snapshot of another version cannot be drawn."""
    assert steps(RolloutView(rollout(step=1))).plain == "step 2"


def test_metrics_are_held_against_their_thresholds() -> None:
    """Value, range, violations, requests: the evidence of the decision."""
    table = rendered_text(metric_table(RolloutView(rollout(metrics=metrics(98.5, violations=2, ok=False)), POLICY)))
    rate, latency = table.splitlines()[1:3]
    assert rate.split("  ")[0] == "success rate"
    for each in ("98.5 %", "at least 99 %", "2 of 3", "1,234"):
        assert each in rate
    for each in ("latency (dry run)", "no data", "at most 500 ms", "0 of 1", "–"):
        assert each in latency


def test_a_metric_without_its_policy_or_its_measurement_is_shown_all_the_same() -> None:
    """What is unknown is left out."""
    states = {
        "mine": MetricState(1),
        "other": MetricState(0, 1, True, Measurement(MeasurementKind.VALUE, 7.0)),
    }
    mine, other = rendered_text(metric_table(RolloutView(rollout(metrics=states)))).splitlines()[1:3]
    assert "not measured yet" in mine
    assert "7" in other


def test_no_metric_table_before_the_first_evaluation() -> None:
    """Nothing was measured."""
    assert metric_table(RolloutView(rollout(metrics={}), POLICY)) is None


def test_the_panel_shows_everything() -> None:
    """Names, phase, weight, steps, metrics, reason, and what is waited for."""
    picture = rendered_text(rollout_panel(RolloutView(rollout(), POLICY), START + 60))
    for each in (
        "models/mnist: mnist-predictor-00002 instead of mnist-predictor-00001",
        "Progressing",
        "25 % candidate",
        "[25]",
        "success rate",
        "Analysing  1 of 3 evaluations passed",
        "waits for the end of the step in 4m",
    ):
        assert each in picture


def test_the_panel_of_a_finished_rollout_waits_for_nothing() -> None:
    """It says how it ended."""
    picture = rendered_text(
        rollout_panel(
            RolloutView(rollout(Phase.ROLLED_BACK, reason=Reason.METRIC_VIOLATION, message="98 % < 99 %")),
            START,
        )
    )
    assert "MetricViolation  98 % < 99 %" in picture
    assert "waits for" not in picture


def test_names_from_the_cluster_are_no_markup() -> None:
    """What looks like markup is text: a message cannot colour a terminal."""
    picture = rendered_text(rollout_panel(RolloutView(rollout(message="[red]x[/red] [/]"), POLICY), START))
    assert "[red]x[/red] [/]" in picture
