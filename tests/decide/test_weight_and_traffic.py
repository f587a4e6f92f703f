"""Traffic that is not where it was: over several looks, as the engine makes them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.analysis import Outcome
from autocanary.decide.decision_input import BY_FAILURE, BY_STEP, BY_USER
from autocanary.decide.planner import plan
from autocanary.model.decision import Move
from autocanary.model.observation import Trinary
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request
from tests.decide.build import CANDIDATE, NOW, STABLE, looks, observation, progress, situation, verdict

WIPED = observation(10, rolled_out=CANDIDATE, traffic={CANDIDATE: 100})
"""KServe's bookkeeping is lost: it takes the candidate for stable, so both shares are the candidate's."""


def test_a_candidate_that_kserve_takes_for_stable_loses_its_traffic_within_half_a_minute() -> None:
    """It has everything at 10 %, and no weight helps: stable's spec is put back, not after the deadline."""
    made = looks([WIPED] * 15)
    moves = [(decision.move, decision.reason) for decision, _ in made if decision.move is not Move.NONE]
    assert moves[:1] == [(Move.RESTORE, Reason.WRONG_STABLE)]


def test_a_candidate_that_lost_its_share_is_told_once() -> None:
    """Its share is gone although the field stands: a person hears of it, and the step begins anew."""
    made = looks([observation(10, share=0)] * 20)
    told = [decision.reason for decision, _ in made if decision.event is not None]
    assert told == [Reason.TRAFFIC_STRAYED]
    assert made[-1][1].progress.verified_at is None


def test_a_split_that_comes_back_in_time_is_no_straying() -> None:
    """Ten seconds of an older status, and everything is as it was: nothing is told, nothing is written."""
    away = observation(10, share=0)
    made = looks([away] * 5 + [observation(10)] * 10 + [away] * 5 + [observation(10)])
    assert [decision.event for decision, _ in made if decision.event is not None] == []
    assert made[-1][1].progress.strayed_since is None


def test_a_route_that_is_not_ready_for_long_is_told() -> None:
    """The shares are right and the ingress does not follow."""
    made = looks([observation(10, route_ready=Trinary.FALSE)] * 12)
    assert [d.reason for d, _ in made if d.event is not None] == [Reason.TRAFFIC_STRAYED]


def test_a_new_weight_has_not_strayed_from_the_one_before() -> None:
    """The split was away when a person took the next step: the new weight has all the time to arrive."""
    made = looks([observation(10, share=0)] * 3)
    state = made[-1][1].progress
    assert state.strayed_since is not None
    asked = situation(state, observation(10), now=NOW + 8)
    decision = plan(
        replace(asked, rollout=asked.rollout.but(request=Request(id="1", verb="promote", by="ann")))
    )
    assert decision.weight == 25
    assert decision.progress.strayed_since is None


def test_straying_is_seen_while_a_person_has_paused_it() -> None:
    """A pause is no reason to leave a candidate at 100 %."""
    state = progress(phase=Phase.PAUSED, paused_by=BY_USER)
    made = looks([WIPED] * 15, state, paused=True)
    assert Move.RESTORE in [decision.move for decision, _ in made]


@pytest.mark.parametrize("manager", [BY_USER, BY_STEP, BY_FAILURE])
def test_a_writer_of_any_name_is_nobody_else(manager: str) -> None:
    """A client may call itself "user": its change is an external one, and waits for a person to resume it."""
    made = looks([observation(40, writer=manager)] * 5)
    paused = made[-1][1].progress
    assert (paused.phase, paused.reason, paused.weight) == (Phase.PAUSED, Reason.EXTERNAL_CHANGE, 40)
    assert manager in paused.message


def test_a_rollback_whose_record_was_lost_is_finished() -> None:
    """The 0 was written unrecorded and the process ended: it is no external change, and waits for nobody."""
    decision = plan(situation(progress(1, 25), observation(0, writer="autocanary")))
    assert decision.progress.phase is Phase.ROLLING_BACK
    assert (decision.progress.reason, decision.progress.weight) == (Reason.ROLLBACK_UNRECORDED, 0)
    assert decision.move is Move.NONE
    others = plan(situation(progress(1, 25), observation(0, writer="kubectl-edit")))
    assert others.progress.reason is Reason.EXTERNAL_CHANGE


def test_nothing_else_is_concluded_from_an_old_picture_with_a_verdict_that_does_not_count() -> None:
    """A failing look that came while its weight is not in effect: no other rule may use the old picture."""
    state = progress(verified_at=None, from_weight=0)
    said = verdict(Outcome.FAIL)
    at = situation(state, observation(10), said, gone=True, picture_age=1000.0)
    decision = plan(at)
    assert decision.progress.phase is not Phase.ABANDONED


def test_the_end_of_a_rollback_names_who_serves() -> None:
    """The stable spec was put back: it is its new revision that has the traffic, not the old one."""
    third = "mnist-predictor-00003"
    state = progress(
        phase=Phase.ROLLING_BACK, reason=Reason.METRIC_BREACH, weight=0, repairing=True, restored=True
    )
    seen = observation(0, created=third, ready=third, traffic={third: 100, STABLE: 0}, spec_digest="stable")
    ended = looks([seen], state)[-1][1].progress
    assert ended.phase is Phase.ROLLED_BACK
    assert ended.message.startswith(f"{third} has all the traffic again")


def test_a_weight_that_kserve_ignores_says_why() -> None:
    """Somebody sets disable-auto-update in the middle: the hold names the annotation."""
    state = progress(weight=25, step=1, verified_at=None, step_started_at=NOW)
    made = looks([observation(25, share=10, auto_update_disabled=True)] * 40, state)
    held = [d.progress.message for d, _ in made if d.progress.phase is Phase.HOLDING]
    assert held
    assert all("disable-auto-update" in message for message in held)
