"""The few things that can be decided, each as one function: stay, hold, go, roll back, end.

Rules say *when*; these say *what that means* for the progress, the outbox and the one write that may
follow. Nothing else builds a Decision.

Lives here: ``staying`` (wait, hold, warn), ``stepping`` (onwards, to the end), ``returning`` (back to
stable), ``pausing`` (until a person says otherwise), and ``deciding`` (what every move is made of).
Must never be here: a condition on when to make a move.
"""

from autocanary.core.moves.deciding import UNSEEN, overruled, phase_of
from autocanary.core.moves.pausing import pause, resume, set_aside
from autocanary.core.moves.returning import restore, restore_again, restore_blocked, roll_back, withdraw
from autocanary.core.moves.staying import COUNTED, answer, because, hold, stay, unchanged, warn
from autocanary.core.moves.stepping import end, go, promote, put_weight, serve, settle, write_again

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
