"""What starts a rollout: a service whose newest revision is not the one that has been rolled out.

Pure: one observation, the policy that selects the service, what the ledger knows of it, and what was
remembered from earlier looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autocanary.core.decision import Event
from autocanary.core.observation import Mode, Observation
from autocanary.core.policy import OnUnstaged, Policy
from autocanary.core.progress import Phase, Progress
from autocanary.core.reason import Reason
from autocanary.core.rollout import Rollout, rollout_name
from autocanary.core.telling import telling

__all__ = [
    "SETTLED_AFTER",
    "Memory",
    "Nothing",
    "Refusal",
    "Start",
    "discover",
    "in_force",
    "remember",
    "retried",
]


SETTLED_AFTER = 10.0
"""Seconds for which a service must be seen unchanged and at rest before its spec is taken for stable's.

After a spec was edited the status is the complete old one for up to 6 s (measured), so that the new spec
looks like the one that the old revision was made from.
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier looks at a service taught: its stable revision, and the spec that stable was made from.

    ``spec`` is None until it is certain; ``maybe`` is the digest that has been seen at rest since
    ``maybe_since``. ``void_before`` is when KServe last knew no revision at all (stopped, created anew):
    revisions are numbered from 00001 again, so older rollouts of the same names were about others.
    """

    uid: str
    stable: str
    spec: Mapping[str, Any] | None = None
    digest: str = ""
    maybe: str = ""
    maybe_since: float = 0.0
    void_before: float = 0.0

    @property
    def is_certain(self) -> bool:
        return self.spec is not None


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


def remember(
    memory: Memory | None, seen: Observation, history: Sequence[Rollout], now: float
) -> Memory | None:
    """What to remember after this look. A spec that is known for a revision is never learned anew."""
    if not seen.rolled_out:
        return Memory(seen.uid, "", void_before=now)
    void = memory.void_before if memory is not None and memory.uid == seen.uid else 0.0
    history = in_force(history, seen.uid, void)
    same = memory is not None and memory.uid == seen.uid and memory.stable == seen.rolled_out
    if memory is not None and same and memory.is_certain:
        return memory
    known = Memory(seen.uid, seen.rolled_out, void_before=void)
    for past in history:
        if past.candidate == seen.rolled_out and past.candidate_spec is not None:
            return replace(known, spec=past.candidate_spec, digest=past.candidate_digest)
        if past.stable == seen.rolled_out and past.stable_spec is not None:
            return replace(known, spec=past.stable_spec, digest=past.stable_digest)
    if not seen.created == seen.rolled_out == seen.ready:
        return memory if same else known
    if memory is None or not same or memory.maybe != seen.spec_digest:
        return replace(known, maybe=seen.spec_digest, maybe_since=now)
    if now - memory.maybe_since < SETTLED_AFTER:
        return memory
    return replace(known, spec=seen.spec, digest=seen.spec_digest)


def in_force(history: Sequence[Rollout], uid: str, void_before: float) -> list[Rollout]:
    """The rollouts of this very service whose revision names still mean what they meant."""
    stops = [
        past.progress.finished_at or 0.0
        for past in history
        if past.service_uid == uid and past.progress.reason is Reason.SERVICE_STOPPED
    ]
    since = max([void_before, *stops])
    return [past for past in history if past.service_uid == uid and past.progress.started_at > since]


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
    own = in_force(history, seen.uid, memory.void_before if memory is not None else 0.0)
    if seen.created == seen.rolled_out:
        return _missed(seen, policy, history, own, memory, now)
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
    if known is not None and known.digest == seen.spec_digest:
        known = None  # not stable's spec: it could only put the candidate back
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
    """A new attempt at a candidate that was rolled back; it starts staged at the weight it was left at.

    The caller has made sure that the candidate is still the newest revision and stable still stable.
    """
    rollout = _new(seen, policy, history, None, now).but(
        stable_spec=past.stable_spec, stable_digest=past.stable_digest
    )
    unstaged = seen.weight is None or seen.weight >= 100
    progress = Progress(
        phase=Phase.STAGING,
        reason=Reason.RETRIED_BY_USER,
        message=f"{seen.created} is tried again, attempt {rollout.attempt}; policy {policy.name}",
        started_at=now,
        phase_since=now,
        weight=0 if unstaged else seen.weight,
        from_weight=seen.weight,
        step_started_at=now,
    )
    return Start(rollout.but(progress=telling(rollout, progress, Event.STARTED, now)), catch=unstaged)


def _missed(
    seen: Observation,
    policy: Policy,
    history: Sequence[Rollout],
    own: Sequence[Rollout],
    memory: Memory | None,
    now: float,
) -> Nothing | Start:
    """A revision that took all traffic between two looks, without a rollout: said, not undone.

    Lowering the weight now would move the traffic to a revision whose pods are gone.
    """
    of_it = [past for past in own if past.candidate == seen.rolled_out]
    newest = max(of_it, key=lambda past: past.attempt, default=None)
    if newest is not None:
        return _promoted_elsewhere(newest, seen, policy, history, now)
    fresh = memory is None or memory.uid != seen.uid or memory.stable in (seen.rolled_out, "")
    known = any(seen.rolled_out == past.stable for past in own)
    same_content = memory is not None and memory.digest == seen.spec_digest
    if fresh or known or same_content or memory is None or policy.on_unstaged is OnUnstaged.IGNORE:
        return Nothing()
    message = f"{seen.rolled_out} took 100 % of the traffic before it could be caught, without analysis"
    return _record_missed(seen, policy, history, memory.stable, message, now)


def _promoted_elsewhere(
    newest: Rollout, seen: Observation, policy: Policy, history: Sequence[Rollout], now: float
) -> Nothing | Start:
    """A candidate that was rolled back and has all the traffic now: somebody removed or raised the field."""
    if newest.progress.phase is not Phase.ROLLED_BACK:
        return Nothing()
    who = f" by {seen.writer}" if seen.writer else ""
    message = (
        f"{seen.rolled_out} was rolled back ({newest.progress.reason.value}) and has 100 % of the traffic "
        f"now: canaryTrafficPercent was removed or raised{who}"
    )
    return _record_missed(seen, policy, history, newest.stable, message, now)


def _record_missed(
    seen: Observation, policy: Policy, history: Sequence[Rollout], stable: str, message: str, now: float
) -> Start:
    rollout = _new(seen, policy, history, None, now).but(stable=stable)
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
