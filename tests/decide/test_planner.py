"""The rule chain, a situation at a time: what is decided, why, and what is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.analysis import Outcome
from autocanary.decide.decision_input import Answer
from autocanary.decide.planner import plan
from autocanary.model.decision import Event, Move
from autocanary.model.observation import Trinary
from autocanary.model.policy import Analysis, Grace, OnFailure, OnUnstaged, Step, Then, Webhook, WebhookType
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request
from tests.decide.build import (
    CANDIDATE,
    LATENCY,
    NOW,
    STABLE,
    SUCCESS,
    observation,
    policy,
    progress,
    situation,
    verdict,
)

LONG = NOW - 400  # longer ago than a step's five minutes
staged = progress(-1, 0, phase=Phase.STAGING, reason=Reason.ROLLOUT_STARTED, verified_at=None)
unready = observation(0, ready=STABLE)


def test_staging_waits_until_the_candidate_is_ready() -> None:
    """An unready candidate gets no traffic."""
    decision = plan(situation(staged, unready))
    assert (decision.move, decision.progress.phase) == (Move.NONE, Phase.STAGING)


def test_a_ready_candidate_gets_the_first_step() -> None:
    """Ready: the first weight is written and told."""
    decision = plan(situation(staged, observation(0)))
    assert (decision.move, decision.weight, decision.event) == (Move.WEIGHT, 10, Event.STEP)
    assert (decision.progress.phase, decision.progress.step) == (Phase.PROGRESSING, 0)
    assert decision.progress.verified_at is None


def test_a_candidate_adopted_at_a_weight_is_judged_there_without_a_write() -> None:
    """Applied at 30 % by its owner: judged at 30, the next step is 50."""
    adopted = staged.but(weight=30)
    decision = plan(situation(adopted, observation(30)))
    assert (decision.move, decision.progress.step, decision.progress.weight) == (Move.NONE, 1, 30)
    later = decision.progress.but(verified_at=LONG)
    assert plan(situation(later, observation(30), verdict())).weight == 50


def test_a_superseded_revision_does_not_inherit_the_share() -> None:
    """While the candidate is unready, a weight would go to the newest ready revision: set it to 0."""
    adopted = staged.but(weight=10)
    seen = observation(10, ready="mnist-predictor-00000", traffic={"mnist-predictor-00000": 10, STABLE: 90})
    assert (plan(situation(adopted, seen)).move, plan(situation(adopted, seen)).weight) == (Move.WEIGHT, 0)


def test_a_failed_revision_is_told_at_once_and_given_up_at_the_deadline() -> None:
    """Knative may still make it ready (a node is coming up), so weight 0 is kept until the deadline."""
    seen = replace(unready, failure="revision failed: CrashLoopBackOff")
    told = plan(situation(staged, seen))
    assert (told.event, told.reason, told.progress.phase) == (
        Event.HELD,
        Reason.REVISION_FAILED,
        Phase.STAGING,
    )
    assert plan(situation(told.progress, seen)).event is None
    late = plan(situation(told.progress, seen, now=NOW + 2000))
    assert (late.event, late.reason) == (Event.ROLLBACK, Reason.REVISION_FAILED)


def test_a_candidate_that_never_becomes_ready_is_given_up_at_the_deadline() -> None:
    """No failure is known, but time is up."""
    decision = plan(situation(staged, unready, now=NOW + 2000))
    assert decision.reason is Reason.PROGRESS_DEADLINE_EXCEEDED
    assert decision.move is Move.NONE  # the weight is 0 already


@pytest.mark.parametrize(
    "changes",
    [
        {"traffic": {CANDIDATE: 0, STABLE: 100}},
        {"traffic": {CANDIDATE: 10, "mnist-predictor-00000": 90}},
        {"route_ready": Trinary.UNKNOWN},
        {"traffic": {}},
    ],
)
def test_a_weight_is_in_effect_by_three_signs_in_one_status(changes: dict[str, Any]) -> None:
    """Measured, item 1: candidate's sum, recorded stable's rest, and the route ready; otherwise wait."""
    waiting = progress(verified_at=None)
    assert plan(situation(waiting, observation(10))).progress.verified_at == NOW
    assert plan(situation(waiting, observation(10, **changes))).progress.verified_at is None


def test_a_weight_that_never_shows_is_told_and_then_rolled_back() -> None:
    """Measured, item 9: a frozen status looks healthy; only a deadline of our own notices."""
    waiting = progress(verified_at=None, step_started_at=NOW - 70)
    frozen = observation(10, share=0)
    held = plan(situation(waiting, frozen))
    assert (held.event, held.reason) == (Event.HELD, Reason.WAITING_FOR_EFFECT)
    late = plan(situation(held.progress, frozen, now=NOW + 1900))
    assert (late.event, late.weight) == (Event.ROLLBACK, 0)


def test_a_step_is_held_for_its_time_even_when_it_passes() -> None:
    """Passing looks do not shorten a step."""
    decision = plan(situation(said=verdict()))
    assert (decision.move, decision.progress.phase) == (Move.NONE, Phase.PROGRESSING)


def test_samples_just_after_a_change_are_not_judged() -> None:
    """Within the warm-up even a verdict changes nothing but the record of it."""
    fresh = progress(verified_at=NOW - 5)
    assert plan(situation(fresh, said=verdict())).move is Move.NONE


def test_a_passed_step_leads_to_the_next_weight() -> None:
    """Time is over and the last look passed."""
    decision = plan(situation(progress(verified_at=LONG), said=verdict()))
    assert (decision.weight, decision.event, decision.progress.step) == (25, Event.STEP, 1)
    assert decision.progress.metrics == {}


def test_no_step_without_a_look() -> None:
    """The clock alone never raises a weight."""
    assert plan(situation(progress(verified_at=LONG))).move is Move.NONE


@pytest.mark.parametrize("outcome", [Outcome.INCONCLUSIVE, Outcome.NO_DATA, Outcome.OUTAGE])
def test_no_step_without_a_pass(outcome: Outcome) -> None:
    """Whatever is not a pass holds the weight."""
    assert plan(situation(progress(verified_at=LONG), said=verdict(outcome))).move is Move.NONE


def test_a_failure_rolls_back_at_once() -> None:
    """Weight 0, urgently, with the judge's words."""
    decision = plan(situation(said=verdict(Outcome.FAIL, message="too many errors")))
    assert (decision.move, decision.weight, decision.urgent) == (Move.WEIGHT, 0, True)
    assert (decision.event, decision.reason) == (Event.ROLLBACK, Reason.METRIC_BREACH)
    assert decision.progress.message == "too many errors"


def test_on_failure_pause_keeps_the_weight() -> None:
    """The policy may ask to stop instead of rolling back."""
    decision = plan(situation(said=verdict(Outcome.FAIL), policy=policy(on_failure=OnFailure.PAUSE)))
    assert (decision.move, decision.progress.phase, decision.event) == (Move.NONE, Phase.PAUSED, Event.PAUSED)


def test_a_rollback_ends_when_the_traffic_is_back() -> None:
    """Not when the weight was written."""
    going = progress(weight=0, phase=Phase.ROLLING_BACK, reason=Reason.METRIC_BREACH, verified_at=None)
    assert plan(situation(going, observation(0, share=10))).progress.phase is Phase.ROLLING_BACK
    done = plan(situation(going, observation(0)))
    assert (done.progress.phase, done.event, done.reason) == (
        Phase.ROLLED_BACK,
        Event.ROLLED_BACK,
        Reason.METRIC_BREACH,
    )


def test_a_blocked_rollback_is_told_and_escalated_by_the_stable_spec() -> None:
    """Row 17: the weight is 0 and the traffic does not move: only a new spec unblocks the route."""
    going = progress(weight=0, phase=Phase.ROLLING_BACK, reason=Reason.METRIC_BREACH, verified_at=None)
    blocked = observation(0, share=10, route_ready=Trinary.FALSE)
    told = plan(situation(going, blocked))
    assert (told.event, told.reason) == (Event.WARNING, Reason.ROLLBACK_BLOCKED)
    after = plan(situation(told.progress, blocked))
    assert (after.move, after.weight) == (Move.RESTORE, 0)
    restored = observation(
        0,
        created="mnist-predictor-00003",
        ready="mnist-predictor-00003",
        spec_digest="stable",
        traffic={"mnist-predictor-00003": 0, STABLE: 100},
    )
    assert plan(situation(after.progress, restored)).progress.phase is Phase.ROLLED_BACK


def test_a_rollback_that_a_crash_interrupted_is_written_again() -> None:
    """Recorded, not written: the field still has the old weight."""
    going = progress(weight=0, from_weight=10, phase=Phase.ROLLING_BACK, verified_at=None)
    decision = plan(situation(going, observation(10)))
    assert (decision.move, decision.weight, decision.urgent) == (Move.WEIGHT, 0, True)


def test_a_step_that_a_crash_interrupted_is_written_again() -> None:
    """The field still has the 10 from before the recorded 25: our own unfinished write."""
    recorded = progress(1, 25, from_weight=10, verified_at=None, step_started_at=NOW - 5)
    decision = plan(situation(recorded, observation(10)))
    assert (decision.move, decision.weight, decision.event) == (Move.WEIGHT, 25, None)


def test_somebody_elses_weight_pauses_and_names_them() -> None:
    """Not fought: the weight is left as it was set."""
    decision = plan(situation(seen=observation(40, writer="kubectl-edit")))
    assert (decision.move, decision.progress.phase, decision.event) == (
        Move.NONE,
        Phase.PAUSED,
        Event.EXTERNAL_CHANGE,
    )
    assert decision.progress.paused_by == "kubectl-edit"
    assert "from 10 to 40" in decision.progress.message
    assert plan(situation(decision.progress, observation(40), verdict(Outcome.FAIL))).move is Move.NONE


def test_a_lost_field_is_put_back_at_once() -> None:
    """Removing the field means 100 % of an unjudged candidate."""
    seen = observation(None, rolled_out=CANDIDATE, previous=STABLE, writer="argocd")
    decision = plan(situation(seen=seen))
    assert (decision.move, decision.weight, decision.urgent) == (Move.WEIGHT, 10, True)
    assert (decision.event, decision.reason) == (Event.EXTERNAL_CHANGE, Reason.WEIGHT_LOST)
    assert "argocd" in decision.progress.message


def test_an_absent_field_at_100_is_no_change() -> None:
    """KServe treats an absent field as 100."""
    baking = progress(3, 100, phase=Phase.BAKING)
    seen = observation(None, rolled_out=CANDIDATE, previous=STABLE)
    assert plan(situation(baking, seen)).event is None


def test_grand_previous_trap_is_repaired_by_spec_without_a_weight() -> None:
    """Measured, item 4: R went back to the revision before stable."""
    seen = observation(10, rolled_out="mnist-predictor-00000")
    decision = plan(situation(seen=seen))
    assert (decision.move, decision.weight, decision.reason) == (Move.RESTORE, None, Reason.WRONG_STABLE)


def test_grand_previous_trap_without_a_known_stable_spec_tells_a_person_once() -> None:
    """Nothing is guessed when the stable spec was never seen."""
    seen = observation(10, rolled_out="mnist-predictor-00000")
    decision = plan(situation(seen=seen, stable_spec=None))
    assert (decision.move, decision.event, decision.reason) == (
        Move.NONE,
        Event.WARNING,
        Reason.STABLE_SPEC_UNKNOWN,
    )
    assert plan(situation(decision.progress, seen, stable_spec=None)).event is None


def test_a_newer_revision_supersedes_and_gets_no_share() -> None:
    """The weight must not pass to a revision nobody has judged."""
    decision = plan(situation(seen=observation(10, created="mnist-predictor-00003")))
    assert (decision.progress.phase, decision.move, decision.weight) == (Phase.SUPERSEDED, Move.WEIGHT, 0)


def test_a_newer_revision_without_a_weight_is_left_alone_when_the_policy_ignores_it() -> None:
    """onUnstaged: ignore means that an unstaged release is the user's own business."""
    seen = observation(None, created="mnist-predictor-00003", rolled_out=CANDIDATE, previous=STABLE)
    baking = progress(3, 100, phase=Phase.BAKING)
    decision = plan(situation(baking, seen, policy=policy(on_unstaged=OnUnstaged.IGNORE)))
    assert (decision.progress.phase, decision.move) == (Phase.SUPERSEDED, Move.NONE)


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
    decision = plan(situation(seen=observation(10, **changes)))
    assert (decision.progress.phase, decision.reason, decision.move) == (Phase.ABANDONED, reason, Move.NONE)


def test_a_service_that_does_not_exist_ends_the_rollout() -> None:
    """404 in a fresh picture."""
    assert plan(situation(gone=True)).progress.phase is Phase.ABANDONED


def test_nothing_is_concluded_from_an_old_picture() -> None:
    """Even a missing service only holds while nobody has confirmed the picture."""
    decision = plan(situation(gone=True, picture_age=300))
    assert (decision.progress.phase, decision.reason) == (Phase.HOLDING, Reason.OBSERVATION_STALE)


def test_an_old_picture_leaves_a_rollback_a_rollback() -> None:
    """The phase of a rollback or a pause is not lost to a hold."""
    going = progress(weight=0, phase=Phase.ROLLING_BACK)
    assert plan(situation(going, picture_age=300)).progress.phase is Phase.ROLLING_BACK


# --- metrics that do not answer --------------------------------------------------------------------------


def test_one_hiccup_is_not_worth_a_message() -> None:
    """The first unanswered look changes nothing for people."""
    decision = plan(situation(said=verdict(Outcome.OUTAGE)))
    assert (decision.event, decision.progress.phase) == (None, Phase.PROGRESSING)
    assert decision.progress.outage_since == NOW


def test_an_outage_holds_and_says_so_once_then_goes_on() -> None:
    """Prometheus away and back: held, told, resumed, never rolled back by default."""
    away = progress(verified_at=LONG, outage_since=NOW - 60)
    held = plan(situation(away, said=verdict(Outcome.OUTAGE)))
    assert (held.event, held.reason, held.progress.phase) == (
        Event.HELD,
        Reason.METRICS_OUTAGE,
        Phase.HOLDING,
    )
    again = plan(situation(held.progress, said=verdict(Outcome.OUTAGE), now=NOW + 15))
    assert again.event is None
    for hours in (1, 10, 100):
        still = plan(situation(held.progress, said=verdict(Outcome.OUTAGE), now=NOW + hours * 3600))
        assert still.move is Move.NONE
    back = plan(situation(again.progress, said=verdict(), now=NOW + 30))
    assert (back.weight, back.event) == (25, Event.STEP)


def test_an_outage_that_ends_within_a_step_is_told_as_resumed() -> None:
    """Held before the step's time was over: the step goes on."""
    held = progress(phase=Phase.HOLDING, reason=Reason.METRICS_OUTAGE, outage_since=NOW - 60)
    decision = plan(situation(held, said=verdict()))
    assert (decision.event, decision.progress.phase) == (Event.RESUMED, Phase.PROGRESSING)
    assert decision.progress.outage_since is None


@pytest.mark.parametrize(
    ("outcome", "analysis", "expected"),
    [
        (Outcome.NO_DATA, Analysis((SUCCESS, LATENCY)), (Move.WEIGHT, Reason.NO_DATA_DEADLINE)),
        (
            Outcome.OUTAGE,
            Analysis((SUCCESS, LATENCY), on_outage=Grace(600, Then.ROLLBACK)),
            (Move.WEIGHT, Reason.OUTAGE_DEADLINE),
        ),
        (
            Outcome.NO_DATA,
            Analysis((SUCCESS, LATENCY), on_no_data=Grace(600, Then.PAUSE)),
            (Move.NONE, Reason.NO_DATA_DEADLINE),
        ),
        (
            Outcome.NO_DATA,
            Analysis((SUCCESS, LATENCY), on_no_data=Grace(600, Then.HOLD)),
            (Move.NONE, Reason.NO_DATA),
        ),
    ],
)
def test_the_stated_deadline_decides_what_silence_means(
    outcome: Outcome, analysis: Analysis, expected: tuple[Move, Reason]
) -> None:
    """onNoData and onOutage: hold, then what the policy says, and not before."""
    name = "no_data_since" if outcome is Outcome.NO_DATA else "outage_since"
    before = plan(
        situation(
            progress().but(**{name: NOW - 599}), said=verdict(outcome), policy=policy(analysis=analysis)
        )
    )
    assert before.move is Move.NONE
    after = plan(
        situation(
            progress().but(**{name: NOW - 600}), said=verdict(outcome), policy=policy(analysis=analysis)
        )
    )
    assert (after.move, after.reason) == expected


@pytest.mark.parametrize(
    ("outcome", "reason", "ends"),
    [
        (Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE, True),
        (Outcome.INCONCLUSIVE, Reason.BREACH_SEEN, True),
        (Outcome.SUSPICIOUS, Reason.SUSPICIOUS, True),
        (Outcome.PASS, Reason.ANALYSING, True),
        (Outcome.OUTAGE, Reason.METRICS_OUTAGE, True),
        (Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, False),
        (Outcome.INCONCLUSIVE, Reason.WARMING_UP, False),
        (Outcome.NO_DATA, Reason.NO_DATA, False),
    ],
)
def test_a_time_without_data_ends_with_data(outcome: Outcome, reason: Reason, ends: bool) -> None:
    """Whatever the data say: one silent look much later begins a time of its own, and rolls nothing back."""
    said = verdict(outcome, reason=reason)
    after = plan(situation(progress(no_data_since=NOW - 500), said=said)).progress
    assert after.no_data_since == (None if ends else NOW - 500)
    silent = plan(situation(after, said=verdict(Outcome.NO_DATA), now=NOW + 400))
    assert (silent.reason is Reason.NO_DATA_DEADLINE) is not ends


def test_too_few_requests_hold_until_the_progress_deadline() -> None:
    """A held rollout must move within the deadline, or it is rolled back."""
    held = plan(situation(progress(verified_at=LONG), said=verdict(Outcome.INCONCLUSIVE)))
    assert (held.progress.phase, held.progress.held_since) == (Phase.HOLDING, NOW)
    late = plan(situation(held.progress, said=verdict(Outcome.INCONCLUSIVE), now=NOW + 1801))
    assert (late.weight, late.reason) == (0, Reason.PROGRESS_DEADLINE_EXCEEDED)


def test_a_night_in_a_closed_window_does_not_count_towards_the_deadline() -> None:
    """The window's hold has no deadline, and what comes after it starts a clock of its own."""
    closed = progress(verified_at=LONG, phase=Phase.HOLDING, reason=Reason.WINDOW_CLOSED, held_since=None)
    decision = plan(situation(closed, said=verdict(Outcome.INCONCLUSIVE), now=NOW + 50_000))
    assert (decision.move, decision.progress.held_since) == (Move.NONE, NOW + 50_000)


# --- people ----------------------------------------------------------------------------------------------


def test_pause_and_resume_by_spec() -> None:
    """spec.paused stops the steps; taking it back goes on from the same step."""
    paused = plan(situation(paused=True))
    assert (paused.progress.phase, paused.event) == (Phase.PAUSED, Event.PAUSED)
    assert plan(situation(paused.progress, said=verdict(), paused=True, now=NOW + 900)).move is Move.NONE
    resumed = plan(situation(paused.progress))
    assert (resumed.progress.phase, resumed.event) == (Phase.PROGRESSING, Event.RESUMED)


def test_a_paused_rollout_still_rolls_back_on_a_breach() -> None:
    """A pause stops steps up, never the way back."""
    paused = progress(phase=Phase.PAUSED, paused_by="user")
    assert plan(situation(paused, said=verdict(Outcome.FAIL), paused=True)).weight == 0


def test_abort_rolls_back_whatever_the_policy_says_of_failures() -> None:
    """A person's abort is not a metric failure."""
    ask = Request("r1", "abort", "ada")
    decision = plan(situation(request=ask, policy=policy(on_failure=OnFailure.PAUSE)))
    assert (decision.weight, decision.reason, decision.progress.answered) == (0, Reason.ABORTED_BY_USER, "r1")
    assert "ada" in decision.progress.message


def test_promote_passes_the_present_step_and_full_passes_all() -> None:
    """promote: the next weight; promote-full: 100, without a bake."""
    assert plan(situation(request=Request("r1", "promote"))).weight == 25
    full = plan(situation(request=Request("r1", "promote-full")))
    assert (full.weight, full.progress.promote_all) == (100, True)
    there = observation(100, rolled_out=CANDIDATE, previous=STABLE)
    assert plan(situation(full.progress, there)).progress.phase is Phase.PROMOTED


def test_promote_before_the_candidate_is_ready_changes_nothing_and_says_so() -> None:
    """The answer is recorded, the weight is not touched."""
    decision = plan(situation(staged, unready, request=Request("r1", "promote")))
    assert (decision.move, decision.progress.answered) == (Move.NONE, "r1")
    assert "not ready" in decision.progress.answer


def test_a_request_is_answered_once() -> None:
    """The same id is not acted on again."""
    decision = plan(situation(progress(answered="r1"), request=Request("r1", "abort")))
    assert decision.move is Move.NONE


def test_an_unknown_request_is_answered_with_what_is_known() -> None:
    """kubectl patch lets people write anything."""
    decision = plan(situation(request=Request("r1", "explode")))
    assert "promote, promote-full, resume, abort, retry" in decision.progress.answer


def test_resume_after_an_external_change_goes_on_from_the_weight_that_is_there() -> None:
    """A person set 40: the step is 25's, the next one 50."""
    paused = progress(0, 40, phase=Phase.PAUSED, paused_by="kubectl-edit", verified_at=None)
    decision = plan(situation(paused, observation(40), request=Request("r1", "resume")))
    assert (decision.progress.phase, decision.progress.step, decision.progress.weight) == (
        Phase.PROGRESSING,
        1,
        40,
    )


def test_a_manual_step_waits_for_a_person_and_keeps_being_judged() -> None:
    """pause: {} – passed, told, not moved; a breach still rolls back."""
    manual = policy(steps=(Step(10, 300, approval=True), Step(100, 0)))
    waits = plan(situation(progress(verified_at=LONG), said=verdict(), policy=manual))
    assert (waits.progress.phase, waits.reason, waits.event) == (
        Phase.PAUSED,
        Reason.AWAITING_APPROVAL,
        Event.PAUSED,
    )
    assert plan(situation(waits.progress, said=verdict(), policy=manual)).event is None
    assert plan(situation(waits.progress, said=verdict(Outcome.FAIL), policy=manual)).weight == 0
    passed = plan(situation(waits.progress, policy=manual, request=Request("r1", "promote")))
    assert passed.weight == 100


# --- the end ---------------------------------------------------------------------------------------------


def test_the_bake_ends_in_promotion_after_its_time_and_a_pass() -> None:
    """At 100 % the candidate is judged for the bake's time."""
    seen = observation(100, rolled_out=CANDIDATE, previous=STABLE)
    early = plan(situation(progress(3, 100, phase=Phase.BAKING), seen, verdict()))
    assert early.progress.phase is Phase.BAKING
    done = plan(situation(progress(3, 100, phase=Phase.BAKING, verified_at=NOW - 601), seen, verdict()))
    assert (done.progress.phase, done.event, done.move) == (Phase.PROMOTED, Event.PROMOTED, Move.NONE)


def test_a_breach_in_the_bake_goes_back_to_the_previous_revision() -> None:
    """Row 11: any weight below 100 moves traffic back after promotion; 0 moves all of it."""
    seen = observation(100, rolled_out=CANDIDATE, previous=STABLE)
    decision = plan(situation(progress(3, 100, phase=Phase.BAKING), seen, verdict(Outcome.FAIL)))
    assert (decision.weight, decision.progress.phase) == (0, Phase.ROLLING_BACK)


def test_without_a_bake_the_effect_of_100_is_the_promotion() -> None:
    """bake: 0 – done once the traffic shows it."""
    plain = policy(steps=(Step(10, 300), Step(100, 0)))
    seen = observation(100, rolled_out=CANDIDATE, previous=STABLE)
    decision = plan(situation(progress(1, 100, verified_at=None, phase=Phase.BAKING), seen, policy=plain))
    assert decision.progress.phase is Phase.PROMOTED


@pytest.mark.parametrize("phase", [each for each in Phase if each.is_final])
def test_final_phases_stay_final(phase: Phase) -> None:
    """Whatever happens to the service or the metrics afterwards."""
    decision = plan(
        situation(progress(phase=phase), observation(0), verdict(Outcome.FAIL), request=Request("r", "abort"))
    )
    assert (decision.progress.phase, decision.move, decision.progress.answered) == (phase, Move.NONE, "r")


# --- webhooks --------------------------------------------------------------------------------------------

PRE = Webhook("smoke", WebhookType.PRE_ROLLOUT, "http://gate")
CONFIRM = Webhook("approve", WebhookType.CONFIRM_PROMOTION, "http://gate")


def test_pre_rollout_must_say_yes_before_the_first_step() -> None:
    """No, or no answer: held at 0; yes: the first weight."""
    gated = policy(webhooks=(PRE,))
    for answer in (False, None):
        gates = {WebhookType.PRE_ROLLOUT: (Answer("smoke", answer, "why"),)}
        decision = plan(situation(staged, observation(0), policy=gated, gates=gates))
        assert (decision.move, decision.reason, decision.progress.phase) == (
            Move.NONE,
            Reason.WEBHOOK_PENDING,
            Phase.STAGING,
        )
    gates = {WebhookType.PRE_ROLLOUT: (Answer("smoke", True),)}
    assert plan(situation(staged, observation(0), policy=gated, gates=gates)).weight == 10


def test_a_gate_that_never_opens_ends_at_the_deadline() -> None:
    """pre-rollout held longer than progressDeadline: given up."""
    gates = {WebhookType.PRE_ROLLOUT: (Answer("smoke", False),)}
    held = staged.but(reason=Reason.WEBHOOK_PENDING, held_since=NOW - 1801)
    decision = plan(situation(held, observation(0), policy=policy(webhooks=(PRE,)), gates=gates))
    assert decision.reason is Reason.PROGRESS_DEADLINE_EXCEEDED


def test_confirm_promotion_guards_100_only() -> None:
    """Lower steps are taken without it; 100 waits for its yes."""
    gated = policy(webhooks=(CONFIRM,))
    assert plan(situation(progress(verified_at=LONG), said=verdict(), policy=gated)).weight == 25
    at_50 = progress(2, 50, verified_at=LONG)
    assert plan(situation(at_50, observation(50), verdict(), policy=gated)).move is Move.NONE
    gates = {WebhookType.CONFIRM_PROMOTION: (Answer("approve", True),)}
    assert plan(situation(at_50, observation(50), verdict(), policy=gated, gates=gates)).weight == 100


def test_a_rollback_webhook_that_says_yes_rolls_back() -> None:
    """Flagger's rollback type: 2xx means roll back."""
    gates = {WebhookType.ROLLBACK: (Answer("kill", True),)}
    assert plan(situation(gates=gates)).reason is Reason.ROLLBACK_WEBHOOK
    gates = {WebhookType.ROLLBACK: (Answer("kill", False),)}
    assert plan(situation(gates=gates)).move is Move.NONE
