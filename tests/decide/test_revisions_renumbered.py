"""Revisions that are renumbered, because a user deleted the Knative service or it was stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.decide.detection import (
    NoAction,
    StableRevisionTracker,
    StartRollout,
    current_rollouts,
    detect,
)
from autocanary.model.decision import Action, Event
from autocanary.model.observation import (
    ConditionStatus,
    DefaultEndpoint,
    Observation,
    has_lower_number,
    revision_number,
)
from autocanary.model.progress import Phase, Progress
from autocanary.model.progress_json import progress_from_json, progress_to_json
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from tests.decide.builders import (
    CANDIDATE,
    NOW,
    STABLE,
    evaluations,
    make_observation,
    policy,
    progress,
    rollout,
)

RENUMBERED = make_observation(10, created=STABLE, ready=STABLE, traffic={STABLE: 100})
"""The Knative service was made again of the candidate's spec: under the name that stable had."""
EMPTY = make_observation(10, created=STABLE, ready="", traffic={}, route_ready=ConditionStatus.UNKNOWN)
THIRD = "mnist-predictor-00003"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist-predictor-00002", 2),
        ("mnist-predictor-default-123456", 123456),
        ("mnist-predictor-default-7xk2p", None),
        ("mnist-00002-predictor", None),
        ("", None),
    ],
)
def test_the_number_of_a_revision(name: str, expected: int | None) -> None:
    """It is the end of the name; older Knatives have none."""
    assert revision_number(name) == expected


def test_only_two_numbers_can_be_compared() -> None:
    """A name without a number is neither earlier nor later."""
    assert has_lower_number(STABLE, CANDIDATE)
    assert not has_lower_number(CANDIDATE, STABLE)
    assert not has_lower_number(STABLE, STABLE)
    assert not has_lower_number(STABLE, "mnist-predictor-default-7xk2p")
    assert not has_lower_number("", CANDIDATE)


# --- under a running rollout ---------------------------------------------------------------------------------


def _back(number_: int, digest: str = "stable") -> Observation:
    name = f"mnist-predictor-{number_:05d}"
    return make_observation(None, created=name, ready=name, rolled_out=name, traffic={name: 100}, spec_digest=digest)


@pytest.mark.parametrize(
    "state",
    [
        progress(),
        progress(phase=Phase.STAGING, step=-1, weight=0, verified_at=None),
        progress(phase=Phase.ROLLING_BACK, reason=Reason.METRIC_VIOLATION, weight=0, verified_at=None),
        progress(phase=Phase.HOLDING, reason=Reason.NO_DATA),
    ],
    ids=["step", "staging", "rolling-back", "holding"],
)
def test_renumbered_revisions_restore_stable_spec(state: Progress) -> None:
    """In every phase: once, after a quarter of a minute, and nothing is concluded from the names before."""
    observation = make_observation(state.step.weight, created=STABLE, ready=STABLE, traffic={STABLE: 100})
    made = evaluations([EMPTY, *[observation] * 9], state)
    assert [d.action for d, _ in made[:8]] == [Action.NONE] * 8
    assert [d.event for d, _ in made[:8]] == [None] * 8
    decision = made[8][0]
    assert (decision.action, decision.weight, decision.reason) == (
        Action.RESTORE,
        None,
        Reason.SERVICE_REPLACED,
    )
    assert decision.event is Event.ROLLBACK
    assert decision.urgent
    assert made[9][0].action is Action.RESTORE  # repeated until it has arrived
    assert made[9][0].event is None


def test_rolled_back_when_a_new_revision_serves_stable_spec() -> None:
    """Not when the revision made of the candidate's spec has everything under stable's name, nor with its own."""
    arrived = make_observation(None, created=STABLE, ready=STABLE, traffic={STABLE: 100}, spec_digest="stable")
    made = evaluations([*[RENUMBERED] * 9, arrived, arrived, _back(2)])
    assert [it.progress.phase for _, it in made[8:]] == [Phase.ROLLING_BACK] * 3 + [Phase.ROLLED_BACK]
    assert made[-1][1].progress.reason is Reason.SERVICE_REPLACED
    assert CANDIDATE in made[-1][1].progress.message


def test_other_spec_during_restore_abandons_the_rollout() -> None:
    """Stable's spec had arrived, and another took its place: the rollout is over."""
    arrived = make_observation(None, created=STABLE, ready=STABLE, traffic={STABLE: 100}, spec_digest="stable")
    made = evaluations([*[RENUMBERED] * 9, arrived, _back(2, "another")])
    assert made[-1][1].progress.phase is Phase.ABANDONED
    assert made[-1][0].action is Action.NONE


def test_restored_spec_that_is_not_ready_warns_once() -> None:
    """It was put back and its revision cannot start: a user is notified at the progress deadline."""
    arrived = make_observation(None, created=STABLE, ready=STABLE, traffic={STABLE: 100}, spec_digest="stable")
    made = evaluations([*[RENUMBERED] * 9, *[arrived] * 1000])
    notified = [d.reason for d, _ in made if d.event is Event.WARNING]
    assert notified == [Reason.PROGRESS_DEADLINE_EXCEEDED]


@pytest.mark.parametrize("digest", ["stable", "candidate"])
def test_renumbering_without_stable_spec_abandons(digest: str) -> None:
    """The spec is stable's already, or stable's was never seen: said, and nothing is written."""
    observation = make_observation(10, created=STABLE, ready=STABLE, traffic={STABLE: 100}, spec_digest=digest)
    changes: dict[str, object] = {} if digest == "stable" else {"stable_spec": None, "stable_digest": ""}
    made = evaluations([observation] * 9, None, **changes)
    decision, it = made[-1]
    assert (it.progress.phase, decision.reason) == (Phase.ABANDONED, Reason.SERVICE_REPLACED)
    assert decision.action is Action.NONE
    assert decision.event is Event.ENDED


def test_lagging_status_is_not_renumbering() -> None:
    """A status from before the candidate was made, for some seconds: everything goes on."""
    made = evaluations([*[RENUMBERED] * 4, *[make_observation(10)] * 12, *[RENUMBERED] * 4, make_observation(10)])
    assert [d.event for d, _ in made if d.event is not None] == []
    assert made[-1][1].progress.step.drifted_since is None


def test_restore_continues_after_controller_restart() -> None:
    """What was recreated is in the record."""
    state = evaluations([RENUMBERED] * 9)[-1][1].progress
    assert state.rollback.renumbered_revision == STABLE
    assert progress_from_json(progress_to_json(state)) == state


# --- with no rollout running ---------------------------------------------------------------------------------


def _past(candidate: str, at: float, phase: Phase = Phase.PROMOTED, **changes: object) -> Rollout:
    state = progress(phase=phase, reason=Reason.METRIC_VIOLATION if phase is Phase.ROLLED_BACK else Reason.PROMOTED)
    state = replace(state, started_at=at, finished_at=at + 60)
    return rollout(state, candidate=candidate, **{"candidate_digest": "candidate", **changes})


def test_older_rollouts_are_void_where_the_numbers_go_down() -> None:
    """By the names alone, with or without a watch when it happened."""
    history = [_past(THIRD, NOW - 900), _past(CANDIDATE, NOW - 800), _past(THIRD, NOW - 700)]
    later = make_observation(created=THIRD)
    assert current_rollouts(history[:1], make_observation(created=CANDIDATE), 0) == []
    assert current_rollouts(history[:2], later, 0) == history[1:2]
    assert current_rollouts(history, later, 0) == history[1:]


def test_v1alpha2_names_are_not_renumbered() -> None:
    """Where stable stands beside the candidate, their revisions are numbered each on its own."""
    default_endpoint = DefaultEndpoint(spec={}, digest="s", ready=ConditionStatus.TRUE, has_candidate=True)
    history = [_past(THIRD, NOW - 900)]
    assert (
        current_rollouts(history, make_observation(created=CANDIDATE, default_endpoint=default_endpoint), 0) == history
    )


def test_release_after_renumbering_is_a_new_candidate() -> None:
    """Stopped and resumed unobserved: 00002 is another revision now, and intercepted at once."""
    history = [_past(CANDIDATE, NOW - 900), _past(THIRD, NOW - 800, candidate_digest="third")]
    observation = make_observation(None, traffic={STABLE: 100}, ready=STABLE)
    found = detect(observation, policy(), history, None, NOW)
    assert isinstance(found, StartRollout)
    assert found.intercept
    assert found.rollout.progress.reason is Reason.INTERCEPTED_UNSTAGED


def test_rolled_back_spec_after_renumbering_notifies() -> None:
    """The Knative service was deleted after a rollback: the bad spec has everything, under stable's name."""
    history = [_past(CANDIDATE, NOW - 900, Phase.ROLLED_BACK)]
    observation = make_observation(0, created=STABLE, ready=STABLE, traffic={STABLE: 100})
    for tracker in (
        None,
        StableRevisionTracker("u1", STABLE, spec={}, digest="stable"),
        StableRevisionTracker("u1", "", history_void_before=NOW - 5),
    ):
        found = detect(observation, policy(), history, tracker, NOW)
        assert isinstance(found, StartRollout)
        assert found.rollout.progress.phase is Phase.MISSED
        assert "rolled back as mnist-predictor-00002" in found.rollout.progress.message
        again = detect(observation, policy(), [*history, found.rollout], tracker, NOW + 1)
        assert isinstance(again, NoAction)


def test_promoted_spec_after_renumbering_is_ignored() -> None:
    """It was analysed: renumbered or not."""
    history = [_past(CANDIDATE, NOW - 900)]
    observation = make_observation(100, created=STABLE, ready=STABLE, traffic={STABLE: 100})
    assert isinstance(detect(observation, policy(), history, None, NOW), NoAction)
