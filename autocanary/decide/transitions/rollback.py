"""Back: the candidate's traffic to 0, and the ways out when the weight alone does not do it."""

from __future__ import annotations

from autocanary.decide.decision_input import BY_FAILURE, DecisionInput
from autocanary.decide.transitions.base import ask_for_weight, decide, enter_phase, step_clock_reset
from autocanary.decide.transitions.hold import pause
from autocanary.model.decision import Action, Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.policy import OnFailure
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason

__all__ = ["escalate_rollback", "remove_candidate", "restore_stable_spec", "retry_restore", "roll_back"]


def roll_back(given: DecisionInput, reason: Reason, message: str, *, requested: bool = False) -> Decision:
    """Take all traffic from the candidate, or only pause where the policy says so (never when ``requested``)."""
    if given.policy.on_failure is OnFailure.PAUSE and not requested:
        text = f"{message}; paused, as the policy says"
        return pause(given, BY_FAILURE, Reason.FAILURE_PAUSED, text)
    observation = given.observation
    if given.progress.rollback.stable_is_bad and given.rollout.stable_spec is not None:
        text = f"{message}; {given.rollout.stable} was rolled back before: the last good spec is put back"
        return restore_stable_spec(given, None, reason, text, Event.ROLLBACK)
    progress = given.progress
    shown = observation is None or bool(observation.traffic_percent(given.rollout.candidate))
    unshown = not shown and observation is not None and bool(observation.weight)
    step = step_clock_reset(given, progress.step)
    returning = replace(
        progress,
        step=replace(step, weight=0, from_weight=observation.weight if observation else step.weight),
        hold=replace(progress.hold, since=None, paused_by=""),
        rollback=replace(progress.rollback, weight_unshown=unshown),
    )
    after = enter_phase(given, Phase.ROLLING_BACK, reason, message, returning)
    there = observation is not None and observation.weight == 0
    return decide(
        given,
        after,
        event=Event.ROLLBACK,
        action=Action.NONE if there else Action.WEIGHT,
        weight=0,
        urgent=True,
    )


def restore_stable_spec(
    given: DecisionInput,
    weight: int | None,
    reason: Reason,
    message: str,
    event: Event,
    progress: Progress | None = None,
) -> Decision:
    """Put the recorded stable spec back: the only way out when the weight alone cannot move the traffic."""
    progress = progress or given.progress
    repairing = replace(
        progress,
        step=ask_for_weight(given, weight),
        rollback=replace(progress.rollback, repairing=True, escalated_at=given.now),
        hold=replace(progress.hold, since=None),
    )
    after = enter_phase(given, Phase.ROLLING_BACK, reason, message, repairing)
    return decide(given, after, event=event, action=Action.RESTORE, weight=weight, urgent=True)


def retry_restore(given: DecisionInput) -> Decision:
    """Repeat a restoring patch that has not arrived."""
    return decide(
        given,
        given.progress,
        action=Action.RESTORE,
        weight=given.progress.step.weight,
        urgent=True,
    )


def escalate_rollback(given: DecisionInput, *, without_weight: bool = False) -> Decision:
    """The escalation of a blocked rollback: the stable spec back, said when it was warned about.

    With weight 0, unless KServe takes the candidate for stable already, or ``without_weight``, when the old
    stable is gone: then only a new revision that gets everything can replace it.
    """
    observation = given.observation
    promoted = observation is not None and observation.rolled_out == given.rollout.candidate
    weight = None if promoted or without_weight else 0
    after = replace(
        given.progress,
        step=ask_for_weight(given, weight),
        rollback=replace(given.progress.rollback, repairing=True, escalated_at=given.now),
    )
    return decide(given, after, action=Action.RESTORE, weight=weight, urgent=True)


def remove_candidate(given: DecisionInput) -> Decision:
    """Take the candidate out of its place in the spec, now that it has no traffic."""
    return decide(given, given.progress, action=Action.RESTORE, weight=None)
