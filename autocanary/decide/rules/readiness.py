"""Does the candidate serve what it should? Staging, and whether a weight is in effect."""

from __future__ import annotations

from autocanary.decide import transitions
from autocanary.decide.decision_input import EFFECT_OVERDUE, DecisionInput
from autocanary.decide.rules.holding import hold_for_webhook, hold_for_window, hold_unless_paused
from autocanary.decide.rules.rule import rule
from autocanary.model.decision import Decision
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation
from autocanary.model.policy import WebhookType
from autocanary.model.reason import Reason
from autocanary.model.rollout_windows import is_open
from autocanary.model.value_wording import format_duration

__all__ = ["leave_staging_when_ready", "wait_for_warmup", "wait_for_weight_in_effect"]


@rule("Staging")
def leave_staging_when_ready(given: DecisionInput) -> Decision | None:
    """The candidate must be ready before it gets traffic, and before that no other revision may have its share."""
    if given.progress.step.index >= 0 or given.observation is None:
        return None
    if not given.candidate_ready:
        return _wait_for_ready(given, given.observation)
    if (given.progress.step.weight or 0) >= given.policy.steps[0].weight:
        weight = given.progress.step.weight or 0
        step = given.step_for_weight(weight)
        return transitions.start_at_current_weight(
            given, step, f"{given.rollout.candidate} is ready and serves {weight} %"
        )
    if not given.webhooks_allow(WebhookType.PRE_ROLLOUT):
        return hold_for_webhook(given, WebhookType.PRE_ROLLOUT) or transitions.unchanged(given)
    step = len(given.policy.steps) - 1 if given.progress.requests.promote_all else 0
    if not given.progress.requests.promote_all and not is_open(given.policy.windows, given.now):
        return hold_for_window(given)
    if not given.progress.requests.promote_all and not given.present_weight_in_effect:
        return _wait_for_route(given)
    weight = given.policy.steps[step].weight
    message = f"{given.rollout.candidate} is ready; {weight} % of the traffic goes to it"
    return transitions.advance(given, step, Reason.STEP_PASSED, message)


def _wait_for_route(given: DecisionInput) -> Decision:
    """The first weight is raised only from a weight that is in effect; TrafficDrifted warns meanwhile."""
    since = given.progress.step.drifted_since
    waited = given.now - (since if since is not None else given.now)
    if waited <= given.policy.progress_deadline:
        return transitions.unchanged(given)
    message = f"the route of {given.rollout.key} was not ready for {format_duration(waited)}; no weight was raised"
    return transitions.roll_back(given, Reason.PROGRESS_DEADLINE_EXCEEDED, message)


def _wait_for_ready(given: DecisionInput, observation: Observation) -> Decision:
    if given.progress.step.weight and observation.ready not in ("", given.rollout.stable, given.rollout.candidate):
        message = (
            f"until {given.rollout.candidate} is ready its share would go to {observation.ready}, "
            "which was not rolled out; held at 0 %"
        )
        return transitions.write_weight(given, 0, Reason.WAITING_FOR_REVISION, message)
    began = given.progress.step.started_at
    waited = given.now - (began if began is not None else given.progress.started_at)
    if waited > given.policy.progress_deadline:
        why = observation.failure or "KServe says nothing about why"
        message = f"{given.rollout.candidate} is not ready after {format_duration(waited)}: {why}"
        reason = Reason.REVISION_FAILED if observation.failure else Reason.PROGRESS_DEADLINE_EXCEEDED
        return transitions.roll_back(given, reason, message)
    if observation.failure:
        left = format_duration(given.policy.progress_deadline - waited)
        message = (
            f"{given.rollout.candidate} cannot become ready: {observation.failure}; rolled back in {left} at the latest"
        )
        if given.progress.reason is Reason.REVISION_FAILED:
            return transitions.unchanged(given)
        return transitions.hold(given, Reason.REVISION_FAILED, message)
    if given.progress.reason in (Reason.ROLLOUT_STARTED, Reason.INTERCEPTED_UNSTAGED, Reason.RETRIED_BY_USER):
        return transitions.unchanged(given)
    return transitions.continue_step(given, Reason.WAITING_FOR_REVISION, f"{given.rollout.candidate} is not ready yet")


@rule("WeightNotInEffect")
def wait_for_weight_in_effect(given: DecisionInput) -> Decision | None:
    """A step has happened when the traffic shows it; its clock starts then."""
    progress, observation = given.progress, given.observation
    if observation is None or progress.step.weight is None:
        return None
    if progress.step.verified_at is not None:
        traffic_percent = observation.traffic_percent(given.rollout.candidate)
        if traffic_percent is None or traffic_percent == progress.step.weight:
            return None
        message = f"the traffic shows {traffic_percent} % instead of {progress.step.weight} %; the step starts again"
        again = replace(progress, step=replace(progress.step, verified_at=None, started_at=given.now))
        return transitions.continue_step(given, Reason.WAITING_FOR_EFFECT, message, again)
    if given.weight_in_effect:
        verified = replace(progress, step=replace(progress.step, verified_at=given.now))
        if given.at_last_step and (given.progress.requests.promote_all or not given.step or given.step.hold <= 0):
            message = f"{given.rollout.candidate} has all the traffic"
            return transitions.promote(given, Reason.PROMOTED, message, verified)
        message = f"{progress.step.weight} % of the traffic reaches {given.rollout.candidate}"
        return transitions.continue_step(given, Reason.WARMING_UP, message, verified)
    waited = given.now - (progress.step.started_at if progress.step.started_at is not None else given.now)
    if waited > given.policy.progress_deadline:
        message = f"{progress.step.weight} % was asked for {format_duration(waited)} ago and never took effect"
        return transitions.roll_back(given, Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    if waited > EFFECT_OVERDUE:
        message = f"{progress.step.weight} % was asked for, the traffic shows {progress.step.observed_weight} %"
        if observation.split_matches(
            candidate=given.rollout.candidate, stable=given.rollout.stable, weight=progress.step.weight
        ):
            cause = f": {observation.route_failure}" if observation.route_failure else ""
            message = f"{progress.step.weight} % was asked for and is in the split, but the route is not ready{cause}"
        elif observation.auto_update_disabled:
            message += ": serving.kserve.io/disable-auto-update makes KServe ignore every weight"
        return hold_unless_paused(given, Reason.WAITING_FOR_EFFECT, message)
    return transitions.unchanged(given)


@rule("WarmingUp")
def wait_for_warmup(given: DecisionInput) -> Decision | None:
    """Samples just after a change belong to the weight before it."""
    verified = given.progress.step.verified_at
    if verified is None or given.now - verified >= given.warmup:
        return None
    return transitions.unchanged(given)
