"""What `status` shows of a comparison with stable."""

from __future__ import annotations

from rich.console import Console, RenderableType

from autocanary.cli.comparison_view import evidence_panel, meter, meter_bar
from autocanary.cli.rollout_view import Shown, panel
from autocanary.model.policy import Step
from tests.decide.build import NOW, policy, progress, rollout
from tests.decide.comparison_policies import ERRORS, LATENCY, Run

STEPS = (Step(10, 120.0), Step(50, 120.0), Step(100, 120.0))


def text(what: RenderableType | None) -> str:
    assert what is not None
    console = Console(width=160, file=None, record=True, color_system=None)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def shown(errors: int) -> Shown:
    run = Run(ERRORS, LATENCY)
    run.looks(8, 200, errors, 1800, 18)
    state = progress(0, 10, metrics=run.states, evidence=run.evidence)
    return Shown(rollout(state), policy(analysis=run.analysis, steps=STEPS))


def test_both_sides_the_meter_and_the_outlook_are_shown() -> None:
    """Counts, intervals, the ratio, evidence against and for it, and whether waiting is worth while."""
    view = shown(10)
    found = text(evidence_panel(view.rollout, view.policy))
    assert "against the candidate █" in found
    assert "100 % rolls back, with 95 % confidence" in found
    assert "80/1600 = 5.00 % (" in found
    assert "5.0x" in found
    assert "request-duration > " in found
    assert "at this traffic (" in found


def test_it_is_part_of_the_picture_of_a_rollout() -> None:
    """And what is allowed says that stable is the measure."""
    found = text(panel(shown(10), NOW))
    assert "no worse than stable" in found
    assert "against the candidate" in found


def test_a_rollout_of_thresholds_shows_no_evidence() -> None:
    """Its picture is what it was."""
    plain = rollout(progress())
    assert evidence_panel(plain, policy()) is None
    assert meter(plain) == "–"
    assert "against the candidate" not in text(panel(Shown(plain, policy()), NOW))


def test_why_nothing_is_compared_is_said() -> None:
    """Approximate counts."""
    run = Run(ERRORS)
    run.looks(4, 200, 2, 1800, 18, exact=False)
    state = progress(0, 10, metrics=run.states, evidence=run.evidence)
    found = text(evidence_panel(rollout(state), None))
    assert "error-rate: the counts of knative are approximate" in found
    assert "no requests yet" in found


def test_the_bar_is_full_at_a_rollback_and_never_lies_about_a_little() -> None:
    """Zero is empty, one percent is not."""
    assert meter_bar(0, 10).plain == "░░░░░░░░░░ 0 %"
    assert meter_bar(1, 10).plain == "█░░░░░░░░░ 1 %"
    assert meter_bar(100, 10).plain == "██████████ 100 %"
