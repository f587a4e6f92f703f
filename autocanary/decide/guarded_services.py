"""Services whose releases the guard holds at 0 % and no policy rolls out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autocanary.decide.policy_selection import Tie, select_policy_for
from autocanary.model.guard import Guard
from autocanary.model.observation import DeploymentMode, Observation, ServiceKey
from autocanary.model.policy import Policy

__all__ = ["GuardedService", "guarded_without_policy"]

_HELD_MODES = (DeploymentMode.KNATIVE, DeploymentMode.UNKNOWN)


@dataclass(frozen=True, slots=True)
class GuardedService:
    """``waits``: a revision waits at 0 % now. ``problem`` says why no policy governs the service, as a sentence."""

    key: ServiceKey
    waits: bool
    problem: str


def guarded_without_policy(
    guard: Guard, services: Iterable[Observation], policies: Sequence[Policy]
) -> tuple[GuardedService, ...]:
    """By key. ``policies`` are those in force; a tie governs nothing.

    The guard knows services of ``v1beta1`` in Knative mode only (the chart's match conditions).
    """
    in_force = tuple(policies)
    found = []
    for seen in services:
        if seen.default_endpoint is not None or seen.mode not in _HELD_MODES or seen.deleting or seen.stopped:
            continue
        if not guard.holds(seen.key.namespace, seen.labels):
            continue
        governing = select_policy_for(in_force, seen)
        if isinstance(governing, Policy):
            continue
        waits = seen.weight == 0 and seen.rolled_out != "" and seen.created not in ("", seen.rolled_out)
        problem = str(governing) if isinstance(governing, Tie) else f"no policy selects {seen.key}"
        found.append(GuardedService(seen.key, waits, problem))
    return tuple(sorted(found, key=lambda each: each.key))
