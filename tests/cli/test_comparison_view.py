"""What `status` shows of a comparison with stable."""

from __future__ import annotations

from rich.console import Console, RenderableType

from autocanary.cli.comparison_view import comparison_panel, evidence_bar, evidence_meter
from autocanary.cli.rollout_view import RolloutView, rollout_panel
from autocanary.model.policy import Step
from tests.decide.builders import NOW, policy, progress, rollout
from tests.decide.comparison_builders import ERRORS, LATENCY, ComparisonRun

STEPS = (Step(10, 120.0), Step(50, 120.0), Step(100, 120.0))


def text(what: RenderableType | None) -> str:
    assert what is not None
    console = Console(width=160, file=None, record=True, color_system=None)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def shown(errors: int) -> RolloutView:
    run = ComparisonRun(ERRORS, LATENCY)
    run.evaluations(8, 200, errors, 1800, 18)
    state = progress(0, 10, metrics=run.states, evidence=run.evidence)
    return RolloutView(rollout(state), policy(analysis=run.analysis, steps=STEPS))


def test_shows_both_revisions_evidence_and_forecast() -> None:
    """Counts, intervals, the ratio, evidence against and for it, and whether waiting is worth while."""
    view = shown(10)
    found = text(comparison_panel(view.rollout, view.policy))
    assert "worse than stable █" in found
    assert "of the proof needed to roll back, with 95 % confidence" in found
    assert "since the rollout began: canary 80/1600 = 5.00 %" in found
    assert "4.00 points more than stable (95 % interval at all times: " in found
    assert found.index("error rate") < found.index("p99 latency")  # the worst metric comes first
    assert "5.0x" in found
    assert "slower than " in found
    assert "at this traffic (" in found


def test_it_is_part_of_the_view_of_a_rollout() -> None:
    """And what is allowed says that stable is the measure."""
    found = text(rollout_panel(shown(10), NOW))
    assert "no worse than stable" in found
    assert "worse than stable █" in found


def test_a_rollout_of_thresholds_shows_no_evidence() -> None:
    """Its picture is what it was."""
    plain = rollout(progress())
    assert comparison_panel(plain, policy()) is None
    assert evidence_meter(plain) == "–"
    assert "needed to roll back" not in text(rollout_panel(RolloutView(plain, policy()), NOW))


def test_why_nothing_is_compared_is_said() -> None:
    """Approximate counts."""
    run = ComparisonRun(ERRORS)
    run.evaluations(4, 200, 2, 1800, 18, exact=False)
    state = progress(0, 10, metrics=run.states, evidence=run.evidence)
    found = text(comparison_panel(rollout(state), None))
    assert "  the counts of knative are approximate" in found
    assert "since the rollout began" not in found


def test_evidence_bar_is_full_at_100_and_never_empty_above_0() -> None:
    """Zero is empty, one percent is not."""
    assert evidence_bar(0).plain == "░" * 30 + " 0 %"
    assert evidence_bar(1).plain == "█" + "░" * 29 + " 1 %"
    assert evidence_bar(100).plain == "█" * 30 + " 100 %"
