"""Holding in ways that several rules share."""

from __future__ import annotations

from autocanary.decide import transitions
from autocanary.decide.decision_input import DRIFTED_AFTER, DecisionInput
from autocanary.model.decision import Decision
from autocanary.model.frozen_copy import replace
from autocanary.model.policy import WebhookType
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout_windows import next_opening
from autocanary.model.value_wording import format_duration

__all__ = ["hold_for_webhook", "hold_for_window", "hold_unless_paused", "wait_for_route"]


def hold_unless_paused(given: DecisionInput, reason: Reason, message: str) -> Decision:
    """A hold, except that a pause which a user or the policy requested stays a pause."""
    return (
        transitions.unchanged(given)
        if given.progress.phase is Phase.PAUSED
        else transitions.hold(given, reason, message)
    )


def hold_for_window(given: DecisionInput, progress: Progress | None = None) -> Decision:
    opening = next_opening(given.policy.windows, given.now)
    when = f"opens in {format_duration(opening - given.now)}" if opening is not None else "does not open within a week"
    message = f"steps may not be taken now; the next window {when}"
    return transitions.hold(given, Reason.WINDOW_CLOSED, message, progress)


def hold_for_webhook(given: DecisionInput, kind: WebhookType) -> Decision | None:
    """Held when a webhook has just answered no or nothing; unchanged when it was not asked now.

    The deadline runs only while calls are made: a call that was not made is not a no.
    """
    unanswered = [each for each in given.webhook_answers.get(kind, ()) if not each.ok]
    if not unanswered:
        return None
    each = min(unanswered, key=lambda answer: (not answer.called, answer.ok is None))
    said = "says no" if each.ok is False else "did not answer" if each.called else "waits"
    detail = f": {each.detail}" if each.detail else ""
    message = f"the {kind.value} webhook {each.name} {said}{detail}"
    since = given.progress.hold.since
    if each.called and since is not None and given.now - since > given.policy.progress_deadline:
        text = f"{message}, for {format_duration(given.now - since)}"
        return transitions.roll_back(given, Reason.PROGRESS_DEADLINE_EXCEEDED, text)
    decision = transitions.hold(given, Reason.WEBHOOK_PENDING, message)
    if each.called:
        return decision
    held = decision.progress
    return replace(decision, progress=replace(held, hold=replace(held.hold, since=None)))


def wait_for_route(given: DecisionInput) -> Decision | None:
    """A weight is raised only while the present one is in effect on a route that is ready, in one status."""
    if given.present_weight_in_effect:
        return None
    since = given.progress.step.drifted_since
    if since is None or given.now - since < DRIFTED_AFTER:
        return transitions.unchanged(given)  # each change of a weight makes the route unready for a moment
    failure = given.observation.route_failure if given.observation is not None else ""
    message = (
        f"the route of {given.rollout.key} is not ready for {format_duration(given.now - since)}"
        f"{': ' + failure if failure else ''}; held at {given.progress.step.weight} % until it is"
    )
    return hold_unless_paused(given, Reason.ROUTE_NOT_READY, message)
