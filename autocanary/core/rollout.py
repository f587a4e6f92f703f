"""One attempt to roll out one candidate: who it is about, what a person wants of it, how far it has come.

The JSON form of it is a ``CanaryRollout`` object (``to_document``, ``from_document``): ``spec`` says what
it is about, ``status`` how far it has come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from autocanary.core.observation import ServiceKey
from autocanary.core.policy import Component
from autocanary.core.progress import Phase, Progress
from autocanary.core.reason import Reason

__all__ = [
    "API_VERSION",
    "KIND",
    "RETRY_STARTED",
    "Request",
    "Rollout",
    "Verb",
    "from_document",
    "rollout_name",
    "to_document",
]

API_VERSION = "autocanary.dev/v1alpha1"
KIND = "CanaryRollout"
_NAME_LIMIT = 63  # a label value's, so that the name can be one


_TEXTS = ("stable", "candidate", "name", "uid", "apiVersion", "hash")

RETRY_STARTED = "started "
"""How the answer to a granted retry begins; the new attempt's name follows."""


class Verb(str, Enum):
    """What a person can ask of a rollout."""

    PROMOTE = "promote"  # pass the present step
    PROMOTE_FULL = "promote-full"  # pass all steps
    RESUME = "resume"  # go on after a pause that nobody asked for: an external change, a failure
    ABORT = "abort"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Request:
    """A person's wish with an id; it is answered once, by noting the id."""

    id: str
    verb: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One attempt. ``stable_spec`` restores the stable component if KServe loses it; None when unknown.

    ``has_status`` False: the object was made, and its first status is not written yet.
    """

    namespace: str
    name: str
    service: str
    service_uid: str
    api_version: str
    component: Component
    stable: str
    candidate: str
    policy_name: str
    policy_digest: str
    policy_document: Mapping[str, Any]
    progress: Progress
    stable_spec: Mapping[str, Any] | None = None
    stable_digest: str = ""
    candidate_digest: str = ""
    candidate_spec: Mapping[str, Any] | None = None
    attempt: int = 1
    paused: bool = False
    request: Request | None = None
    uid: str = ""
    resource_version: str = ""
    created_at: float = 0.0
    has_status: bool = field(default=True, compare=False)

    @property
    def key(self) -> ServiceKey:
        return ServiceKey(self.namespace, self.service, self.component)

    @property
    def is_final(self) -> bool:
        return self.progress.phase.is_final

    def but(self, **changes: Any) -> Rollout:
        return replace(self, **changes)


def rollout_name(service: str, candidate: str, attempt: int = 1) -> str:
    """``<service>-<candidate's suffix>``, at most 63 characters; long names keep a hash of the whole.

    >>> rollout_name("mnist", "mnist-predictor-00002")
    'mnist-00002'
    """
    suffix = candidate.removeprefix(f"{service}-").removeprefix("predictor-")
    name = f"{service}-{suffix}" + (f"-r{attempt}" if attempt > 1 else "")
    if len(name) <= _NAME_LIMIT:
        return name
    digest = hashlib.sha256(f"{service}/{candidate}/{attempt}".encode()).hexdigest()[:8]
    return f"{name[: _NAME_LIMIT - 9].rstrip('-.')}-{digest}"


def to_document(rollout: Rollout) -> dict[str, Any]:
    """The CanaryRollout object; ``from_document`` of it is equal to the rollout."""
    document: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": _metadata(rollout),
        "spec": _spec(rollout),
        "status": status_of(rollout),
    }
    return document


def _metadata(rollout: Rollout) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": rollout.name,
        "namespace": rollout.namespace,
        "labels": {
            "app.kubernetes.io/managed-by": "autocanary",
            "autocanary.dev/service": rollout.service
            if len(rollout.service) <= _NAME_LIMIT
            else hashlib.sha256(rollout.service.encode()).hexdigest()[:16],
            "autocanary.dev/component": rollout.component.value,
        },
    }
    if rollout.uid:
        metadata["uid"] = rollout.uid
    if rollout.resource_version:
        metadata["resourceVersion"] = rollout.resource_version
    if rollout.service_uid:
        metadata["ownerReferences"] = [
            {
                "apiVersion": rollout.api_version,
                "kind": "InferenceService",
                "name": rollout.service,
                "uid": rollout.service_uid,
                "controller": False,
                "blockOwnerDeletion": False,
            }
        ]
    return metadata


def _spec(rollout: Rollout) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "inferenceService": {
            "apiVersion": rollout.api_version,
            "name": rollout.service,
            "uid": rollout.service_uid,
        },
        "component": rollout.component.value,
        "stable": rollout.stable,
        "candidate": rollout.candidate,
        "attempt": rollout.attempt,
        "policy": {
            "name": rollout.policy_name,
            "hash": rollout.policy_digest,
            "snapshot": dict(rollout.policy_document),
        },
        "paused": rollout.paused,
    }
    for name, digest, value in (
        ("stableSpec", rollout.stable_digest, rollout.stable_spec),
        ("candidateSpec", rollout.candidate_digest, rollout.candidate_spec),
    ):
        if digest or value is not None:
            spec[name] = {"hash": digest} | ({"value": dict(value)} if value is not None else {})
    if rollout.request is not None:
        spec["request"] = {"id": rollout.request.id, "verb": rollout.request.verb} | (
            {"by": rollout.request.by} if rollout.request.by else {}
        )
    return spec


def status_of(rollout: Rollout) -> dict[str, Any]:
    """The status part alone: what people read on top, ``progress`` (the whole state) below."""
    progress = rollout.progress
    stored = progress.to_dict()
    decisions = stored.pop("decisions", [])
    told = stored.pop("told", [])
    return {
        "phase": progress.phase.value,
        "step": progress.step + 1,
        "weight": progress.weight,
        "observedWeight": progress.observed_weight,
        "startedAt": iso(progress.started_at),
        "stepStartedAt": iso(progress.step_started_at),
        "finishedAt": iso(progress.finished_at),
        "reason": progress.reason.value,
        "message": progress.message,
        "answered": {"id": progress.answered, "message": progress.answer} if progress.answered else None,
        "evidencePercent": progress.evidence.get("meter"),
        "metrics": [_metric_status(name, state) for name, state in progress.metrics.items()],
        "decisions": decisions,
        "notified": told,
        "conditions": _conditions(progress),
        "progress": stored,
    }


def _metric_status(name: str, state: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "breaches": state.breaches, "passes": state.passes}
    row["verdict"] = {True: "pass", False: "breach", None: "inconclusive"}[state.ok]
    if state.last is not None:
        row |= state.last.to_dict()
    if state.standing is not None:
        row["comparison"] = state.standing.shown()
    return row


def _conditions(progress: Progress) -> list[dict[str, Any]]:
    promoted = {Phase.PROMOTED: "True"}.get(progress.phase, "False" if progress.phase.is_final else "Unknown")
    since = progress.finished_at if progress.finished_at is not None else progress.started_at
    moving = "False" if progress.phase.is_final or progress.phase is Phase.PAUSED else "True"
    return [
        {
            "type": kind,
            "status": status,
            "reason": progress.reason.value,
            "message": progress.message,
            "lastTransitionTime": iso(at),
        }
        for kind, status, at in (
            ("Promoted", promoted, since),
            ("Progressing", moving, progress.phase_since),
        )
    ]


def from_document(document: Mapping[str, Any]) -> Rollout:
    """The rollout in a CanaryRollout object.

    Raises KeyError, TypeError or ValueError when the object is not one that autocanary wrote. An object
    without status (a crash between create and the first status write) starts from its beginning.
    """
    metadata, spec = document["metadata"], document["spec"]
    created = epoch(metadata.get("creationTimestamp")) or 0.0
    status = document.get("status") or {}
    target, policy = spec["inferenceService"], spec["policy"]
    request = spec.get("request")
    stable, candidate = spec.get("stableSpec") or {}, spec.get("candidateSpec") or {}
    for place, holder in (("spec", spec), ("spec.inferenceService", target), ("spec.policy", policy)):
        for name in _TEXTS:
            if not isinstance(holder.get(name, ""), str):
                raise ValueError(f"{place}.{name} cannot be {holder[name]!r}")
    return Rollout(
        namespace=metadata["namespace"],
        name=metadata["name"],
        service=target["name"],
        service_uid=target.get("uid", ""),
        api_version=target["apiVersion"],
        component=Component(spec.get("component", Component.PREDICTOR.value)),
        stable=spec["stable"],
        candidate=spec["candidate"],
        attempt=spec.get("attempt", 1),
        policy_name=policy["name"],
        policy_digest=policy["hash"],
        policy_document=policy["snapshot"],
        stable_spec=stable.get("value"),
        stable_digest=stable.get("hash", ""),
        candidate_spec=candidate.get("value"),
        candidate_digest=candidate.get("hash", ""),
        paused=bool(spec.get("paused", False)),
        request=Request(str(request.get("id", "")), str(request.get("verb", "")), str(request.get("by", "")))
        if request
        else None,
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        created_at=created,
        has_status=bool(status.get("progress")),
        progress=_progress(status, created),
    )


def _progress(status: Mapping[str, Any], created: float) -> Progress:
    stored = status.get("progress")
    if not stored:
        return Progress(
            phase=Phase.STAGING,
            reason=Reason.ROLLOUT_STARTED,
            message="",
            started_at=created,
            phase_since=created,
        )
    return Progress.from_dict(
        {**stored, "decisions": status.get("decisions") or (), "told": status.get("notified") or ()}
    )


def iso(at: float | None) -> str | None:
    """Epoch seconds as Kubernetes writes times (UTC, whole seconds)."""
    if at is None:
        return None
    return datetime.fromtimestamp(int(at), tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(text: str | None) -> float | None:
    """The inverse of ``iso``; None for None."""
    if not text:
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
