"""Steps and their clocks: what a step may be taken on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.analysis import AnalysisInput, Evaluation, Outcome
from autocanary.analysis.verdict import Verdict
from autocanary.decide.planner import plan
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from tests.decide.builders import NOW, SUCCESS, make_decision_input, make_observation, progress, value, verdict

_STEP_OVER = progress(0, 10, verified_at=NOW - 300)  # the warm-up was over 270 s ago


def verdict_at_age(age: float | None, outcome: Outcome = Outcome.PASS) -> Verdict:
    measured = replace(value(99.9), age=age)
    return verdict(outcome, analysis_input=AnalysisInput(Evaluation(now=NOW), {SUCCESS.name: measured}))


@pytest.mark.parametrize(
    ("age", "rule"),
    [(None, "StepPassed"), (15.0, "StepPassed"), (269.0, "StepPassed"), (271.0, "SamplesBeforeStep")],
)
def test_no_step_is_taken_on_samples_from_before_it(age: float | None, rule: str) -> None:
    """The newest sample must be younger than the step and its warm-up; an unknown age is not held against it."""
    assert plan(make_decision_input(_STEP_OVER, make_observation(10), verdict_at_age(age))).rule == rule


def test_old_samples_hold_the_promotion_and_say_how_old_they_are() -> None:
    """The last step is no exception; the weight stays."""
    state = progress(3, 100, phase=Phase.BAKING, verified_at=NOW - 700)
    decision = plan(make_decision_input(state, make_observation(100), verdict_at_age(680.0)))
    assert decision.progress.reason is Reason.WARMING_UP
    assert decision.progress.step.weight == 100
    assert "request-success-rate: the newest sample is 11m20s old" in decision.progress.message


def test_failure_counts_however_old_its_samples_are() -> None:
    """A rollback needs no samples of this step: the candidate is the same one."""
    failed = verdict_at_age(290.0, Outcome.FAIL)
    assert plan(make_decision_input(_STEP_OVER, make_observation(10), failed)).rule == "AnalysisFailed"
