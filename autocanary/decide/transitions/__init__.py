"""The transitions that rules choose from, one function each: hold, advance, roll back, pause, end.

A rule says *when*; a transition says what that means for the progress, the notifications and the one write
that may follow. Nothing else builds a Decision.
Must never be here: a condition on when to make a transition.
"""

from autocanary.decide.transitions.base import WEIGHT_NOT_IN_EFFECT, evidence_reset, phase_at_step
from autocanary.decide.transitions.forward import (
    advance,
    finalize,
    finish,
    promote,
    retry_weight,
    start_at_current_weight,
    write_weight,
)
from autocanary.decide.transitions.hold import (
    DEADLINE_REASONS,
    continue_step,
    hold,
    pause,
    pause_without_traffic,
    resume,
    unchanged,
    warn,
    with_reason,
    with_request_answer,
)
from autocanary.decide.transitions.rollback import (
    escalate_rollback,
    remove_candidate,
    restore_stable_spec,
    retry_restore,
    roll_back,
)

__all__ = [
    "DEADLINE_REASONS",
    "WEIGHT_NOT_IN_EFFECT",
    "advance",
    "continue_step",
    "escalate_rollback",
    "evidence_reset",
    "finalize",
    "finish",
    "hold",
    "pause",
    "pause_without_traffic",
    "phase_at_step",
    "promote",
    "remove_candidate",
    "restore_stable_spec",
    "resume",
    "retry_restore",
    "retry_weight",
    "roll_back",
    "start_at_current_weight",
    "unchanged",
    "warn",
    "with_reason",
    "with_request_answer",
    "write_weight",
]
