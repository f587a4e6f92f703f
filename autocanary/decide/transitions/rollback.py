"""Back: the candidate's traffic to 0, and the ways out when the weight alone does not do it."""

from __future__ import annotations

from typing import Any

from autocanary.decide.decision_input import BY_FAILURE, Situation
from autocanary.decide.transitions.base import UNSEEN, decide, enter
from autocanary.decide.transitions.hold import pause
from autocanary.model.decision import Decision, Event, Move
from autocanary.model.policy import OnFailure
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason

__all__ = ["restore", "restore_again", "restore_blocked", "roll_back", "withdraw"]


def roll_back(
    situation: Situation, rule: str, reason: Reason, message: str, *, asked: bool = False, **changes: Any
) -> Decision:
    """Take all traffic from the candidate, or only pause where the policy says so (never when ``asked``)."""
    if situation.policy.on_failure is OnFailure.PAUSE and not asked:
        text = f"{message}; paused, as the policy says"
        return pause(situation, rule, BY_FAILURE, Reason.FAILURE_PAUSED, text, **changes)
    seen = situation.seen
    after = enter(
        situation,
        Phase.ROLLING_BACK,
        reason,
        message,
        **{
            "weight": 0,
            "from_weight": seen.weight if seen else situation.progress.weight,
            "step_started_at": situation.now,
            **UNSEEN,
            "held_since": None,
            "paused_by": "",
            **changes,
        },
    )
    there = seen is not None and seen.weight == 0
    return decide(
        situation,
        after,
        rule=rule,
        event=Event.ROLLBACK,
        move=Move.NONE if there else Move.WEIGHT,
        weight=0,
        urgent=True,
    )


def restore(
    situation: Situation,
    rule: str,
    weight: int | None,
    reason: Reason,
    message: str,
    event: Event,
    **changes: Any,
) -> Decision:
    """Put the recorded stable spec back: the only way out when the weight alone cannot move the traffic."""
    seen = situation.seen
    after = enter(
        situation,
        Phase.ROLLING_BACK,
        reason,
        message,
        weight=weight,
        from_weight=seen.weight if seen else None,
        repairing=True,
        escalated_at=situation.now,
        held_since=None,
        **{**UNSEEN, **changes},
    )
    return decide(situation, after, rule=rule, event=event, move=Move.RESTORE, weight=weight, urgent=True)


def restore_again(situation: Situation, rule: str) -> Decision:
    """Repeat a restoring patch that has not arrived."""
    return decide(
        situation,
        situation.progress,
        rule=rule,
        move=Move.RESTORE,
        weight=situation.progress.weight,
        urgent=True,
    )


def restore_blocked(situation: Situation, rule: str, *, whole: bool = False) -> Decision:
    """The escalation of a blocked rollback: the stable spec back, said when it was warned about.

    With weight 0, unless KServe takes the candidate for stable already, or ``whole``, when the old stable
    is gone: then only a new revision that gets everything can replace it.
    """
    seen = situation.seen
    promoted = seen is not None and seen.rolled_out == situation.rollout.candidate
    weight = None if promoted or whole else 0
    after = situation.progress.but(
        weight=weight,
        from_weight=seen.weight if seen else None,
        repairing=True,
        escalated_at=situation.now,
        **UNSEEN,
    )
    return decide(situation, after, rule=rule, move=Move.RESTORE, weight=weight, urgent=True)


def withdraw(situation: Situation, rule: str) -> Decision:
    """Take the candidate out of its place in the spec, now that it has no traffic."""
    return decide(situation, situation.progress, rule=rule, move=Move.RESTORE, weight=None)
