"""Nothing is written: go on, wait, hold, say something.

Pause until a user resumes, and resume.
"""

from __future__ import annotations

from autocanary.decide.decision_input import BY_FAILURE, DecisionInput
from autocanary.decide.transitions.base import begin_step, decide, enter_phase, phase_at_step
from autocanary.model.decision import Action, Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.progress import HoldState, Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request

__all__ = [
    "DEADLINE_REASONS",
    "NO_DATA_REASONS",
    "OUTAGE_REASONS",
    "continue_step",
    "hold",
    "pause",
    "pause_without_traffic",
    "resume",
    "unchanged",
    "warn",
    "with_reason",
    "with_request_answer",
]

DEADLINE_REASONS = frozenset(
    {
        Reason.GATHERING_EVIDENCE,  # a hold only without comparisons: too few evaluations in a row within the limits
        Reason.TOO_FEW_REQUESTS,
        Reason.VIOLATION_SEEN,
        Reason.WEBHOOK_PENDING,
        Reason.WAITING_FOR_EFFECT,
        Reason.ROUTE_NOT_READY,
    }
)
"""Reasons to hold that the progress deadline limits; the others have limits of their own, or none."""

NO_DATA_REASONS = frozenset({Reason.NO_DATA, Reason.METRICS_NOT_A_NUMBER})
OUTAGE_REASONS = frozenset({Reason.METRICS_OUTAGE, Reason.METRICS_STALE, Reason.METRICS_PARTIAL, Reason.SHARED_OUTAGE})

HOLD_NOTIFY_INTERVAL = 600.0
"""Seconds between two messages about one hold, when its cause changes."""


def continue_step(given: DecisionInput, reason: Reason, message: str, progress: Progress | None = None) -> Decision:
    """Go on in the phase that the step belongs to; leaving a hold is notified once."""
    progress = progress or given.progress
    phase = phase_at_step(given, progress.step.index)
    released = given.progress.phase is Phase.HOLDING
    free = replace(progress, hold=replace(progress.hold, since=None, notified_at=None))
    after = enter_phase(given, phase, reason, message, free)
    return decide(given, after, event=Event.RESUMED if released else None)


def unchanged(given: DecisionInput) -> Decision:
    """Nothing to do and nothing to say."""
    return Decision(given.progress, given.progress.reason)


def hold(given: DecisionInput, reason: Reason, message: str, progress: Progress | None = None) -> Decision:
    """Cannot move; notified when the hold begins and when it changes to another kind.

    A candidate that is not serving yet stays in Staging while it is held.
    """
    before, held = given.progress, given.progress.hold
    phase = Phase.HOLDING if before.step.index >= 0 else Phase.STAGING
    entered = before.phase is not phase or held.notified_at is None
    other = _kind(before.reason) != _kind(reason)
    lately = held.notified_at is not None and given.now - held.notified_at < HOLD_NOTIFY_INTERVAL
    urgent = other and reason is Reason.STABLE_FAILED
    notified = entered or urgent or (other and not lately)
    since = None
    if reason in DEADLINE_REASONS or reason in NO_DATA_REASONS or reason is Reason.STABLE_FAILED:
        since = held.since if held.since is not None and not urgent else given.now
    held = replace(held, since=since, notified_at=given.now if notified else held.notified_at)
    after = enter_phase(given, phase, reason, message, replace(progress or before, hold=held))
    return decide(given, after, event=Event.HELD if notified else None)


def _kind(reason: Reason) -> str:
    """Reasons that mean the same to users: a change within a kind is not notified."""
    kinds = (("counted", DEADLINE_REASONS), ("no-data", NO_DATA_REASONS), ("outage", OUTAGE_REASONS))
    return next((name for name, reasons in kinds if reason in reasons), reason.value)


def warn(given: DecisionInput, reason: Reason, message: str) -> Decision:
    """Notify a warning once; nothing else changes."""
    progress = given.progress
    if progress.outbox.has_warned(reason):
        return unchanged(given)
    warned = replace(progress, reason=reason, message=message, outbox=progress.outbox.with_warning(reason))
    decision = decide(given, warned, event=Event.WARNING)
    # The warning is notified; the reason of the phase stays as it is.
    return replace(decision, progress=replace(decision.progress, reason=progress.reason, message=progress.message))


def with_reason(decision: Decision, reason: Reason, message: str) -> Decision:
    """The decision, with that as what the rollout's state is due to."""
    return replace(decision, progress=replace(decision.progress, reason=reason, message=message))


def with_request_answer(decision: Decision, request: Request, text: str) -> Decision:
    """The decision with a user's request recorded as answered; a transition also records the user and the reason."""
    progress = decision.progress
    if decision.event is not None:
        *earlier, newest = progress.decisions
        asked = {"requestVerb": request.verb, "requestedBy": request.by, "requestReason": request.reason}
        entry = {**newest, **{name: text for name, text in asked.items() if text}}
        progress = replace(progress, decisions=(*earlier, entry))
    return replace(
        decision, progress=replace(progress, requests=replace(progress.requests, answered_id=request.id, answer=text))
    )


def pause(given: DecisionInput, by: str, reason: Reason, message: str, progress: Progress | None = None) -> Decision:
    """Stopped until a user resumes it."""
    progress = progress or given.progress
    event = Event.EXTERNAL_CHANGE if reason is Reason.EXTERNAL_CHANGE else Event.PAUSED
    again = given.progress.phase is Phase.PAUSED and given.progress.hold.paused_by == by
    paused = replace(progress, hold=replace(progress.hold, paused_by=by, since=None))
    after = enter_phase(given, Phase.PAUSED, reason, message, paused)
    return decide(given, after, event=None if again and event is Event.PAUSED else event)


def pause_without_traffic(given: DecisionInput, reason: Reason, message: str) -> Decision:
    """Paused without traffic, as if no step had been taken, until a user resumes it; once only."""
    observation, progress = given.observation, begin_step(given, -1)
    there = observation is not None and observation.weight == 0
    from_weight = observation.weight if observation else given.progress.step.weight
    stopped = replace(
        progress,
        step=replace(progress.step, weight=0, from_weight=from_weight),
        hold=HoldState(paused_by=BY_FAILURE),
        outbox=progress.outbox.with_warning(reason),
    )
    return decide(
        given,
        enter_phase(given, Phase.PAUSED, reason, message, stopped),
        event=Event.PAUSED,
        action=Action.NONE if there else Action.WEIGHT,
        weight=0,
        urgent=not there,
    )


def resume(given: DecisionInput, step: int, message: str, progress: Progress | None = None) -> Decision:
    """Go on after a pause; from the weight that a user set meanwhile."""
    progress = progress or given.progress
    resumed = replace(
        progress,
        step=replace(progress.step, index=step),
        hold=replace(progress.hold, paused_by="", since=None),
        analysis=replace(progress.analysis, no_data_since=None, outage_since=None, inconclusive_since=None),
    )
    after = enter_phase(given, phase_at_step(given, step), Reason.RESUMED_BY_USER, message, resumed)
    return decide(given, after, event=Event.RESUMED)
