"""Nothing is written: go on, wait, hold, say something.

Stopped until a person says otherwise, and on again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autocanary.decide.decision_input import BY_FAILURE, Situation
from autocanary.decide.transitions.base import decide, enter, fresh, phase_of
from autocanary.model.decision import Decision, Event, Move
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason

__all__ = [
    "COUNTED",
    "answer",
    "because",
    "hold",
    "pause",
    "resume",
    "set_aside",
    "stay",
    "unchanged",
    "warn",
]

COUNTED = frozenset(
    {
        Reason.TOO_FEW_REQUESTS,
        Reason.BREACH_SEEN,
        Reason.WEBHOOK_PENDING,
        Reason.WAITING_FOR_EFFECT,
    }
)
"""Reasons to hold that the progress deadline limits; the others have limits of their own, or a person's."""

NO_DATA = frozenset({Reason.NO_DATA, Reason.METRICS_NOT_A_NUMBER})
OUTAGE = frozenset({Reason.METRICS_OUTAGE, Reason.METRICS_STALE, Reason.METRICS_PARTIAL})

HOLD_TOLD_EVERY = 600.0
"""Seconds between two messages about one hold, when its cause changes."""


def stay(situation: Situation, rule: str, reason: Reason, message: str, **changes: Any) -> Decision:
    """Go on in the phase that the step belongs to; leaving a hold is told once."""
    progress = situation.progress
    phase = phase_of(situation, progress.step)
    released = progress.phase is Phase.HOLDING
    after = enter(situation, phase, reason, message, **{"held_since": None, "held_told_at": None, **changes})
    return decide(situation, after, rule=rule, event=Event.RESUMED if released else None)


def unchanged(situation: Situation, rule: str) -> Decision:
    """Nothing to do and nothing to say."""
    return Decision(situation.progress, situation.progress.reason, rule)


def hold(situation: Situation, rule: str, reason: Reason, message: str, **changes: Any) -> Decision:
    """Wants to move and may not; told when the hold begins and when it changes to another kind.

    A candidate that is not serving yet stays in Staging while it is held.
    """
    progress = situation.progress
    phase = Phase.HOLDING if progress.step >= 0 else Phase.STAGING
    entered = progress.phase is not phase or progress.held_told_at is None
    other = _kind(progress.reason) != _kind(reason)
    lately = progress.held_told_at is not None and situation.now - progress.held_told_at < HOLD_TOLD_EVERY
    told = entered or (other and not lately)
    since = None
    if reason in COUNTED or reason in NO_DATA:
        since = progress.held_since if progress.held_since is not None else situation.now
    at = situation.now if told else progress.held_told_at
    after = enter(situation, phase, reason, message, held_since=since, held_told_at=at, **changes)
    return decide(situation, after, rule=rule, event=Event.HELD if told else None)


def _kind(reason: Reason) -> str:
    """Reasons that mean the same to people: going from one to another of a kind is no news."""
    kinds = (("counted", COUNTED), ("no-data", NO_DATA), ("outage", OUTAGE))
    return next((name for name, reasons in kinds if reason in reasons), reason.value)


def warn(situation: Situation, rule: str, reason: Reason, message: str) -> Decision:
    """Say once that a person should look; nothing else changes."""
    progress = situation.progress
    if reason.value in progress.warned:
        return unchanged(situation, rule)
    warned = progress.but(reason=reason, message=message, warned=(*progress.warned, reason.value))
    decision = decide(situation, warned, rule=rule, event=Event.WARNING)
    # The warning is told; why the rollout is where it is stays the reason of its state.
    return replace(decision, progress=decision.progress.but(reason=progress.reason, message=progress.message))


def because(decision: Decision, reason: Reason, message: str) -> Decision:
    """The decision, with that as what the rollout's state is due to."""
    return replace(decision, progress=decision.progress.but(reason=reason, message=message))


def answer(decision: Decision, request_id: str, text: str) -> Decision:
    """The decision with a person's request noted as answered."""
    return replace(decision, progress=decision.progress.but(answered=request_id, answer=text))


def pause(situation: Situation, rule: str, by: str, reason: Reason, message: str, **changes: Any) -> Decision:
    """Stopped until a person says otherwise."""
    event = Event.EXTERNAL_CHANGE if reason is Reason.EXTERNAL_CHANGE else Event.PAUSED
    again = situation.progress.phase is Phase.PAUSED and situation.progress.paused_by == by
    after = enter(
        situation, Phase.PAUSED, reason, message, **{"paused_by": by, "held_since": None, **changes}
    )
    return decide(situation, after, rule=rule, event=None if again and event is Event.PAUSED else event)


def set_aside(situation: Situation, rule: str, reason: Reason, message: str) -> Decision:
    """Paused without traffic, as if no step had been taken, until a person says otherwise; once only."""
    seen, progress = situation.seen, situation.progress
    there = seen is not None and seen.weight == 0
    after = enter(
        situation,
        Phase.PAUSED,
        reason,
        message,
        **fresh(situation),
    ).but(
        step=-1,
        weight=0,
        from_weight=seen.weight if seen else progress.weight,
        paused_by=BY_FAILURE,
        warned=(*progress.warned, reason.value),
    )
    return decide(
        situation,
        after,
        rule=rule,
        event=Event.PAUSED,
        move=Move.NONE if there else Move.WEIGHT,
        weight=0,
        urgent=not there,
    )


def resume(situation: Situation, rule: str, step: int, message: str, **changes: Any) -> Decision:
    """Go on after a pause; a weight that a person set meanwhile is where it goes on from."""
    after = enter(
        situation,
        phase_of(situation, step),
        Reason.RESUMED_BY_USER,
        message,
        **{
            "step": step,
            "paused_by": "",
            "held_since": None,
            "no_data_since": None,
            "outage_since": None,
            "undecided_since": None,
            **changes,
        },
    )
    return decide(situation, after, rule=rule, event=Event.RESUMED)
