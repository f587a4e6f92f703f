"""Traffic that is not where it was: over several evaluations, as the controller makes them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.analysis import Outcome
from autocanary.decide.decision_input import BY_FAILURE, BY_STEP, BY_USER
from autocanary.decide.planner import plan
from autocanary.model.decision import Action
from autocanary.model.observation import ConditionStatus
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request
from tests.decide.builders import (
    CANDIDATE,
    NOW,
    STABLE,
    evaluations,
    make_decision_input,
    make_observation,
    progress,
    verdict,
)

WIPED = make_observation(10, rolled_out=CANDIDATE, traffic={CANDIDATE: 100})
"""KServe's bookkeeping is lost: it takes the candidate for stable, so both shares are the candidate's."""


def test_candidate_taken_for_stable_is_rolled_back_in_30_s() -> None:
    """It has everything at 10 %, and no weight helps: stable's spec is put back, not after the deadline."""
    made = evaluations([WIPED] * 15)
    moves = [(decision.action, decision.reason) for decision, _ in made if decision.action is not Action.NONE]
    assert moves[:1] == [(Action.RESTORE, Reason.WRONG_STABLE)]


def test_traffic_drift_warns_once() -> None:
    """Its share is gone although the field is unchanged: it is notified, and the step begins again."""
    made = evaluations([make_observation(10, traffic_percent=0)] * 20)
    notified = [decision.reason for decision, _ in made if decision.event is not None]
    assert notified == [Reason.TRAFFIC_DRIFTED]
    assert made[-1][1].progress.step.verified_at is None


def test_short_traffic_change_is_not_drift() -> None:
    """Ten seconds of an older status, and everything is as it was: nothing is notified or written."""
    away = make_observation(10, traffic_percent=0)
    made = evaluations([away] * 5 + [make_observation(10)] * 10 + [away] * 5 + [make_observation(10)])
    assert [decision.event for decision, _ in made if decision.event is not None] == []
    assert made[-1][1].progress.step.drifted_since is None


def test_warns_of_a_route_that_is_not_ready_without_a_word_about_the_split() -> None:
    """The shares are as asked for and the ingress does not follow."""
    made = evaluations([make_observation(10, route_ready=ConditionStatus.FALSE)] * 12)
    notified = [decision for decision, _ in made if decision.event is not None]
    assert [decision.reason for decision in notified] == [Reason.ROUTE_NOT_READY]
    message = notified[0].progress.decisions[-1]["message"]
    assert "the split is as asked for" in message
    assert "differs" not in message


def test_new_weight_resets_traffic_drift() -> None:
    """The split was wrong when a user took the next step: the new weight has all the time to arrive."""
    made = evaluations([make_observation(10, traffic_percent=0)] * 3)
    state = made[-1][1].progress
    assert state.step.drifted_since is not None
    asked = make_decision_input(state, make_observation(10), now=NOW + 8)
    decision = plan(replace(asked, rollout=replace(asked.rollout, request=Request(id="1", verb="promote", by="ann"))))
    assert decision.weight == 25
    assert decision.progress.step.drifted_since is None


def test_traffic_drift_is_detected_while_paused() -> None:
    """A pause is no reason to leave a candidate at 100 %."""
    state = progress(phase=Phase.PAUSED, paused_by=BY_USER)
    made = evaluations([WIPED] * 15, state, paused=True)
    assert Action.RESTORE in [decision.action for decision, _ in made]


@pytest.mark.parametrize("manager", [BY_USER, BY_STEP, BY_FAILURE])
def test_manager_named_like_a_pause_cause_is_a_client(manager: str) -> None:
    """A client may call itself "user": its change is an external one, and waits for a user to resume it."""
    made = evaluations([make_observation(40, writer=manager)] * 5)
    paused = made[-1][1].progress
    assert (paused.phase, paused.reason, paused.step.weight) == (Phase.PAUSED, Reason.EXTERNAL_CHANGE, 40)
    assert manager in paused.message


def test_a_rollback_whose_record_was_lost_is_finished() -> None:
    """The 0 was written unrecorded and the process ended: it is no external change, and waits for no user."""
    decision = plan(make_decision_input(progress(1, 25), make_observation(0, writer="autocanary")))
    assert decision.progress.phase is Phase.ROLLING_BACK
    assert (decision.progress.reason, decision.progress.step.weight) == (Reason.ROLLBACK_UNRECORDED, 0)
    assert decision.action is Action.NONE
    others = plan(make_decision_input(progress(1, 25), make_observation(0, writer="kubectl-edit")))
    assert others.progress.reason is Reason.EXTERNAL_CHANGE


def test_stale_cache_with_inconclusive_verdict_holds() -> None:
    """A failing look that came while its weight is not in effect: no other rule may use the old picture."""
    state = progress(verified_at=None, from_weight=0)
    said = verdict(Outcome.FAIL)
    at = make_decision_input(state, make_observation(10), said, gone=True, cache_age=1000.0)
    decision = plan(at)
    assert decision.progress.phase is not Phase.ABANDONED


def test_the_end_of_a_rollback_names_who_serves() -> None:
    """The stable spec was put back: it is its new revision that has the traffic, not the old one."""
    third = "mnist-predictor-00003"
    state = progress(phase=Phase.ROLLING_BACK, reason=Reason.METRIC_VIOLATION, weight=0, repairing=True, restored=True)
    observation = make_observation(0, created=third, ready=third, traffic={third: 100, STABLE: 0}, spec_digest="stable")
    ended = evaluations([observation], state)[-1][1].progress
    assert ended.phase is Phase.ROLLED_BACK
    assert ended.message.endswith(f"{third} has 100 %")


def test_a_weight_that_kserve_ignores_says_why() -> None:
    """A user sets disable-auto-update in the middle: the hold names the annotation."""
    state = progress(weight=25, step=1, verified_at=None, step_started_at=NOW)
    made = evaluations([make_observation(25, traffic_percent=10, auto_update_disabled=True)] * 40, state)
    held = [d.progress.message for d, _ in made if d.progress.phase is Phase.HOLDING]
    assert held
    assert all("disable-auto-update" in message for message in held)
