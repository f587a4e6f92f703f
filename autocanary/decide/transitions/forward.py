"""Onwards: a step, a weight, a repetition of one, the end, making the candidate stable."""

from __future__ import annotations

from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.transitions.base import (
    ask_for_weight,
    begin_step,
    decide,
    enter_phase,
    phase_at_step,
)
from autocanary.model.decision import Action, Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.progress import HoldState, Phase, Progress
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


def advance(
    given: DecisionInput, step: int, reason: Reason, message: str, progress: Progress | None = None
) -> Decision:
    """Take a step: everything counted for the step before it is reset."""
    observation, policy = given.observation, given.policy
    weight = policy.steps[step].weight
    begun = begin_step(given, step, progress)
    from_weight = observation.weight if observation else given.progress.step.weight
    begun = replace(begun, step=replace(begun.step, weight=weight, from_weight=from_weight))
    after = replace(
        enter_phase(given, phase_at_step(given, step), reason, message, begun),
        phase_since=given.now,
    )
    return decide(given, after, event=Event.STEP, action=Action.WEIGHT, weight=weight)


def start_at_current_weight(given: DecisionInput, step: int, message: str) -> Decision:
    """Begin the analysis at the weight that is in the field already: nothing is written."""
    phase = phase_at_step(given, step)
    after = enter_phase(given, phase, Reason.WAITING_FOR_EFFECT, message, begin_step(given, step))
    return decide(given, after, event=Event.STEP)


def retry_weight(given: DecisionInput) -> Decision:
    """The recorded weight has not reached the field (a crash, a conflict, an API server away): write it."""
    weight = given.progress.step.weight
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
    step = replace(ask_for_weight(given, weight), started_at=given.now)
    after = enter_phase(given, given.progress.phase, reason, message, replace(given.progress, step=step))
    if event is Event.EXTERNAL_CHANGE:
        after = replace(after, outbox=after.outbox.with_warning(reason))
    return decide(given, after, event=event, action=Action.WEIGHT, weight=weight, urgent=True)


def finish(
    given: DecisionInput,
    phase: Phase,
    reason: Reason,
    message: str,
    progress: Progress | None = None,
    *,
    weight: int | None = None,
    write: bool = False,
) -> Decision:
    """The rollout is over. ``write``: with a last weight, for a candidate that is superseded."""
    progress = progress or given.progress
    hold = replace(progress.hold, since=None, paused_by="")
    after = enter_phase(given, phase, reason, message, replace(progress, finished_at=given.now, hold=hold))
    if write:
        from_weight = given.observation.weight if given.observation else None
        after = replace(after, step=replace(after.step, weight=weight, from_weight=from_weight))
    event = {Phase.PROMOTED: Event.PROMOTED, Phase.ROLLED_BACK: Event.ROLLED_BACK}.get(phase, Event.ENDED)
    return decide(
        given,
        after,
        event=event,
        action=Action.WEIGHT if write else Action.NONE,
        weight=weight,
        urgent=write,
    )


def promote(given: DecisionInput, reason: Reason, message: str, progress: Progress | None = None) -> Decision:
    """The candidate is promoted: it is over, unless the service's spec must still say so (Finalizing)."""
    observation, progress = given.observation, progress or given.progress
    if observation is None or observation.promotion_pending is None:
        return finish(given, Phase.PROMOTED, reason, message, progress)
    waiting = replace(progress, hold=HoldState(), requests=replace(progress.requests, promote_all=False))
    after = enter_phase(given, Phase.FINALIZING, Reason.FINALIZING, f"{message}; it is made stable", waiting)
    return decide(given, after)


def finalize(given: DecisionInput) -> Decision:
    """The next write of finalizing; repeated after it has arrived, it is the one after it, or none."""
    return decide(given, given.progress, action=Action.FINALIZE)
