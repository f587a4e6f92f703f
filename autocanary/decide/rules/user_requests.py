"""Requests and pauses of users, and what they mean for a step."""

from __future__ import annotations

from collections.abc import Callable

from autocanary.decide import transitions
from autocanary.decide.decision_input import BY_STEP, BY_USER, DecisionInput
from autocanary.decide.rules.rule import rule
from autocanary.model.decision import Decision
from autocanary.model.foreign_text import clean_text
from autocanary.model.frozen_copy import replace
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb

__all__ = [
    "answer_during_rollback",
    "answer_request",
    "apply_user_pause",
    "pause_for_approval",
    "remain_paused",
]

_NAME_LIMIT, _REASON_LIMIT = 120, 300


@rule("RequestDuringRollback")
def answer_during_rollback(given: DecisionInput) -> Decision | None:
    """A request does not stop or speed up a rollback; it is answered."""
    request = given.request
    if request is None or given.progress.phase is not Phase.ROLLING_BACK:
        return None
    text = f"it is rolling back already ({given.progress.reason.value})"
    return transitions.with_request_answer(transitions.unchanged(given), request, text)


@rule("RequestPending")
def answer_request(given: DecisionInput) -> Decision | None:
    """A user's request, answered once."""
    request = given.request
    if request is None:
        return None
    verbs: dict[str, Callable[[DecisionInput], tuple[Decision, str]]] = {
        Verb.ABORT.value: _abort,
        Verb.PROMOTE.value: _promote,
        Verb.PROMOTE_FULL.value: _promote_full,
        Verb.PAUSE.value: _pause,
        Verb.RESUME.value: _resume,
        Verb.RETRY.value: lambda at: (
            transitions.unchanged(at),
            "nothing to retry: the rollout is still running",
        ),
    }
    verb = verbs.get(request.verb)
    if verb is None:
        known = ", ".join(each.value for each in Verb)
        return transitions.with_request_answer(
            transitions.unchanged(given), request, f"unknown request; expected one of: {known}"
        )
    decision, text = verb(given)
    return transitions.with_request_answer(decision, request, text)


def _requested_by(given: DecisionInput) -> str:
    return clean_text(given.request.by, _NAME_LIMIT) if given.request and given.request.by else "a user"


def _because(given: DecisionInput) -> str:
    """``: the model is wrong``, in the words that the user gave; "" without."""
    reason = clean_text(given.request.reason, _REASON_LIMIT) if given.request is not None else ""
    return f": {reason}" if reason else ""


def _abort(given: DecisionInput) -> tuple[Decision, str]:
    message = f"aborted by {_requested_by(given)}{_because(given)}"
    return transitions.roll_back(given, Reason.ABORTED_BY_USER, message, requested=True), "rolling back"


def _promote(given: DecisionInput) -> tuple[Decision, str]:
    seen, weight = given.request.weight if given.request is not None else None, given.progress.step.weight
    if seen is not None and seen != weight:
        text = f"the step at {seen} % has passed meanwhile, the rollout is at {weight} % now; nothing was changed"
        return transitions.unchanged(given), text
    if not given.candidate_ready:
        return transitions.unchanged(given), f"{given.rollout.candidate} is not ready yet; nothing was changed"
    if given.at_last_step:
        if given.progress.step.verified_at is None:
            return transitions.unchanged(given), "the traffic does not show 100 % yet; nothing was changed"
        message = f"the bake was ended by {_requested_by(given)}{_because(given)}"
        return transitions.promote(given, Reason.PROMOTED_BY_USER, message), "promoted"
    if not given.present_weight_in_effect:
        weight = given.observation.weight if given.observation is not None else None
        text = f"{'100' if weight is None else weight} % is not in effect on a ready route; nothing was changed"
        return transitions.unchanged(given), text
    step = given.next_step
    weight = given.policy.steps[step].weight
    approved = given.progress.phase is Phase.PAUSED and given.progress.hold.paused_by == BY_STEP
    passed = f"approved by {_requested_by(given)}" if approved else f"{_requested_by(given)} passed the step"
    message = f"{passed}{_because(given)}; {weight} % of the traffic goes to {given.rollout.candidate}"
    return transitions.advance(given, step, Reason.PROMOTED_BY_USER, message), f"going to {weight} %"


def _promote_full(given: DecisionInput) -> tuple[Decision, str]:
    after = replace(given.progress, requests=replace(given.progress.requests, promote_all=True))
    if not given.candidate_ready:
        return transitions.unchanged(given.with_progress(after)), "will go to 100 % as soon as the revision is ready"
    if given.at_last_step:
        return _promote(given)
    step = len(given.policy.steps) - 1
    passed = f"{_requested_by(given)} passed all steps{_because(given)}"
    message = f"{passed}; all of the traffic goes to {given.rollout.candidate}"
    return transitions.advance(given, step, Reason.PROMOTED_BY_USER, message, after), "going to 100 %"


def _resume(given: DecisionInput) -> tuple[Decision, str]:
    if given.progress.phase is not Phase.PAUSED:
        return transitions.unchanged(given), "the rollout is not paused"
    if given.rollout.paused:
        return transitions.unchanged(given), "spec.paused is still true; set it to false to resume"
    if given.progress.hold.paused_by == BY_STEP:
        text = "the step waits for approval, which a resume is not: promote approves it, abort rolls back"
        return transitions.unchanged(given), text
    return _resume_at_weight(given), "resumed"


def _pause(given: DecisionInput) -> tuple[Decision, str]:
    """``spec.paused`` is what pauses; the request names the user, and why."""
    if given.progress.phase is Phase.PAUSED:
        return transitions.unchanged(given), "the rollout is paused already"
    if not given.rollout.paused:
        return transitions.unchanged(given), "spec.paused is false; set it to true to pause"
    message = f"paused at {given.progress.step.weight} % by {_requested_by(given)}{_because(given)}"
    return transitions.pause(given, BY_USER, Reason.PAUSED_BY_USER, message), "paused"


def _resume_at_weight(given: DecisionInput) -> Decision:
    """Goes on from the weight that is in the field now; what was counted is reset."""
    weight = 100 if given.progress.step.weight is None else given.progress.step.weight
    step = given.step_for_weight(weight)
    message = f"resumed at {weight} % by {_requested_by(given)}{_because(given)}"
    reset = replace(
        given.progress,
        step=transitions.step_clock_reset(given, given.progress.step),
        analysis=replace(transitions.reset_evidence(given), metrics={}),
    )
    return transitions.resume(given, step, message, reset)


@rule("PausedByUser")
def apply_user_pause(given: DecisionInput) -> Decision | None:
    """``spec.paused``: no step is taken; the analysis goes on, and a violation still rolls back."""
    progress = given.progress
    if given.rollout.paused and progress.phase is not Phase.PAUSED:
        message = f"paused at {progress.step.weight} % at a user's request"
        return transitions.pause(given, BY_USER, Reason.PAUSED_BY_USER, message)
    if not given.rollout.paused and progress.phase is Phase.PAUSED and progress.hold.paused_by == BY_USER:
        return transitions.resume(given, progress.step.index, f"resumed at {progress.step.weight} %")
    return None


@rule("Paused")
def remain_paused(given: DecisionInput) -> Decision | None:
    """Paused: only a user resumes it. Whether the traffic follows is recorded all the same."""
    progress = given.progress
    if progress.phase is not Phase.PAUSED or progress.hold.paused_by == BY_STEP:
        return None
    if progress.step.verified_at is None and progress.step.index >= 0 and given.weight_in_effect:
        return transitions.unchanged(
            given.with_progress(replace(progress, step=replace(progress.step, verified_at=given.now)))
        )
    return transitions.unchanged(given)


@rule("AwaitingApproval")
def pause_for_approval(given: DecisionInput) -> Decision | None:
    """The step has ``pause: {}``, so a user must let it pass."""
    if given.step is None or not given.step.approval:
        return None
    if given.progress.phase is Phase.PAUSED:
        return transitions.unchanged(given)
    message = f"the step at {given.progress.step.weight} % passed and waits for approval: promote or abort"
    return transitions.pause(given, BY_STEP, Reason.AWAITING_APPROVAL, message)
