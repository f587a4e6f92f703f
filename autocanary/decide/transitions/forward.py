"""Onwards: a step, a weight, a repetition of one, the end, making the candidate stable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.transitions.base import (
    WEIGHT_NOT_IN_EFFECT,
    decide,
    enter_phase,
    new_step_fields,
    phase_at_step,
)
from autocanary.model.decision import Action, Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason

__all__ = [
    "advance",
    "finalize",
    "finish",
    "promote",
    "retry_weight",
    "start_at_current_weight",
    "write_weight",
]


def advance(given: DecisionInput, step: int, reason: Reason, message: str, **changes: Any) -> Decision:
    """Take a step: everything counted for the step before it is reset."""
    observation, policy = given.observation, given.policy
    weight = policy.steps[step].weight
    after = replace(
        enter_phase(
            given,
            phase_at_step(given, step),
            reason,
            message,
            **new_step_fields(given),
            **{
                "step": step,
                "weight": weight,
                "from_weight": observation.weight if observation else given.progress.weight,
                **changes,
            },
        ),
        phase_since=given.now,
    )
    return decide(given, after, event=Event.STEP, action=Action.WEIGHT, weight=weight)


def start_at_current_weight(given: DecisionInput, step: int, message: str) -> Decision:
    """Begin the analysis at the weight that is in the field already: nothing is written."""
    after = enter_phase(
        given,
        phase_at_step(given, step),
        Reason.WAITING_FOR_EFFECT,
        message,
        **new_step_fields(given),
        step=step,
    )
    return decide(given, after, event=Event.STEP)


def retry_weight(given: DecisionInput) -> Decision:
    """The recorded weight has not reached the field (a crash, a conflict, an API server away): write it."""
    weight = given.progress.weight
    urgent = given.progress.phase is Phase.ROLLING_BACK
    return decide(
        given,
        given.progress,
        action=Action.WEIGHT,
        weight=weight if weight is not None else 0,
        urgent=urgent,
    )


def write_weight(
    given: DecisionInput, weight: int, reason: Reason, message: str, event: Event | None = None
) -> Decision:
    """Write a weight without taking a step."""
    observation = given.observation
    after = enter_phase(
        given,
        given.progress.phase,
        reason,
        message,
        weight=weight,
        from_weight=observation.weight if observation else None,
        step_started_at=given.now,
        **WEIGHT_NOT_IN_EFFECT,
    )
    if event is Event.EXTERNAL_CHANGE:
        after = replace(after, warnings_sent=(*after.warnings_sent, reason.value))
    return decide(given, after, event=event, action=Action.WEIGHT, weight=weight, urgent=True)


def finish(
    given: DecisionInput,
    phase: Phase,
    reason: Reason,
    message: str,
    *,
    weight: int | None = None,
    write: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Decision:
    """The rollout is over. ``write``: with a last weight, for a candidate that is superseded."""
    after = enter_phase(
        given,
        phase,
        reason,
        message,
        **{"finished_at": given.now, "held_since": None, "paused_by": "", **(changes or {})},
    )
    if write:
        after = replace(after, weight=weight, from_weight=given.observation.weight if given.observation else None)
    event = {Phase.PROMOTED: Event.PROMOTED, Phase.ROLLED_BACK: Event.ROLLED_BACK}.get(phase, Event.ENDED)
    return decide(
        given,
        after,
        event=event,
        action=Action.WEIGHT if write else Action.NONE,
        weight=weight,
        urgent=write,
    )


def promote(given: DecisionInput, reason: Reason, message: str, **changes: Any) -> Decision:
    """The candidate is promoted: it is over, unless the service's spec must still say so (Finalizing)."""
    observation = given.observation
    if observation is None or observation.promotion_pending is None:
        return finish(given, Phase.PROMOTED, reason, message, changes=changes)
    after = enter_phase(
        given,
        Phase.FINALIZING,
        Reason.FINALIZING,
        f"{message}; it is made stable",
        **{"held_since": None, "hold_notified_at": None, "paused_by": "", "promote_all": False, **changes},
    )
    return decide(given, after)


def finalize(given: DecisionInput) -> Decision:
    """The next write of finalizing; repeated after it has arrived, it is the one after it, or none."""
    return decide(given, given.progress, action=Action.FINALIZE)
