"""The other components of the same service: what is being released there while one of them is rolled out.

Predictor, transformer and explainer have revisions, weights and rollouts of their own. A request goes
through all of them, so what is measured cannot distinguish two candidates at once.
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

__all__ = ["SAME_APPLY_SECONDS", "OtherComponent", "other_component_of", "other_components_matter"]

SAME_APPLY_SECONDS = 30.0
"""Seconds within which the rollouts of two components begin when one apply changed both; measured: 6 s."""


@dataclass(frozen=True, slots=True)
class OtherComponent:
    """One other component. ``phase`` to ``finished_at`` are of its newest rollout; None and 0 without one.

    ``candidate`` is that rollout's, or the newest revision when ``rollout_pending``: the component has
    changed and its rollout has not begun. ``has_policy``: a policy would begin one. ``waits_for_this``: its
    policy lets it wait for the rollout that this is a companion of.
    """

    component: Component
    candidate: str
    phase: Phase | None = None
    reason: Reason | None = None
    step: int = -1
    started_at: float = 0.0
    since: float = 0.0
    finished_at: float | None = None
    rollout_pending: bool = False
    has_policy: bool = True
    waits_for_this: bool = False

    @property
    def is_running(self) -> bool:
        return self.phase is not None and not self.phase.is_final

    @property
    def awaits_user(self) -> bool:
        """Set aside because it was changed together with another, and no user has said yet which goes on."""
        return self.phase is Phase.PAUSED and self.reason is Reason.COMPONENTS_TOGETHER

    def to_dict(self) -> dict[str, Any]:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> OtherComponent:
        """KeyError, TypeError or ValueError for what ``to_dict`` did not make."""
        phase, reason = raw["phase"], raw["reason"]
        read = {
            "component": Component(raw["component"]),
            "phase": None if phase is None else Phase(phase),
            "reason": None if reason is None else Reason(reason),
        }
        return cls(**{**raw, **read})


def other_components_matter(rollout: Rollout, now: float) -> bool:
    """Whether the other components decide anything now: before the first step, and just after the start."""
    progress = rollout.progress
    if progress.phase.is_final or progress.phase in (Phase.PAUSED, Phase.ROLLING_BACK):
        return False
    return progress.step.index < 0 or now - progress.started_at <= SAME_APPLY_SECONDS


def other_component_of(
    rollout: Rollout,
    observation: Observation,
    history: Sequence[Rollout],
    stable_digest: str,
    *,
    has_policy: bool,
    waits_for_this: bool,
) -> OtherComponent | None:
    """What ``observation``, another component, is to ``rollout``; None: nothing that could matter.

    ``history`` are its rollouts whose names are still valid; ``stable_digest`` is that of its stable spec, ""
    when not known.
    """
    newest = max(history, key=lambda past: (past.progress.started_at, past.attempt), default=None)
    recorded = newest is not None and newest.candidate == observation.created
    has_candidate = (
        bool(observation.created and observation.rolled_out) and observation.created != observation.rolled_out
    )
    edited = (
        bool(stable_digest)
        and observation.spec_digest != stable_digest
        and observation.created == observation.rolled_out
    )
    is_running = newest is not None and not newest.is_final
    rollout_pending = not is_running and ((has_candidate and not recorded) or edited)
    if newest is not None and newest.is_final:
        ended = newest.progress.finished_at
        if ended is None or ended < rollout.progress.started_at:
            newest = None  # over before this one began
    if newest is None:
        if not rollout_pending:
            return None
        return OtherComponent(
            observation.key.component,
            observation.created,
            rollout_pending=True,
            has_policy=has_policy,
            waits_for_this=waits_for_this,
        )
    progress = newest.progress
    return OtherComponent(
        component=observation.key.component,
        candidate=observation.created if rollout_pending else newest.candidate,
        phase=progress.phase,
        reason=progress.reason,
        step=progress.step.index,
        started_at=progress.started_at,
        since=progress.phase_since,
        finished_at=progress.finished_at,
        rollout_pending=rollout_pending,
        has_policy=has_policy,
        waits_for_this=waits_for_this,
    )
