"""What every transition consists of: the phase entered, the notification, the one write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.decide.decision_input import BY_FAILURE, DecisionInput
from autocanary.decide.decision_log import decision_inputs_to_json
from autocanary.decide.outbox import record_transition
from autocanary.model.decision import Action, Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason

__all__ = [
    "WEIGHT_NOT_IN_EFFECT",
    "decide",
    "enter_phase",
    "evidence_reset",
    "new_step_fields",
    "phase_at_step",
]

WEIGHT_NOT_IN_EFFECT: Mapping[str, Any] = {"verified_at": None, "drifted_since": None}
"""Another weight begins: nothing has shown it yet, and nothing can have drifted from it."""


def phase_at_step(given: DecisionInput, step: int) -> Phase:
    """The phase of a rollout at a step when nothing stops it."""
    if step < 0:
        return Phase.STAGING
    return Phase.BAKING if step >= len(given.policy.steps) - 1 else Phase.PROGRESSING


def decide(
    given: DecisionInput,
    progress: Progress,
    *,
    event: Event | None = None,
    action: Action = Action.NONE,
    weight: int | None = None,
    urgent: bool = False,
) -> Decision:
    inputs = decision_inputs_to_json(given) if event is not None or action is not Action.NONE else None
    steps = given.policy.steps
    analysis_step = steps[progress.step].analysis_from if 0 <= progress.step < len(steps) else 0
    if analysis_step != progress.analysis_step:
        progress = replace(progress, analysis_step=analysis_step)
    if event is not None:
        progress = record_transition(given.rollout, progress, event, given.now, inputs)
    return Decision(progress, progress.reason, action, weight, event, urgent, inputs)


def enter_phase(given: DecisionInput, phase: Phase, reason: Reason, message: str, **changes: Any) -> Progress:
    progress = given.progress
    since = progress.phase_since if progress.phase is phase else given.now
    return replace(progress, phase=phase, phase_since=since, reason=reason, message=message, **changes)


def new_step_fields(given: DecisionInput) -> dict[str, Any]:
    return {
        "step_started_at": given.now,
        **WEIGHT_NOT_IN_EFFECT,
        "metrics": {},
        "no_data_since": None,
        "outage_since": None,
        "inconclusive_since": None,
        "held_since": None,
        "hold_notified_at": None,
        "paused_by": "",
        **evidence_reset(given),
    }


def evidence_reset(given: DecisionInput) -> dict[str, Any]:
    """A user who resumes a failed candidate has seen the evidence: it and the budget start again."""
    if given.progress.paused_by != BY_FAILURE:
        return {}
    spent = given.progress.failed_requests
    return {"evidence": {}, "failed_requests": {**spent, "failed": 0} if spent else {}}
