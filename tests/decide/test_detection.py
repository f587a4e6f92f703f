"""What starts a rollout, what does not, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.analysis import Outcome
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.detection import (
    NoAction,
    Refusal,
    RepairStable,
    StableRevisionTracker,
    StartRollout,
    detect,
    is_spec_of_stable,
    retry_rollout,
    track_stable_revision,
)
from autocanary.decide.planner import plan
from autocanary.model.decision import Action, Event
from autocanary.model.observation import ConditionStatus, DeploymentMode, EarlierVersion, Observation
from autocanary.model.policy import OnUnstaged, OnWeightRemoved
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout
from tests.decide.builders import CANDIDATE, NOW, STABLE, make_observation, policy, progress, rollout, verdict

UNREADY: dict[str, Any] = {"ready": STABLE, "traffic": {STABLE: 100}}
TRACKER = StableRevisionTracker("u1", STABLE, {"model": {"storageUri": "gs://b/v1"}}, "stable")


def at_rest(revision: str = STABLE, **changes: Any) -> Observation:
    return make_observation(
        None,
        **{
            "created": revision,
            "ready": revision,
            "rolled_out": revision,
            "traffic": {revision: 100},
            **changes,
        },
    )


def detected(
    observation: Observation,
    history: tuple[Rollout, ...] = (),
    tracker: StableRevisionTracker | None = TRACKER,
    **of_policy: Any,
) -> Any:
    return detect(observation, policy(**of_policy), history, tracker, NOW)


def test_unchanged_service_starts_no_rollout() -> None:
    """The newest revision has been rolled out."""
    assert detected(at_rest()) == NoAction()


def test_a_new_revision_with_a_weight_is_adopted_at_it() -> None:
    """Applied with canaryTrafficPercent: 10; its owner chose the first weight."""
    start = detected(make_observation(10, **UNREADY))
    assert isinstance(start, StartRollout)
    assert not start.intercept
    assert (start.rollout.stable, start.rollout.candidate) == (STABLE, CANDIDATE)
    state = start.rollout.progress
    assert (state.phase, state.step.weight, state.reason) == (Phase.STAGING, 10, Reason.ROLLOUT_STARTED)
    assert [entry.event for entry in state.outbox.pending] == [Event.STARTED.value]


@pytest.mark.parametrize("weight", [None, 100])
def test_revision_without_weight_is_intercepted(weight: int | None) -> None:
    """Measured, item 3: absent, or the 100 of the last promotion, would cut over when ready."""
    start = detected(make_observation(weight, traffic_percent=0, **UNREADY))
    assert isinstance(start, StartRollout)
    assert start.intercept
    assert (start.rollout.progress.step.weight, start.rollout.progress.step.from_weight) == (0, weight)
    assert start.rollout.progress.reason is Reason.INTERCEPTED_UNSTAGED


def test_ignore_leaves_an_unstaged_revision_alone() -> None:
    """onUnstaged: ignore."""
    assert detected(make_observation(None, traffic_percent=0, **UNREADY), on_unstaged=OnUnstaged.IGNORE) == NoAction()


def test_stable_spec_comes_from_the_tracker() -> None:
    """What stable was made of is needed to repair it, and the object shows only the candidate's spec."""
    start = detected(make_observation(10, **UNREADY))
    assert (start.rollout.stable_spec, start.rollout.stable_digest) == (TRACKER.spec, "stable")
    other = StableRevisionTracker("u1", "mnist-predictor-00000", {"x": 1}, "other")
    assert detected(make_observation(10, **UNREADY), tracker=other).rollout.stable_spec is None


@pytest.mark.parametrize("phase", [Phase.ROLLED_BACK, Phase.SUPERSEDED, Phase.PROGRESSING, Phase.PROMOTED])
def test_a_candidate_that_was_tried_is_not_tried_again(phase: Phase) -> None:
    """After a rollback the bad revision stays out, whichever client lowers or raises the field."""
    history = (rollout(progress(phase=phase)),)
    assert detected(make_observation(0, **UNREADY), history) == NoAction()


def test_a_recreated_service_has_a_history_of_its_own() -> None:
    """s12b: revisions restart at 00001 with a new uid; the record's name must not collide."""
    history = (rollout(progress(phase=Phase.ROLLED_BACK)),)
    start = detected(make_observation(10, uid="u2", **UNREADY), history)
    assert isinstance(start, StartRollout)
    assert (start.rollout.attempt, start.rollout.name) == (2, "mnist-00002-r2")


@pytest.mark.parametrize("mode", [DeploymentMode.STANDARD, DeploymentMode.MODELMESH])
def test_other_deployment_modes_are_refused_with_what_would_work(mode: DeploymentMode) -> None:
    """Section 2: the field is silently ignored there."""
    refusal = detected(make_observation(10, mode=mode))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.UNSUPPORTED_DEPLOYMENT_MODE
    assert "deploymentMode: Knative" in refusal.message
    assert mode.value in refusal.message


def test_a_ready_service_without_a_revision_is_in_another_mode() -> None:
    """An old KServe does not write down the mode that an installation has by default."""
    raw = make_observation(10, mode=DeploymentMode.UNKNOWN, created="", ready="", rolled_out="", traffic={})
    refusal = detected(raw)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.UNSUPPORTED_DEPLOYMENT_MODE
    assert "RawDeployment" in refusal.message


def test_a_service_that_still_starts_is_not_refused() -> None:
    """Nothing is known of its mode yet."""
    starting = make_observation(
        10, mode=DeploymentMode.UNKNOWN, created="", service_ready=ConditionStatus.UNKNOWN, traffic={}
    )
    assert detected(starting) == NoAction()


def test_disable_auto_update_is_refused() -> None:
    """s17: KServe ignores every weight."""
    refusal = detected(make_observation(10, auto_update_disabled=True, **UNREADY))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.AUTO_UPDATE_DISABLED


@pytest.mark.parametrize("changes", [{"deleting": True}, {"stopped": True}, {"rolled_out": ""}, {"created": ""}])
def test_deleted_or_new_service_starts_no_rollout(changes: dict[str, Any]) -> None:
    """Deleted, stopped, or never rolled out (the first revision has nothing to be compared with)."""
    assert detected(make_observation(10, **changes)) == NoAction()


def test_missed_release_is_reported_not_rolled_back() -> None:
    """Missed: lowering the weight now would move traffic onto pods that are gone."""
    start = detected(at_rest(CANDIDATE, spec_digest="candidate"))
    assert isinstance(start, StartRollout)
    state = start.rollout.progress
    assert (state.phase, state.reason, state.step.weight) == (Phase.MISSED, Reason.MISSED_UNSTAGED, None)
    assert start.rollout.stable == STABLE


@pytest.mark.parametrize(
    ("tracker", "digest", "history"),
    [
        (None, "candidate", ()),  # the first evaluation ever: nothing is known of before
        (StableRevisionTracker("u0", STABLE), "candidate", ()),  # a recreated service
        (TRACKER, "stable", ()),  # stable's own content under a new name: a repair
        (TRACKER, "candidate", (rollout(progress(phase=Phase.PROMOTED)),)),  # promoted by us
    ],
)
def test_expected_promotion_is_not_a_missed_release(
    tracker: StableRevisionTracker | None, digest: str, history: tuple[Rollout, ...]
) -> None:
    """No false alarm at a start, after a re-creation, a repair or a promotion."""
    assert detected(at_rest(CANDIDATE, spec_digest=digest), history, tracker) == NoAction()


def test_a_retry_is_a_new_attempt_that_knows_the_stable_spec() -> None:
    """The old record stays as it ended."""
    past = rollout(progress(phase=Phase.ROLLED_BACK))
    start = retry_rollout(past, make_observation(0), policy(), [past], NOW)
    assert isinstance(start, StartRollout)
    assert (start.rollout.name, start.rollout.attempt) == ("mnist-00002-r2", 2)
    assert start.rollout.stable_spec == past.stable_spec
    assert start.rollout.progress.reason is Reason.RETRIED_BY_USER


def test_tracker_learns_spec_of_an_unchanged_service() -> None:
    """After an edit the status is the old one for seconds: the new spec must not be taken for stable's."""
    first = at_rest(spec={"v": 1}, spec_digest="v1")
    guessed = track_stable_revision(None, first, (), NOW)
    assert guessed is not None
    assert not guessed.knows_spec
    edited = at_rest(spec={"v": 2}, spec_digest="v2")  # the spec is new, the status still the old one
    again = track_stable_revision(guessed, edited, (), NOW + 5)
    assert again is not None
    assert not again.knows_spec
    assert track_stable_revision(again, edited, (), NOW + 11) == again, "the edit's own ten seconds are not over"
    assert track_stable_revision(guessed, first, (), NOW + 10) == StableRevisionTracker("u1", STABLE, {"v": 1}, "v1")


def test_tracker_keeps_the_spec_of_a_revision() -> None:
    """However long the status lags, a certain memory stays."""
    known = StableRevisionTracker("u1", STABLE, {"v": 1}, "v1")
    edited = at_rest(spec={"v": 2}, spec_digest="v2")
    for at in (NOW, NOW + 3600):
        taught = track_stable_revision(known, edited, (), at)
        assert taught is not None
        assert (taught.spec, taught.digest) == (known.spec, known.digest)
    assert track_stable_revision(known, make_observation(10), (), NOW) == known
    assert track_stable_revision(None, make_observation(10), (), NOW) == StableRevisionTracker("u1", STABLE)


def test_candidate_spec_is_not_taken_as_stable_spec() -> None:
    """The last line of defence: restoring it would promote the candidate."""
    start = detected(
        make_observation(10, **UNREADY), tracker=StableRevisionTracker("u1", STABLE, {"v": 2}, "candidate")
    )
    assert (start.rollout.stable_spec, start.rollout.stable_digest) == (None, "")


def test_user_promotion_of_rolled_back_candidate_notifies() -> None:
    """GitOps drops the field after a rollback: the bad revision has all the traffic."""
    past = rollout(progress(phase=Phase.ROLLED_BACK, reason=Reason.METRIC_VIOLATION))
    observation = at_rest(CANDIDATE, writer="argocd")
    start = detected(observation, (past,))
    assert isinstance(start, StartRollout)
    assert start.rollout.progress.phase is Phase.MISSED
    assert "was rolled back (MetricViolation)" in start.rollout.progress.message
    assert "argocd" in start.rollout.progress.message
    assert detected(observation, (past, start.rollout)) == NoAction(), "notified once"


def test_tracker_is_restored_from_the_rollout_store() -> None:
    """The candidate that was promoted last is today's stable."""
    past = rollout(
        progress(phase=Phase.PROMOTED),
        candidate=STABLE,
        candidate_spec={"v": 1},
        candidate_digest="d",
        stable="x",
    )
    assert track_stable_revision(None, make_observation(10), [past], NOW) == StableRevisionTracker(
        "u1", STABLE, {"v": 1}, "d"
    )


def known_bad(candidate: str, phase: Phase, reason: Reason, at: float, attempt: int = 1) -> Rollout:
    state = progress(phase=phase, reason=reason, started_at=at, finished_at=at + 5)
    return rollout(
        state,
        name=f"mnist-{candidate[-5:]}-{attempt}",
        candidate=candidate,
        candidate_digest="bad",
        attempt=attempt,
    )


def test_superseded_attempt_does_not_clear_a_known_bad_spec() -> None:
    """The third revision of it came before the second was kept out for good: that clears neither."""
    history = (
        known_bad("mnist-predictor-00002", Phase.ROLLED_BACK, Reason.METRIC_VIOLATION, NOW - 900),
        known_bad("mnist-predictor-00003", Phase.SUPERSEDED, Reason.NEW_REVISION, NOW - 20),
    )
    start = detected(make_observation(0, created="mnist-predictor-00004", spec_digest="bad", **UNREADY), history)
    assert isinstance(start, StartRollout)
    assert start.rollout.progress.reason is Reason.KNOWN_BAD


def test_retried_spec_is_not_blocked_as_known_bad() -> None:
    """The retry was replaced by another revision of the same spec: the request is not lost with it."""
    history = (
        known_bad("mnist-predictor-00002", Phase.ROLLED_BACK, Reason.METRIC_VIOLATION, NOW - 900),
        known_bad("mnist-predictor-00002", Phase.SUPERSEDED, Reason.NEW_REVISION, NOW - 20, attempt=2),
    )
    start = detected(make_observation(0, created="mnist-predictor-00003", spec_digest="bad", **UNREADY), history)
    assert isinstance(start, StartRollout)
    assert start.rollout.progress.reason is Reason.ROLLOUT_STARTED


def moved_back(digest: str) -> Observation:
    """Stable's share went to the revision before it, while the spec is another."""
    return make_observation(10, **{**UNREADY, "rolled_out": STABLE, "spec_digest": digest})


def promoted(**changes: Any) -> Rollout:
    done = progress(phase=Phase.PROMOTED, reason=Reason.PROMOTED, finished_at=NOW - 60, **changes)
    return replace(rollout(done), candidate_spec={"model": {"storageUri": "gs://b/v2"}}, candidate_digest="candidate")


def test_new_process_continues_a_stable_repair() -> None:
    """It knows no stable but the wrong one; the record says what was found and what to put back."""
    past = promoted(warnings_sent=("WrongStable/odd",))
    repair = detected(moved_back("odd"), (past,), StableRevisionTracker("u1", STABLE))
    assert repair == RepairStable(past, {"model": {"storageUri": "gs://b/v2"}})


def test_unobserved_wrong_stable_notifies() -> None:
    """Nothing was recorded, and it could be what a user wants: notified, not undone."""
    said = detected(moved_back("odd"), (promoted(),), StableRevisionTracker("u1", STABLE))
    assert isinstance(said, RepairStable)
    assert said.spec is None
    (entry,) = said.rollout.progress.outbox.pending
    assert (entry.event, entry.reason) == ("rollout_warning", "WrongStable")
    assert "unless that is meant" in entry.message
    assert said.rollout.progress.reason is Reason.PROMOTED
    refusal = detected(moved_back("odd"), (said.rollout,), StableRevisionTracker("u1", STABLE))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.WRONG_STABLE


def test_wrong_stable_without_rollout_is_logged() -> None:
    """There is no rollout to notify it with."""
    tracker = StableRevisionTracker("u1", CANDIDATE, {"model": {"storageUri": "gs://b/v2"}}, "candidate")
    refusal = detected(moved_back("odd"), (), tracker)
    assert isinstance(refusal, Refusal)
    assert "put stable's spec back" in refusal.message


def test_repeated_repair_notifies_every_ten_minutes() -> None:
    """A GitOps tool applies it every three minutes: the traffic is put right at once, users are not flooded."""
    tracker = StableRevisionTracker("u1", CANDIDATE, {"model": {"storageUri": "gs://b/v2"}}, "candidate")
    past, notified = promoted(), []
    for minute in range(0, 31, 3):
        repair = detect(moved_back("odd"), policy(), (past,), tracker, NOW + 60 * minute)
        assert isinstance(repair, RepairStable)
        assert repair.spec == tracker.spec
        past = repair.rollout
        notified.append(len(past.progress.outbox.pending))
    assert notified == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]
    assert past.progress.outbox.warnings_sent == ("WrongStable/odd",)


def rolled_back(**changes: Any) -> Rollout:
    past = known_bad(CANDIDATE, Phase.ROLLED_BACK, Reason.METRIC_VIOLATION, NOW - 900)
    return replace(past, candidate_digest="candidate", stable_digest="stable", stable_spec={"model": {}}, **changes)


def test_release_over_a_rolled_back_candidate_is_never_ramped_against_it() -> None:
    """KServe has promoted the bad one already: the release goes to 100 % at once, and is analysed there."""
    third = "mnist-predictor-00003"
    unready = {**UNREADY, "rolled_out": CANDIDATE, "previous": STABLE, "created": third, "ready": CANDIDATE}
    observation = make_observation(None, **{**unready, "traffic": {CANDIDATE: 100}, "spec_digest": "fix"})
    start = detected(observation, (rolled_back(),))
    assert isinstance(start, StartRollout)
    assert not start.intercept
    state = start.rollout.progress
    assert (state.step.weight, state.rollback.stable_is_bad, start.rollout.stable_digest) == (100, True, "stable")
    assert f"{CANDIDATE} was rolled back (MetricViolation)" in state.outbox.pending[0].message
    staged = DecisionInput(policy(), start.rollout, observation, NOW + 1)
    assert plan(staged).action is Action.NONE
    served = replace(observation, ready=third, rolled_out=third, previous=CANDIDATE, traffic={third: 100})
    baking = plan(replace(staged, observation=served, now=NOW + 2))
    assert (baking.progress.phase, baking.action) == (Phase.BAKING, Action.NONE)


def test_a_failed_release_over_a_rolled_back_candidate_goes_back_to_the_last_good_spec() -> None:
    """0 would give the traffic to the one that was rolled back before."""
    third = "mnist-predictor-00003"
    state = progress(3, 100, phase=Phase.BAKING, stable_is_bad=True)
    past = replace(rollout(state), stable=CANDIDATE, candidate=third, candidate_digest="fix")
    served = make_observation(
        None,
        created=third,
        ready=third,
        rolled_out=third,
        previous=CANDIDATE,
        traffic={third: 100},
        spec_digest="fix",
    )
    decision = plan(DecisionInput(policy(), past, served, NOW, verdict(Outcome.FAIL)))
    assert (decision.action, decision.weight, decision.event) == (Action.RESTORE, None, Event.ROLLBACK)
    fourth = "mnist-predictor-00004"
    back = replace(served, created=fourth, ready=fourth, rolled_out=fourth, traffic={fourth: 100}, spec_digest="stable")
    done = plan(DecisionInput(policy(), replace(past, progress=decision.progress), back, NOW + 9))
    assert done.progress.phase is Phase.ROLLED_BACK
    ended = replace(past, progress=done.progress)
    assert detected(back, (rolled_back(), ended)) == NoAction()


def test_a_restore_that_was_lost_is_written_again() -> None:
    """The candidate never was ready and the bad stable has the traffic: that looked like the end of the rollback."""
    third = "mnist-predictor-00003"
    state = progress(-1, 100, phase=Phase.STAGING, stable_is_bad=True, phase_since=NOW - 3600)
    past = replace(
        rollout(state), stable=CANDIDATE, candidate=third, candidate_digest="fix", request=Request("r1", "abort")
    )
    unready = make_observation(
        None,
        created=third,
        ready=CANDIDATE,
        rolled_out=CANDIDATE,
        previous=STABLE,
        traffic={CANDIDATE: 100},
        spec_digest="fix",
    )
    decision = plan(DecisionInput(policy(), past, unready, NOW))
    assert (decision.action, decision.weight) == (Action.RESTORE, None)
    again = plan(DecisionInput(policy(), replace(past, progress=decision.progress), unready, NOW + 1))
    assert (again.progress.phase, again.action) == (Phase.ROLLING_BACK, Action.RESTORE)


@pytest.mark.parametrize("promoted", [False, True])
def test_a_weight_removed_over_a_rolled_back_candidate_is_put_back(promoted: bool) -> None:
    """At once, and also when KServe has promoted the candidate meanwhile."""
    there: dict[str, Any] = (
        {"rolled_out": CANDIDATE, "previous": STABLE, "traffic": {CANDIDATE: 100}} if promoted else {}
    )
    changes: dict[str, Any] = {"traffic": {CANDIDATE: 0, STABLE: 100}, "writer": "helm", **there}
    observation = make_observation(None, **changes)
    start = detected(observation, (rolled_back(),))
    assert isinstance(start, StartRollout)
    assert start.intercept
    state = start.rollout.progress
    assert (state.phase, state.reason, state.step.weight) == (Phase.ROLLING_BACK, Reason.KNOWN_BAD, 0)
    assert (start.rollout.stable, start.rollout.stable_digest, start.rollout.attempt) == (STABLE, "stable", 2)
    assert "removed by helm" in state.message
    kept = plan(DecisionInput(policy(), start.rollout, observation, NOW + 1))
    assert (kept.action, kept.weight) == (Action.WEIGHT, 0)
    back = replace(observation, weight=0, rolled_out=STABLE, traffic={CANDIDATE: 0, STABLE: 100})
    done = plan(DecisionInput(policy(), replace(start.rollout, progress=kept.progress), back, NOW + 2))
    assert done.progress.phase is Phase.ROLLING_BACK, "this may be the status from before the removal"
    done = plan(DecisionInput(policy(), replace(start.rollout, progress=done.progress), back, NOW + 8))
    assert done.progress.phase is Phase.ROLLED_BACK


def test_a_weight_removed_over_a_rolled_back_candidate_is_left_where_removing_it_promotes() -> None:
    """``onWeightRemoved: pause``, a 0 of a user's own, or a previous revision that is not the old stable."""
    observation = make_observation(None, traffic={CANDIDATE: 0, STABLE: 100})
    history = (rolled_back(),)
    assert detected(observation, history, on_weight_removed=OnWeightRemoved.PAUSE) == NoAction()
    assert detected(replace(observation, weight=30), history) == NoAction()
    gone = replace(observation, rolled_out=CANDIDATE, previous="mnist-predictor-00000", traffic={CANDIDATE: 100})
    start = detected(gone, history)
    assert isinstance(start, StartRollout)
    assert start.rollout.progress.phase is Phase.MISSED


def test_a_status_behind_the_spec_teaches_stables_spec_only_after_two_minutes() -> None:
    """KServe's status was 21 s late once: the new spec was taken for the old revision's."""
    edited = at_rest(spec={"v": 2}, spec_digest="v2", is_status_behind=True)
    tracker = track_stable_revision(None, edited, (), NOW)
    for seconds in (10, 21, 119):
        tracker = track_stable_revision(tracker, edited, (), NOW + seconds)
        assert tracker is not None
        assert not tracker.knows_spec
        assert tracker.needs_evaluation(NOW + seconds)
    assert tracker is not None
    assert track_stable_revision(tracker, edited, (), NOW + 120) == replace(
        tracker, spec={"v": 2}, digest="v2", observed_digest="", observed_since=0.0
    )


def test_user_rollback_after_promotion_is_not_repaired() -> None:
    """A weight below 100 with the promoted spec unchanged."""
    assert detected(moved_back("candidate"), (promoted(),), StableRevisionTracker("u1", STABLE)) == NoAction()


def test_user_rollback_after_a_spec_edit_is_not_repaired() -> None:
    """An edit that makes no revision (protocolVersion, a default that a webhook adds), an hour at rest, then 0:

    that is no trap of KServe, and putting the promoted spec back would overrule the user.
    """
    second = at_rest(CANDIDATE, spec_digest="candidate")
    tracker = StableRevisionTracker("u1", CANDIDATE, {"model": {"storageUri": "gs://b/v2"}}, "candidate")
    edited = at_rest(CANDIDATE, spec_digest="edited")
    for observation, at in ((second, NOW - 4000), (edited, NOW - 3600), (edited, NOW - 60)):
        taught = track_stable_revision(tracker, observation, [promoted()], at)
        assert taught is not None
        tracker = taught
    assert (tracker.stable, tracker.digest) == (CANDIDATE, "candidate")
    said = detected(moved_back("edited"), (promoted(),), tracker)
    assert isinstance(said, RepairStable)
    assert said.spec is None
    assert "unless that is meant" in said.rollout.progress.outbox.pending[-1].message


def test_spec_and_weight_in_one_patch_is_repaired() -> None:
    """Between the patch and the move lie a few seconds of the old status."""
    tracker = StableRevisionTracker("u1", CANDIDATE, {"model": {"storageUri": "gs://b/v2"}}, "candidate")
    taught = track_stable_revision(
        tracker, replace(at_rest(CANDIDATE, spec_digest="refused"), weight=10), [promoted()], NOW - 6
    )
    repair = detected(moved_back("refused"), (promoted(),), taught)
    assert isinstance(repair, RepairStable)
    assert repair.spec == {"model": {"storageUri": "gs://b/v2"}}


def test_the_first_spec_is_stables_at_once() -> None:
    """Generation 1: there never was another, whatever the status shows and however late it is."""
    first = replace(at_rest(spec={"v": 1}, spec_digest="v1"), generation=1)
    for observation in (first, replace(first, is_status_behind=True), replace(first, ready="", created=STABLE)):
        tracker = track_stable_revision(None, observation, (), NOW)
        assert tracker is not None
        assert (tracker.stable, tracker.spec, tracker.digest) == (STABLE, {"v": 1}, "v1")
    edited = track_stable_revision(None, replace(first, generation=2), (), NOW)
    assert edited is not None
    assert not edited.knows_spec


@pytest.mark.parametrize(
    ("changes", "seconds", "certain"),
    [
        ({}, 10.0, True),
        ({}, 9.0, False),
        ({}, None, False),
        ({"is_status_behind": True}, 119.0, False),
        ({"is_status_behind": True}, 120.0, True),
        ({"generation": 1, "ready": "", "rolled_out": ""}, 0.0, True),
        ({"generation": 1, "created": ""}, 500.0, False),
        ({"created": CANDIDATE}, 500.0, False),
        ({"ready": ""}, 500.0, False),
    ],
)
def test_an_earlier_spec_is_stables_where_no_other_can_be(
    changes: dict[str, Any], seconds: float | None, certain: bool
) -> None:
    """At rest for longer than a status lags, or the first of all and its revision made."""
    before = replace(at_rest(), **{"generation": 4, **changes})
    assert is_spec_of_stable(EarlierVersion(before, seconds), STABLE) is certain
