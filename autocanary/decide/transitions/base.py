"""What every move is made of: the phase entered, what people are told, the one write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.decide.decision_input import BY_FAILURE, Situation
from autocanary.decide.decision_log import inputs_of
from autocanary.decide.outbox import telling
from autocanary.model.decision import Decision, Event, Move
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason

__all__ = ["UNSEEN", "decide", "enter", "fresh", "overruled", "phase_of"]

UNSEEN: Mapping[str, Any] = {"verified_at": None, "strayed_since": None}
"""Another weight begins: nothing has shown it yet, and nothing can have strayed from it."""


def phase_of(situation: Situation, step: int) -> Phase:
    """The phase in which a rollout stands at a step when nothing stops it."""
    if step < 0:
        return Phase.STAGING
    return Phase.BAKING if step >= len(situation.policy.steps) - 1 else Phase.PROGRESSING


def decide(
    situation: Situation,
    progress: Progress,
    *,
    rule: str,
    event: Event | None = None,
    move: Move = Move.NONE,
    weight: int | None = None,
    urgent: bool = False,
) -> Decision:
    inputs = inputs_of(situation) if event is not None or move is not Move.NONE else None
    if event is not None:
        progress = telling(situation.rollout, progress, event, situation.now, inputs, rule)
    return Decision(progress, progress.reason, rule, move, weight, event, urgent, inputs)


def enter(situation: Situation, phase: Phase, reason: Reason, message: str, **changes: Any) -> Progress:
    progress = situation.progress
    since = progress.phase_since if progress.phase is phase else situation.now
    return progress.but(phase=phase, phase_since=since, reason=reason, message=message, **changes)


def fresh(situation: Situation) -> dict[str, Any]:
    return {
        "step_started_at": situation.now,
        **UNSEEN,
        "metrics": {},
        "no_data_since": None,
        "outage_since": None,
        "undecided_since": None,
        "held_since": None,
        "held_told_at": None,
        "paused_by": "",
        **overruled(situation),
    }


def overruled(situation: Situation) -> dict[str, Any]:
    """A person who lets a failed candidate go on has weighed the evidence: it starts anew."""
    return {"evidence": {}} if situation.progress.paused_by == BY_FAILURE else {}
