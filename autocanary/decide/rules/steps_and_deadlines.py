"""Is it time? Deadlines, the length of a step, and the step after it."""

from __future__ import annotations

from autocanary.analysis.verdict import Outcome
from autocanary.decide import transitions
from autocanary.decide.decision_input import Situation
from autocanary.decide.rules.holding import gate_closed, window_closed
from autocanary.model.decision import Decision
from autocanary.model.policy import WebhookType
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout_windows import is_open
from autocanary.model.value_wording import duration

__all__ = ["baked", "deadline", "next_step", "step_is_held"]


def deadline(s: Situation) -> Decision | None:
    """A rollout that wants to move and cannot is not held for ever."""
    since = s.progress.held_since
    if (
        since is None
        or s.now - since <= s.policy.progress_deadline
        or s.progress.reason not in transitions.COUNTED
    ):
        return None
    if (
        s.verdict is not None
        and s.verdict.outcome is Outcome.PASS
        and s.progress.reason is not Reason.WEBHOOK_PENDING
    ):
        return None
    message = f"held for {duration(s.now - since)} ({s.progress.reason.value}: {s.progress.message})"
    return transitions.roll_back(s, "deadline", Reason.PROGRESS_DEADLINE_EXCEEDED, message)


def step_is_held(s: Situation) -> Decision | None:
    """Each weight is held for its time, judged all along."""
    verdict, step, verified = s.verdict, s.step, s.progress.verified_at
    if verdict is None or step is None or verified is None or s.now - verified >= step.hold:
        return None
    if s.progress.phase is Phase.PAUSED:
        return transitions.unchanged(s, "step_is_held")
    return transitions.stay(s, "step_is_held", verdict.reason, verdict.message)


def baked(s: Situation) -> Decision | None:
    """The last step is over and the last look passed."""
    if not s.at_last_step or s.verdict is None:
        return None
    message = f"{s.rollout.candidate} has all the traffic: {_shown_by(s)}"
    return transitions.promote(s, "baked", Reason.PROMOTED, message)


def next_step(s: Situation) -> Decision | None:
    """The step passed: raise the weight, if the window is open and the gates say yes."""
    if s.verdict is None:
        return None
    if not is_open(s.policy.windows, s.now):
        return window_closed(s, "next_step")
    step = s.next_step
    weight = s.policy.steps[step].weight
    if weight == 100 and not s.gate_open(WebhookType.CONFIRM_PROMOTION):
        return gate_closed(s, "next_step", WebhookType.CONFIRM_PROMOTION) or transitions.unchanged(
            s, "next_step"
        )
    message = f"{_shown_by(s)}; {weight} % of the traffic goes to {s.rollout.candidate}"
    passed = s.verdict.outcome is Outcome.PASS
    reason = Reason.STEP_PASSED if passed else Reason.INCONCLUSIVE  # as onInconclusive: promote says
    return transitions.go(s, "next_step", step, reason, message)


def _shown_by(s: Situation) -> str:
    """What the last look said, and that it did not pass where the policy goes on all the same."""
    if s.verdict is None:
        return ""
    if s.verdict.outcome is Outcome.PASS:
        return s.verdict.message
    return f"inconclusive for {duration(s.undecided)}, promoted as the policy says: {s.verdict.message}"
