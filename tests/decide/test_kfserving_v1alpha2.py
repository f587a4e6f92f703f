"""Observations with stable beside the candidate, and what starts and ends a rollout there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.decide.detection import Memory, Nothing, Start, discover, remember
from autocanary.decide.planner import plan
from autocanary.model.decision import Event, Move
from autocanary.model.observation import Beside, Observation, Trinary, Unsettled
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request
from tests.decide.build import CANDIDATE, NOW, STABLE, observation, policy, progress, rollout, situation

DONE = progress(phase=Phase.SETTLING, step=3, weight=100, reason=Reason.SETTLING)


def sided(*, candidate: bool = True, digest: str = "stable", **changes: Any) -> Observation:
    """All the traffic is on a candidate made of the spec "new"; ``digest`` is stable's."""
    ready = changes.pop("stable_ready", Trinary.TRUE)
    defaults: dict[str, Any] = {
        "weight": 100,
        "traffic": {CANDIDATE: 100, STABLE: 0},
        "rolled_out": STABLE,
        "previous": "",
        "spec_digest": "new",
        "spec": {"v": 2},
        "beside": Beside({"v": 1}, digest, ready, candidate),
    }
    return observation(**{**defaults, **changes})


def settling(seen: Observation, **changes: Any) -> Any:
    base = situation(changes.pop("state", DONE), seen, **changes)
    return plan(replace(base, rollout=base.rollout.but(candidate_digest="new")))


@pytest.mark.parametrize(
    ("changes", "unsettled"),
    [
        ({}, Unsettled.ADOPT),
        ({"digest": "new"}, Unsettled.CLEAR),
        ({"digest": "new", "stable_ready": Trinary.UNKNOWN}, Unsettled.WAIT),
        ({"candidate": False, "weight": None}, Unsettled.WAIT),
        ({"candidate": False, "weight": None, "traffic": {STABLE: 100}}, None),
        ({"candidate": False, "traffic": {STABLE: 100}, "route_ready": Trinary.FALSE}, Unsettled.WAIT),
    ],
)
def test_what_a_promotion_lacks(changes: dict[str, Any], unsettled: Unsettled | None) -> None:
    """Read from one look, whoever made the writes before it."""
    assert sided(**changes).unsettled is unsettled


WHY = "cannot patch it: no canaries here"
RAISED = progress(1, 50, from_weight=10, verified_at=None, step_started_at=NOW - 2)


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.PAUSED])
def test_a_raise_that_can_never_be_written_is_told_at_once(phase: Phase) -> None:
    """Not after the minute that any other refusal is waited for; a pause stays one. Both times it is tried on."""
    seen = sided(weight=10, traffic={CANDIDATE: 10, STABLE: 90})
    state = RAISED.but(phase=phase, paused_by="user" if phase is Phase.PAUSED else "")
    decision = settling(seen, state=state, unsupported=WHY)
    assert (decision.move, decision.weight) == (Move.WEIGHT, 50)
    if phase is Phase.PAUSED:
        assert decision.progress.phase is Phase.PAUSED
    else:
        assert (decision.progress.phase, decision.reason) == (Phase.HOLDING, Reason.CANARY_UNSUPPORTED)
        assert decision.progress.message == f"50 % is refused: {WHY}"
    other = settling(seen, state=RAISED)
    assert (other.move, other.progress.phase) == (Move.WEIGHT, Phase.PROGRESSING)


def test_a_rollback_whose_weight_can_never_be_written_empties_the_place() -> None:
    """Only while the candidate's own spec stands in it; otherwise the weight is tried again."""
    seen = sided(weight=10, traffic={CANDIDATE: 10, STABLE: 90})
    state = progress(0, 0, phase=Phase.ROLLING_BACK, from_weight=10, verified_at=None)
    decision = settling(seen, state=state, unsupported=WHY)
    assert (decision.move, decision.weight, decision.progress.repairing) == (Move.RESTORE, None, True)
    replaced = replace(seen, spec_digest="another")
    assert settling(replaced, state=state, unsupported=WHY).move is Move.WEIGHT
    assert settling(seen, state=state).move is Move.WEIGHT


def test_a_copy_that_can_never_be_written_is_warned_of_once() -> None:
    """It keeps the weight of 100, so it is refused as well; it is tried on."""
    first = settling(sided(), unsupported=WHY)
    assert (first.move, first.event) == (Move.SETTLE, Event.WARNING)
    again = settling(sided(), state=first.progress, unsupported=WHY)
    assert (again.move, again.event) == (Move.SETTLE, None)


def test_without_a_second_place_nothing_is_lacking() -> None:
    """KServe takes the candidate for stable by itself."""
    assert observation().unsettled is None
    assert not observation().withdrawn
    assert observation().is_made_of("anything")


def test_the_writes_of_settling() -> None:
    """Copy; clear when stable's revision is another; nothing while there is something to wait for."""
    assert settling(sided()).move is Move.SETTLE
    copied: dict[str, Any] = {"digest": "new", "rolled_out": "mnist-predictor-default-2"}
    share = {CANDIDATE: 100, "mnist-predictor-default-2": 0}
    assert settling(sided(**copied, traffic=share)).move is Move.SETTLE
    assert settling(sided(**copied, traffic=share, stable_ready=Trinary.UNKNOWN)).move is Move.NONE
    assert settling(sided(digest="new")).move is Move.NONE, "stable's revision is still the old one"


def test_nothing_is_copied_that_was_not_judged() -> None:
    """Another candidate, another stable, another weight, a route that is not ready, a pause."""
    for seen in (
        sided(created="mnist-predictor-00003", spec_digest="newer"),
        sided(spec_digest="newer"),
        sided(digest="hotfix"),
        sided(weight=50),
        sided(route_ready=Trinary.FALSE),
    ):
        assert settling(seen).move is not Move.SETTLE
    assert settling(sided(), paused=True).move is Move.NONE


def test_wishes_while_it_settles_are_answered() -> None:
    """Each once: promote hurries, the others are too late."""
    hurried = settling(sided(digest="new"), request=Request("1", "promote", "kim"))
    assert (hurried.progress.answered, hurried.progress.promote_all) == ("1", True)
    assert settling(sided(digest="new"), state=hurried.progress).move is Move.SETTLE
    late = settling(sided(), request=Request("2", "abort", "kim"))
    assert (late.progress.answered, late.move) == ("2", Move.NONE)
    assert "promoted" in late.progress.answer


def test_a_settling_that_takes_too_long_is_told_once() -> None:
    """With what is waited for; the candidate goes on serving."""
    waiting = sided(digest="new", beside=Beside({}, "new", Trinary.FALSE, True, "no GPU is free"))
    late = DONE.but(phase_since=NOW - 10_000)
    told = settling(waiting, state=late)
    assert "no GPU is free" in told.progress.untold[-1].message
    assert told.progress.phase is Phase.SETTLING
    again = settling(waiting, state=told.progress)
    assert again.event is None


def test_a_rollback_after_stable_was_edited() -> None:
    """Over when stable's own place has everything, whatever revision that is."""
    state = progress(phase=Phase.ROLLING_BACK, weight=0, reason=Reason.METRIC_BREACH)
    seen = sided(weight=0, rolled_out="other", traffic={"other": 100, CANDIDATE: 0})
    assert plan(situation(state, seen)).progress.phase is Phase.ROLLED_BACK


def test_stable_that_is_edited_ends_the_attempt_when_it_serves() -> None:
    """Not before: until then the candidate is judged on, and can be rolled back."""
    edited: dict[str, Any] = {"weight": 10, "rolled_out": "other", "traffic": {"other": 90, CANDIDATE: 10}}
    ended = plan(situation(progress(), sided(**edited)))
    assert (ended.progress.phase, ended.progress.reason) == (Phase.SUPERSEDED, Reason.STABLE_CHANGED)
    waiting = plan(situation(progress(), sided(**edited, stable_ready=Trinary.UNKNOWN)))
    assert not waiting.progress.phase.is_final


def past(**changes: Any) -> Any:
    defaults: dict[str, Any] = {"candidate_digest": "new", "stable_digest": "stable"}
    ended = {
        "phase": changes.pop("phase", Phase.ROLLED_BACK),
        "reason": changes.pop("reason", Reason.METRIC_BREACH),
    }
    return rollout(progress(**ended)).but(**{**defaults, **changes})


def found(seen: Observation, *history: Any, memory: Memory | None = None) -> Any:
    taught = remember(memory, seen, history, NOW)
    return discover(seen, policy(), history, taught, NOW)


def test_a_candidate_is_its_name_and_its_spec() -> None:
    """The same of both stays out; the name with another spec starts once that has stood for a while."""
    seen = sided(weight=10)
    assert isinstance(found(seen), Start)
    assert isinstance(found(seen, past()), Nothing)
    other = past(candidate_digest="former")
    assert isinstance(found(seen, other), Nothing), "it may be a status that lags"
    stood = Memory(seen.uid, STABLE, {"v": 1}, "stable", maybe="new", maybe_since=NOW - 60)
    start = found(seen, other, memory=stood)
    assert isinstance(start, Start)
    assert (start.rollout.attempt, start.rollout.stable_digest) == (2, "stable")


def test_a_candidate_that_lost_its_stable_is_taken_up_where_it_is() -> None:
    """At 100 % too, and not caught; but only against another stable."""
    lost = past(phase=Phase.SUPERSEDED, reason=Reason.STABLE_CHANGED, stable="former")
    start = found(sided(), lost)
    assert isinstance(start, Start)
    assert (start.catch, start.rollout.progress.weight) == (False, 100)
    assert isinstance(found(sided(), lost.but(stable=STABLE)), Nothing)


def test_stables_spec_is_known_at_once() -> None:
    """It stands in the object; nothing has to be at rest for it."""
    taught = remember(None, sided(weight=10), [], NOW)
    assert taught is not None
    assert (taught.is_certain, taught.spec, taught.digest) == (True, {"v": 1}, "stable")
