"""One attempt to roll out one candidate: what it rolls out, what users request of it, how far it has come."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Component
from autocanary.model.progress import Progress

__all__ = [
    "NAME_LIMIT",
    "RETRY_STARTED",
    "Request",
    "Rollout",
    "RolloutId",
    "Verb",
    "rollout_name",
    "with_known_subject",
]

RolloutId = tuple[str, str]
"""Namespace and name of a CanaryRollout."""

NAME_LIMIT = 63
"""Characters of a rollout's name: a label value's, so that the name can be one."""

RETRY_STARTED = "started "
"""How the answer to a granted retry begins; the new attempt's name follows."""


class Verb(str, Enum):
    """What a user can request of a rollout."""

    PROMOTE = "promote"  # pass the present step
    PROMOTE_FULL = "promote-full"  # pass all steps
    PAUSE = "pause"  # names the user who sets spec.paused, and why
    RESUME = "resume"  # go on after a pause that no user requested: an external change, a failure
    ABORT = "abort"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Request:
    """A user's request with an id; it is answered once, by recording the id.

    ``weight`` is the weight of the step that the user saw, in percent: a promote passes no other step. None: any.
    ``reason`` is why, in the user's words.
    """

    id: str
    verb: str
    by: str = ""
    weight: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One attempt. ``stable_spec`` restores the stable component if KServe loses it; None when unknown.

    ``has_status`` False: the object was made, and its first status is not written yet. ``spec_digests``: what
    the status says of the recorded specs; empty before the first status. ``changed_specs``: those that are not
    what was recorded; they are None here, unless they were read before the change.
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
    spec_digests: Mapping[str, str] = field(default_factory=dict, compare=False)
    changed_specs: tuple[str, ...] = field(default=(), compare=False)

    @property
    def key(self) -> ServiceKey:
        return ServiceKey(self.namespace, self.service, self.component)

    @property
    def start_order(self) -> tuple[float, int, str]:
        """Sorts the rollouts of one service by when they started."""
        return self.progress.started_at, self.attempt, self.name

    @property
    def is_final(self) -> bool:
        return self.progress.phase.is_final


def with_known_subject(latest: Rollout, known: Rollout) -> Rollout:
    """``latest`` with the subject, policy and recorded specs of ``known``, which was read earlier and verified.

    They do not change while an object exists: what differs in ``latest`` is another client's. Another object of
    that name (another uid) is returned as it is.
    """
    if latest.uid != known.uid:
        return latest
    return replace(
        known,
        progress=latest.progress,
        paused=latest.paused,
        request=latest.request,
        resource_version=latest.resource_version,
        created_at=latest.created_at,
        has_status=latest.has_status,
        stable_spec=known.stable_spec if known.stable_spec is not None else latest.stable_spec,
        candidate_spec=known.candidate_spec if known.candidate_spec is not None else latest.candidate_spec,
        spec_digests=known.spec_digests or latest.spec_digests,
        changed_specs=latest.changed_specs,
    )


def rollout_name(service: str, candidate: str, attempt: int = 1) -> str:
    """``<service>-<candidate's suffix>``, at most 63 characters; long names keep a hash of the whole.

    >>> rollout_name("mnist", "mnist-predictor-00002")
    'mnist-00002'
    """
    suffix = candidate.removeprefix(f"{service}-").removeprefix("predictor-")
    name = f"{service}-{suffix}" + (f"-r{attempt}" if attempt > 1 else "")
    if len(name) <= NAME_LIMIT:
        return name
    digest = hashlib.sha256(f"{service}/{candidate}/{attempt}".encode()).hexdigest()[:8]
    return f"{name[: NAME_LIMIT - 9].rstrip('-.')}-{digest}"
