"""Rules of the chain that comparisons brought: suspicion, waiting for evidence, and the step's timeout."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from autocanary.analysis import Outcome
from autocanary.decide.decision_input import BY_STEP, BY_USER
from autocanary.decide.outbox import DECISIONS_KEPT, INPUTS_KEPT
from autocanary.decide.planner import plan
from autocanary.model.decision import Action, Decision, Event
from autocanary.model.policy import OnInconclusive, Policy
from autocanary.model.progress import Phase, Progress
from autocanary.model.progress_json import progress_from_json, progress_to_json, with_stored_fields
from autocanary.model.reason import Reason
from autocanary.model.rollout_windows import Window
from tests.decide.builders import NOW, make_decision_input, make_observation, policy, progress, verdict
from tests.decide.comparison_builders import analysis

LONG_AGO = NOW - 7200
CLOSED = Window(days=(0,), start=time(0), end=time(0, 1), zone=ZoneInfo("UTC"))


def rules(then: OnInconclusive | None = OnInconclusive.HOLD, **changes: Any) -> Policy:
    judged = replace(analysis(), on_inconclusive=then, warmup=0.0)
    return policy(**{"analysis": judged, "step_timeout": 3600.0, **changes})


def decided(outcome: Outcome, reason: Reason | None = None, state: Progress | None = None, **changes: Any) -> Decision:
    said = verdict(outcome) if reason is None else verdict(outcome, reason=reason)
    held = progress(verified_at=LONG_AGO, inconclusive_since=LONG_AGO) if state is None else state
    return plan(make_decision_input(held, said=said, **{"policy": rules(), **changes}))


def test_suspicion_holds_at_once() -> None:
    """Not only when the step's time is over."""
    fresh = progress(verified_at=NOW - 5)
    found = decided(Outcome.SUSPICIOUS, state=fresh)
    assert (found.rule, found.progress.phase, found.event) == ("Suspicious", Phase.HOLDING, Event.HELD)
    assert found.progress.analysis.inconclusive_since == NOW


def test_suspicious_returns_to_progressing() -> None:
    """The next evaluation waits, or passes, and that is notified."""
    held = progress(phase=Phase.HOLDING, reason=Reason.SUSPICIOUS, hold_notified_at=NOW - 60, verified_at=NOW - 90)
    found = decided(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, held)
    assert (found.progress.phase, found.event) == (Phase.PROGRESSING, Event.RESUMED)


@pytest.mark.parametrize("then", [OnInconclusive.HOLD, OnInconclusive.PROMOTE])
def test_suspicion_is_never_promoted(then: OnInconclusive) -> None:
    """Whatever the policy says of the inconclusive, and however long it lasts."""
    found = decided(Outcome.SUSPICIOUS, policy=rules(then))
    assert (found.action, found.progress.phase) == (Action.NONE, Phase.HOLDING)


def test_suspicion_ends_with_the_timeout_where_that_rolls_back() -> None:
    """It could not be cleared in time."""
    found = decided(Outcome.SUSPICIOUS, policy=rules(OnInconclusive.ROLLBACK))
    assert (found.progress.phase, found.reason) == (Phase.ROLLING_BACK, Reason.INCONCLUSIVE)
    assert found.progress.message.startswith("inconclusive for 2h: ")


def test_gathering_evidence_is_not_holding() -> None:
    """The step goes on until its timeout."""
    waiting = progress(verified_at=NOW - 1800, inconclusive_since=NOW - 1800)
    found = decided(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, waiting)
    assert (found.progress.phase, found.event, found.action) == (Phase.PROGRESSING, None, Action.NONE)


@pytest.mark.parametrize(
    ("then", "phase", "reason", "weight"),
    [
        (OnInconclusive.HOLD, Phase.HOLDING, Reason.INCONCLUSIVE, None),
        (OnInconclusive.ROLLBACK, Phase.ROLLING_BACK, Reason.INCONCLUSIVE, 0),
        (OnInconclusive.PROMOTE, Phase.PROGRESSING, Reason.INCONCLUSIVE, 25),
    ],
)
def test_on_inconclusive_applies_at_the_timeout(
    then: OnInconclusive, phase: Phase, reason: Reason, weight: int | None
) -> None:
    """Held, gone back, or gone on; each says that nothing could be said."""
    found = decided(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, policy=rules(then))
    assert (found.progress.phase, found.reason, found.weight) == (phase, reason, weight)
    assert found.progress.message.startswith("inconclusive for 2h")


def test_an_observed_violation_is_not_promoted() -> None:
    """Inconclusive because something was seen is not inconclusive because of few requests."""
    found = decided(Outcome.INCONCLUSIVE, Reason.VIOLATION_SEEN, policy=rules(OnInconclusive.PROMOTE))
    assert (found.progress.phase, found.action) == (Phase.HOLDING, Action.NONE)


def test_the_last_step_is_promoted_all_the_same_where_the_policy_says_so() -> None:
    """And says how it came."""
    baking = progress(3, 100, phase=Phase.BAKING, verified_at=LONG_AGO, inconclusive_since=LONG_AGO)
    found = decided(
        Outcome.INCONCLUSIVE,
        Reason.TOO_FEW_REQUESTS,
        baking,
        observation=make_observation(100),
        policy=rules(OnInconclusive.PROMOTE),
    )
    assert found.progress.phase is Phase.PROMOTED
    assert "promoted as the policy says" in found.progress.message


def test_closed_window_resets_the_inconclusive_time() -> None:
    """No deadline runs at night: in the morning it begins again."""
    found = decided(
        Outcome.INCONCLUSIVE,
        Reason.GATHERING_EVIDENCE,
        policy=rules(OnInconclusive.ROLLBACK, windows=(CLOSED,)),
    )
    assert (found.reason, found.progress.analysis.inconclusive_since) == (Reason.WINDOW_CLOSED, None)


@pytest.mark.parametrize("outcome", [Outcome.INCONCLUSIVE, Outcome.SUSPICIOUS])
@pytest.mark.parametrize("by", [BY_USER, BY_STEP])
@pytest.mark.parametrize("then", list(OnInconclusive))
def test_a_pause_is_left_alone(outcome: Outcome, by: str, then: OnInconclusive) -> None:
    """A user has been asked already."""
    paused = progress(phase=Phase.PAUSED, paused_by=by, verified_at=LONG_AGO, inconclusive_since=LONG_AGO)
    steps = (replace(policy().steps[0], approval=True), *policy().steps[1:])
    found = decided(outcome, Reason.GATHERING_EVIDENCE, paused, policy=rules(then, steps=steps), paused=by == BY_USER)
    assert (found.progress.phase, found.action, found.event) == (Phase.PAUSED, Action.NONE, None)


def test_progress_deadline_applies_without_on_inconclusive() -> None:
    """A policy of thresholds behaves as before."""
    state = progress(verified_at=LONG_AGO)
    found = decided(Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, state, policy=rules(None))
    assert (found.progress.phase, found.progress.hold.since) == (Phase.HOLDING, NOW)
    late = decided(Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, found.progress, policy=rules(None), now=NOW + 1801)
    assert late.reason is Reason.PROGRESS_DEADLINE_EXCEEDED


def test_the_timeout_is_the_steps_duration_and_the_deadline_when_left_out() -> None:
    """Five minutes and half an hour."""
    late = progress(verified_at=LONG_AGO, inconclusive_since=NOW - 2099)
    found = decided(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, late, policy=rules(step_timeout=None))
    assert found.progress.phase is Phase.PROGRESSING
    found = decided(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, late, policy=rules(step_timeout=None), now=NOW + 1)
    assert found.progress.phase is Phase.HOLDING


def test_a_pass_forgets_how_long_it_was_inconclusive() -> None:
    """Also while a closed window keeps it where it is."""
    found = decided(Outcome.PASS, policy=rules(windows=(CLOSED,)))
    assert found.progress.analysis.inconclusive_since is None


def test_outage_does_not_count_as_inconclusive_time() -> None:
    """Ten minutes without Prometheus are ten minutes more."""
    away = progress(verified_at=LONG_AGO, inconclusive_since=NOW - 1000, outage_since=NOW - 600)
    found = decided(Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, away)
    assert found.progress.analysis.inconclusive_since == NOW - 400


def test_a_step_keeps_the_evidence_and_restarts_the_clock() -> None:
    """What was counted for thresholds goes, what comparisons know stays."""
    known = progress(
        verified_at=LONG_AGO, inconclusive_since=NOW - 60, evidence={"version": 1, "evidence_percent": 3.0}
    )
    found = decided(Outcome.PASS, state=known)
    assert found.weight == 25
    assert found.progress.analysis.evidence == {"version": 1, "evidence_percent": 3.0}
    assert found.progress.analysis.inconclusive_since is None


def test_a_record_from_before_comparisons_is_read() -> None:
    """And the newer fields have their defaults."""
    raw = progress_to_json(progress())
    del raw["evidence"]
    old = progress_from_json(raw)
    assert (old.analysis.evidence, old.analysis.inconclusive_since) == ({}, None)
    assert progress_from_json(progress_to_json(old)) == old


def test_the_newest_decisions_keep_all_of_their_inputs() -> None:
    """The older ones keep the numbers, so that the object stays small."""
    state = progress(verified_at=LONG_AGO)
    for minute in range(30):
        outcome = Outcome.SUSPICIOUS if minute % 2 else Outcome.INCONCLUSIVE
        state = with_stored_fields(
            decided(outcome, None, state, now=NOW + 60 * minute).progress, {"inconclusive_since": NOW + 60 * minute}
        )
    whole = [each for each in state.decisions if "progress" in each["inputs"]]
    assert len(state.decisions) == DECISIONS_KEPT
    assert whole == list(state.decisions[-INPUTS_KEPT:])
    assert all("metrics" in each["inputs"] for each in state.decisions)
