"""RolloutPolicy objects: their documents, as they come and go, and the status that answers their authors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.errors import ClusterError, NotLeader
from autocanary.kube.api_client import ApiClient
from autocanary.kube.cache import Change, ObjectKey
from autocanary.kube.list_watch import WatchTiming
from autocanary.kube.multi_namespace_cache import MultiNamespaceCache
from autocanary.kube.resource import POLICIES
from autocanary.model.time_format import format_time
from autocanary.ports import Leadership

__all__ = ["KubePolicies", "PolicyStatus"]


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """The status of one generation of a policy: ``reason`` in one word, ``message`` in words."""

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
        client: ApiClient,
        leadership: Leadership,
        on_document: Callable[[str, str, Mapping[str, Any] | None], None],
        *,
        namespaces: Sequence[str] = (),
        timing: WatchTiming | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._leadership = leadership
        self._on_document = on_document
        self._now = now
        self._cache: MultiNamespaceCache[dict[str, Any]] = MultiNamespaceCache(
            client,
            POLICIES,
            _without_managed_fields,
            self._on_cache_change,
            namespaces=namespaces,
            timing=timing,
        )

    def start(self) -> None:
        self._cache.start()

    def stop(self) -> None:
        self._cache.stop()

    def wait(self, seconds: float) -> bool:
        """Whether the policies have been listed once within so many seconds."""
        return self._cache.wait(seconds)

    def is_healthy(self) -> bool:
        """Whether the cache of the policies is whole."""
        return self._cache.is_healthy()

    def skipped(self) -> Mapping[ObjectKey, str]:
        """The policies that cannot be read and are left out, and why."""
        return self._cache.skipped()

    @property
    def fault(self) -> ClusterError | None:
        """Why the documents cannot be followed now; NotFound when the definitions are not installed."""
        return self._cache.fault

    def documents(self) -> Sequence[Mapping[str, Any]]:
        """All present documents."""
        return self._cache.values()

    def write_status(self, namespace: str, name: str, status: PolicyStatus) -> bool:
        """Write the status; False when it is written already, or the policy is gone."""
        document = self._cache.get(ObjectKey(namespace, name))
        if document is None:
            return False
        before = document.get("status") or {}
        after = self._status(before, status)
        if after == before:
            return False
        if not self._leadership.is_leader():
            raise NotLeader(f"RolloutPolicy {namespace}/{name} is not written: this instance is not the leader")
        answer = self._client.patch(POLICIES, namespace, name, {"status": after}, subresource="status")
        version = answer["metadata"]["resourceVersion"]
        self._cache.put(ObjectKey(namespace, name), version, _without_managed_fields(answer))
        return True

    def _status(self, before: Mapping[str, Any], status: PolicyStatus) -> dict[str, Any]:
        condition: dict[str, Any] = {
            "type": "Valid",
            "status": "True" if status.valid else "False",
            "reason": status.reason,
            "message": status.message,
            "observedGeneration": status.generation,
        }
        previous: Mapping[str, Any] = next(
            (each for each in before.get("conditions") or () if each.get("type") == "Valid"), {}
        )
        status_changed = previous.get("status") != condition["status"] or not previous.get("lastTransitionTime")
        condition["lastTransitionTime"] = format_time(self._now()) if status_changed else previous["lastTransitionTime"]
        return {
            "observedGeneration": status.generation,
            "matchedServices": status.matched_services,
            "activeRollouts": status.active_rollouts,
            "conditions": [condition],
        }

    def _on_cache_change(self, change: Change[dict[str, Any]]) -> None:
        if change.before is not None and change.after is not None and _same_policy(change.before, change.after):
            return  # only the status or an annotation has changed
        self._on_document(change.key.namespace, change.key.name, change.after)


def _without_managed_fields(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {name: value for name, value in document["metadata"].items() if name != "managedFields"}
    return {**document, "metadata": metadata}


def _same_policy(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (
        one["metadata"].get("uid") == other["metadata"].get("uid")
        and one["metadata"].get("generation") == other["metadata"].get("generation")
        and one.get("spec") == other.get("spec")
    )
