"""The other components of the same service: what is being released there while one of them is rolled out.

Predictor, transformer and explainer have revisions, weights and rollouts of their own. A request goes
through all of them, so two candidates at once cannot be told apart by what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from autocanary.model.observation import Observation
from autocanary.model.policy import Component
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = ["TOGETHER", "Companion", "companion_of", "matters"]

TOGETHER = 30.0
"""Seconds within which the rollouts of two components begin when one apply changed both; measured: 6 s."""


@dataclass(frozen=True, slots=True)
class Companion:
    """One other component. ``phase`` to ``finished_at`` are of its newest rollout; None and 0 without one.

    ``candidate`` is that rollout's, or the newest revision when ``pending``: the component has changed and
    its rollout has not begun. ``governed``: a policy would begin one. ``follows``: its policy lets it wait
    for the rollout that this is a companion of.
    """

    component: Component
    candidate: str
    phase: Phase | None = None
    reason: Reason | None = None
    step: int = -1
    started_at: float = 0.0
    since: float = 0.0
    finished_at: float | None = None
    pending: bool = False
    governed: bool = True
    follows: bool = False

    @property
    def runs(self) -> bool:
        return self.phase is not None and not self.phase.is_final

    @property
    def awaits_a_person(self) -> bool:
        """Set aside because it was changed together with another, and nobody has said yet which goes on."""
        return self.phase is Phase.PAUSED and self.reason is Reason.COMPONENTS_TOGETHER

    def to_dict(self) -> dict[str, Any]:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Companion:
        """KeyError, TypeError or ValueError for what ``to_dict`` did not make."""
        phase, reason = raw["phase"], raw["reason"]
        read = {
            "component": Component(raw["component"]),
            "phase": None if phase is None else Phase(phase),
            "reason": None if reason is None else Reason(reason),
        }
        return cls(**{**raw, **read})


def matters(rollout: Rollout, now: float) -> bool:
    """Whether the other components decide anything now: before the first step, and just after the start."""
    progress = rollout.progress
    if progress.phase.is_final or progress.phase in (Phase.PAUSED, Phase.ROLLING_BACK):
        return False
    return progress.step < 0 or now - progress.started_at <= TOGETHER


def companion_of(
    rollout: Rollout,
    seen: Observation,
    history: Sequence[Rollout],
    stable_digest: str,
    *,
    governed: bool,
    follows: bool,
) -> Companion | None:
    """What ``seen``, another component, is to ``rollout``; None: nothing that could matter.

    ``history`` are its rollouts whose names are still valid; ``stable_digest`` is that of its stable spec, ""
    when not known.
    """
    newest = max(history, key=lambda past: (past.progress.started_at, past.attempt), default=None)
    recorded = newest is not None and newest.candidate == seen.created
    has_candidate = bool(seen.created and seen.rolled_out) and seen.created != seen.rolled_out
    edited = bool(stable_digest) and seen.spec_digest != stable_digest and seen.created == seen.rolled_out
    runs = newest is not None and not newest.is_final
    pending = not runs and ((has_candidate and not recorded) or edited)
    if newest is not None and newest.is_final:
        ended = newest.progress.finished_at
        if ended is None or ended < rollout.progress.started_at:
            newest = None  # over before this one began
    if newest is None:
        if not pending:
            return None
        return Companion(seen.key.component, seen.created, pending=True, governed=governed, follows=follows)
    progress = newest.progress
    return Companion(
        component=seen.key.component,
        candidate=seen.created if pending else newest.candidate,
        phase=progress.phase,
        reason=progress.reason,
        step=progress.step,
        started_at=progress.started_at,
        since=progress.phase_since,
        finished_at=progress.finished_at,
        pending=pending,
        governed=governed,
        follows=follows,
    )
