"""The JSON form of a rollout, a ``CanaryRollout`` object: ``spec`` says what it is about, ``status`` how far.

Written and read here only; what must never be here is anything that decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from autocanary.model.comparison_wording import comparison_lines, worst_first
from autocanary.model.foreign_text import clean_text
from autocanary.model.policy import Component
from autocanary.model.progress import Phase, Progress, failed_requests_of
from autocanary.model.progress_json import progress_from_json, progress_to_json
from autocanary.model.reason import Reason
from autocanary.model.recorded_spec import RECORDED_SPECS, changed_specs, spec_digests
from autocanary.model.rollout import NAME_LIMIT, Request, Rollout
from autocanary.model.time_format import format_time, parse_time

__all__ = ["API_GROUP", "API_VERSION", "KIND", "from_document", "status_of", "to_document"]

API_GROUP = "autocanary.dev"
API_VERSION = f"{API_GROUP}/v1alpha1"
KIND = "CanaryRollout"
_LONGEST_TEXT = 253
_TEXTS = ("stable", "candidate", "name", "uid", "apiVersion", "hash")


def to_document(rollout: Rollout) -> dict[str, Any]:
    """The CanaryRollout object; ``from_document`` of it is equal to the rollout."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": _metadata(rollout),
        "spec": _spec(rollout),
        "status": status_of(rollout),
    }


def _metadata(rollout: Rollout) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": rollout.name,
        "namespace": rollout.namespace,
        "labels": {
            "app.kubernetes.io/managed-by": "autocanary",
            "autocanary.dev/service": rollout.service
            if len(rollout.service) <= NAME_LIMIT
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
        spec["request"] = _request_to_json(rollout.request)
    return spec


def _request_to_json(request: Request) -> dict[str, Any]:
    optional = {"by": request.by or None, "weight": request.weight, "reason": request.reason or None}
    given = {name: value for name, value in optional.items() if value is not None}
    return {"id": request.id, "verb": request.verb} | given


def _request_from_json(raw: Mapping[str, Any] | None) -> Request | None:
    if not raw:
        return None
    weight = raw.get("weight")
    is_weight = isinstance(weight, int) and not isinstance(weight, bool)
    id_, verb, by = (_user_text(raw.get(name, "")) for name in ("id", "verb", "by"))
    reason = _user_text(raw.get("reason") or "")
    return Request(id_, verb, by, weight if is_weight else None, reason)


def _user_text(value: object) -> str:
    """A user's text as it enters statuses and messages: an id that is longer or odd counts as what is left of it."""
    text = str(value)
    return text if text.isprintable() and len(text) <= _LONGEST_TEXT else clean_text(text, _LONGEST_TEXT)


def status_of(rollout: Rollout) -> dict[str, Any]:
    """The status part alone: what users read first, then ``progress`` (the whole state)."""
    progress = rollout.progress
    stored = progress_to_json(progress)
    decisions = stored.pop("decisions", [])
    delivered = stored.pop("delivered_notifications", [])
    return {
        "phase": progress.phase.value,
        "step": progress.step.index + 1,
        "weight": progress.step.weight,
        "observedWeight": progress.step.observed_weight,
        "startedAt": format_time(progress.started_at),
        "stepStartedAt": format_time(progress.step.started_at),
        "finishedAt": format_time(progress.finished_at),
        "reason": progress.reason.value,
        "message": progress.message,
        "releasedBy": progress.released_by or None,
        "answeredRequest": {"id": progress.requests.answered_id, "message": progress.requests.answer}
        if progress.requests.answered_id
        else None,
        "evidencePercent": progress.analysis.evidence.get("evidence_percent"),
        "failedRequests": _failed_requests(progress),
        "analysisStep": progress.analysis.from_step,
        "metrics": [_metric_status(name, state) for name, state in worst_first(progress.analysis.metrics)],
        "decisions": decisions,
        "notified": delivered,
        "conditions": [*_conditions(progress), *_changed_conditions(rollout)],
        "specDigests": dict(rollout.spec_digests) or spec_digests(_spec(rollout)),
        "progress": stored,
    }


def _failed_requests(progress: Progress) -> dict[str, Any] | None:
    counted = failed_requests_of(progress)
    return {"count": counted[0], "max": counted[1]} if counted is not None else None


def _metric_status(name: str, state: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "violations": state.violations, "passes": state.passes}
    row["verdict"] = {True: "pass", False: "violation", None: "inconclusive"}[state.ok]
    if state.last is not None:
        row |= state.last.to_dict()
    if state.comparison_summary is not None:
        lines = list(comparison_lines(state.comparison_summary))
        row["comparison"] = state.comparison_summary.to_status() | {"text": lines}
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
            "lastTransitionTime": format_time(at),
        }
        for kind, status, at in (
            ("Promoted", promoted, since),
            ("Progressing", moving, progress.phase_since),
        )
    ]


def _changed_conditions(rollout: Rollout) -> list[dict[str, Any]]:
    if not rollout.changed_specs:
        return []
    fields = " and ".join(f"spec.{name}" for name in rollout.changed_specs)
    return [
        {
            "type": "RecordedSpecs",
            "status": "False",
            "reason": "SpecChanged",
            "message": f"{fields} is not what autocanary recorded, and is not used",
            "lastTransitionTime": format_time(rollout.progress.phase_since),
        }
    ]


def from_document(document: Mapping[str, Any]) -> Rollout:
    """The rollout in a CanaryRollout object.

    Raises AttributeError, KeyError, TypeError or ValueError when the object is not one that autocanary wrote.
    An object without status (a crash between create and the first status write) starts from its beginning.
    A recorded spec that does not match its digest in the status is left out: a user may have written it.
    """
    metadata, spec = document["metadata"], document["spec"]
    created = parse_time(metadata.get("creationTimestamp")) or 0.0
    status = document.get("status") or {}
    target, policy = spec["inferenceService"], spec["policy"]
    digests = status.get("specDigests") or {}
    has_status = bool(status.get("progress"))
    # Without a status the generation, which the API server counts, says whether the spec is as it was created.
    changed = changed_specs(spec, digests) if has_status or metadata.get("generation", 1) != 1 else ()
    stable, candidate = ({} if name in changed else spec.get(name) or {} for name in RECORDED_SPECS)
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
        request=_request_from_json(spec.get("request")),
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        created_at=created,
        has_status=has_status,
        spec_digests={str(name): str(digest) for name, digest in digests.items()},
        changed_specs=changed,
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
    return progress_from_json(
        {
            **stored,
            "decisions": status.get("decisions") or (),
            "delivered_notifications": status.get("notified") or (),
        }
    )
