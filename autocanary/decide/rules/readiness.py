"""Does the candidate serve what it should? Staging, and whether a weight is in effect."""

from __future__ import annotations

from autocanary.decide import transitions
from autocanary.decide.decision_input import EFFECT_OVERDUE, Situation
from autocanary.decide.rules.holding import gate_closed, held, window_closed
from autocanary.model.decision import Decision
from autocanary.model.observation import Observation
from autocanary.model.policy import WebhookType
from autocanary.model.reason import Reason
from autocanary.model.rollout_windows import is_open
from autocanary.model.value_wording import duration

__all__ = ["effect", "staging", "warming_up"]


def staging(s: Situation) -> Decision | None:
    """The candidate must be ready before it gets traffic, and before that nobody else may have its share."""
    if s.progress.step >= 0 or s.seen is None:
        return None
    if not s.candidate_ready:
        return _not_ready(s, s.seen)
    if (s.progress.weight or 0) >= s.policy.steps[0].weight:
        weight = s.progress.weight or 0
        step = s.step_at(weight)
        return transitions.serve(s, "staging", step, f"{s.rollout.candidate} is ready and serves {weight} %")
    if not s.gate_open(WebhookType.PRE_ROLLOUT):
        return gate_closed(s, "staging", WebhookType.PRE_ROLLOUT) or transitions.unchanged(s, "staging")
    step = len(s.policy.steps) - 1 if s.progress.promote_all else 0
    if not s.progress.promote_all and not is_open(s.policy.windows, s.now):
        return window_closed(s, "staging")
    weight = s.policy.steps[step].weight
    message = f"{s.rollout.candidate} is ready; {weight} % of the traffic goes to it"
    return transitions.go(s, "staging", step, Reason.STEP_PASSED, message)


def _not_ready(s: Situation, seen: Observation) -> Decision:
    if s.progress.weight and seen.ready not in ("", s.rollout.stable, s.rollout.candidate):
        message = (
            f"until {s.rollout.candidate} is ready its share would go to {seen.ready}, "
            "which was not rolled out; held at 0 %"
        )
        return transitions.put_weight(s, "staging", 0, Reason.WAITING_FOR_REVISION, message)
    began = s.progress.step_started_at
    waited = s.now - (began if began is not None else s.progress.started_at)
    if waited > s.policy.progress_deadline:
        why = seen.failure or "KServe says nothing about why"
        message = f"{s.rollout.candidate} is not ready after {duration(waited)}: {why}"
        reason = Reason.REVISION_FAILED if seen.failure else Reason.PROGRESS_DEADLINE_EXCEEDED
        return transitions.roll_back(s, "staging", reason, message)
    if seen.failure:
        left = duration(s.policy.progress_deadline - waited)
        message = (
            f"{s.rollout.candidate} cannot become ready: {seen.failure}; given up in {left} at the latest"
        )
        if s.progress.reason is Reason.REVISION_FAILED:
            return transitions.unchanged(s, "staging")
        return transitions.hold(s, "staging", Reason.REVISION_FAILED, message)
    if s.progress.reason in (Reason.ROLLOUT_STARTED, Reason.CAUGHT_UNSTAGED, Reason.RETRIED_BY_USER):
        return transitions.unchanged(s, "staging")
    return transitions.stay(
        s, "staging", Reason.WAITING_FOR_REVISION, f"{s.rollout.candidate} is not ready yet"
    )


def effect(s: Situation) -> Decision | None:
    """A step has happened when the traffic shows it; its clock starts then."""
    progress, seen = s.progress, s.seen
    if seen is None or progress.weight is None:
        return None
    if progress.verified_at is not None:
        share = seen.share(s.rollout.candidate)
        if share is None or share == progress.weight:
            return None
        message = f"the traffic shows {share} % instead of {progress.weight} %; the step starts anew"
        changes = {"verified_at": None, "step_started_at": s.now}
        return transitions.stay(s, "effect", Reason.WAITING_FOR_EFFECT, message, **changes)
    if s.in_effect:
        if s.at_last_step and (s.progress.promote_all or not s.step or s.step.hold <= 0):
            message = f"{s.rollout.candidate} has all the traffic"
            return transitions.promote(s, "effect", Reason.PROMOTED, message, verified_at=s.now)
        message = f"{progress.weight} % of the traffic reaches {s.rollout.candidate}"
        return transitions.stay(s, "effect", Reason.WARMING_UP, message, verified_at=s.now)
    waited = s.now - (progress.step_started_at if progress.step_started_at is not None else s.now)
    if waited > s.policy.progress_deadline:
        message = f"{progress.weight} % was asked for {duration(waited)} ago and the traffic never showed it"
        return transitions.roll_back(s, "effect", Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    if waited > EFFECT_OVERDUE:
        message = f"{progress.weight} % was asked for, the traffic shows {progress.observed_weight} %"
        if seen.auto_update_disabled:
            message += ": serving.kserve.io/disable-auto-update makes KServe ignore every weight"
        return held(s, "effect", Reason.WAITING_FOR_EFFECT, message)
    return transitions.unchanged(s, "effect")


def warming_up(s: Situation) -> Decision | None:
    """Samples just after a change belong to the weight before it."""
    verified = s.progress.verified_at
    if verified is None or s.now - verified >= s.policy.analysis.warmup:
        return None
    return transitions.unchanged(s, "warming_up")
