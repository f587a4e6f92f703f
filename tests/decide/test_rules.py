"""Every decision carries the name of the rule that made it."""

from __future__ import annotations

import re

import pytest

from autocanary.analysis import Outcome
from autocanary.decide.planner import NOTHING_TO_DO, plan
from autocanary.decide.rules import CHAIN
from autocanary.model.observation import Observation
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request
from tests.decide.builders import NOW, make_decision_input, make_observation, progress, verdict

_STAGED = progress(-1, 0, phase=Phase.STAGING, reason=Reason.ROLLOUT_STARTED, verified_at=None)
_ROLLING_BACK = progress(0, 0, phase=Phase.ROLLING_BACK, reason=Reason.METRIC_VIOLATION, verified_at=None)
_STEP_OVER = progress(0, 10, verified_at=NOW - 400)


def test_every_rule_has_a_name_of_its_own_in_camel_case() -> None:
    """Two rules with one name could not be distinguished in ``status.decisions``."""
    names = [rule.name for rule in CHAIN]
    assert len(set(names)) == len(names)
    assert [name for name in (*names, NOTHING_TO_DO) if not re.fullmatch(r"([A-Z][a-z]+)+", name)] == []


@pytest.mark.parametrize(
    ("state", "observation", "outcome", "name"),
    [
        (_STAGED, make_observation(0), None, "Staging"),
        (progress(), make_observation(10), Outcome.FAIL, "AnalysisFailed"),
        (_STEP_OVER, make_observation(10), Outcome.PASS, "StepPassed"),
        (progress(), make_observation(None, 100), None, "WeightDiffers"),
        (_ROLLING_BACK, make_observation(0), None, "RollingBack"),
        (
            progress(3, 100, phase=Phase.BAKING, verified_at=NOW - 700),
            make_observation(100),
            Outcome.PASS,
            "BakeFinished",
        ),
        (progress(), make_observation(10, created="mnist-predictor-00003"), None, "CandidateSuperseded"),
    ],
)
def test_the_decision_and_its_record_name_the_rule(
    state: Progress, observation: Observation, outcome: Outcome | None, name: str
) -> None:
    """The name in the decision history is the one of the rule in the chain."""
    decision = plan(make_decision_input(state, observation, None if outcome is None else verdict(outcome)))
    assert decision.event is not None
    assert decision.rule == decision.progress.decisions[-1]["rule"] == name
    assert name in {rule.name for rule in CHAIN}


def test_a_rule_that_calls_another_keeps_the_other_rules_name() -> None:
    """A violation while the weight is still being written is AnalysisFailed, not WeightDiffers."""
    unwritten = progress(1, 25, from_weight=10, verified_at=None)
    decision = plan(make_decision_input(unwritten, make_observation(10), verdict(Outcome.FAIL)))
    assert decision.rule == decision.progress.decisions[-1]["rule"] == "AnalysisFailed"


def test_a_request_that_changes_nothing_names_its_rule_and_leaves_the_history_alone() -> None:
    """Without an event nothing is recorded."""
    decision = plan(make_decision_input(progress(), make_observation(10), request=Request("r1", "retry", "ada")))
    assert (decision.rule, decision.progress.decisions) == ("RequestPending", ())
