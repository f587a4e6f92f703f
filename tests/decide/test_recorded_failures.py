"""Statuses that KServe 0.20 and Knative 1.21 wrote while pods crashed in the middle of a rollout.

The recording holds status and reason of each condition; Knative's messages are added here as measured.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocanary.analysis import Outcome
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.detection.known_bad import CANDIDATE_FAULTS
from autocanary.decide.planner import plan
from autocanary.kserve.v1beta1 import V1Beta1
from autocanary.model.decision import Action, Decision, Event
from autocanary.model.observation import Observation
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from tests.decide.builders import CANDIDATE, KEY, NOW, STABLE, policy, progress, rollout, verdict

_ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data" / "recorded_failures.jsonl").read_text().splitlines()
]
_AT_25 = progress(1, 25, from_weight=10, verified_at=NOW - 400)


def _statuses(case: str) -> list[Observation]:
    return [_observation(row) for row in _ROWS if row["case"] == case]


def _observation(row: dict[str, Any]) -> Observation:
    rolled_out, previous, ready, created = (_name(each) for each in row["names"])
    component = {
        "latestRolledoutRevision": rolled_out,
        "previousRolledoutRevision": previous,
        "latestReadyRevision": ready,
        "latestCreatedRevision": created,
        "traffic": [{"revisionName": _name(name), "percent": share} for name, share in row["traffic"].items()],
    }
    document = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "metadata": {"namespace": KEY.namespace, "name": KEY.name, "uid": "u1", "resourceVersion": "1"},
        "spec": {"predictor": {"model": {"storageUri": row["model"]}, "canaryTrafficPercent": row["weight"]}},
        "status": {
            "components": {"predictor": component},
            "conditions": [_condition(kind, said, created) for kind, said in row["conditions"].items()],
        },
    }
    (observation,) = V1Beta1().observe(document)
    return observation


def _name(number: str) -> str:
    return f"{KEY.name}-predictor-{number}" if number else ""


def _condition(kind: str, said: str, created: str) -> dict[str, str]:
    status, _, reason = said.partition(":")
    message = f'Revision "{created}" failed with message: Container failed with: exit 1.' if reason else ""
    return {"type": kind, "status": status, "reason": reason, "message": "" if "Route" in kind else message}


def _plan(state: Progress, observation: Observation, outcome: Outcome | None = None) -> Decision:
    said = None if outcome is None else verdict(outcome)
    return plan(DecisionInput(policy(), rollout(state), observation, NOW, said))


def test_a_candidate_that_crashes_at_a_weight_is_rolled_back_at_the_first_status_that_says_so() -> None:
    """The samples of the window are still good: the status decides, and the spec is remembered as bad."""
    *healthy, crashed = _statuses("candidate-crashes-at-25")
    assert [_plan(_AT_25, each).action for each in healthy[1:]] == [Action.NONE]
    for outcome in (None, Outcome.PASS, Outcome.NO_DATA, Outcome.OUTAGE):
        decision = _plan(_AT_25, crashed, outcome)
        assert (decision.rule, decision.event, decision.action, decision.weight) == (
            "RevisionFailed",
            Event.ROLLBACK,
            Action.WEIGHT,
            0,
        )
        assert decision.reason is Reason.REVISION_FAILED
        assert "exit 1" in decision.progress.message
    assert Reason.REVISION_FAILED in CANDIDATE_FAULTS


def test_a_candidate_that_crashes_before_the_next_weight_is_written_is_not_raised() -> None:
    """50 % was recorded and not written: it is 0 that is written now."""
    *_, crashed = _statuses("candidate-crashes-at-25")
    recorded = progress(2, 50, from_weight=25, verified_at=None)
    assert (_plan(recorded, crashed).weight, _plan(recorded, crashed).rule) == (0, "RevisionFailed")


@pytest.mark.parametrize("state", [_AT_25, progress(2, 50, from_weight=25, verified_at=None)])
def test_stable_that_crashes_is_notified_by_its_name_and_nothing_is_raised(state: Progress) -> None:
    """Also when 50 % is recorded and not written yet."""
    *_, crashed = _statuses("stable-crashes-at-25")
    decision = _plan(state, crashed, Outcome.PASS)
    assert (decision.rule, decision.event, decision.action) == ("StableFailed", Event.HELD, Action.NONE)
    assert (decision.reason, decision.progress.phase) == (Reason.STABLE_FAILED, Phase.HOLDING)
    assert STABLE in decision.progress.message
    assert CANDIDATE in decision.progress.message


def test_stable_that_stays_failed_until_the_deadline_ends_the_rollout() -> None:
    """The rollback then puts stable's spec back as a new revision."""
    *_, crashed = _statuses("stable-crashes-at-25")
    held = _plan(_AT_25, crashed).progress
    assert held.hold.since == NOW
    within, after = (
        replace(held, hold=replace(held.hold, since=NOW - 1799)),
        replace(held, hold=replace(held.hold, since=NOW - 1801)),
    )
    assert _plan(within, crashed).action is Action.NONE
    assert (_plan(after, crashed).weight, _plan(after, crashed).reason) == (0, Reason.PROGRESS_DEADLINE_EXCEEDED)


def test_stable_that_fails_during_another_hold_is_notified_at_once() -> None:
    """The other hold was notified a moment ago."""
    *_, crashed = _statuses("stable-crashes-at-25")
    holding = progress(
        1, 25, phase=Phase.HOLDING, reason=Reason.NO_DATA, held_since=NOW - 1700, hold_notified_at=NOW - 5
    )
    decision = _plan(holding, crashed)
    assert (decision.event, decision.progress.hold.since) == (Event.HELD, NOW)


def test_a_violation_rolls_back_although_stable_failed() -> None:
    """The 0 waits in the field until stable is ready again."""
    *_, crashed = _statuses("stable-crashes-at-25")
    decision = _plan(_AT_25, crashed, Outcome.FAIL)
    assert (decision.weight, decision.rule) == (0, "AnalysisFailed")


def test_a_rollback_ends_when_stable_recovers() -> None:
    """The queued 0 takes effect without another write."""
    blocked, recovered = _statuses("stable-recovers-at-0")
    going = progress(1, 0, from_weight=25, phase=Phase.ROLLING_BACK, verified_at=None)
    assert _plan(going, blocked).action is Action.NONE
    assert _plan(going, recovered).progress.phase is Phase.ROLLED_BACK


def test_a_paused_rollout_warns_of_a_failed_stable_once() -> None:
    """The pause stays a pause."""
    *_, crashed = _statuses("stable-crashes-at-25")
    paused = progress(1, 25, phase=Phase.PAUSED, paused_by="step", verified_at=NOW - 400)
    first = _plan(paused, crashed, Outcome.PASS)
    assert (first.event, first.progress.phase) == (Event.WARNING, Phase.PAUSED)
    assert _plan(first.progress, crashed, Outcome.PASS).event is None
