"""What the detection can find at a service with no rollout.

A rollout's first state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.decide.detection.stable_revision import StableRevisionTracker
from autocanary.decide.outbox import record_transition
from autocanary.model.decision import Event
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase, Progress, StepState
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout, rollout_name

__all__ = ["NoAction", "Refusal", "RepairStable", "StartRollout", "new_rollout", "with_first_state"]


@dataclass(frozen=True, slots=True)
class NoAction:
    """No rollout to start."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The policy selects the service, but it cannot be rolled out; logged once per service and reason."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class RepairStable:
    """KServe gave stable's share to the revision before it, with no rollout running that could notice.

    ``rollout`` is the promotion that it undid, with the notification; ``spec`` is stable's, to be
    put back without a weight: the only way out (measured). None: users must do that.
    """

    rollout: Rollout
    spec: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class StartRollout:
    """A rollout to create. ``intercept``: its first write (weight 0) races against the revision's readiness."""

    rollout: Rollout
    intercept: bool = False


def new_rollout(
    observation: Observation,
    policy: Policy,
    history: Sequence[Rollout],
    tracker: StableRevisionTracker | None,
    now: float,
) -> Rollout:
    attempts = [past.attempt for past in history if past.candidate == observation.created]
    attempt = 1 + max(attempts, default=0)
    return Rollout(
        namespace=observation.key.namespace,
        name=rollout_name(observation.key.name, observation.created, attempt),
        service=observation.key.name,
        service_uid=observation.uid,
        api_version=observation.api_version,
        component=observation.key.component,
        stable=observation.rolled_out,
        candidate=observation.created,
        policy_name=policy.name,
        policy_digest=policy.digest,
        policy_document=policy.document,
        stable_spec=observation.default_endpoint.spec
        if observation.default_endpoint
        else (tracker.spec if tracker else None),
        stable_digest=observation.default_endpoint.digest
        if observation.default_endpoint
        else (tracker.digest if tracker else ""),
        candidate_spec=observation.spec,
        candidate_digest=observation.spec_digest,
        attempt=attempt,
        created_at=now,
        progress=Progress(
            phase=Phase.STAGING,
            reason=Reason.ROLLOUT_STARTED,
            message="",
            started_at=now,
            phase_since=now,
            released_by=observation.released_by,
        ),
    )


def with_first_state(
    rollout: Rollout,
    observation: Observation,
    phase: Phase,
    reason: Reason,
    message: str,
    now: float,
    *,
    weight: int | None = 0,
) -> Rollout:
    """``rollout`` in the phase that its life begins with, or begins and ends with, and its notification."""
    progress = Progress(
        phase=phase,
        reason=reason,
        message=message,
        started_at=now,
        phase_since=now,
        step=StepState(weight=weight),
        released_by=observation.released_by,
    )
    if phase.is_final:
        progress = replace(progress, finished_at=now)
    else:
        progress = replace(progress, step=replace(progress.step, from_weight=observation.weight, started_at=now))
    event = Event.ENDED if phase.is_final else Event.STARTED
    return replace(rollout, progress=record_transition(rollout, progress, event, now))
