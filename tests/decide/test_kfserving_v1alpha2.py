"""Observations with stable beside the candidate, and what starts and ends a rollout there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.decide.detection import (
    NoAction,
    StableRevisionTracker,
    StartRollout,
    detect,
    track_stable_revision,
)
from autocanary.decide.planner import plan
from autocanary.model.decision import Action, Event
from autocanary.model.observation import ConditionStatus, DefaultEndpoint, Observation, PromotionPending
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request
from tests.decide.builders import (
    CANDIDATE,
    NOW,
    STABLE,
    make_decision_input,
    make_observation,
    policy,
    progress,
    rollout,
)

DONE = progress(phase=Phase.FINALIZING, step=3, weight=100, reason=Reason.FINALIZING)


def v1alpha2_observation(*, candidate: bool = True, digest: str = "stable", **changes: Any) -> Observation:
    """All the traffic is on a candidate made of the spec "new"; ``digest`` is stable's."""
    ready = changes.pop("stable_ready", ConditionStatus.TRUE)
    defaults: dict[str, Any] = {
        "weight": 100,
        "traffic": {CANDIDATE: 100, STABLE: 0},
        "rolled_out": STABLE,
        "previous": "",
        "spec_digest": "new",
        "spec": {"v": 2},
        "default_endpoint": DefaultEndpoint({"v": 1}, digest, ready, candidate),
    }
    return make_observation(**{**defaults, **changes})


def finalizing(observation: Observation, **changes: Any) -> Any:
    base = make_decision_input(changes.pop("state", DONE), observation, **changes)
    return plan(replace(base, rollout=replace(base.rollout, candidate_digest="new")))


@pytest.mark.parametrize(
    ("changes", "promotion_pending"),
    [
        ({}, PromotionPending.ADOPT),
        ({"digest": "new"}, PromotionPending.CLEAR),
        ({"digest": "new", "stable_ready": ConditionStatus.UNKNOWN}, PromotionPending.WAIT),
        ({"candidate": False, "weight": None}, PromotionPending.WAIT),
        ({"candidate": False, "weight": None, "traffic": {STABLE: 100}}, None),
        (
            {"candidate": False, "traffic": {STABLE: 100}, "route_ready": ConditionStatus.FALSE},
            PromotionPending.WAIT,
        ),
    ],
)
def test_promotion_pending_by_endpoint_state(
    changes: dict[str, Any], promotion_pending: PromotionPending | None
) -> None:
    """Read from one evaluation, whichever client made the writes before it."""
    assert v1alpha2_observation(**changes).promotion_pending is promotion_pending


WHY = "cannot patch it: no canaries here"
RAISED = progress(1, 50, from_weight=10, verified_at=None, step_started_at=NOW - 2)


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.PAUSED])
def test_refused_weight_increase_notifies_at_once(phase: Phase) -> None:
    """Not after the minute that any other refusal is waited for; a pause stays one. Both times it is tried on."""
    observation = v1alpha2_observation(weight=10, traffic={CANDIDATE: 10, STABLE: 90})
    state = replace(RAISED, phase=phase, hold=replace(RAISED.hold, paused_by="user" if phase is Phase.PAUSED else ""))
    decision = finalizing(observation, state=state, unsupported_reason=WHY)
    assert (decision.action, decision.weight) == (Action.WEIGHT, 50)
    if phase is Phase.PAUSED:
        assert decision.progress.phase is Phase.PAUSED
    else:
        assert (decision.progress.phase, decision.reason) == (Phase.HOLDING, Reason.CANARY_UNSUPPORTED)
        assert decision.progress.message == f"50 % is refused: {WHY}"
    other = finalizing(observation, state=RAISED)
    assert (other.action, other.progress.phase) == (Action.WEIGHT, Phase.PROGRESSING)


def test_rollback_removes_candidate_when_weight_is_refused() -> None:
    """Only while the candidate's own spec stands in it; otherwise the weight is tried again."""
    observation = v1alpha2_observation(weight=10, traffic={CANDIDATE: 10, STABLE: 90})
    state = progress(0, 0, phase=Phase.ROLLING_BACK, from_weight=10, verified_at=None)
    decision = finalizing(observation, state=state, unsupported_reason=WHY)
    assert (decision.action, decision.weight, decision.progress.rollback.repairing) == (Action.RESTORE, None, True)
    replaced = replace(observation, spec_digest="another")
    assert finalizing(replaced, state=state, unsupported_reason=WHY).action is Action.WEIGHT
    assert finalizing(observation, state=state).action is Action.WEIGHT


def test_refused_finalize_write_warns_once() -> None:
    """It keeps the weight of 100, so it is refused as well; it is tried on."""
    first = finalizing(v1alpha2_observation(), unsupported_reason=WHY)
    assert (first.action, first.event) == (Action.FINALIZE, Event.WARNING)
    again = finalizing(v1alpha2_observation(), state=first.progress, unsupported_reason=WHY)
    assert (again.action, again.event) == (Action.FINALIZE, None)


def test_v1beta1_has_no_promotion_pending() -> None:
    """KServe takes the candidate for stable automatically."""
    assert make_observation().promotion_pending is None
    assert not make_observation().candidate_removed
    assert make_observation().matches_spec("anything")


def test_finalizing_writes_in_order() -> None:
    """Copy; clear when stable's revision is another; nothing while there is something to wait for."""
    assert finalizing(v1alpha2_observation()).action is Action.FINALIZE
    copied: dict[str, Any] = {"digest": "new", "rolled_out": "mnist-predictor-default-2"}
    share = {CANDIDATE: 100, "mnist-predictor-default-2": 0}
    assert finalizing(v1alpha2_observation(**copied, traffic=share)).action is Action.FINALIZE
    assert (
        finalizing(v1alpha2_observation(**copied, traffic=share, stable_ready=ConditionStatus.UNKNOWN)).action
        is Action.NONE
    )
    assert finalizing(v1alpha2_observation(digest="new")).action is Action.NONE, (
        "stable's revision is still the old one"
    )


def test_finalize_copies_only_the_evaluated_spec() -> None:
    """Another candidate, another stable, another weight, a route that is not ready, a pause."""
    for observation in (
        v1alpha2_observation(created="mnist-predictor-00003", spec_digest="newer"),
        v1alpha2_observation(spec_digest="newer"),
        v1alpha2_observation(digest="hotfix"),
        v1alpha2_observation(weight=50),
        v1alpha2_observation(route_ready=ConditionStatus.FALSE),
    ):
        assert finalizing(observation).action is not Action.FINALIZE
    assert finalizing(v1alpha2_observation(), paused=True).action is Action.NONE


def test_user_requests_are_answered_while_finalizing() -> None:
    """Each once: promote is done at once, the others are too late."""
    hurried = finalizing(v1alpha2_observation(digest="new"), request=Request("1", "promote", "kim"))
    assert (hurried.progress.requests.answered_id, hurried.progress.requests.promote_all) == ("1", True)
    assert finalizing(v1alpha2_observation(digest="new"), state=hurried.progress).action is Action.FINALIZE
    late = finalizing(v1alpha2_observation(), request=Request("2", "abort", "kim"))
    assert (late.progress.requests.answered_id, late.action) == ("2", Action.NONE)
    assert "promoted" in late.progress.requests.answer


def test_slow_finalizing_warns_once() -> None:
    """With what is waited for; the candidate goes on serving."""
    waiting = v1alpha2_observation(
        digest="new",
        default_endpoint=DefaultEndpoint({}, "new", ConditionStatus.FALSE, True, "no GPU is free"),
    )
    late = replace(DONE, phase_since=NOW - 10_000)
    notified = finalizing(waiting, state=late)
    assert "no GPU is free" in notified.progress.outbox.pending[-1].message
    assert notified.progress.phase is Phase.FINALIZING
    again = finalizing(waiting, state=notified.progress)
    assert again.event is None


def test_a_rollback_after_stable_was_edited() -> None:
    """Over when stable's own place has everything, whatever revision that is."""
    state = progress(phase=Phase.ROLLING_BACK, weight=0, reason=Reason.METRIC_VIOLATION)
    observation = v1alpha2_observation(weight=0, rolled_out="other", traffic={"other": 100, CANDIDATE: 0})
    assert plan(make_decision_input(state, observation)).progress.phase is Phase.ROLLED_BACK


def test_edited_stable_ends_rollout_when_ready() -> None:
    """Not before: until then the candidate is judged on, and can be rolled back."""
    edited: dict[str, Any] = {"weight": 10, "rolled_out": "other", "traffic": {"other": 90, CANDIDATE: 10}}
    ended = plan(make_decision_input(progress(), v1alpha2_observation(**edited)))
    assert (ended.progress.phase, ended.progress.reason) == (Phase.SUPERSEDED, Reason.STABLE_CHANGED)
    waiting = plan(
        make_decision_input(progress(), v1alpha2_observation(**edited, stable_ready=ConditionStatus.UNKNOWN))
    )
    assert not waiting.progress.phase.is_final


def past(**changes: Any) -> Any:
    defaults: dict[str, Any] = {"candidate_digest": "new", "stable_digest": "stable"}
    ended = {
        "phase": changes.pop("phase", Phase.ROLLED_BACK),
        "reason": changes.pop("reason", Reason.METRIC_VIOLATION),
    }
    return replace(rollout(progress(**ended)), **{**defaults, **changes})


def detected(observation: Observation, *history: Any, tracker: StableRevisionTracker | None = None) -> Any:
    taught = track_stable_revision(tracker, observation, history, NOW)
    return detect(observation, policy(), history, taught, NOW)


def test_candidate_identity_is_name_and_spec() -> None:
    """The same of both stays out; the name with another spec starts once that has stood for a while."""
    observation = v1alpha2_observation(weight=10)
    assert isinstance(detected(observation), StartRollout)
    assert isinstance(detected(observation, past()), NoAction)
    other = past(candidate_digest="former")
    assert isinstance(detected(observation, other), NoAction), "it may be a status that lags"
    stood = StableRevisionTracker(
        observation.uid, STABLE, {"v": 1}, "stable", observed_digest="new", observed_since=NOW - 60
    )
    start = detected(observation, other, tracker=stood)
    assert isinstance(start, StartRollout)
    assert (start.rollout.attempt, start.rollout.stable_digest) == (2, "stable")


def test_candidate_restarts_at_its_weight_after_stable_changed() -> None:
    """At 100 % too, and not intercepted; but only against another stable."""
    lost = past(phase=Phase.SUPERSEDED, reason=Reason.STABLE_CHANGED, stable="former")
    start = detected(v1alpha2_observation(), lost)
    assert isinstance(start, StartRollout)
    assert (start.intercept, start.rollout.progress.step.weight) == (False, 100)
    assert isinstance(detected(v1alpha2_observation(), replace(lost, stable=STABLE)), NoAction)


def test_default_endpoint_spec_is_known_at_once() -> None:
    """It stands in the object; nothing has to be at rest for it."""
    taught = track_stable_revision(None, v1alpha2_observation(weight=10), [], NOW)
    assert taught is not None
    assert (taught.knows_spec, taught.spec, taught.digest) == (True, {"v": 1}, "stable")
