"""What users read about the harm that a comparison can detect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.analysis.forecast import forecast_text
from autocanary.model.policy import Policy, Step
from autocanary.model.progress import Phase, Progress
from tests.decide.builders import policy, progress
from tests.decide.comparison_builders import ERRORS, LATENCY, ComparisonRun

STEPS = (Step(10, 120.0), Step(50, 120.0), Step(100, 120.0))


def seen(n_c: int, n_s: int, errors: int) -> tuple[Policy, Progress]:
    """Forty looks at errors and latency; then what is known of the rollout."""
    run = ComparisonRun(LATENCY, ERRORS)
    run.evaluations(40, n_c, 0, n_s, errors)
    return policy(analysis=run.analysis, steps=STEPS), progress(0, 10, metrics=run.states)


def test_forecast_names_traffic_and_detection_times() -> None:
    """Ten times stable's rate, at what is measured."""
    text = forecast_text(*seen(300, 2700, 3))
    assert text.startswith("at this traffic (190 requests/s, 10 % of it) 0.11 % → 1.11 % is detected in about ")
    assert " points worse is not detected within the 4m of the plan's steps" in text


def test_little_traffic_is_stated() -> None:
    """At a request in fifteen seconds on the candidate a minute proves nothing."""
    rules, state = seen(1, 9, 0)
    short = replace(rules, steps=(Step(10, 60.0), Step(100, 60.0)))
    assert forecast_text(short, state).endswith("nothing can be detected within the 1m of the plan's steps")


def test_more_traffic_sees_less_harm_sooner() -> None:
    """The figure that users compare policies by."""
    little, much = forecast_text(*seen(30, 270, 0)), forecast_text(*seen(300, 2700, 0))
    points = [float(each.split("less than ")[1].split(" points")[0]) for each in (little, much)]
    assert points[0] > points[1]


@pytest.mark.parametrize("change", ["no policy", "final", "at 100 %", "not compared", "no counts", "too early"])
def test_forecast_is_empty_without_counts(change: str) -> None:
    """No figure out of thin air."""
    rules, state = seen(300, 2700, 3)
    match change:
        case "no policy":
            assert forecast_text(None, state) == ""
        case "final":
            assert forecast_text(rules, replace(state, phase=Phase.PROMOTED)) == ""
        case "at 100 %":
            assert forecast_text(rules, replace(state, step=replace(state.step, weight=100))) == ""
        case "not compared":
            assert forecast_text(policy(), state) == ""
        case "no counts":
            assert forecast_text(rules, replace(state, analysis=replace(state.analysis, metrics={}))) == ""
        case _:
            run = ComparisonRun(ERRORS)
            run.evaluations(1, 1, 0, 1, 0)
            assert (
                forecast_text(
                    replace(rules, analysis=run.analysis),
                    replace(state, analysis=replace(state.analysis, metrics=run.states)),
                )
                == ""
            )
