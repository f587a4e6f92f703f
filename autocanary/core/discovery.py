"""What starts a rollout: a service whose newest revision is not the one that has been rolled out.

Pure: one observation, the policy that selects the service, what the ledger knows of it, and what was
remembered from earlier looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.core.decision import Event
from autocanary.core.observation import Mode, Observation
from autocanary.core.policy import OnUnstaged, Policy
from autocanary.core.progress import Phase, Progress
from autocanary.core.reason import Reason
from autocanary.core.rollout import Rollout, rollout_name
from autocanary.core.telling import telling

__all__ = ["Memory", "Nothing", "Refusal", "Start", "discover", "remember", "retried"]


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier looks at a service taught: its stable revision, and the spec that stable was made from."""

    uid: str
    stable: str
    spec: Mapping[str, Any] | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No rollout to start."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The policy selects the service, but it cannot be rolled out; told once per service and reason."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Start:
    """A rollout to create. ``catch``: its first write (weight 0) races against the revision's readiness."""

    rollout: Rollout
    catch: bool = False


def remember(memory: Memory | None, seen: Observation, history: Sequence[Rollout]) -> Memory | None:
    """What to remember after this look: only a service at rest teaches what stable is made of."""
    if not seen.rolled_out:
        return memory if memory is not None and memory.uid == seen.uid else None
    at_rest = seen.created == seen.rolled_out == seen.ready
    if at_rest:
        return Memory(seen.uid, seen.rolled_out, seen.spec, seen.spec_digest)
    if memory is not None and memory.uid == seen.uid and memory.stable == seen.rolled_out:
        return memory
    for past in history:
        if (
            past.service_uid == seen.uid
            and past.candidate == seen.rolled_out
            and past.candidate_spec is not None
        ):
            return Memory(seen.uid, seen.rolled_out, past.candidate_spec, past.candidate_digest)
    for past in history:
        if past.service_uid == seen.uid and past.stable == seen.rolled_out and past.stable_spec is not None:
            return Memory(seen.uid, seen.rolled_out, past.stable_spec, past.stable_digest)
    return Memory(seen.uid, seen.rolled_out)


def discover(
    seen: Observation,
    policy: Policy,
    history: Sequence[Rollout],
    memory: Memory | None,
    now: float,
) -> Nothing | Refusal | Start:
    """Whether a rollout starts. ``history``: this service's rollouts; ``memory``: from before this look."""
    if seen.deleting or seen.stopped:
        return Nothing()
    if seen.mode in (Mode.STANDARD, Mode.MODELMESH):
        return Refusal(
            Reason.UNSUPPORTED_DEPLOYMENT_MODE,
            f"{seen.key} runs in KServe's {seen.mode.value} mode, where canaryTrafficPercent splits no "
            "traffic; policies work on services annotated serving.kserve.io/deploymentMode: Knative",
        )
    if not seen.created or not seen.rolled_out:
        return Nothing()
    own = [past for past in history if past.service_uid == seen.uid]
    if seen.created == seen.rolled_out:
        return _missed(seen, policy, own, memory, now)
    if any(past.candidate == seen.created for past in own):
        return Nothing()  # running, or finished: a failed candidate stays out until a person retries
    if seen.auto_update_disabled:
        return Refusal(
            Reason.AUTO_UPDATE_DISABLED,
            f"{seen.key} has serving.kserve.io/disable-auto-update, so KServe ignores every weight; "
            "remove the annotation to roll out",
        )
    unstaged = seen.weight is None or seen.weight >= 100
    if unstaged and policy.on_unstaged is OnUnstaged.IGNORE:
        return Nothing()
    known = memory if memory is not None and memory.stable == seen.rolled_out else None
    rollout = _new(seen, policy, history, known, now)
    reason = Reason.CAUGHT_UNSTAGED if unstaged else Reason.ROLLOUT_STARTED
    weight = 0 if unstaged else seen.weight or 0
    how = (
        "it was applied without a weight and is held at 0 % until it is ready"
        if unstaged
        else f"it was applied at {weight} %"
    )
    message = f"{seen.created} is to replace {seen.rolled_out}: {how}; policy {policy.name}"
    progress = Progress(
        phase=Phase.STAGING,
        reason=reason,
        message=message,
        started_at=now,
        phase_since=now,
        weight=weight,
        from_weight=seen.weight,
        step_started_at=now,
    )
    progress = telling(rollout, progress, Event.STARTED, now)
    return Start(rollout.but(progress=progress), catch=unstaged)


def retried(
    past: Rollout, seen: Observation, policy: Policy, history: Sequence[Rollout], now: float
) -> Start:
    """A new attempt at a candidate that was rolled back; it starts staged at the weight it was left at."""
    rollout = _new(seen, policy, history, None, now).but(
        stable_spec=past.stable_spec, stable_digest=past.stable_digest
    )
    progress = Progress(
        phase=Phase.STAGING,
        reason=Reason.RETRIED_BY_USER,
        message=f"{seen.created} is tried again, attempt {rollout.attempt}; policy {policy.name}",
        started_at=now,
        phase_since=now,
        weight=seen.weight,
        from_weight=seen.weight,
        step_started_at=now,
    )
    return Start(rollout.but(progress=telling(rollout, progress, Event.STARTED, now)))


def _missed(
    seen: Observation, policy: Policy, own: Sequence[Rollout], memory: Memory | None, now: float
) -> Nothing | Start:
    """A revision that took all traffic between two looks, without a rollout: said, not undone.

    Lowering the weight now would move the traffic to a revision whose pods are gone.
    """
    fresh = memory is None or memory.uid != seen.uid or memory.stable == seen.rolled_out
    known = any(seen.rolled_out in (past.candidate, past.stable) for past in own)
    same_content = memory is not None and memory.digest == seen.spec_digest
    if fresh or known or same_content or memory is None or policy.on_unstaged is OnUnstaged.IGNORE:
        return Nothing()
    rollout = _new(seen, policy, own, memory, now).but(stable=memory.stable)
    message = f"{seen.rolled_out} took 100 % of the traffic before it could be caught, without analysis"
    progress = Progress(
        phase=Phase.MISSED,
        reason=Reason.MISSED_UNSTAGED,
        message=message,
        started_at=now,
        phase_since=now,
        weight=seen.weight,
        finished_at=now,
    )
    return Start(rollout.but(progress=telling(rollout, progress, Event.ENDED, now)))


def _new(
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
        stable_spec=memory.spec if memory else None,
        stable_digest=memory.digest if memory else "",
        candidate_spec=seen.spec,
        candidate_digest=seen.spec_digest,
        attempt=attempt,
        created_at=now,
        progress=Progress(
            phase=Phase.STAGING, reason=Reason.ROLLOUT_STARTED, message="", started_at=now, phase_since=now
        ),
    )
