"""The transitions that rules choose from, one function each: hold, advance, roll back, pause, end.

A rule says *when*; a transition says what that means for the progress, the notifications and the one write
that may follow. Nothing else builds a Decision. ``progress`` is what the rule has changed in it already.
Must never be here: a condition on when to make a transition.
"""

from autocanary.decide.transitions.base import phase_at_step, reset_evidence, step_clock_reset
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
    NO_DATA_REASONS,
    OUTAGE_REASONS,
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
    "NO_DATA_REASONS",
    "OUTAGE_REASONS",
    "advance",
    "continue_step",
    "escalate_rollback",
    "finalize",
    "finish",
    "hold",
    "pause",
    "pause_without_traffic",
    "phase_at_step",
    "promote",
    "remove_candidate",
    "reset_evidence",
    "restore_stable_spec",
    "resume",
    "retry_restore",
    "retry_weight",
    "roll_back",
    "start_at_current_weight",
    "step_clock_reset",
    "unchanged",
    "warn",
    "with_reason",
    "with_request_answer",
    "write_weight",
]
