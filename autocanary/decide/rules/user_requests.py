"""What do people want? Requests, pauses and what they mean for a step."""

from __future__ import annotations

from collections.abc import Callable

from autocanary.decide import transitions
from autocanary.decide.decision_input import BY_STEP, BY_USER, Situation
from autocanary.model.decision import Decision
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb

__all__ = ["asked", "asked_too_late", "needs_approval", "paused_by_user", "waits_for_a_person"]


def asked_too_late(s: Situation) -> Decision | None:
    """A rollback is not called off or hurried; whoever asks is told."""
    request = s.request
    if request is None or s.progress.phase is not Phase.ROLLING_BACK:
        return None
    text = f"it is rolling back already ({s.progress.reason.value})"
    return transitions.answer(transitions.unchanged(s, "asked_too_late"), request.id, text)


def asked(s: Situation) -> Decision | None:
    """A person's request, answered once."""
    request = s.request
    if request is None:
        return None
    verbs: dict[str, Callable[[Situation], tuple[Decision, str]]] = {
        Verb.ABORT.value: _abort,
        Verb.PROMOTE.value: _promote,
        Verb.PROMOTE_FULL.value: _promote_full,
        Verb.RESUME.value: _resume,
        Verb.RETRY.value: lambda at: (
            transitions.unchanged(at, "asked"),
            "nothing to retry: the rollout is still running",
        ),
    }
    verb = verbs.get(request.verb)
    if verb is None:
        known = ", ".join(each.value for each in Verb)
        return transitions.answer(
            transitions.unchanged(s, "asked"), request.id, f"unknown request; expected one of: {known}"
        )
    decision, text = verb(s)
    return transitions.answer(decision, request.id, text)


def _by(s: Situation) -> str:
    return s.request.by if s.request and s.request.by else "a person"


def _abort(s: Situation) -> tuple[Decision, str]:
    message = f"aborted by {_by(s)}"
    return transitions.roll_back(s, "asked", Reason.ABORTED_BY_USER, message, asked=True), "rolling back"


def _promote(s: Situation) -> tuple[Decision, str]:
    if not s.candidate_ready:
        return transitions.unchanged(
            s, "asked"
        ), f"{s.rollout.candidate} is not ready yet; nothing was changed"
    if s.at_last_step:
        if s.progress.verified_at is None:
            return transitions.unchanged(
                s, "asked"
            ), "the traffic does not show 100 % yet; nothing was changed"
        message = f"the bake was ended by {_by(s)}"
        return transitions.promote(s, "asked", Reason.PROMOTED_BY_USER, message), "promoted"
    step = s.next_step
    weight = s.policy.steps[step].weight
    message = f"{_by(s)} passed the step; {weight} % of the traffic goes to {s.rollout.candidate}"
    return transitions.go(s, "asked", step, Reason.PROMOTED_BY_USER, message), f"going to {weight} %"


def _promote_full(s: Situation) -> tuple[Decision, str]:
    if not s.candidate_ready:
        after = s.progress.but(promote_all=True)
        return transitions.unchanged(
            s.with_progress(after), "asked"
        ), "will go to 100 % as soon as the revision is ready"
    if s.at_last_step:
        return _promote(s)
    step = len(s.policy.steps) - 1
    message = f"{_by(s)} passed all steps; all of the traffic goes to {s.rollout.candidate}"
    return transitions.go(
        s, "asked", step, Reason.PROMOTED_BY_USER, message, promote_all=True
    ), "going to 100 %"


def _resume(s: Situation) -> tuple[Decision, str]:
    if s.progress.phase is not Phase.PAUSED:
        return transitions.unchanged(s, "asked"), "the rollout is not paused"
    if s.rollout.paused:
        return transitions.unchanged(s, "asked"), "spec.paused is still true; set it to false to resume"
    if s.progress.paused_by == BY_STEP:
        return _promote(s)
    return _resumed(s), "resumed"


def _resumed(s: Situation) -> Decision:
    """Goes on from the weight that is there now, whoever set it; what was counted starts anew."""
    weight = 100 if s.progress.weight is None else s.progress.weight
    step = s.step_at(weight)
    message = f"resumed at {weight} %"
    anew = {"metrics": {}, "step_started_at": s.now, **transitions.UNSEEN, **transitions.overruled(s)}
    return transitions.resume(s, "resumed", step, message, **anew)


def paused_by_user(s: Situation) -> Decision | None:
    """``spec.paused``: no step is taken; the candidate is still judged, and a breach still rolls it back."""
    progress = s.progress
    if s.rollout.paused and progress.phase is not Phase.PAUSED:
        message = f"paused at {progress.weight} % on a person's request"
        return transitions.pause(s, "paused_by_user", BY_USER, Reason.PAUSED_BY_USER, message)
    if not s.rollout.paused and progress.phase is Phase.PAUSED and progress.paused_by == BY_USER:
        return transitions.resume(s, "paused_by_user", progress.step, f"resumed at {progress.weight} %")
    return None


def waits_for_a_person(s: Situation) -> Decision | None:
    """Paused: only a person moves it on. Whether the traffic follows is noted all the same."""
    progress = s.progress
    if progress.phase is not Phase.PAUSED or progress.paused_by == BY_STEP:
        return None
    if progress.verified_at is None and progress.step >= 0 and s.in_effect:
        return transitions.unchanged(s.with_progress(progress.but(verified_at=s.now)), "waits_for_a_person")
    return transitions.unchanged(s, "waits_for_a_person")


def needs_approval(s: Situation) -> Decision | None:
    """``pause: {}``: a person must let this step pass."""
    if s.step is None or not s.step.approval:
        return None
    if s.progress.phase is Phase.PAUSED:
        return transitions.unchanged(s, "needs_approval")
    message = f"the step at {s.progress.weight} % passed and waits for a person: promote or abort"
    return transitions.pause(s, "needs_approval", BY_STEP, Reason.AWAITING_APPROVAL, message)
