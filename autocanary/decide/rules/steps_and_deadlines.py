"""Is it time? Deadlines, the length of a step, and the step after it."""

from __future__ import annotations

from autocanary.analysis.verdict import Outcome
from autocanary.decide import transitions
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.rules.holding import hold_for_webhook, hold_for_window, wait_for_route
from autocanary.decide.rules.rule import rule
from autocanary.model.decision import Decision
from autocanary.model.policy import WebhookType
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout_windows import is_open
from autocanary.model.value_wording import format_duration

__all__ = [
    "enforce_progress_deadline",
    "promote_after_bake",
    "take_next_step",
    "wait_for_samples_of_step",
    "wait_for_step_duration",
]


@rule("ProgressDeadlineExceeded")
def enforce_progress_deadline(given: DecisionInput) -> Decision | None:
    """A rollout that wants to move and cannot is not held for ever."""
    since = given.progress.hold.since
    if (
        since is None
        or given.now - since <= given.policy.progress_deadline
        or given.progress.reason not in transitions.DEADLINE_REASONS
    ):
        return None
    if (
        given.verdict is not None
        and given.verdict.outcome is Outcome.PASS
        and given.progress.reason is not Reason.WEBHOOK_PENDING
    ):
        return None
    message = f"held for {format_duration(given.now - since)} ({given.progress.reason.value}: {given.progress.message})"
    return transitions.roll_back(given, Reason.PROGRESS_DEADLINE_EXCEEDED, message)


@rule("StepDurationPending")
def wait_for_step_duration(given: DecisionInput) -> Decision | None:
    """Each weight is held for its time, and analysed all along."""
    verdict, step, verified = given.verdict, given.step, given.progress.step.verified_at
    if verdict is None or step is None or verified is None or given.now - verified >= step.hold:
        return None
    if given.progress.phase is Phase.PAUSED:
        return transitions.unchanged(given)
    return transitions.continue_step(given, verdict.reason, verdict.message)


@rule("SamplesBeforeStep")
def wait_for_samples_of_step(given: DecisionInput) -> Decision | None:
    """No step is taken on samples from before the step and its warm-up."""
    name = given.metric_measured_before_step
    if not name or given.verdict is None or given.verdict.analysis_input is None:
        return None
    if given.progress.phase is Phase.PAUSED:
        return transitions.unchanged(given)
    age = given.verdict.analysis_input.measurements[name].age or 0.0
    message = f"{name}: the newest sample is {format_duration(age)} old, from before this step and its warm-up"
    return transitions.continue_step(given, Reason.WARMING_UP, message)


@rule("BakeFinished")
def promote_after_bake(given: DecisionInput) -> Decision | None:
    """The last step is over and the last evaluation passed."""
    if not given.at_last_step or given.verdict is None:
        return None
    waiting = wait_for_route(given)
    if waiting is not None:
        return waiting
    message = f"{given.rollout.candidate} has all the traffic: {_result_text(given)}"
    return transitions.promote(given, Reason.PROMOTED, message)


@rule("StepPassed")
def take_next_step(given: DecisionInput) -> Decision | None:
    """The step passed: raise the weight, if the window is open and the policy webhooks say yes."""
    if given.verdict is None:
        return None
    if not is_open(given.policy.windows, given.now):
        return hold_for_window(given)
    waiting = wait_for_route(given)
    if waiting is not None:
        return waiting
    step = given.next_step
    weight = given.policy.steps[step].weight
    if weight == 100 and not given.webhooks_allow(WebhookType.CONFIRM_PROMOTION):
        return hold_for_webhook(given, WebhookType.CONFIRM_PROMOTION) or transitions.unchanged(given)
    message = f"{_result_text(given)}; {weight} % of the traffic goes to {given.rollout.candidate}"
    passed = given.verdict.outcome is Outcome.PASS
    reason = Reason.STEP_PASSED if passed else Reason.INCONCLUSIVE  # as onInconclusive: promote says
    return transitions.advance(given, step, reason, message)


def _result_text(given: DecisionInput) -> str:
    """What the last evaluation found, and that it did not pass where the policy goes on all the same."""
    if given.verdict is None:
        return ""
    if given.verdict.outcome is Outcome.PASS:
        return given.verdict.message
    return (
        f"inconclusive for {format_duration(given.inconclusive_seconds)}, "
        f"promoted as the policy says: {given.verdict.message}"
    )
