"""What to do about one rollout now: the planner's whole answer, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from autocanary.model.progress import Progress
from autocanary.model.reason import Reason

__all__ = ["Action", "Decision", "Event"]


class Event(str, Enum):
    """The audit trail: one per transition, never per tick. Names are stable; alerts use them."""

    STARTED = "rollout_started"
    STEP = "step_taken"
    HELD = "rollout_held"
    PAUSED = "rollout_paused"
    RESUMED = "rollout_resumed"
    PROMOTED = "rollout_promoted"
    ROLLBACK = "rollback_started"
    ROLLED_BACK = "rollout_rolled_back"
    EXTERNAL_CHANGE = "external_change"
    ENDED = "rollout_ended"  # superseded, abandoned, missed
    WARNING = "rollout_warning"  # action may be required: blocked rollback, lost stable

    def __str__(self) -> str:
        return self.value


class Action(str, Enum):
    """The kinds of writes to an InferenceService; nothing else is ever written."""

    NONE = "none"
    WEIGHT = "weight"  # canaryTrafficPercent := weight
    RESTORE = "restore"  # stable spec back; weight as given, None removes the field
    FINALIZE = "finalize"  # the next write towards the candidate being stable in the spec, see Unsettled


@dataclass(frozen=True, slots=True)
class Decision:
    """``progress`` is the state to record; ``action`` the write that follows it.

    ``event`` is None while nothing changes for users. ``inputs`` is everything the decision was made
    from, JSON-safe, so that it can be explained and recomputed later. ``urgent`` writes are made even if
    they could not be recorded first: a rollback does not wait for the rollout store. ``rule`` names the rule
    of the chain that made the decision.
    """

    progress: Progress
    reason: Reason
    action: Action = Action.NONE
    weight: int | None = None
    event: Event | None = None
    urgent: bool = False
    inputs: Mapping[str, Any] | None = None
    rule: str = ""
