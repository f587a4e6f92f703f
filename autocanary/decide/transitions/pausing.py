"""Stopped until a person says otherwise, and on again."""

from __future__ import annotations

from typing import Any

from autocanary.decide.decision_input import BY_FAILURE, Situation
from autocanary.decide.transitions.base import decide, enter, fresh, phase_of
from autocanary.model.decision import Decision, Event, Move
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason

__all__ = ["pause", "resume", "set_aside"]


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
