"""What every transition consists of: the phase entered, the notification, the one write."""

from __future__ import annotations

from autocanary.decide.decision_input import BY_FAILURE, DecisionInput
from autocanary.decide.decision_log import decision_inputs_to_json
from autocanary.decide.outbox import record_transition
from autocanary.model.decision import Action, Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.progress import AnalysisState, HoldState, Phase, Progress, StepState
from autocanary.model.reason import Reason

__all__ = [
    "ask_for_weight",
    "begin_step",
    "decide",
    "enter_phase",
    "phase_at_step",
    "reset_evidence",
    "step_clock_reset",
]


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
    analysis_step = steps[progress.step.index].analysis_from if 0 <= progress.step.index < len(steps) else 0
    if analysis_step != progress.analysis.from_step:
        progress = replace(progress, analysis=replace(progress.analysis, from_step=analysis_step))
    if event is not None:
        progress = record_transition(given.rollout, progress, event, given.now, inputs)
    return Decision(progress, progress.reason, action, weight, event, urgent, inputs)


def enter_phase(
    given: DecisionInput, phase: Phase, reason: Reason, message: str, progress: Progress | None = None
) -> Progress:
    """``progress`` in a phase; without one, the rollout's own."""
    before = given.progress
    since = before.phase_since if before.phase is phase else given.now
    return replace(progress or before, phase=phase, phase_since=since, reason=reason, message=message)


def begin_step(given: DecisionInput, index: int, progress: Progress | None = None) -> Progress:
    """The progress at a step's beginning: everything counted for the step before it is reset."""
    progress = progress or given.progress
    return replace(
        progress,
        step=step_clock_reset(given, replace(progress.step, index=index)),
        analysis=replace(
            reset_evidence(given), metrics={}, no_data_since=None, outage_since=None, inconclusive_since=None
        ),
        hold=HoldState(),
    )


def step_clock_reset(given: DecisionInput, step: StepState) -> StepState:
    """``step`` begun now: nothing has shown its weight yet, and nothing can have drifted from it."""
    return replace(step, started_at=given.now, verified_at=None, drifted_since=None)


def ask_for_weight(given: DecisionInput, weight: int | None) -> StepState:
    """The rollout's step with another weight, which nothing has shown yet."""
    observation = given.observation
    return replace(
        given.progress.step,
        weight=weight,
        from_weight=observation.weight if observation else None,
        verified_at=None,
        drifted_since=None,
    )


def reset_evidence(given: DecisionInput) -> AnalysisState:
    """A user who resumes a failed candidate has seen the evidence: it and the budget start again."""
    analysis = given.progress.analysis
    if given.progress.hold.paused_by != BY_FAILURE:
        return analysis
    spent = analysis.failed_requests
    return replace(analysis, evidence={}, failed_requests={**spent, "failed": 0} if spent else {})
