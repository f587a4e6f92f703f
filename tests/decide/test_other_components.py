"""Two components of one service: which of them goes, and which waits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autocanary.decide.components import TOGETHER, Companion, companion_of, matters
from autocanary.decide.decision_input import Situation
from autocanary.decide.decision_log import inputs_of
from autocanary.decide.planner import plan, replay
from autocanary.model.decision import Event, Move
from autocanary.model.policy import Component
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from tests.decide.build import NOW, observation, policy, progress, rollout, situation

TRANSFORMER = Component.TRANSFORMER
AFTER = policy(after=(TRANSFORMER,))


def staged(age: float = 60.0, **changes: Any) -> Progress:
    """Ready and at 0 %, begun so many seconds ago."""
    began = {"started_at": NOW - age, "phase_since": NOW - age, "step_started_at": NOW - age}
    values = {"phase": Phase.STAGING, "reason": Reason.ROLLOUT_STARTED, "verified_at": None, **began}
    return progress(**{"step": -1, "weight": 0, **values, **changes})


def other(age: float = 60.0, **changes: Any) -> Companion:
    """The transformer's rollout, staged as well."""
    began = {"started_at": NOW - age, "since": NOW - age}
    defaults = {"phase": Phase.STAGING, "reason": Reason.ROLLOUT_STARTED, **began}
    return Companion(TRANSFORMER, "mnist-transformer-00002", **{**defaults, **changes})


def beside(*companions: Companion, state: Progress | None = None, **changes: Any) -> Situation:
    of = {"seen": observation(0, 0), **changes}
    return situation(state or staged(), companions=companions, **of)


@pytest.mark.parametrize("weight", [0, 10])
def test_together_without_an_order_both_are_set_aside(weight: int) -> None:
    """At 0 %, whatever weight it came with, and told how to go on."""
    state = staged(weight=weight)
    decision = plan(beside(other(), state=state, seen=observation(weight, 0)))
    after = decision.progress
    assert (after.phase, after.reason, after.weight) == (Phase.PAUSED, Reason.COMPONENTS_TOGETHER, 0)
    assert decision.event is Event.PAUSED
    assert decision.move is (Move.WEIGHT if weight else Move.NONE)
    assert "autocanary resume mnist-00002" in after.message


def test_traffic_that_came_first_is_taken_back() -> None:
    """The other's revision was only seen when this one served already."""
    state = progress(started_at=NOW - 10)
    decision = plan(situation(state, companions=(other(5),)))
    assert (decision.move, decision.weight, decision.progress.step) == (Move.WEIGHT, 0, -1)


def test_who_was_let_go_is_not_set_aside_again() -> None:
    """Nor held by the one that stays."""
    state = staged(warned=(Reason.COMPONENTS_TOGETHER.value,), reason=Reason.RESUMED_BY_USER)
    aside = other(phase=Phase.PAUSED, reason=Reason.COMPONENTS_TOGETHER)
    assert plan(beside(aside, state=state)).weight == 10


@pytest.mark.parametrize(
    ("companion", "waits"),
    [
        (other(600), True),  # released earlier
        (other(20, since=NOW - 20), False),  # later: that one waits
        (other(20, step=0, phase=Phase.PROGRESSING), True),  # has traffic
        (other(600, phase=Phase.PAUSED, reason=Reason.PAUSED_BY_USER), False),  # without traffic, and stays
        (other(600, step=1, phase=Phase.PAUSED, reason=Reason.PAUSED_BY_USER), True),
        (other(600, follows=True), False),  # waits for this one
        (other(600, phase=Phase.PROMOTED, finished_at=NOW - 5), False),
        (other(600, phase=Phase.ROLLED_BACK, reason=Reason.METRIC_BREACH, finished_at=NOW - 5), True),
        (other(600, phase=Phase.ROLLED_BACK, reason=Reason.KNOWN_BAD, finished_at=NOW - 5), False),
        (other(60, phase=Phase.ROLLED_BACK, reason=Reason.METRIC_BREACH, finished_at=NOW - 5), False),
    ],
)
def test_one_after_the_other(companion: Companion, waits: bool) -> None:
    """The one that is ahead goes on, the other is held at 0 %."""
    decision = plan(beside(companion))
    assert (decision.progress.reason is Reason.WAITING_FOR_COMPONENT) is waits
    assert (decision.weight == 10) is not waits


@pytest.mark.parametrize("age", [600.0, 60.0, 1.0])
def test_the_policy_states_the_order(age: float) -> None:
    """Whoever was released first."""
    decision = plan(beside(other(age), policy=AFTER))
    assert (decision.progress.phase, decision.progress.reason) == (
        Phase.STAGING,
        Reason.WAITING_FOR_COMPONENT,
    )
    assert decision.event is Event.HELD


def test_a_stated_order_takes_a_weight_back() -> None:
    """Before the candidate is ready: KServe would give it its share then."""
    unready = observation(10, 0, ready="mnist-predictor-00001")
    decision = plan(beside(other(), state=staged(weight=10), seen=unready, policy=AFTER))
    assert (decision.move, decision.weight) == (Move.WEIGHT, 0)


def test_a_candidate_that_waits_can_still_fail_to_start() -> None:
    """Waiting is no excuse for a revision that never becomes ready."""
    unready = observation(0, 0, ready="mnist-predictor-00001")
    decision = plan(beside(other(9000), state=staged(9000.0), seen=unready, policy=AFTER))
    assert decision.progress.phase is Phase.ROLLING_BACK


def test_a_change_without_a_rollout_yet_is_waited_for_a_moment() -> None:
    """The status shows new revisions late."""
    pending = Companion(TRANSFORMER, "mnist-transformer-00002", pending=True)
    assert plan(beside(pending, state=staged(TOGETHER - 1))).move is Move.NONE
    assert plan(beside(pending, state=staged(TOGETHER + 1))).weight == 10


def test_a_component_without_a_policy_is_warned_about_once() -> None:
    """Then the rollout goes on."""
    pending = Companion(TRANSFORMER, "mnist-transformer-00002", pending=True, governed=False)
    first = plan(beside(pending, state=staged(5)))
    assert first.event is Event.WARNING
    assert "no policy rolls it out" in first.progress.untold[-1].message
    assert plan(beside(pending, state=first.progress)).event is None


def test_promote_passes_the_wait() -> None:
    """A person's word, given before the revision was ready."""
    assert plan(beside(other(600), state=staged(promote_all=True))).weight == 100


def test_the_decision_can_be_made_again_from_its_record() -> None:
    """The companions are among the inputs."""
    now = beside(other(600))
    inputs = json.loads(json.dumps(inputs_of(now.noted())))
    again = replay(now.rollout, now.policy, inputs)
    assert again.progress.reason is plan(now).progress.reason is Reason.WAITING_FOR_COMPONENT


def test_what_a_companion_is_made_of() -> None:
    """Nothing at rest, an edit that shows no revision yet, a candidate without a rollout, an old rollout."""
    key = observation().key._replace(component=TRANSFORMER)
    mine = rollout(staged())
    rest = observation(None, key=key, created="t1", ready="t1", rolled_out="t1", spec_digest="s")

    def found(seen: Any, *history: Any) -> Companion | None:
        return companion_of(mine, seen, history, "s", governed=True, follows=False)

    assert found(rest) is None
    edited = found(observation(None, key=key, created="t1", rolled_out="t1", spec_digest="new"))
    assert edited is not None
    assert edited.pending
    candidate = observation(0, key=key, created="t2", rolled_out="t1")
    fresh = found(candidate)
    assert fresh is not None
    assert fresh.pending
    assert fresh.phase is None
    ended = progress(phase=Phase.ROLLED_BACK, started_at=NOW - 900, finished_at=NOW - 800)
    assert found(candidate, rollout(ended).but(candidate="t2", component=TRANSFORMER)) is None
    running = found(candidate, rollout(progress()).but(candidate="t2", component=TRANSFORMER))
    assert running is not None
    assert running.runs
    assert not running.pending
    assert Companion.from_dict(json.loads(json.dumps(running.to_dict()))) == running


def test_others_matter_before_the_first_step_and_just_after_the_start() -> None:
    """Later nothing is asked about them."""
    assert matters(rollout(staged(9000.0)), NOW)
    assert matters(rollout(progress(started_at=NOW - 5)), NOW)
    assert not matters(rollout(progress()), NOW)
    assert not matters(rollout(staged(phase=Phase.PAUSED)), NOW)
