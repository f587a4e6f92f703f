"""Nothing is written: go on, wait, hold, say something.

Pause until a user resumes, and resume.
"""

from __future__ import annotations

from typing import Any

from autocanary.decide.decision_input import BY_FAILURE, DecisionInput
from autocanary.decide.transitions.base import decide, enter_phase, new_step_fields, phase_at_step
from autocanary.model.decision import Action, Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request

__all__ = [
    "DEADLINE_REASONS",
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

NO_DATA = frozenset({Reason.NO_DATA, Reason.METRICS_NOT_A_NUMBER})
OUTAGE = frozenset({Reason.METRICS_OUTAGE, Reason.METRICS_STALE, Reason.METRICS_PARTIAL, Reason.SHARED_OUTAGE})

HOLD_NOTIFY_INTERVAL = 600.0
"""Seconds between two messages about one hold, when its cause changes."""


def continue_step(given: DecisionInput, reason: Reason, message: str, **changes: Any) -> Decision:
    """Go on in the phase that the step belongs to; leaving a hold is notified once."""
    progress = given.progress
    phase = phase_at_step(given, progress.step)
    released = progress.phase is Phase.HOLDING
    after = enter_phase(given, phase, reason, message, **{"held_since": None, "hold_notified_at": None, **changes})
    return decide(given, after, event=Event.RESUMED if released else None)


def unchanged(given: DecisionInput) -> Decision:
    """Nothing to do and nothing to say."""
    return Decision(given.progress, given.progress.reason)


def hold(given: DecisionInput, reason: Reason, message: str, **changes: Any) -> Decision:
    """Cannot move; notified when the hold begins and when it changes to another kind.

    A candidate that is not serving yet stays in Staging while it is held.
    """
    progress = given.progress
    phase = Phase.HOLDING if progress.step >= 0 else Phase.STAGING
    entered = progress.phase is not phase or progress.hold_notified_at is None
    other = _kind(progress.reason) != _kind(reason)
    lately = progress.hold_notified_at is not None and given.now - progress.hold_notified_at < HOLD_NOTIFY_INTERVAL
    urgent = other and reason is Reason.STABLE_FAILED
    notified = entered or urgent or (other and not lately)
    since = None
    if reason in DEADLINE_REASONS or reason in NO_DATA or reason is Reason.STABLE_FAILED:
        since = progress.held_since if progress.held_since is not None and not urgent else given.now
    at = given.now if notified else progress.hold_notified_at
    after = enter_phase(given, phase, reason, message, held_since=since, hold_notified_at=at, **changes)
    return decide(given, after, event=Event.HELD if notified else None)


def _kind(reason: Reason) -> str:
    """Reasons that mean the same to users: a change within a kind is not notified."""
    kinds = (("counted", DEADLINE_REASONS), ("no-data", NO_DATA), ("outage", OUTAGE))
    return next((name for name, reasons in kinds if reason in reasons), reason.value)


def warn(given: DecisionInput, reason: Reason, message: str) -> Decision:
    """Notify a warning once; nothing else changes."""
    progress = given.progress
    if reason.value in progress.warnings_sent:
        return unchanged(given)
    warnings_sent = replace(
        progress, reason=reason, message=message, warnings_sent=(*progress.warnings_sent, reason.value)
    )
    decision = decide(given, warnings_sent, event=Event.WARNING)
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
    return replace(decision, progress=replace(progress, answered_request_id=request.id, request_answer=text))


def pause(given: DecisionInput, by: str, reason: Reason, message: str, **changes: Any) -> Decision:
    """Stopped until a user resumes it."""
    event = Event.EXTERNAL_CHANGE if reason is Reason.EXTERNAL_CHANGE else Event.PAUSED
    again = given.progress.phase is Phase.PAUSED and given.progress.paused_by == by
    after = enter_phase(given, Phase.PAUSED, reason, message, **{"paused_by": by, "held_since": None, **changes})
    return decide(given, after, event=None if again and event is Event.PAUSED else event)


def pause_without_traffic(given: DecisionInput, reason: Reason, message: str) -> Decision:
    """Paused without traffic, as if no step had been taken, until a user resumes it; once only."""
    observation, progress = given.observation, given.progress
    there = observation is not None and observation.weight == 0
    after = replace(
        enter_phase(
            given,
            Phase.PAUSED,
            reason,
            message,
            **new_step_fields(given),
        ),
        step=-1,
        weight=0,
        from_weight=observation.weight if observation else progress.weight,
        paused_by=BY_FAILURE,
        warnings_sent=(*progress.warnings_sent, reason.value),
    )
    return decide(
        given,
        after,
        event=Event.PAUSED,
        action=Action.NONE if there else Action.WEIGHT,
        weight=0,
        urgent=not there,
    )


def resume(given: DecisionInput, step: int, message: str, **changes: Any) -> Decision:
    """Go on after a pause; from the weight that a user set meanwhile."""
    after = enter_phase(
        given,
        phase_at_step(given, step),
        Reason.RESUMED_BY_USER,
        message,
        **{
            "step": step,
            "paused_by": "",
            "held_since": None,
            "no_data_since": None,
            "outage_since": None,
            "inconclusive_since": None,
            **changes,
        },
    )
    return decide(given, after, event=Event.RESUMED)
