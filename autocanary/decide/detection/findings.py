"""What a look at a service with no rollout can find.

A rollout's first state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.decide.detection.stable_revision import Memory
from autocanary.decide.outbox import telling
from autocanary.model.decision import Event
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout, rollout_name

__all__ = ["Mend", "Nothing", "Refusal", "Start", "born", "new_rollout"]


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


def new_rollout(
    seen: Observation, policy: Policy, history: Sequence[Rollout], memory: Memory | None, now: float
) -> Rollout:
    attempts = [past.attempt for past in history if past.candidate == seen.created]
    attempt = 1 + max(attempts, default=0)
    return Rollout(
        namespace=seen.key.namespace,
        name=rollout_name(seen.key.name, seen.created, attempt),
        service=seen.key.name,
        service_uid=seen.uid,
        api_version=seen.api_version,
        component=seen.key.component,
        stable=seen.rolled_out,
        candidate=seen.created,
        policy_name=policy.name,
        policy_digest=policy.digest,
        policy_document=policy.document,
        stable_spec=seen.beside.spec if seen.beside else (memory.spec if memory else None),
        stable_digest=seen.beside.digest if seen.beside else (memory.digest if memory else ""),
        candidate_spec=seen.spec,
        candidate_digest=seen.spec_digest,
        attempt=attempt,
        created_at=now,
        progress=Progress(
            phase=Phase.STAGING, reason=Reason.ROLLOUT_STARTED, message="", started_at=now, phase_since=now
        ),
    )


def born(
    rollout: Rollout,
    seen: Observation,
    phase: Phase,
    reason: Reason,
    message: str,
    now: float,
    *,
    weight: int | None = 0,
) -> Rollout:
    """``rollout`` in the phase that its life begins with, or begins and ends with, with people told."""
    progress = Progress(
        phase=phase, reason=reason, message=message, started_at=now, phase_since=now, weight=weight
    )
    if phase.is_final:
        progress = progress.but(finished_at=now)
    else:
        progress = progress.but(from_weight=seen.weight, step_started_at=now)
    event = Event.ENDED if phase.is_final else Event.STARTED
    return rollout.but(progress=telling(rollout, progress, event, now))
