"""What people are told of what a comparison can see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.analysis.forecast import outlook
from autocanary.model.policy import Policy, Step
from autocanary.model.progress import Phase, Progress
from tests.decide.build import policy, progress
from tests.decide.comparison_policies import ERRORS, LATENCY, Run

STEPS = (Step(10, 120.0), Step(50, 120.0), Step(100, 120.0))


def seen(n_c: int, n_s: int, errors: int) -> tuple[Policy, Progress]:
    """Forty looks at errors and latency; then what is known of the rollout."""
    run = Run(LATENCY, ERRORS)
    run.looks(40, n_c, 0, n_s, errors)
    return policy(analysis=run.analysis, steps=STEPS), progress(0, 10, metrics=run.states)


def test_it_names_the_traffic_a_tenfold_worsening_and_the_smallest() -> None:
    """Ten times stable's rate, at what is measured."""
    text = outlook(*seen(300, 2700, 3))
    assert text.startswith("at this traffic (190 requests/s, 10 % of it) 0.11 % → 1.11 % is caught in about ")
    assert " points worse is not caught within the 4m of the plan's steps" in text


def test_little_traffic_is_told_plainly() -> None:
    """At a request in fifteen seconds on the candidate a minute proves nothing."""
    rules, state = seen(1, 9, 0)
    short = replace(rules, steps=(Step(10, 60.0), Step(100, 60.0)))
    assert outlook(short, state).endswith("nothing can be caught within the 1m of the plan's steps")


def test_more_traffic_sees_less_harm_sooner() -> None:
    """The figure that people compare policies by."""
    little, much = outlook(*seen(30, 270, 0)), outlook(*seen(300, 2700, 0))
    points = [float(each.split("less than ")[1].split(" points")[0]) for each in (little, much)]
    assert points[0] > points[1]


@pytest.mark.parametrize(
    "change", ["no policy", "final", "at 100 %", "not compared", "no counts", "too early"]
)
def test_where_nothing_can_be_said_nothing_is(change: str) -> None:
    """No figure out of thin air."""
    rules, state = seen(300, 2700, 3)
    match change:
        case "no policy":
            assert outlook(None, state) == ""
        case "final":
            assert outlook(rules, state.but(phase=Phase.PROMOTED)) == ""
        case "at 100 %":
            assert outlook(rules, state.but(weight=100)) == ""
        case "not compared":
            assert outlook(policy(), state) == ""
        case "no counts":
            assert outlook(rules, state.but(metrics={})) == ""
        case _:
            run = Run(ERRORS)
            run.looks(1, 1, 0, 1, 0)
            assert outlook(replace(rules, analysis=run.analysis), state.but(metrics=run.states)) == ""
