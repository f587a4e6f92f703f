"""The rule chain, a situation at a time: what is decided, why, and what is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.analysis import Outcome
from autocanary.decide.decision_input import WebhookAnswer
from autocanary.decide.planner import plan
from autocanary.model.decision import Action, Decision, Event
from autocanary.model.observation import ConditionStatus
from autocanary.model.policy import (
    Analysis,
    OnFailure,
    OnUnstaged,
    Step,
    Timeout,
    TimeoutAction,
    Webhook,
    WebhookType,
)
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request
from tests.decide.builders import (
    CANDIDATE,
    LATENCY,
    NOW,
    STABLE,
    SUCCESS,
    make_decision_input,
    make_observation,
    policy,
    progress,
    verdict,
)

LONG = NOW - 400  # longer ago than a step's five minutes
staged = progress(-1, 0, phase=Phase.STAGING, reason=Reason.ROLLOUT_STARTED, verified_at=None)
unready = make_observation(0, ready=STABLE)


def test_staging_waits_until_the_candidate_is_ready() -> None:
    """An unready candidate gets no traffic."""
    decision = plan(make_decision_input(staged, unready))
    assert (decision.action, decision.progress.phase) == (Action.NONE, Phase.STAGING)


def test_a_ready_candidate_gets_the_first_step() -> None:
    """Ready: the first weight is written and notified."""
    decision = plan(make_decision_input(staged, make_observation(0)))
    assert (decision.action, decision.weight, decision.event) == (Action.WEIGHT, 10, Event.STEP)
    assert (decision.progress.phase, decision.progress.step.index) == (Phase.PROGRESSING, 0)
    assert decision.progress.step.verified_at is None


def test_a_candidate_adopted_at_a_weight_is_judged_there_without_a_write() -> None:
    """Applied at 30 % by its owner: judged at 30, the next step is 50."""
    adopted = replace(staged, step=replace(staged.step, weight=30))
    decision = plan(make_decision_input(adopted, make_observation(30)))
    assert (decision.action, decision.progress.step.index, decision.progress.step.weight) == (Action.NONE, 1, 30)
    later = replace(decision.progress, step=replace(decision.progress.step, verified_at=LONG))
    assert plan(make_decision_input(later, make_observation(30), verdict())).weight == 50


def test_new_revision_does_not_inherit_the_weight() -> None:
    """While the candidate is unready, a weight would go to the newest ready revision: set it to 0."""
    adopted = replace(staged, step=replace(staged.step, weight=10))
    observation = make_observation(10, ready="mnist-predictor-00000", traffic={"mnist-predictor-00000": 10, STABLE: 90})
    assert (
        plan(make_decision_input(adopted, observation)).action,
        plan(make_decision_input(adopted, observation)).weight,
    ) == (Action.WEIGHT, 0)


def test_a_failed_revision_is_notified_at_once_and_given_up_at_the_deadline() -> None:
    """Knative may still make it ready (a node is coming up), so weight 0 is kept until the deadline."""
    observation = replace(unready, failure="revision failed: CrashLoopBackOff")
    notified = plan(make_decision_input(staged, observation))
    assert (notified.event, notified.reason, notified.progress.phase) == (
        Event.HELD,
        Reason.REVISION_FAILED,
        Phase.STAGING,
    )
    assert plan(make_decision_input(notified.progress, observation)).event is None
    late = plan(make_decision_input(notified.progress, observation, now=NOW + 2000))
    assert (late.event, late.reason) == (Event.ROLLBACK, Reason.REVISION_FAILED)


def test_a_candidate_that_never_becomes_ready_is_given_up_at_the_deadline() -> None:
    """No failure is known, but time is up."""
    decision = plan(make_decision_input(staged, unready, now=NOW + 2000))
    assert decision.reason is Reason.PROGRESS_DEADLINE_EXCEEDED
    assert decision.action is Action.NONE  # the weight is 0 already


@pytest.mark.parametrize(
    "changes",
    [
        {"traffic": {CANDIDATE: 0, STABLE: 100}},
        {"traffic": {CANDIDATE: 10, "mnist-predictor-00000": 90}},
        {"route_ready": ConditionStatus.UNKNOWN},
        {"traffic": {}},
    ],
)
def test_a_weight_is_in_effect_by_three_signs_in_one_status(changes: dict[str, Any]) -> None:
    """Measured, item 1: candidate's sum, recorded stable's rest, and the route ready; otherwise wait."""
    waiting = progress(verified_at=None)
    assert plan(make_decision_input(waiting, make_observation(10))).progress.step.verified_at == NOW
    assert plan(make_decision_input(waiting, make_observation(10, **changes))).progress.step.verified_at is None


def test_a_weight_that_never_applies_is_notified_and_then_rolled_back() -> None:
    """Measured, item 9: a frozen status looks healthy; only a deadline of our own notices."""
    waiting = progress(verified_at=None, step_started_at=NOW - 70)
    frozen = make_observation(10, traffic_percent=0)
    held = plan(make_decision_input(waiting, frozen))
    assert (held.event, held.reason) == (Event.HELD, Reason.WAITING_FOR_EFFECT)
    late = plan(make_decision_input(held.progress, frozen, now=NOW + 1900))
    assert (late.event, late.weight) == (Event.ROLLBACK, 0)


def test_a_step_is_held_for_its_time_even_when_it_passes() -> None:
    """Passing looks do not shorten a step."""
    decision = plan(make_decision_input(said=verdict()))
    assert (decision.action, decision.progress.phase) == (Action.NONE, Phase.PROGRESSING)


def test_samples_just_after_a_change_are_not_judged() -> None:
    """Within the warm-up even a verdict changes nothing but the record of it."""
    fresh = progress(verified_at=NOW - 5)
    assert plan(make_decision_input(fresh, said=verdict())).action is Action.NONE


def test_a_passed_step_leads_to_the_next_weight() -> None:
    """Time is over and the last evaluation passed."""
    decision = plan(make_decision_input(progress(verified_at=LONG), said=verdict()))
    assert (decision.weight, decision.event, decision.progress.step.index) == (25, Event.STEP, 1)
    assert decision.progress.analysis.metrics == {}


def test_no_step_without_an_evaluation() -> None:
    """The clock alone never raises a weight."""
    assert plan(make_decision_input(progress(verified_at=LONG))).action is Action.NONE


@pytest.mark.parametrize("outcome", [Outcome.INCONCLUSIVE, Outcome.NO_DATA, Outcome.OUTAGE])
def test_no_step_without_a_pass(outcome: Outcome) -> None:
    """Whatever is not a pass holds the weight."""
    assert plan(make_decision_input(progress(verified_at=LONG), said=verdict(outcome))).action is Action.NONE


def test_a_failure_rolls_back_at_once() -> None:
    """Weight 0, urgently, with the analysis's message."""
    decision = plan(make_decision_input(said=verdict(Outcome.FAIL, message="too many errors")))
    assert (decision.action, decision.weight, decision.urgent) == (Action.WEIGHT, 0, True)
    assert (decision.event, decision.reason) == (Event.ROLLBACK, Reason.METRIC_VIOLATION)
    assert decision.progress.message == "too many errors"


def test_on_failure_pause_keeps_the_weight() -> None:
    """The policy may ask to stop instead of rolling back."""
    decision = plan(make_decision_input(said=verdict(Outcome.FAIL), policy=policy(on_failure=OnFailure.PAUSE)))
    assert (decision.action, decision.progress.phase, decision.event) == (
        Action.NONE,
        Phase.PAUSED,
        Event.PAUSED,
    )


def test_a_rollback_ends_when_the_traffic_is_back() -> None:
    """Not when the weight was written."""
    going = progress(weight=0, phase=Phase.ROLLING_BACK, reason=Reason.METRIC_VIOLATION, verified_at=None)
    assert (
        plan(make_decision_input(going, make_observation(0, traffic_percent=10))).progress.phase is Phase.ROLLING_BACK
    )
    done = plan(make_decision_input(going, make_observation(0)))
    assert (done.progress.phase, done.event, done.reason) == (
        Phase.ROLLED_BACK,
        Event.ROLLED_BACK,
        Reason.METRIC_VIOLATION,
    )


def test_escalates_at_once_when_the_status_names_the_candidate_as_the_block() -> None:
    """The weight is 0 and the route names the candidate: one decision warns and puts stable's spec back."""
    going = progress(weight=0, phase=Phase.ROLLING_BACK, reason=Reason.METRIC_VIOLATION, verified_at=None)
    blocked = make_observation(0, traffic_percent=10, route_ready=ConditionStatus.FALSE, blocked_by=CANDIDATE)
    after = plan(make_decision_input(going, blocked))
    assert (after.action, after.weight, after.event) == (Action.RESTORE, 0, Event.WARNING)
    assert after.progress.decisions[-1]["reason"] == Reason.ROLLBACK_BLOCKED.value
    restored = make_observation(
        0,
        created="mnist-predictor-00003",
        ready="mnist-predictor-00003",
        spec_digest="stable",
        traffic={"mnist-predictor-00003": 0, STABLE: 100},
    )
    assert plan(make_decision_input(after.progress, restored)).progress.phase is Phase.ROLLED_BACK


def test_counts_thirty_seconds_from_the_written_zero_before_it_overwrites_a_spec() -> None:
    """The webhook was down for a minute: the 0 has just arrived and may take effect without more."""
    going = progress(weight=0, from_weight=10, phase=Phase.ROLLING_BACK, verified_at=None, step_started_at=NOW - 60)
    away = plan(make_decision_input(going, make_observation(10)))
    assert (away.action, away.weight, away.progress.rollback.written_at) == (Action.WEIGHT, 0, None)
    lagging = make_observation(0, traffic_percent=10)
    written = plan(make_decision_input(away.progress, lagging))
    assert (written.action, written.progress.rollback.written_at) == (Action.NONE, NOW)
    assert plan(make_decision_input(written.progress, lagging, now=NOW + 30)).action is Action.NONE
    assert plan(make_decision_input(written.progress, lagging, now=NOW + 31)).action is Action.RESTORE


@pytest.mark.parametrize(("behind", "seconds"), [(False, 6), (True, 30)])
@pytest.mark.parametrize("weight", [10, None])
def test_a_status_that_never_showed_the_weight_does_not_end_the_rollback(
    weight: int | None, behind: bool, seconds: int
) -> None:
    """KServe may be about to route the weight: the status counts later, or as soon as it is not older any more."""
    unshown = make_observation(weight, traffic_percent=0)
    given = make_decision_input(
        progress(0, 10, verified_at=None, step_started_at=NOW - 5), unshown, request=Request("r1", "abort")
    )
    going = plan(given).progress
    assert (going.phase, going.rollback.weight_unshown) == (Phase.ROLLING_BACK, weight is not None)
    older = make_observation(0, traffic_percent=0, is_status_behind=behind)
    seen = plan(make_decision_input(going, older)).progress
    assert seen.rollback.written_at == NOW
    before, after = NOW + seconds - 1, NOW + seconds
    assert plan(make_decision_input(seen, older, now=before)).progress.phase is Phase.ROLLING_BACK
    assert plan(make_decision_input(seen, older, now=after)).progress.phase is Phase.ROLLED_BACK


def test_a_rollback_of_a_weight_that_was_shown_ends_with_the_status() -> None:
    """No wait: a candidate at 0 is the proof."""
    given = make_decision_input(observation=make_observation(10), request=Request("r1", "abort"))
    going = plan(given).progress
    assert not going.rollback.weight_unshown
    behind = make_observation(0, traffic_percent=0, is_status_behind=True)
    assert plan(make_decision_input(going, behind)).progress.phase is Phase.ROLLED_BACK


def test_does_not_escalate_when_stable_blocks_the_route() -> None:
    """A new revision of stable's spec may fail as stable did: the weight waits in the field."""
    going = progress(weight=0, phase=Phase.ROLLING_BACK, verified_at=None)
    blocked = make_observation(0, traffic_percent=10, route_ready=ConditionStatus.FALSE, blocked_by=STABLE)
    assert plan(make_decision_input(going, blocked)).action is Action.NONE


def test_a_rollback_that_a_crash_interrupted_is_written_again() -> None:
    """Recorded, not written: the field still has the old weight."""
    going = progress(weight=0, from_weight=10, phase=Phase.ROLLING_BACK, verified_at=None)
    decision = plan(make_decision_input(going, make_observation(10)))
    assert (decision.action, decision.weight, decision.urgent) == (Action.WEIGHT, 0, True)


def test_a_step_that_a_crash_interrupted_is_written_again() -> None:
    """The field still has the 10 from before the recorded 25: our own unfinished write."""
    recorded = progress(1, 25, from_weight=10, verified_at=None, step_started_at=NOW - 5)
    decision = plan(make_decision_input(recorded, make_observation(10)))
    assert (decision.action, decision.weight, decision.event) == (Action.WEIGHT, 25, None)


def test_external_weight_change_pauses_and_names_the_manager() -> None:
    """The weight is left as it was set."""
    decision = plan(make_decision_input(observation=make_observation(40, writer="kubectl-edit")))
    assert (decision.action, decision.progress.phase, decision.event) == (
        Action.NONE,
        Phase.PAUSED,
        Event.EXTERNAL_CHANGE,
    )
    assert decision.progress.hold.paused_by == "kubectl-edit"
    assert "from 10 to 40" in decision.progress.message
    assert (
        plan(make_decision_input(decision.progress, make_observation(40), verdict(Outcome.FAIL))).action is Action.NONE
    )


def test_removed_weight_is_restored_at_once() -> None:
    """Removing the field means 100 % of an unjudged candidate."""
    observation = make_observation(None, rolled_out=CANDIDATE, previous=STABLE, writer="argocd")
    decision = plan(make_decision_input(observation=observation))
    assert (decision.action, decision.weight, decision.urgent) == (Action.WEIGHT, 10, True)
    assert (decision.event, decision.reason) == (Event.EXTERNAL_CHANGE, Reason.WEIGHT_LOST)
    assert "argocd" in decision.progress.message


def test_an_absent_field_at_100_is_no_change() -> None:
    """KServe treats an absent field as 100."""
    baking = progress(3, 100, phase=Phase.BAKING)
    observation = make_observation(None, rolled_out=CANDIDATE, previous=STABLE)
    assert plan(make_decision_input(baking, observation)).event is None


def test_wrong_stable_restores_spec_without_weight() -> None:
    """Measured, item 4: R went back to the revision before stable."""
    observation = make_observation(10, rolled_out="mnist-predictor-00000")
    decision = plan(make_decision_input(observation=observation))
    assert (decision.action, decision.weight, decision.reason) == (Action.RESTORE, None, Reason.WRONG_STABLE)


def test_wrong_stable_without_known_spec_warns_once() -> None:
    """Nothing is guessed when the stable spec was never seen."""
    observation = make_observation(10, rolled_out="mnist-predictor-00000")
    decision = plan(make_decision_input(observation=observation, stable_spec=None))
    assert (decision.action, decision.event, decision.reason) == (
        Action.NONE,
        Event.WARNING,
        Reason.STABLE_SPEC_UNKNOWN,
    )
    assert plan(make_decision_input(decision.progress, observation, stable_spec=None)).event is None


def test_a_newer_revision_supersedes_and_gets_no_share() -> None:
    """The weight must not pass to a revision without an analysis."""
    decision = plan(make_decision_input(observation=make_observation(10, created="mnist-predictor-00003")))
    assert (decision.progress.phase, decision.action, decision.weight) == (Phase.SUPERSEDED, Action.WEIGHT, 0)


def test_a_newer_revision_without_a_weight_is_left_alone_when_the_policy_ignores_it() -> None:
    """onUnstaged: ignore means that an unstaged release is the user's own business."""
    observation = make_observation(None, created="mnist-predictor-00003", rolled_out=CANDIDATE, previous=STABLE)
    baking = progress(3, 100, phase=Phase.BAKING)
    decision = plan(make_decision_input(baking, observation, policy=policy(on_unstaged=OnUnstaged.IGNORE)))
    assert (decision.progress.phase, decision.action) == (Phase.SUPERSEDED, Action.NONE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"deleting": True}, Reason.SERVICE_DELETED),
        ({"uid": "u2"}, Reason.SERVICE_REPLACED),
        ({"stopped": True}, Reason.SERVICE_STOPPED),
    ],
)
def test_a_service_that_is_gone_ends_the_rollout(changes: dict[str, Any], reason: Reason) -> None:
    """Deleted, replaced or stopped: nothing is written any more."""
    decision = plan(make_decision_input(observation=make_observation(10, **changes)))
    assert (decision.progress.phase, decision.reason, decision.action) == (
        Phase.ABANDONED,
        reason,
        Action.NONE,
    )


def test_a_service_that_does_not_exist_ends_the_rollout() -> None:
    """404 in a fresh picture."""
    assert plan(make_decision_input(gone=True)).progress.phase is Phase.ABANDONED


def test_holds_when_the_cache_is_stale() -> None:
    """Even a missing service only holds while the cache is not confirmed."""
    decision = plan(make_decision_input(gone=True, cache_age=300))
    assert (decision.progress.phase, decision.reason) == (Phase.HOLDING, Reason.OBSERVATION_STALE)


def test_stale_cache_does_not_change_a_rollback() -> None:
    """The phase of a rollback or a pause is not lost to a hold."""
    going = progress(weight=0, phase=Phase.ROLLING_BACK)
    assert plan(make_decision_input(going, cache_age=300)).progress.phase is Phase.ROLLING_BACK


# --- metrics that do not answer --------------------------------------------------------------------------


def test_outage_shorter_than_the_interval_does_not_hold() -> None:
    """The first unanswered query changes nothing that users see."""
    decision = plan(make_decision_input(said=verdict(Outcome.OUTAGE)))
    assert (decision.event, decision.progress.phase) == (None, Phase.PROGRESSING)
    assert decision.progress.analysis.outage_since == NOW


def test_an_outage_holds_and_says_so_once_then_goes_on() -> None:
    """Prometheus down and back: held, notified, resumed, never rolled back by default."""
    away = progress(verified_at=LONG, outage_since=NOW - 60)
    held = plan(make_decision_input(away, said=verdict(Outcome.OUTAGE)))
    assert (held.event, held.reason, held.progress.phase) == (
        Event.HELD,
        Reason.METRICS_OUTAGE,
        Phase.HOLDING,
    )
    again = plan(make_decision_input(held.progress, said=verdict(Outcome.OUTAGE), now=NOW + 15))
    assert again.event is None
    for hours in (1, 10, 100):
        still = plan(make_decision_input(held.progress, said=verdict(Outcome.OUTAGE), now=NOW + hours * 3600))
        assert still.action is Action.NONE
    back = plan(make_decision_input(again.progress, said=verdict(), now=NOW + 30))
    assert (back.weight, back.event) == (25, Event.STEP)


def test_an_outage_that_ends_within_a_step_is_notified_as_resumed() -> None:
    """Held before the step's time was over: the step goes on."""
    held = progress(phase=Phase.HOLDING, reason=Reason.METRICS_OUTAGE, outage_since=NOW - 60)
    decision = plan(make_decision_input(held, said=verdict()))
    assert (decision.event, decision.progress.phase) == (Event.RESUMED, Phase.PROGRESSING)
    assert decision.progress.analysis.outage_since is None


@pytest.mark.parametrize(
    ("outcome", "analysis", "expected"),
    [
        (Outcome.NO_DATA, Analysis((SUCCESS, LATENCY)), (Action.WEIGHT, Reason.NO_DATA_DEADLINE)),
        (
            Outcome.OUTAGE,
            Analysis((SUCCESS, LATENCY), on_outage=Timeout(600, TimeoutAction.ROLLBACK)),
            (Action.WEIGHT, Reason.OUTAGE_DEADLINE),
        ),
        (
            Outcome.NO_DATA,
            Analysis((SUCCESS, LATENCY), on_no_data=Timeout(600, TimeoutAction.PAUSE)),
            (Action.NONE, Reason.NO_DATA_DEADLINE),
        ),
        (
            Outcome.NO_DATA,
            Analysis((SUCCESS, LATENCY), on_no_data=Timeout(600, TimeoutAction.HOLD)),
            (Action.NONE, Reason.NO_DATA),
        ),
    ],
)
def test_timeout_action_applies_without_metrics(
    outcome: Outcome, analysis: Analysis, expected: tuple[Action, Reason]
) -> None:
    """onNoData and onOutage: hold, then what the policy says, and not before."""
    name = "no_data_since" if outcome is Outcome.NO_DATA else "outage_since"

    def decided(seconds: float) -> Decision:
        since: dict[str, Any] = {name: NOW - seconds}
        return plan(make_decision_input(progress(**since), said=verdict(outcome), policy=policy(analysis=analysis)))

    assert decided(599).action is Action.NONE
    after = decided(600)
    assert (after.action, after.reason) == expected


@pytest.mark.parametrize(
    ("outcome", "reason", "ends"),
    [
        (Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, True),
        (Outcome.INCONCLUSIVE, Reason.VIOLATION_SEEN, True),
        (Outcome.SUSPICIOUS, Reason.SUSPICIOUS, True),
        (Outcome.PASS, Reason.ANALYSING, True),
        (Outcome.OUTAGE, Reason.METRICS_STALE, False),
        (Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, False),
        (Outcome.INCONCLUSIVE, Reason.WARMING_UP, False),
        (Outcome.NO_DATA, Reason.NO_DATA, False),
    ],
)
def test_a_time_without_data_ends_with_data(outcome: Outcome, reason: Reason, ends: bool) -> None:
    """Any data end it; neither an outage nor old samples do."""
    said = verdict(outcome, reason=reason)
    after = plan(make_decision_input(progress(no_data_since=NOW - 500), said=said)).progress
    assert after.analysis.no_data_since == (None if ends else NOW - 500)
    silent = plan(make_decision_input(after, said=verdict(Outcome.NO_DATA), now=NOW + 400))
    assert (silent.reason is Reason.NO_DATA_DEADLINE) is not ends


def test_an_outage_stops_the_no_data_clock() -> None:
    """Eight minutes without data, seven of an outage, then no data again: two minutes are left of ten."""
    outage = plan(make_decision_input(progress(no_data_since=NOW - 480), said=verdict(Outcome.OUTAGE))).progress
    assert (outage.analysis.no_data_since, outage.analysis.outage_since) == (NOW - 480, NOW)
    back = plan(make_decision_input(outage, said=verdict(Outcome.NO_DATA), now=NOW + 420))
    assert (back.reason, back.progress.analysis.no_data_since) == (Reason.NO_DATA, NOW - 60)
    late = plan(make_decision_input(back.progress, said=verdict(Outcome.NO_DATA), now=NOW + 541))
    assert late.reason is Reason.NO_DATA_DEADLINE


def test_old_samples_after_no_data_count_as_no_data() -> None:
    """A failed revision is scaled to zero and its series vanish: the ten minutes do not begin again."""
    stale = verdict(Outcome.OUTAGE, reason=Reason.METRICS_STALE)
    held = plan(make_decision_input(progress(no_data_since=NOW - 480), said=stale))
    assert (held.progress.phase, held.progress.analysis.no_data_since) == (Phase.HOLDING, NOW - 480)
    assert "rollback after 10m" in held.progress.message
    late = plan(make_decision_input(held.progress, said=stale, now=NOW + 121))
    assert (late.weight, late.reason) == (0, Reason.NO_DATA_DEADLINE)


def test_a_scrape_that_stops_is_an_outage_although_it_looks_like_no_data_first() -> None:
    """One window without two samples, then old samples: `onOutage` decides, and not `onNoData` after ten minutes."""
    empty = plan(make_decision_input(progress(), said=verdict(Outcome.NO_DATA))).progress
    assert empty.analysis.no_data_since == NOW
    state, stale = empty, verdict(Outcome.OUTAGE, reason=Reason.METRICS_STALE)
    for seconds in range(30, 1500, 30):
        found = plan(make_decision_input(state, said=stale, now=NOW + seconds))
        assert (found.weight, found.progress.analysis.outage_since) == (None, NOW + 30)
        state = found.progress
    assert state.phase is Phase.HOLDING


def test_too_few_requests_hold_until_the_progress_deadline() -> None:
    """A held rollout must move within the deadline, or it is rolled back."""
    held = plan(make_decision_input(progress(verified_at=LONG), said=verdict(Outcome.INCONCLUSIVE)))
    assert (held.progress.phase, held.progress.hold.since) == (Phase.HOLDING, NOW)
    late = plan(make_decision_input(held.progress, said=verdict(Outcome.INCONCLUSIVE), now=NOW + 1801))
    assert (late.weight, late.reason) == (0, Reason.PROGRESS_DEADLINE_EXCEEDED)


def test_closed_window_does_not_count_towards_the_deadline() -> None:
    """The window's hold has no deadline, and what comes after it starts a clock of its own."""
    closed = progress(verified_at=LONG, phase=Phase.HOLDING, reason=Reason.WINDOW_CLOSED, held_since=None)
    decision = plan(make_decision_input(closed, said=verdict(Outcome.INCONCLUSIVE), now=NOW + 50_000))
    assert (decision.action, decision.progress.hold.since) == (Action.NONE, NOW + 50_000)


# --- users ----------------------------------------------------------------------------------------------


def test_pause_and_resume_by_spec() -> None:
    """spec.paused stops the steps; taking it back goes on from the same step."""
    paused = plan(make_decision_input(paused=True))
    assert (paused.progress.phase, paused.event) == (Phase.PAUSED, Event.PAUSED)
    assert plan(make_decision_input(paused.progress, said=verdict(), paused=True, now=NOW + 900)).action is Action.NONE
    resumed = plan(make_decision_input(paused.progress))
    assert (resumed.progress.phase, resumed.event) == (Phase.PROGRESSING, Event.RESUMED)


def test_a_paused_rollout_still_rolls_back_on_a_violation() -> None:
    """A pause stops steps up, never the way back."""
    paused = progress(phase=Phase.PAUSED, paused_by="user")
    assert plan(make_decision_input(paused, said=verdict(Outcome.FAIL), paused=True)).weight == 0


def test_abort_rolls_back_whatever_the_policy_says_of_failures() -> None:
    """A user's abort is not a metric failure."""
    ask = Request("r1", "abort", "ada")
    decision = plan(make_decision_input(request=ask, policy=policy(on_failure=OnFailure.PAUSE)))
    assert (decision.weight, decision.reason, decision.progress.requests.answered_id) == (
        0,
        Reason.ABORTED_BY_USER,
        "r1",
    )
    assert "ada" in decision.progress.message


def test_promote_passes_the_present_step_and_full_passes_all() -> None:
    """promote: the next weight; promote-full: 100, without a bake."""
    assert plan(make_decision_input(request=Request("r1", "promote"))).weight == 25
    seen = plan(make_decision_input(request=Request("r1", "promote", "ada", 10)))
    assert seen.weight == 25
    full = plan(make_decision_input(request=Request("r1", "promote-full")))
    assert (full.weight, full.progress.requests.promote_all) == (100, True)
    there = make_observation(100, rolled_out=CANDIDATE, previous=STABLE)
    assert plan(make_decision_input(full.progress, there)).progress.phase is Phase.PROMOTED


def test_promote_passes_only_the_step_that_the_user_saw() -> None:
    """25 % passed a moment before the request arrived: 50 % is not passed with it."""
    at_50 = progress(2, 50, from_weight=25)
    decision = plan(make_decision_input(at_50, make_observation(50), request=Request("r1", "promote", "ada", 25)))
    assert (decision.action, decision.progress.step.index) == (Action.NONE, 2)
    assert decision.progress.requests.answered_id == "r1"
    assert decision.progress.requests.answer.startswith("the step at 25 % has passed meanwhile")


def test_promote_waits_until_the_present_weight_is_in_effect() -> None:
    """A weight is raised only from one that is in effect on a ready route; promote --full goes on all the same."""
    lagging = make_observation(10, route_ready=ConditionStatus.FALSE)
    decision = plan(make_decision_input(observation=lagging, request=Request("r1", "promote")))
    assert decision.action is Action.NONE
    assert "not in effect" in decision.progress.requests.answer
    assert plan(make_decision_input(observation=lagging, request=Request("r1", "promote-full"))).weight == 100


def test_promote_before_the_candidate_is_ready_changes_nothing_and_says_so() -> None:
    """The answer is recorded, the weight is not touched."""
    decision = plan(make_decision_input(staged, unready, request=Request("r1", "promote")))
    assert (decision.action, decision.progress.requests.answered_id) == (Action.NONE, "r1")
    assert "not ready" in decision.progress.requests.answer


def test_a_request_is_answered_once() -> None:
    """The same id is not acted on again."""
    decision = plan(make_decision_input(progress(answered_request_id="r1"), request=Request("r1", "abort")))
    assert decision.action is Action.NONE


def test_an_unknown_request_is_answered_with_what_is_known() -> None:
    """kubectl patch lets users write anything."""
    decision = plan(make_decision_input(request=Request("r1", "explode")))
    assert "promote, promote-full, pause, resume, abort, retry" in decision.progress.requests.answer


def test_resume_after_an_external_change_goes_on_from_the_weight_that_is_there() -> None:
    """A user set 40: the step is 25's, the next one 50."""
    paused = progress(0, 40, phase=Phase.PAUSED, paused_by="kubectl-edit", verified_at=None)
    decision = plan(make_decision_input(paused, make_observation(40), request=Request("r1", "resume")))
    assert (decision.progress.phase, decision.progress.step.index, decision.progress.step.weight) == (
        Phase.PROGRESSING,
        1,
        40,
    )


def test_a_manual_step_waits_for_approval_and_keeps_being_judged() -> None:
    """pause: {} – passed, notified, not moved; a violation still rolls back."""
    manual = policy(steps=(Step(10, 300, approval=True), Step(100, 0)))
    waits = plan(make_decision_input(progress(verified_at=LONG), said=verdict(), policy=manual))
    assert (waits.progress.phase, waits.reason, waits.event) == (
        Phase.PAUSED,
        Reason.AWAITING_APPROVAL,
        Event.PAUSED,
    )
    assert plan(make_decision_input(waits.progress, said=verdict(), policy=manual)).event is None
    assert plan(make_decision_input(waits.progress, said=verdict(Outcome.FAIL), policy=manual)).weight == 0
    passed = plan(make_decision_input(waits.progress, policy=manual, request=Request("r1", "promote")))
    assert passed.weight == 100


# --- the end ---------------------------------------------------------------------------------------------


def test_the_bake_ends_in_promotion_after_its_time_and_a_pass() -> None:
    """At 100 % the candidate is judged for the bake's time."""
    observation = make_observation(100, rolled_out=CANDIDATE, previous=STABLE)
    early = plan(make_decision_input(progress(3, 100, phase=Phase.BAKING), observation, verdict()))
    assert early.progress.phase is Phase.BAKING
    done = plan(
        make_decision_input(progress(3, 100, phase=Phase.BAKING, verified_at=NOW - 601), observation, verdict())
    )
    assert (done.progress.phase, done.event, done.action) == (Phase.PROMOTED, Event.PROMOTED, Action.NONE)


def test_a_violation_in_the_bake_goes_back_to_the_previous_revision() -> None:
    """Row 11: any weight below 100 moves traffic back after promotion; 0 moves all of it."""
    observation = make_observation(100, rolled_out=CANDIDATE, previous=STABLE)
    decision = plan(make_decision_input(progress(3, 100, phase=Phase.BAKING), observation, verdict(Outcome.FAIL)))
    assert (decision.weight, decision.progress.phase) == (0, Phase.ROLLING_BACK)


def test_without_a_bake_the_effect_of_100_is_the_promotion() -> None:
    """bake: 0 – done once the traffic shows it."""
    plain = policy(steps=(Step(10, 300), Step(100, 0)))
    observation = make_observation(100, rolled_out=CANDIDATE, previous=STABLE)
    decision = plan(
        make_decision_input(progress(1, 100, verified_at=None, phase=Phase.BAKING), observation, policy=plain)
    )
    assert decision.progress.phase is Phase.PROMOTED


@pytest.mark.parametrize("phase", [each for each in Phase if each.is_final])
def test_final_phases_stay_final(phase: Phase) -> None:
    """Whatever happens to the service or the metrics afterwards."""
    decision = plan(
        make_decision_input(
            progress(phase=phase), make_observation(0), verdict(Outcome.FAIL), request=Request("r", "abort")
        )
    )
    assert (decision.progress.phase, decision.action, decision.progress.requests.answered_id) == (
        phase,
        Action.NONE,
        "r",
    )


# --- webhooks --------------------------------------------------------------------------------------------

PRE = Webhook("smoke", WebhookType.PRE_ROLLOUT, "http://gate")
CONFIRM = Webhook("approve", WebhookType.CONFIRM_PROMOTION, "http://gate")


def test_pre_rollout_must_say_yes_before_the_first_step() -> None:
    """No, or no answer: held at 0; yes: the first weight."""
    gated = policy(webhooks=(PRE,))
    for request_answer in (False, None):
        webhook_answers = {WebhookType.PRE_ROLLOUT: (WebhookAnswer("smoke", request_answer, "why"),)}
        decision = plan(make_decision_input(staged, make_observation(0), policy=gated, webhook_answers=webhook_answers))
        assert (decision.action, decision.reason, decision.progress.phase) == (
            Action.NONE,
            Reason.WEBHOOK_PENDING,
            Phase.STAGING,
        )
    webhook_answers = {WebhookType.PRE_ROLLOUT: (WebhookAnswer("smoke", True),)}
    assert (
        plan(make_decision_input(staged, make_observation(0), policy=gated, webhook_answers=webhook_answers)).weight
        == 10
    )


def test_a_webhook_that_never_approves_ends_at_the_deadline() -> None:
    """pre-rollout held longer than progressDeadline: given up."""
    webhook_answers = {WebhookType.PRE_ROLLOUT: (WebhookAnswer("smoke", False),)}
    held = replace(staged, reason=Reason.WEBHOOK_PENDING, hold=replace(staged.hold, since=NOW - 1801))
    decision = plan(
        make_decision_input(held, make_observation(0), policy=policy(webhooks=(PRE,)), webhook_answers=webhook_answers)
    )
    assert decision.reason is Reason.PROGRESS_DEADLINE_EXCEEDED


def test_confirm_promotion_guards_100_only() -> None:
    """Lower steps are taken without it; 100 waits for its yes."""
    gated = policy(webhooks=(CONFIRM,))
    assert plan(make_decision_input(progress(verified_at=LONG), said=verdict(), policy=gated)).weight == 25
    at_50 = progress(2, 50, verified_at=LONG)
    assert plan(make_decision_input(at_50, make_observation(50), verdict(), policy=gated)).action is Action.NONE
    webhook_answers = {WebhookType.CONFIRM_PROMOTION: (WebhookAnswer("approve", True),)}
    assert (
        plan(
            make_decision_input(at_50, make_observation(50), verdict(), policy=gated, webhook_answers=webhook_answers)
        ).weight
        == 100
    )


def test_a_rollback_webhook_that_says_yes_rolls_back() -> None:
    """Flagger's rollback type: 2xx means roll back."""
    webhook_answers = {WebhookType.ROLLBACK: (WebhookAnswer("kill", True),)}
    assert plan(make_decision_input(webhook_answers=webhook_answers)).reason is Reason.ROLLBACK_WEBHOOK
    webhook_answers = {WebhookType.ROLLBACK: (WebhookAnswer("kill", False),)}
    assert plan(make_decision_input(webhook_answers=webhook_answers)).action is Action.NONE
