"""CanaryRollout objects: what autocanary stores.

The spec says what a rollout is about and what users ask of it; only ``create`` and ``write_request`` write it. The
status is replaced as a whole, never merged: a field that is absent from it means its default, and a merge
would let old fields survive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autocanary import logs
from autocanary.errors import AlreadyExists, ClusterError, Conflict, NotFound, NotLeader, Refused
from autocanary.kube.api_client import ApiClient
from autocanary.kube.api_errors import Undecodable
from autocanary.kube.cache import Change, ObjectKey
from autocanary.kube.list_watch import WatchTiming
from autocanary.kube.multi_namespace_cache import MultiNamespaceCache
from autocanary.kube.own_writes import OwnWrites
from autocanary.kube.resource import ROLLOUTS
from autocanary.kube.rollout_reader import RolloutReader
from autocanary.model.packed_record import pack_record
from autocanary.model.rollout import Request, Rollout
from autocanary.model.rollout_json import API_VERSION, KIND, to_document
from autocanary.ports import Leadership

__all__ = ["KubeRolloutStore"]

_log = logs.logger("autocanary.kube.rollout_store")

CLI_FIELD_MANAGER = "autocanary-cli"
_DELETED = "gone"
"""Stands for the version of an object that was deleted."""


class KubeRolloutStore:
    """The ``RolloutStore`` port. Objects that this version cannot read are reported once and never written."""

    def __init__(
        self,
        client: ApiClient,
        leadership: Leadership,
        *,
        namespaces: Sequence[str] = (),
        timing: WatchTiming | None = None,
        on_change: Callable[[tuple[str, str]], None] | None = None,
    ) -> None:
        self._client = client
        self._leadership = leadership
        self._on_change = on_change
        self._lock = threading.Lock()
        self._changed: set[tuple[str, str]] = set()
        self._own_writes = OwnWrites(self._notify_change)
        self._reported_errors: dict[ObjectKey, str] = {}
        self._reported_changes: dict[ObjectKey, tuple[str, ...]] = {}
        self._reader = RolloutReader()
        self._cache: MultiNamespaceCache[Rollout | _UnreadableRollout] = MultiNamespaceCache(
            client,
            ROLLOUTS,
            self._parse_or_placeholder,
            self._on_cache_change,
            namespaces=namespaces,
            timing=timing,
        )

    def start(self) -> None:
        self._cache.start()

    def stop(self) -> None:
        self._cache.stop()

    def wait(self, seconds: float) -> bool:
        """Whether the rollouts have been listed once within so many seconds; ``fault`` says why not."""
        return self._cache.wait(seconds)

    def cache_age(self) -> float:
        """Seconds since the cache was last known to be whole."""
        return self._cache.cache_age()

    def is_healthy(self) -> bool:
        """Whether the cache of the rollouts is whole."""
        return self._cache.is_healthy()

    def skipped(self) -> Mapping[ObjectKey, str]:
        """The rollouts that cannot be read and are left alone, and why."""
        return {**self._cache.skipped(), **self._reported_errors}

    @property
    def fault(self) -> ClusterError | None:
        """Why the cache cannot be kept now; NotFound when the definitions are not installed."""
        return self._cache.fault

    def rollouts(self) -> Sequence[Rollout]:
        """See ``ports.RolloutStore``."""
        return [each for each in self._cache.values() if isinstance(each, Rollout)]

    def cached(self, namespace: str, name: str) -> Rollout | None:
        """See ``ports.RolloutStore``."""
        found = self._cache.get(ObjectKey(namespace, name))
        return found if isinstance(found, Rollout) else None

    def is_unreadable(self, namespace: str, name: str) -> bool:
        """See ``ports.RolloutStore``."""
        return isinstance(self._cache.get(ObjectKey(namespace, name)), _UnreadableRollout)

    def take_changes(self) -> set[tuple[str, str]]:
        """See ``ports.RolloutStore``."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def create(self, rollout: Rollout) -> Rollout:
        """See ``ports.RolloutStore``.

        An object of that name about the same candidate is taken over: it is ours, made by a call whose
        answer was lost, or by the leader before this one. What it has recorded already then counts.
        """
        self._require_leadership(rollout)
        with self._own_writes.track(_key_of(rollout)) as own_versions:
            return self._create(rollout, own_versions)

    def _create(self, rollout: Rollout, own_versions: set[str]) -> Rollout:
        document = to_document(replace(rollout, uid="", resource_version=""))
        document.pop("status")
        base = rollout
        try:
            created = self._client.create(ROLLOUTS, rollout.namespace, document)
        except AlreadyExists as error:
            created = self._client.get(ROLLOUTS, rollout.namespace, rollout.name)
            found = self._reader.read(created)
            if not _same_attempt(found, rollout):
                raise AlreadyExists(
                    f"CanaryRollout {rollout.namespace}/{rollout.name} exists, about another candidate: "
                    f"{found.candidate} of InferenceService uid {found.service_uid}; delete it if it is old",
                    status=409,
                ) from error
            if created.get("status"):
                return self._cache_response(created, found)
            # With the specs that the object holds: after a restart ``rollout`` may not know stable's spec.
            base = replace(found, progress=rollout.progress)
        metadata = created["metadata"]
        own_versions.add(metadata["resourceVersion"])
        self._require_leadership(rollout)
        fresh = replace(base, uid=metadata["uid"], resource_version=metadata["resourceVersion"])
        return self._record(fresh, own_versions)

    def update_status(self, rollout: Rollout) -> Rollout:
        """See ``ports.RolloutStore``."""
        self._require_leadership(rollout)
        with self._own_writes.track(_key_of(rollout)) as own_versions:
            return self._record(rollout, own_versions)

    def _record(self, rollout: Rollout, own_versions: set[str]) -> Rollout:
        if not rollout.resource_version:
            raise Conflict(f"CanaryRollout {rollout.namespace}/{rollout.name} was never read or created")
        status = {name: value for name, value in to_document(rollout)["status"].items() if value is not None}
        metadata = {
            "name": rollout.name,
            "namespace": rollout.namespace,
            "uid": rollout.uid,
            "resourceVersion": rollout.resource_version,
        }
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "status": status}
        document = self._client.replace(ROLLOUTS, rollout.namespace, rollout.name, body, subresource="status")
        own_versions.add(document["metadata"]["resourceVersion"])
        return self._cache_response(document, self._reader.read(document))

    def replace_status(self, rollout: Rollout) -> Rollout:
        """See ``ports.RolloutStore``; Conflict when the object is another one of that name."""
        self._require_leadership(rollout)
        try:
            document = self._client.get(ROLLOUTS, rollout.namespace, rollout.name)
            self._reader.read({**document, "status": to_document(rollout)["status"]})
            metadata = document["metadata"]
        except Undecodable:  # most likely because of its status
            metadata = self._client.get_metadata(ROLLOUTS, rollout.namespace, rollout.name)
        if metadata.get("uid") != rollout.uid:
            raise Conflict(f"CanaryRollout {rollout.namespace}/{rollout.name} was deleted and created again")
        fresh = replace(rollout, resource_version=metadata["resourceVersion"])
        with self._own_writes.track(_key_of(rollout)) as own_versions:
            return self._record(fresh, own_versions)

    def read(self, namespace: str, name: str) -> Rollout | None:
        """See ``ports.RolloutStore``; Refused for an object that this version cannot read."""
        try:
            document = self._client.get(ROLLOUTS, namespace, name)
        except NotFound:
            self._cache.remove(ObjectKey(namespace, name))
            return None
        except Undecodable as error:
            raise Refused(str(error)) from error
        return self._cache_response(document, self._reader.read(document))

    def write_request(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout:
        """See ``ports.RolloutStore``; for users, so without leadership, and the last request wins."""
        spec: dict[str, Any] = {}
        if paused is not None:
            spec["paused"] = paused
        if request is not None:
            # A null removes what the request before this one has said.
            optional = {"by": request.by or None, "weight": request.weight, "reason": request.reason or None}
            spec["request"] = {"id": request.id, "verb": request.verb, **optional}
        document = self._client.patch(ROLLOUTS, namespace, name, {"spec": spec}, manager=CLI_FIELD_MANAGER)
        return self._reader.read(document)

    def delete(self, rollout: Rollout) -> None:
        """See ``ports.RolloutStore``; only that very object, and none at all is as good."""
        self._require_leadership(rollout)
        with self._own_writes.track(_key_of(rollout)) as own_versions:
            try:
                self._client.delete(ROLLOUTS, rollout.namespace, rollout.name, uid=rollout.uid)
            except NotFound as error:
                _log.debug("rollout_already_gone", rollout=f"{rollout.namespace}/{rollout.name}", error=str(error))
            own_versions.add(_DELETED)
            self._cache.remove(_key_of(rollout))

    def _require_leadership(self, rollout: Rollout) -> None:
        if not self._leadership.is_leader():
            raise NotLeader(
                f"CanaryRollout {rollout.namespace}/{rollout.name} is not written: this instance is not the leader"
            )

    def _parse_or_placeholder(self, document: dict[str, Any]) -> Rollout | _UnreadableRollout:
        metadata = document["metadata"]
        key = ObjectKey(metadata["namespace"], metadata["name"])
        try:
            rollout = self._reader.read(document)
        except Refused as error:
            message = str(error)
            if self._reported_errors.get(key) != message:
                self._reported_errors[key] = message
                _log.warning("rollout_unreadable", namespace=key.namespace, rollout=key.name, error=message)
            return _UnreadableRollout(key, metadata["resourceVersion"])
        self._reported_errors.pop(key, None)
        self._report_changed_specs(key, rollout)
        return rollout

    def _report_changed_specs(self, key: ObjectKey, rollout: Rollout) -> None:
        changed = rollout.changed_specs if rollout.has_status else ()
        if changed and self._reported_changes.get(key) != changed:
            _log.error(
                "recorded_spec_changed",
                namespace=key.namespace,
                rollout=key.name,
                fields=changed,
                hint="it is not used; once autocanary has restarted, a rollback cannot restore the recorded spec",
            )
        if changed:
            self._reported_changes[key] = changed
        else:
            self._reported_changes.pop(key, None)

    def _cache_response(self, document: dict[str, Any], rollout: Rollout) -> Rollout:
        key, rollout = _key_of(rollout), pack_record(rollout)
        self._cache.put(key, document["metadata"]["resourceVersion"], rollout)
        return rollout

    def _on_cache_change(self, change: Change[Rollout | _UnreadableRollout]) -> None:
        version = change.after.resource_version if change.after is not None else _DELETED
        if change.after is None:
            self._reported_errors.pop(change.key, None)
            self._reported_changes.pop(change.key, None)
        self._own_writes.on_watched(change.key, version)

    def _notify_change(self, key: ObjectKey) -> None:
        with self._lock:
            self._changed.add((key.namespace, key.name))
        if self._on_change is not None:
            self._on_change((key.namespace, key.name))


@dataclass(frozen=True, slots=True)
class _UnreadableRollout:
    """The cache's value for an object that is left alone."""

    key: ObjectKey
    resource_version: str


def _key_of(rollout: Rollout) -> ObjectKey:
    return ObjectKey(rollout.namespace, rollout.name)


def _same_attempt(found: Rollout, wanted: Rollout) -> bool:
    return (found.service_uid, found.component, found.candidate, found.attempt) == (
        wanted.service_uid,
        wanted.component,
        wanted.candidate,
        wanted.attempt,
    )
