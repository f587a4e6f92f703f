"""Two components of one service: which of them goes, and which waits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from autocanary.decide.components import (
    SAME_APPLY_SECONDS,
    OtherComponent,
    other_component_of,
    other_components_matter,
)
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.decision_log import decision_inputs_to_json
from autocanary.decide.observed_progress import with_observed_progress
from autocanary.decide.planner import plan, replay
from autocanary.model.decision import Action, Event
from autocanary.model.policy import Component
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from tests.decide.builders import NOW, make_decision_input, make_observation, policy, progress, rollout

TRANSFORMER = Component.TRANSFORMER
AFTER = policy(after=(TRANSFORMER,))


def staged(age: float = 60.0, **changes: Any) -> Progress:
    """Ready and at 0 %, begun so many seconds ago."""
    began = {"started_at": NOW - age, "phase_since": NOW - age, "step_started_at": NOW - age}
    values = {"phase": Phase.STAGING, "reason": Reason.ROLLOUT_STARTED, "verified_at": None, **began}
    return progress(**{"step": -1, "weight": 0, **values, **changes})


def other(age: float = 60.0, **changes: Any) -> OtherComponent:
    """The transformer's rollout, staged as well."""
    began = {"started_at": NOW - age, "since": NOW - age}
    defaults = {"phase": Phase.STAGING, "reason": Reason.ROLLOUT_STARTED, **began}
    return OtherComponent(TRANSFORMER, "mnist-transformer-00002", **{**defaults, **changes})


def with_other_components(
    *other_components: OtherComponent, state: Progress | None = None, **changes: Any
) -> DecisionInput:
    of = {"observation": make_observation(0, 0), **changes}
    return make_decision_input(state or staged(), other_components=other_components, **of)


@pytest.mark.parametrize("weight", [0, 10])
def test_components_changed_together_without_order_are_paused(weight: int) -> None:
    """At 0 %, whatever weight it came with, and the message says how to go on."""
    state = staged(weight=weight)
    decision = plan(with_other_components(other(), state=state, observation=make_observation(weight, 0)))
    after = decision.progress
    assert (after.phase, after.reason, after.step.weight) == (Phase.PAUSED, Reason.COMPONENTS_TOGETHER, 0)
    assert decision.event is Event.PAUSED
    assert decision.action is (Action.WEIGHT if weight else Action.NONE)
    assert "autocanary resume mnist-00002" in after.message


def test_weight_returns_to_0_when_other_component_changed() -> None:
    """The other's revision was only seen when this one served already."""
    state = progress(started_at=NOW - 10)
    decision = plan(make_decision_input(state, other_components=(other(5),)))
    assert (decision.action, decision.weight, decision.progress.step.index) == (Action.WEIGHT, 0, -1)


def test_resumed_component_is_not_paused_again() -> None:
    """Nor held by the one that stays."""
    state = staged(warnings_sent=(Reason.COMPONENTS_TOGETHER.value,), reason=Reason.RESUMED_BY_USER)
    aside = other(phase=Phase.PAUSED, reason=Reason.COMPONENTS_TOGETHER)
    assert plan(with_other_components(aside, state=state)).weight == 10


@pytest.mark.parametrize(
    ("companion", "waits"),
    [
        (other(600), True),  # released earlier
        (other(20, since=NOW - 20), False),  # later: that one waits
        (other(20, step=0, phase=Phase.PROGRESSING), True),  # has traffic
        (other(600, phase=Phase.PAUSED, reason=Reason.PAUSED_BY_USER), False),  # without traffic, and stays
        (other(600, step=1, phase=Phase.PAUSED, reason=Reason.PAUSED_BY_USER), True),
        (other(600, waits_for_this=True), False),  # waits for this one
        (other(600, phase=Phase.PROMOTED, finished_at=NOW - 5), False),
        (other(600, phase=Phase.ROLLED_BACK, reason=Reason.METRIC_VIOLATION, finished_at=NOW - 5), True),
        (other(600, phase=Phase.ROLLED_BACK, reason=Reason.KNOWN_BAD, finished_at=NOW - 5), False),
        (other(60, phase=Phase.ROLLED_BACK, reason=Reason.METRIC_VIOLATION, finished_at=NOW - 5), False),
    ],
)
def test_component_waits_for_a_running_rollout(companion: OtherComponent, waits: bool) -> None:
    """The one that is ahead goes on, the other is held at 0 %."""
    decision = plan(with_other_components(companion))
    assert (decision.progress.reason is Reason.WAITING_FOR_COMPONENT) is waits
    assert (decision.weight == 10) is not waits


@pytest.mark.parametrize("age", [600.0, 60.0, 1.0])
def test_the_policy_states_the_order(age: float) -> None:
    """The component that was released first."""
    decision = plan(with_other_components(other(age), policy=AFTER))
    assert (decision.progress.phase, decision.progress.reason) == (
        Phase.STAGING,
        Reason.WAITING_FOR_COMPONENT,
    )
    assert decision.event is Event.HELD


def test_a_stated_order_takes_a_weight_back() -> None:
    """Before the candidate is ready: KServe would give it its share then."""
    unready = make_observation(10, 0, ready="mnist-predictor-00001")
    decision = plan(with_other_components(other(), state=staged(weight=10), observation=unready, policy=AFTER))
    assert (decision.action, decision.weight) == (Action.WEIGHT, 0)


def test_waiting_candidate_can_still_fail_to_start() -> None:
    """Waiting is no excuse for a revision that never becomes ready."""
    unready = make_observation(0, 0, ready="mnist-predictor-00001")
    decision = plan(with_other_components(other(9000), state=staged(9000.0), observation=unready, policy=AFTER))
    assert decision.progress.phase is Phase.ROLLING_BACK


def test_waits_briefly_for_the_other_rollout_to_start() -> None:
    """The status shows new revisions late."""
    rollout_pending = OtherComponent(TRANSFORMER, "mnist-transformer-00002", rollout_pending=True)
    assert plan(with_other_components(rollout_pending, state=staged(SAME_APPLY_SECONDS - 1))).action is Action.NONE
    assert plan(with_other_components(rollout_pending, state=staged(SAME_APPLY_SECONDS + 1))).weight == 10


def test_a_component_without_a_policy_is_warned_about_once() -> None:
    """Then the rollout goes on."""
    rollout_pending = OtherComponent(TRANSFORMER, "mnist-transformer-00002", rollout_pending=True, has_policy=False)
    first = plan(with_other_components(rollout_pending, state=staged(5)))
    assert first.event is Event.WARNING
    assert "no policy rolls it out" in first.progress.outbox.pending[-1].message
    assert plan(with_other_components(rollout_pending, state=first.progress)).event is None


def test_promote_passes_the_wait() -> None:
    """A user's word, given before the revision was ready."""
    assert plan(with_other_components(other(600), state=staged(promote_all=True))).weight == 100


def test_the_decision_can_be_made_again_from_its_record() -> None:
    """The companions are among the inputs."""
    now = with_other_components(other(600))
    inputs = json.loads(json.dumps(decision_inputs_to_json(with_observed_progress(now))))
    again = replay(now.rollout, now.policy, inputs)
    assert again.progress.reason is plan(now).progress.reason is Reason.WAITING_FOR_COMPONENT


def test_other_component_from_its_rollouts() -> None:
    """Nothing at rest, an edit that shows no revision yet, a candidate without a rollout, an old rollout."""
    key = make_observation().key._replace(component=TRANSFORMER)
    mine = rollout(staged())
    rest = make_observation(None, key=key, created="t1", ready="t1", rolled_out="t1", spec_digest="s")

    def detected(observation: Any, *history: Any) -> OtherComponent | None:
        return other_component_of(mine, observation, history, "s", has_policy=True, waits_for_this=False)

    assert detected(rest) is None
    edited = detected(make_observation(None, key=key, created="t1", rolled_out="t1", spec_digest="new"))
    assert edited is not None
    assert edited.rollout_pending
    candidate = make_observation(0, key=key, created="t2", rolled_out="t1")
    fresh = detected(candidate)
    assert fresh is not None
    assert fresh.rollout_pending
    assert fresh.phase is None
    ended = progress(phase=Phase.ROLLED_BACK, started_at=NOW - 900, finished_at=NOW - 800)
    assert detected(candidate, replace(rollout(ended), candidate="t2", component=TRANSFORMER)) is None
    running = detected(candidate, replace(rollout(progress()), candidate="t2", component=TRANSFORMER))
    assert running is not None
    assert running.is_running
    assert not running.rollout_pending
    assert OtherComponent.from_dict(json.loads(json.dumps(running.to_dict()))) == running


def test_others_matter_before_the_first_step_and_just_after_the_start() -> None:
    """Later nothing is asked about them."""
    assert other_components_matter(rollout(staged(9000.0)), NOW)
    assert other_components_matter(rollout(progress(started_at=NOW - 5)), NOW)
    assert not other_components_matter(rollout(progress()), NOW)
    assert not other_components_matter(rollout(staged(phase=Phase.PAUSED)), NOW)
