"""The transitions that rules choose from, one function each: hold, advance, roll back, pause, end.

A rule says *when*; a transition says what that means for the progress, the notifications and the one write
that may follow. Nothing else builds a Decision.
Must never be here: a condition on when to make a transition.
"""

from autocanary.decide.transitions.base import UNSEEN, overruled, phase_of
from autocanary.decide.transitions.forward import end, go, promote, put_weight, serve, settle, write_again
from autocanary.decide.transitions.hold import (
    COUNTED,
    answer,
    because,
    hold,
    pause,
    resume,
    set_aside,
    stay,
    unchanged,
    warn,
)
from autocanary.decide.transitions.rollback import (
    restore,
    restore_again,
    restore_blocked,
    roll_back,
    withdraw,
)

__all__ = [
    "COUNTED",
    "UNSEEN",
    "answer",
    "because",
    "end",
    "go",
    "hold",
    "overruled",
    "pause",
    "phase_of",
    "promote",
    "put_weight",
    "restore",
    "restore_again",
    "restore_blocked",
    "resume",
    "roll_back",
    "serve",
    "set_aside",
    "settle",
    "stay",
    "unchanged",
    "warn",
    "withdraw",
    "write_again",
]
