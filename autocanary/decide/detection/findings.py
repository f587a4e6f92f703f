"""What a look at a service with no rollout can find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = ["Mend", "Nothing", "Refusal", "Start"]


@dataclass(frozen=True, slots=True)
class Nothing:
    """No rollout to start."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The policy selects the service, but it cannot be rolled out; told once per service and reason."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Mend:
    """KServe gave stable's share to the revision before it, with no rollout running that could notice.

    ``rollout`` is the promotion that it undid, with what people are to be told; ``spec`` is stable's, to be
    put back without a weight: the only way out (measured). None: that is for a person to do.
    """

    rollout: Rollout
    spec: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Start:
    """A rollout to create. ``catch``: its first write (weight 0) races against the revision's readiness."""

    rollout: Rollout
    catch: bool = False
