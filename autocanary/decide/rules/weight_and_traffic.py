"""Is the traffic where it should be? What makes a rollout dangerous; the way back is in ``rollback``."""

from __future__ import annotations

from autocanary.decide import transitions
from autocanary.decide.decision_input import (
    BY_FAILURE,
    BY_STEP,
    BY_USER,
    DRIFTED_AFTER,
    EFFECT_OVERDUE,
    REVISION_OVERDUE,
    DecisionInput,
)
from autocanary.decide.rules.analysis_result import roll_back_on_failure
from autocanary.decide.rules.rule import rule
from autocanary.model.decision import Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import FIELD_MANAGER, Observation
from autocanary.model.policy import OnUnstaged, OnWeightRemoved
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.value_wording import format_duration

__all__ = [
    "correct_weight",
    "hold_while_stable_failed",
    "record_missed_release",
    "repair_wrong_stable",
    "report_traffic_drift",
    "roll_back_failed_candidate",
    "supersede_candidate",
]


@rule("CandidateSuperseded")
def supersede_candidate(given: DecisionInput) -> Decision | None:
    """A newer revision takes this one's place; it must not inherit the weight."""
    observation = given.observation
    if observation is None or not observation.created:
        return None
    if observation.created == given.rollout.candidate and not _same_name_other_spec(given, observation):
        return None
    if observation.created == given.rollout.stable:
        return None  # a status from before the candidate was made
    reverted = bool(given.rollout.stable_digest) and observation.spec_digest == given.rollout.stable_digest
    reason = Reason.REVERTED if reverted else Reason.NEW_REVISION
    what = "the spec was changed back to stable's" if reverted else "a newer revision was applied"
    message = f"{what}: {observation.created} takes the place of {given.rollout.candidate}"
    if observation.rolled_out == given.rollout.candidate and not given.at_last_step:
        message += ", which took 100 % of the traffic before it was analysed and is stable now"
    unstaged = observation.weight is None or observation.weight >= 100
    write = observation.weight != 0 and not (unstaged and given.policy.on_unstaged is OnUnstaged.IGNORE)
    return transitions.finish(given, Phase.SUPERSEDED, reason, message, weight=0, write=write)


def _same_name_other_spec(given: DecisionInput, observation: Observation) -> bool:
    """Taken out and put in again with another spec, under a name that came again; not a status that lags."""
    since = given.progress.spec_changed_at
    if since is None or observation.matches_spec(given.rollout.candidate_digest):
        return False
    return given.now - since >= REVISION_OVERDUE


@rule("CandidateTookAllTraffic")
def record_missed_release(given: DecisionInput) -> Decision | None:
    """The interception came too late. It is recorded and not undone, because stable's pods are gone by now."""
    observation = given.observation
    if observation is None or given.progress.step.index >= 0 or observation.rolled_out != given.rollout.candidate:
        return None
    if observation.weight is not None and observation.weight < 100:
        return None
    if given.progress.rollback.stable_is_bad:
        return None  # 100 % was due from the start
    message = f"{given.rollout.candidate} took 100 % of the traffic before it could be intercepted, without analysis"
    return transitions.finish(given, Phase.MISSED, Reason.MISSED_UNSTAGED, message)


@rule("WrongStable")
def repair_wrong_stable(given: DecisionInput) -> Decision | None:
    """KServe took the revision before stable for stable: repair at once, by spec and without a weight."""
    observation = given.observation
    if (
        observation is None
        or not observation.rolled_out
        or observation.rolled_out in (given.rollout.stable, given.rollout.candidate)
    ):
        return None
    if observation.default_endpoint is not None:
        return None  # its owner changed it: see StableChanged
    message = (
        f"KServe sends the stable share of {given.rollout.key} to "
        f"{observation.rolled_out} instead of {given.rollout.stable}"
    )
    if given.rollout.stable_spec is None:
        if given.progress.outbox.has_warned(Reason.STABLE_SPEC_UNKNOWN):
            return None  # notified; the analysis goes on
        text = f"{message}, and the stable spec is unknown to autocanary: apply it without canaryTrafficPercent"
        return transitions.warn(given, Reason.STABLE_SPEC_UNKNOWN, text)
    text = f"{message}; the stable spec is put back without a weight"
    return transitions.restore_stable_spec(given, None, Reason.WRONG_STABLE, text, Event.ROLLBACK)


@rule("RevisionFailed")
def roll_back_failed_candidate(given: DecisionInput) -> Decision | None:
    """The candidate was ready and its pods failed: roll back at once, whatever the samples of the window say."""
    failure, progress = given.candidate_failure, given.progress
    if not failure or given.observation is None:
        return None
    has_traffic = progress.step.index >= 0 or bool(given.observation.traffic_percent(given.rollout.candidate))
    if not has_traffic or (progress.phase is Phase.PAUSED and progress.hold.paused_by not in (BY_USER, BY_STEP)):
        return None
    message = (
        f"{given.rollout.candidate} failed after it was ready: {failure}; it had {progress.step.observed_weight} %"
    )
    return transitions.roll_back(given, Reason.REVISION_FAILED, message)


@rule("StableFailed")
def hold_while_stable_failed(given: DecisionInput) -> Decision | None:
    """Stable's pods failed: Knative changes no split, so nothing is raised, and a rollback would not take effect.

    After ``progressDeadline`` the rollback puts stable's spec back as a new revision.
    """
    observation, rollout, progress, phase = given.observation, given.rollout, given.progress, given.progress.phase
    if observation is None or observation.blocked_by != rollout.stable or given.progress.requests.promote_all:
        return None
    deadline = given.policy.progress_deadline
    held_since = progress.hold.since if progress.reason is Reason.STABLE_FAILED else None
    if held_since is not None and phase is not Phase.PAUSED and given.now - held_since > deadline:
        text = f"{rollout.stable}, the stable revision, failed {format_duration(given.now - held_since)} ago"
        return transitions.roll_back(given, Reason.PROGRESS_DEADLINE_EXCEEDED, text)
    message = (
        f"{rollout.stable}, the stable revision, failed: {observation.route_failure} Knative changes no split of "
        f"{rollout.key} until it is ready again; held at {observation.traffic_percent(rollout.candidate)} %. Repair "
        f"stable, or give {rollout.candidate} all the traffic: `kubectl autocanary promote {rollout.service} -n "
        f"{rollout.namespace} --full`. If stable is not ready {format_duration(deadline)} after it failed, its spec is "
        "put back as a new revision"
    )
    if phase is not Phase.PAUSED:
        return transitions.hold(given, Reason.STABLE_FAILED, message)
    if given.progress.outbox.has_warned(Reason.STABLE_FAILED):
        return None
    return transitions.warn(given, Reason.STABLE_FAILED, message)


@rule("WeightDiffers")
def correct_weight(given: DecisionInput) -> Decision | None:
    """The field is not what this rollout last asked for: not written yet, removed, or written by another client."""
    observation, progress = given.observation, given.progress
    if observation is None or observation.weight == progress.step.weight:
        return None
    if progress.step.weight is None or (progress.step.weight == 100 and observation.weight is None):
        return None  # KServe treats an absent field as 100
    mine = progress.step.verified_at is None and given.acknowledged_weight != progress.step.weight
    if mine and observation.weight == progress.step.from_weight:
        return roll_back_on_failure(given) or _retry_weight(given)  # analysed at the weight that it still has
    if observation.weight is None and given.policy.on_weight_removed is OnWeightRemoved.RESTORE:
        who = f" by {observation.writer}" if observation.writer else ""
        message = (
            f"canaryTrafficPercent was removed{who}, which would promote {given.rollout.candidate} without analysis; "
            f"put back at {progress.step.weight} %"
        )
        notified = progress.outbox.has_warned(Reason.WEIGHT_LOST)  # once, however often it is removed
        event = None if notified else Event.EXTERNAL_CHANGE
        return transitions.write_weight(given, progress.step.weight, Reason.WEIGHT_LOST, message, event)
    since = given.progress.spec_changed_at
    if since is not None and given.now - since < REVISION_OVERDUE:
        return transitions.unchanged(given)  # a release brought its own weight: see CandidateSuperseded
    if observation.weight == 0 and observation.writer == FIELD_MANAGER:
        message = (
            f"the weight of {given.rollout.key} was set to 0 by autocanary, and the record does not say why: "
            "a rollback was written whose record was lost; it is completed"
        )
        return transitions.roll_back(given, Reason.ROLLBACK_UNRECORDED, message, requested=True)
    return external_change(given, observation)


def _retry_weight(given: DecisionInput) -> Decision:
    """The weight could not be written: tried at every evaluation, and notified when that goes on.

    That has no deadline: an API server or a webhook that is unreachable says nothing about the candidate.
    """
    again = transitions.retry_weight(given)
    raised = (given.progress.step.weight or 0) > (given.observation.weight or 0) if given.observation else False
    if raised and not given.present_weight_in_effect:
        return hold_while_stable_failed(given) or transitions.unchanged(given)
    waited = given.now - (given.progress.step.started_at if given.progress.step.started_at is not None else given.now)
    if given.progress.phase is Phase.PAUSED or (waited <= EFFECT_OVERDUE and not given.unsupported_reason):
        return again
    if given.unsupported_reason:
        reason, message = (
            Reason.CANARY_UNSUPPORTED,
            f"{given.progress.step.weight} % is refused: {given.unsupported_reason}",
        )
    else:
        message = f"{given.progress.step.weight} % could not be written for {format_duration(waited)}; tried again"
        reason = Reason.WAITING_FOR_EFFECT
    waiting = transitions.hold(given, reason, message)
    return replace(waiting, action=again.action, weight=again.weight)


def external_change(given: DecisionInput, observation: Observation) -> Decision:
    who = observation.writer or "another client"
    asked = given.progress.step.weight
    made = (
        f"set canaryTrafficPercent from {asked} to {observation.weight}"
        if observation.weight is not None
        else f"removed canaryTrafficPercent ({asked} before), so {given.rollout.candidate} gets 100 %"
    )
    message = f"{who} {made}; the rollout is paused and keeps that weight"
    return transitions.pause(
        given,
        f"client {who}" if who in (BY_USER, BY_STEP, BY_FAILURE) else who,
        Reason.EXTERNAL_CHANGE,
        message,
        replace(
            given.progress,
            step=replace(
                transitions.step_clock_reset(given, given.progress.step),
                weight=100 if observation.weight is None else observation.weight,
                from_weight=None,
            ),
        ),
    )


@rule("TrafficDrifted")
def report_traffic_drift(given: DecisionInput) -> Decision | None:
    """A weight was in effect and is so no longer, although the field is unchanged: one warning.

    Where KServe takes the candidate for stable (its status was lost), the candidate has all the traffic at any
    weight: only stable's spec as a new revision ends that.
    """
    observation, since = given.observation, given.progress.step.drifted_since
    if observation is None or since is None or given.now - since < DRIFTED_AFTER or given.progress.step.weight is None:
        return None
    shares = ", ".join(f"{revision} {share} %" for revision, share in sorted(observation.traffic.items()))
    lasted = format_duration(given.now - since)
    if observation.split_matches(
        candidate=given.rollout.candidate, stable=given.rollout.stable, weight=given.progress.step.weight
    ):
        return _warn_of_unready_route(given, observation, lasted, shares)
    message = f"the split differs from {given.progress.step.weight} % since {lasted}: {shares}"
    lost = (
        observation.default_endpoint is None
        and observation.rolled_out == given.rollout.candidate
        and given.progress.step.weight < 100
    )
    if lost and given.rollout.stable_spec is not None:
        text = f"{message}; KServe takes {given.rollout.candidate} for stable: the stable spec is put back"
        return transitions.restore_stable_spec(given, None, Reason.WRONG_STABLE, text, Event.ROLLBACK)
    if given.progress.outbox.has_warned(Reason.TRAFFIC_DRIFTED):
        return None
    text = f"{message}; no weight is raised until it is back; see the conditions of {given.rollout.key}"
    return transitions.warn(given, Reason.TRAFFIC_DRIFTED, text)


def _warn_of_unready_route(given: DecisionInput, observation: Observation, lasted: str, shares: str) -> Decision | None:
    if given.progress.outbox.has_warned(Reason.ROUTE_NOT_READY):
        return None
    if given.progress.reason is Reason.STABLE_FAILED:
        return None  # that message has said it
    failure = (observation.route_failure or "KServe gives no reason").rstrip(".")
    message = (
        f"the route of {given.rollout.key} is not ready since {lasted}: {failure}; the split is as asked for "
        f"({shares}), and no weight is raised until the route is ready"
    )
    return transitions.warn(given, Reason.ROUTE_NOT_READY, message)
