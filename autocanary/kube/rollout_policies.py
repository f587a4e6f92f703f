"""RolloutPolicy objects: their documents, as they come and go, and the status that answers their authors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.errors import ClusterError, NotLeader
from autocanary.kube.api_client import Session
from autocanary.kube.cache import Change, Key
from autocanary.kube.list_watch import Pace
from autocanary.kube.multi_namespace_cache import Mirror
from autocanary.kube.resource import POLICIES
from autocanary.model.time_format import iso
from autocanary.ports import Leadership

__all__ = ["KubePolicies", "PolicyStatus"]


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """What the author of one generation of a policy is told: ``reason`` in one word, ``message`` in words."""

    generation: int
    valid: bool
    reason: str
    message: str
    matched_services: int
    active_rollouts: int


class KubePolicies:
    """Follows the RolloutPolicy objects of the watched namespaces.

    ``on_document`` is called with (namespace, name, document), the document being None when the object is
    gone; on a watch's thread, after ``documents`` shows the change.
    """

    def __init__(
        self,
        session: Session,
        leadership: Leadership,
        on_document: Callable[[str, str, Mapping[str, Any] | None], None],
        *,
        namespaces: Sequence[str] = (),
        pace: Pace | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._leadership = leadership
        self._on_document = on_document
        self._now = now
        self._mirror: Mirror[dict[str, Any]] = Mirror(
            session, POLICIES, _lean, self._heard, namespaces=namespaces, pace=pace
        )

    def start(self) -> None:
        self._mirror.start()

    def stop(self) -> None:
        self._mirror.stop()

    def wait(self, seconds: float) -> bool:
        """Whether the policies have been listed once within so many seconds."""
        return self._mirror.wait(seconds)

    @property
    def fault(self) -> ClusterError | None:
        """Why the documents cannot be followed now; NotFound when the definitions are not installed."""
        return self._mirror.fault

    def documents(self) -> Sequence[Mapping[str, Any]]:
        """All present documents."""
        return self._mirror.values()

    def write_status(self, namespace: str, name: str, status: PolicyStatus) -> bool:
        """Tell the author; False when that is told already, or the policy is gone."""
        document = self._mirror.get(Key(namespace, name))
        if document is None:
            return False
        before = document.get("status") or {}
        after = self._status(before, status)
        if after == before:
            return False
        if not self._leadership.is_leader():
            raise NotLeader(
                f"RolloutPolicy {namespace}/{name} is not written: this instance is not the leader"
            )
        answer = self._session.patch(POLICIES, namespace, name, {"status": after}, subresource="status")
        version = answer["metadata"]["resourceVersion"]
        self._mirror.put(Key(namespace, name), version, _lean(answer))
        return True

    def _status(self, before: Mapping[str, Any], status: PolicyStatus) -> dict[str, Any]:
        condition: dict[str, Any] = {
            "type": "Valid",
            "status": "True" if status.valid else "False",
            "reason": status.reason,
            "message": status.message,
            "observedGeneration": status.generation,
        }
        old: Mapping[str, Any] = next(
            (each for each in before.get("conditions") or () if each.get("type") == "Valid"), {}
        )
        turned = old.get("status") != condition["status"] or not old.get("lastTransitionTime")
        condition["lastTransitionTime"] = iso(self._now()) if turned else old["lastTransitionTime"]
        return {
            "observedGeneration": status.generation,
            "matchedServices": status.matched_services,
            "activeRollouts": status.active_rollouts,
            "conditions": [condition],
        }

    def _heard(self, change: Change[dict[str, Any]]) -> None:
        if (
            change.before is not None
            and change.after is not None
            and _same_policy(change.before, change.after)
        ):
            return  # only the status, or somebody's annotation, has changed
        self._on_document(change.key.namespace, change.key.name, change.after)


def _lean(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {name: value for name, value in document["metadata"].items() if name != "managedFields"}
    return {**document, "metadata": metadata}


def _same_policy(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (
        one["metadata"].get("uid") == other["metadata"].get("uid")
        and one["metadata"].get("generation") == other["metadata"].get("generation")
        and one.get("spec") == other.get("spec")
    )
