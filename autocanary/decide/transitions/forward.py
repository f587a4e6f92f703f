"""Onwards: a step, a weight, a repetition of one, the end, making the candidate stable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.decide.decision_input import Situation
from autocanary.decide.transitions.base import UNSEEN, decide, enter, fresh, phase_of
from autocanary.model.decision import Decision, Event, Move
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason

__all__ = ["end", "go", "promote", "put_weight", "serve", "settle", "write_again"]


def go(situation: Situation, rule: str, step: int, reason: Reason, message: str, **changes: Any) -> Decision:
    """Take a step: everything counted for the step before it starts anew."""
    seen, policy = situation.seen, situation.policy
    weight = policy.steps[step].weight
    after = enter(
        situation,
        phase_of(situation, step),
        reason,
        message,
        **fresh(situation),
        **{
            "step": step,
            "weight": weight,
            "from_weight": seen.weight if seen else situation.progress.weight,
            **changes,
        },
    ).but(phase_since=situation.now)
    return decide(situation, after, rule=rule, event=Event.STEP, move=Move.WEIGHT, weight=weight)


def serve(situation: Situation, rule: str, step: int, message: str) -> Decision:
    """Begin to judge at the weight that is in the field already: nothing is written."""
    after = enter(
        situation,
        phase_of(situation, step),
        Reason.WAITING_FOR_EFFECT,
        message,
        **fresh(situation),
        step=step,
    )
    return decide(situation, after, rule=rule, event=Event.STEP)


def write_again(situation: Situation, rule: str) -> Decision:
    """The recorded weight has not reached the field (a crash, a conflict, an API server away): write it."""
    weight = situation.progress.weight
    urgent = situation.progress.phase is Phase.ROLLING_BACK
    return decide(
        situation,
        situation.progress,
        rule=rule,
        move=Move.WEIGHT,
        weight=weight if weight is not None else 0,
        urgent=urgent,
    )


def put_weight(
    situation: Situation, rule: str, weight: int, reason: Reason, message: str, event: Event | None = None
) -> Decision:
    """Write a weight without taking a step."""
    seen = situation.seen
    after = enter(
        situation,
        situation.progress.phase,
        reason,
        message,
        weight=weight,
        from_weight=seen.weight if seen else None,
        step_started_at=situation.now,
        **UNSEEN,
    )
    if event is Event.EXTERNAL_CHANGE:
        after = after.but(warned=(*after.warned, reason.value))
    return decide(situation, after, rule=rule, event=event, move=Move.WEIGHT, weight=weight, urgent=True)


def end(
    situation: Situation,
    rule: str,
    phase: Phase,
    reason: Reason,
    message: str,
    *,
    weight: int | None = None,
    write: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Decision:
    """The rollout is over. ``write``: with a last weight, for a candidate that is superseded."""
    after = enter(
        situation,
        phase,
        reason,
        message,
        **{"finished_at": situation.now, "held_since": None, "paused_by": "", **(changes or {})},
    )
    if write:
        after = after.but(weight=weight, from_weight=situation.seen.weight if situation.seen else None)
    event = {Phase.PROMOTED: Event.PROMOTED, Phase.ROLLED_BACK: Event.ROLLED_BACK}.get(phase, Event.ENDED)
    return decide(
        situation,
        after,
        rule=rule,
        event=event,
        move=Move.WEIGHT if write else Move.NONE,
        weight=weight,
        urgent=write,
    )


def promote(situation: Situation, rule: str, reason: Reason, message: str, **changes: Any) -> Decision:
    """The candidate has won: it is over, unless the service's spec must still say so (Settling)."""
    seen = situation.seen
    if seen is None or seen.unsettled is None:
        return end(situation, rule, Phase.PROMOTED, reason, message, changes=changes)
    after = enter(
        situation,
        Phase.SETTLING,
        Reason.SETTLING,
        f"{message}; it is made stable",
        **{"held_since": None, "held_told_at": None, "paused_by": "", "promote_all": False, **changes},
    )
    return decide(situation, after, rule=rule)


def settle(situation: Situation, rule: str) -> Decision:
    """The next write of settling; a repetition of one that has arrived is another one, or none."""
    return decide(situation, situation.progress, rule=rule, move=Move.SETTLE)
