"""The way back to stable: over when the traffic has left the candidate, not when that was asked for."""

from __future__ import annotations

from autocanary.decide import transitions
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.rules.rule import rule
from autocanary.decide.rules.weight_and_traffic import external_change
from autocanary.model.decision import Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import ConditionStatus, Observation
from autocanary.model.policy import CandidateCleanup
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.value_wording import format_duration

__all__ = ["complete_rollback"]

ESCALATE_AFTER = 30.0
"""Seconds for which a rollback may be without effect before the stable spec itself is put back."""
STATUS_LAG = 6.0
"""Seconds for which a status may be the one from before a write; measured on real controllers."""
LONGEST_STATUS_LAG = 30.0
"""The same on a busy machine, where the generations show that the status is older."""


@rule("RollingBack")
def complete_rollback(given: DecisionInput) -> Decision | None:
    """A rollback is over when the traffic has left the candidate, not when that was asked for."""
    if given.progress.phase is not Phase.ROLLING_BACK or given.observation is None:
        return None
    if _traffic_on_stable(given, given.observation):
        if _may_be_older_status(given, given.observation):
            return transitions.unchanged(given)
        if _cleanup_due(given, given.observation):
            return transitions.remove_candidate(given)
        return _finish(given, given.observation)
    if given.observation.candidate_removed:
        return _continue_repair(given, given.observation)  # nothing is left to write, the traffic is to follow
    newer = given.observation.created not in ("", given.rollout.stable, given.rollout.candidate)
    if newer and given.observation.spec_digest != given.rollout.stable_digest:
        return None  # a fix was released: see CandidateSuperseded
    if given.progress.rollback.repairing:
        return _continue_repair(given, given.observation)
    if given.observation.weight != 0:
        unwritten = given.observation.weight == given.progress.step.from_weight and given.acknowledged_weight != 0
        if unwritten or given.observation.weight is None:
            return _write_zero_weight(given, given.observation)
        return external_change(given, given.observation)
    return _handle_blocked(given, given.observation)


def _finish(given: DecisionInput, observation: Observation, remark: str = "") -> Decision:
    serving = max(observation.traffic, key=observation.traffic.__getitem__)  # stable's spec may have a new revision
    candidate = given.rollout.candidate
    why = given.progress.message.removeprefix(f"{candidate} is ").removeprefix(f"{candidate} ")
    message = f"{candidate} rolled back{f': {why}' if why else ''}. {serving} has 100 %{remark}"
    return transitions.finish(given, Phase.ROLLED_BACK, given.progress.reason, message)


def _cleanup_due(given: DecisionInput, observation: Observation) -> bool:
    """The candidate still has its place in the spec, and the policy wants that empty."""
    if (
        given.policy.candidate_cleanup is CandidateCleanup.KEEP
        or observation.default_endpoint is None
        or not observation.default_endpoint.has_candidate
    ):
        return False
    return observation.created == given.rollout.candidate and observation.matches_spec(given.rollout.candidate_digest)


def _may_be_older_status(given: DecisionInput, observation: Observation) -> bool:
    """The candidate had no traffic yet: KServe may still give it some, after this status.

    So it is when the field was absent or 100 before the 0 (KServe promotes the candidate for a moment), and when no
    status had shown the weight. From any other weight, a candidate at 0 is the proof that the 0 has taken effect.
    """
    step, rollback = given.progress.step, given.progress.rollback
    if observation.default_endpoint is not None or rollback.repairing:
        return False
    if step.from_weight is not None and step.from_weight < 100 and not rollback.weight_unshown:
        return False
    lag = LONGEST_STATUS_LAG if observation.is_status_behind else STATUS_LAG
    return rollback.written_at is None or given.now - rollback.written_at < lag


def _traffic_on_stable(given: DecisionInput, observation: Observation) -> bool:
    if not _is_weight_written(given, observation):
        return False  # an unready candidate has no traffic whatever the field says, until it is ready
    if (
        not observation.traffic
        or observation.route_ready is not ConditionStatus.TRUE
        or observation.traffic_percent(given.rollout.candidate)
    ):
        return False
    if observation.default_endpoint is not None:
        return (
            observation.traffic_percent(observation.rolled_out) == 100
        )  # stable's own place, whatever its owner made of it
    shares = observation.traffic
    stable = shares.get(given.rollout.stable, 0)
    if (
        given.progress.rollback.repairing
        and observation.spec_digest == given.rollout.stable_digest
        and observation.created != given.rollout.candidate
    ):
        stable += shares.get(observation.created, 0) if observation.created != given.rollout.stable else 0
    return stable == 100


def _is_weight_written(given: DecisionInput, observation: Observation) -> bool:
    """Beside the restored stable spec 0 is as good as no weight: neither leaves the candidate in the spec."""
    if observation.candidate_removed:
        return True
    if observation.weight == given.progress.step.weight:
        # Without a weight the candidate's own spec gets everything once it is ready: stable's must be there first.
        return observation.weight == 0 or not _spec_is_candidates(given, observation)
    is_restored = given.progress.rollback.restored and observation.spec_digest == given.rollout.stable_digest
    return is_restored and observation.weight == 0


def _continue_repair(given: DecisionInput, observation: Observation) -> Decision:
    """The restoring patch is repeated until it has arrived; what another client makes of the spec then stays."""
    if (
        not given.progress.rollback.restored
        and not observation.candidate_removed
        and _spec_is_candidates(given, observation)
    ):
        return transitions.retry_restore(given)
    if _old_stable_lost(given, observation):
        return transitions.escalate_rollback(given, without_weight=True)
    overdue = given.now - (given.progress.rollback.escalated_at or given.now) > given.policy.progress_deadline
    if overdue:
        message = f"the stable spec of {given.rollout.key} was put back and the traffic does not follow: see its events"
        return transitions.warn(given, Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    return transitions.unchanged(given)


def _old_stable_lost(given: DecisionInput, observation: Observation) -> bool:
    """The restored revision is ready, and a weight still divides with the old stable, which is gone.

    Only without the field does the restored revision, which is stable's spec, get everything.
    """
    if observation.default_endpoint is not None or observation.weight is None or not given.progress.rollback.restored:
        return False
    if observation.spec_digest != given.rollout.stable_digest or observation.created in (
        given.rollout.candidate,
        given.rollout.stable,
    ):
        return False
    waited = given.now - (
        given.progress.rollback.escalated_at if given.progress.rollback.escalated_at is not None else given.now
    )
    return observation.ready == observation.created and waited > ESCALATE_AFTER


def _handle_blocked(given: DecisionInput, observation: Observation) -> Decision:
    """Knative moves no traffic while a revision in the route is not ready; only a new spec unblocks it.

    The spec is overwritten at once where the status names the candidate as the cause. Otherwise the weight, once it
    is in the field, has ``ESCALATE_AFTER`` seconds to take effect.
    """
    since = given.progress.rollback.written_at
    waited = given.now - (since if since is not None else given.now)
    is_named = observation.blocked_by == given.rollout.candidate
    if observation.traffic_percent(given.rollout.candidate) == 0:  # only the route is not ready
        # KServe may not have seen the 0, and have asked Knative for more than the status shows.
        enough = given.policy.progress_deadline if observation.is_status_behind else ESCALATE_AFTER
        if is_named and waited > enough and observation.traffic_percent(given.rollout.stable) == 100:
            remark = ", and the route is not ready until a new revision is released: it is blocked by the candidate"
            return _finish(given, observation, remark)
        return transitions.unchanged(given)
    if waited <= ESCALATE_AFTER and not is_named:
        return transitions.unchanged(given)  # the weight is in the field: it may still take effect
    known = given.rollout.stable_spec is not None
    is_overwritten = known and _spec_is_candidates(given, observation)
    blocked = given
    if not given.progress.outbox.has_warned(Reason.ROLLBACK_BLOCKED):
        warning = _warn_of_blocked_route(given, observation, waited)
        if not is_overwritten:
            return warning
        blocked = given.with_progress(warning.progress)
    if not is_overwritten:
        return transitions.unchanged(given)  # another client's spec is not overwritten
    escalation = transitions.escalate_rollback(blocked)
    return replace(escalation, event=Event.WARNING) if blocked is not given else escalation


def _warn_of_blocked_route(given: DecisionInput, observation: Observation, waited: float) -> Decision:
    rollout = given.rollout
    cause = (observation.route_failure or "KServe gives no reason").rstrip(".")
    if rollout.stable_spec is None:
        way = "the spec of stable is unknown to autocanary: apply it with canaryTrafficPercent: 0"
    elif not _spec_is_candidates(given, observation):
        way = "another spec was applied meanwhile and is left alone"
    else:
        way = f"autocanary puts the spec of {rollout.stable} back, because only a new revision unblocks the route"
    since = f" since {format_duration(waited)}" if waited >= 1 else ""
    message = (
        f"{rollout.candidate} still has {given.progress.step.observed_weight} % of the traffic, although its weight is "
        f"0{since}: {cause}; {way}"
    )
    return transitions.warn(given, Reason.ROLLBACK_BLOCKED, message)


def _write_zero_weight(given: DecisionInput, observation: Observation) -> Decision:
    """The weight 0 does not get through: tried at every evaluation, and notified once when that goes on.

    Where every weight is refused, the candidate can still be taken out of the spec.
    """
    if (
        given.unsupported_reason
        and observation.default_endpoint is not None
        and _spec_is_candidates(given, observation)
    ):
        return transitions.escalate_rollback(given, without_weight=True)
    again = transitions.retry_weight(given)
    waited = given.now - (given.progress.step.started_at or given.now)
    if waited <= ESCALATE_AFTER or given.progress.outbox.has_warned(Reason.ROLLBACK_BLOCKED):
        return again
    shown = "absent" if observation.weight is None else f"{observation.weight}"
    message = (
        f"the weight of {given.rollout.key} could not be set to 0 for {format_duration(waited)}, it is {shown}; "
        "tried every 2 s: see the log for what the API server answers"
    )
    warning = transitions.warn(given, Reason.ROLLBACK_BLOCKED, message)
    return replace(warning, action=again.action, weight=again.weight, urgent=True)


def _spec_is_candidates(given: DecisionInput, observation: Observation) -> bool:
    return not given.rollout.candidate_digest or observation.spec_digest == given.rollout.candidate_digest
