"""InferenceServices: a local cache of all that are watched, and the only three writes to them.

A write is a merge-patch with the resourceVersion that was seen inside, hence compare-and-set; what the
server answers enters the cache at once, so that the next evaluation does not see the state before the write.
Every write asks for leadership first. A write that was sent just before leadership ended may still arrive;
the resourceVersion makes it fail if the next leader has written in between.

Every API generation is watched at once, since which of them a server serves may change. What it serves in
two generations of one group is one object, and what has the same name in two groups is two, of which the
rollouts can only mean one: both times the newer generation is the one that counts. A generation that may
not be read keeps the others waiting for nothing: it is reported, and left out until the right is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autocanary import logs
from autocanary.errors import ClusterError, NotFound, NotLeader, Refused
from autocanary.kserve import DIALECTS, Dialect, dialect_for
from autocanary.kserve.earlier_version import find_earlier_version
from autocanary.kube.api_client import ApiClient
from autocanary.kube.api_errors import ResourceNotServed
from autocanary.kube.cache import Change, ObjectKey
from autocanary.kube.list_watch import WatchTiming
from autocanary.kube.multi_namespace_cache import MultiNamespaceCache
from autocanary.kube.resource import inference_services_of
from autocanary.model.observation import EarlierVersion, Observation, ServiceKey
from autocanary.ports import Leadership

__all__ = ["KubeCluster"]

_log = logs.logger("autocanary.kube.inference_services")

_Observations = tuple[Observation, ...]


class KubeCluster:
    """The ``Cluster`` port. ``start`` begins to watch; ``wait`` says when the first list is whole.

    ``dry_run`` sends no write, logs it and answers with what was seen. ``on_change`` is called on a watch's
    thread with the keys that have changed, beside ``take_changes``.
    """

    def __init__(
        self,
        client: ApiClient,
        leadership: Leadership,
        *,
        namespaces: Sequence[str] = (),
        dry_run: bool = False,
        dialects: Sequence[Dialect] = DIALECTS,
        timing: WatchTiming | None = None,
        on_change: Callable[[set[ServiceKey]], None] | None = None,
    ) -> None:
        self._client = client
        self._leadership = leadership
        self._dry_run = dry_run
        self._on_change = on_change
        self._lock = threading.Lock()
        self._changed: set[ServiceKey] = set()
        self._shadowed: set[ObjectKey] = set()
        self._skipped_writes: dict[ServiceKey, tuple[str, str, int | None]] = {}
        self._dialects = {dialect.api_version: dialect for dialect in dialects}
        self._caches: dict[str, MultiNamespaceCache[_Observations]] = {
            dialect.api_version: MultiNamespaceCache(
                client,
                inference_services_of(dialect),
                dialect.observe,
                self._on_cache_change,
                namespaces=namespaces,
                timing=timing,
            )
            for dialect in dialects
        }

    def start(self) -> None:
        for cache in self._caches.values():
            cache.start()

    def stop(self) -> None:
        for cache in self._caches.values():
            cache.stop()

    def wait(self, seconds: float) -> bool:
        """Whether everything that may be read has been listed once within so many seconds (per generation).

        Where nothing may be, or nothing else is installed, that is not worth beginning with.
        """
        waiting = [cache for cache in self._caches.values() if not cache.wait(seconds)]
        return not waiting or (
            all(cache.forbidden_errors for cache in waiting)
            and any(cache.wait(0) and not _is_not_served(cache) for cache in self._caches.values())
        )

    def is_healthy(self) -> bool:
        """Whether the cache of each API generation that may be read is whole."""
        return all(cache.is_healthy() for cache in self._caches.values() if cache.forbidden_errors is None)

    def skipped(self) -> Mapping[ObjectKey, str]:
        """The services that cannot be read and are left out, and why."""
        return {key: why for cache in self._caches.values() for key, why in cache.skipped().items()}

    @property
    def forbidden_errors(self) -> Sequence[ClusterError]:
        """Why some API generations are not followed although they are served: a right is missing."""
        return [fault for cache in self._caches.values() if (fault := cache.forbidden_errors) is not None]

    @property
    def fault(self) -> ClusterError | None:
        """Why the cache cannot be kept now; an API generation that is not installed is no fault while
        another one is."""
        faults = [cache.fault for cache in self._caches.values()]
        real = [fault for fault in faults if fault is not None and not isinstance(fault, ResourceNotServed)]
        if real:
            return real[0]
        return faults[0] if all(faults) else None

    def services(self) -> Sequence[Observation]:
        """See ``ports.Cluster``."""
        found: dict[ServiceKey, Observation] = {}
        for cache in self._caches.values():
            for observation in cache.values():
                for each in observation:
                    if found.setdefault(each.key, each).uid != each.uid:
                        self._warn_shadowed(found[each.key], each)
        return list(found.values())

    def observe(self, key: ServiceKey) -> Observation | None:
        """See ``ports.Cluster``."""
        for cache in self._caches.values():
            found = _observation_of(cache.get(ObjectKey(key.namespace, key.name)), key)
            if found is not None:
                return found
        return None

    def _warn_shadowed(self, shown: Observation, hidden: Observation) -> None:
        object_key = ObjectKey(hidden.key.namespace, hidden.key.name)
        if object_key in self._shadowed:
            return
        self._shadowed.add(object_key)
        _log.warning(
            "service_shadowed",
            service=str(hidden.key),
            api_version=hidden.api_version,
            by=shown.api_version,
            hint="two InferenceServices of one name in two API groups; only the newer one is rolled out",
        )

    def take_changes(self) -> set[ServiceKey]:
        """See ``ports.Cluster``."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def cache_age(self, key: ServiceKey, api_version: str) -> float:
        """See ``ports.Cluster``; healthy, it stays below the watches' hold time (55 s).

        Of the watch that reports the service, or would: one of its API group. Another one that fails says
        nothing about it. An API generation that is not installed does not count; infinite when none is:
        whatever was rolled out before cannot be said to be gone.
        """
        served_caches = [cache for cache in self._caches.values() if not _is_not_served(cache)]
        object_key = ObjectKey(key.namespace, key.name)
        holding = [cache for cache in served_caches if cache.get(object_key) is not None]
        group = api_version.partition("/")[0]
        own = [cache for cache in served_caches if cache.resource.group == group]
        return max((cache.cache_age(object_key) for cache in holding or own or served_caches), default=float("inf"))

    def refresh(self, key: ServiceKey) -> Observation | None:
        """Read one service from the server; None when it, or this component of it, does not exist."""
        object_key = ObjectKey(key.namespace, key.name)
        versions = [version for version, cache in self._caches.items() if cache.get(object_key) is not None]
        not_served_errors: list[ResourceNotServed] = []
        candidates = versions or list(self._caches)
        for version in candidates:
            cache = self._caches[version]
            try:
                document = self._client.get(cache.resource, key.namespace, key.name)
            except ResourceNotServed as error:
                not_served_errors.append(error)
            except NotFound:
                cache.remove(object_key)
            else:
                return _observation_of(self._cache_response(self._dialects[version], document), key)
        if len(not_served_errors) == len(candidates):
            raise not_served_errors[0]  # whether it exists is not known
        return None

    def earlier_version(self, observation: Observation) -> EarlierVersion | None:
        """See ``ports.Cluster``. An API server that keeps no versions, or answers badly, has none."""
        dialect = self._dialects.get(observation.api_version) or dialect_for(observation.api_version)
        resource, key = inference_services_of(dialect), observation.key

        def read(version: str) -> dict[str, Any] | None:
            return self._client.get_version(resource, key.namespace, key.name, version)

        try:
            return find_earlier_version(dialect, observation, read)
        except ClusterError as error:
            _log.info("earlier_version_unknown", service=str(key), error=str(error))
            return None

    def set_weight(self, observation: Observation, weight: int) -> Observation:
        """See ``ports.Cluster``."""
        return self._write(observation, lambda dialect: dialect.weight_patch(observation, weight), weight)

    def restore(self, observation: Observation, spec: Mapping[str, Any], weight: int | None) -> Observation:
        """See ``ports.Cluster``."""
        return self._write(observation, lambda dialect: dialect.restore_patch(observation, spec, weight), weight)

    def finalize(self, observation: Observation) -> Observation:
        """See ``ports.Cluster``."""
        return self._write(observation, lambda dialect: dialect.finalize_patch(observation), observation.weight)

    def _write(
        self, observation: Observation, patch_of: Callable[[Dialect], dict[str, Any]], weight: int | None
    ) -> Observation:
        dialect = self._dialects.get(observation.api_version) or dialect_for(observation.api_version)
        try:
            patch = patch_of(dialect)
        except ValueError as error:
            raise Refused(f"cannot patch InferenceService {observation.key}: {error}") from error
        if not self._leadership.is_leader():
            raise NotLeader(f"InferenceService {observation.key} is not written: this instance is not the leader")
        if self._dry_run:
            self._log_skipped_write(observation, weight)
            return observation
        key = observation.key
        document = self._client.patch(inference_services_of(dialect), key.namespace, key.name, patch)
        written = _observation_of(self._cache_response(dialect, document), key)
        if written is None:
            raise NotFound(f"InferenceService {key.namespace}/{key.name} has no {key.component.value} any more")
        return written

    def _log_skipped_write(self, observation: Observation, weight: int | None) -> None:
        """Once per weight and revision: what was not written is tried again at every evaluation."""
        state = (observation.uid, observation.created, weight)
        if self._skipped_writes.get(observation.key) != state:
            self._skipped_writes[observation.key] = state
            _log.info("write_skipped", service=str(observation.key), weight=weight, dry_run=True)

    def _cache_response(self, dialect: Dialect, document: dict[str, Any]) -> _Observations:
        """Put one document of the server into the cache."""
        observed = dialect.observe(document)
        metadata = document["metadata"]
        object_key = ObjectKey(metadata.get("namespace", ""), metadata["name"])
        if cache := self._caches.get(dialect.api_version):
            cache.put(object_key, metadata.get("resourceVersion", ""), observed)
        return observed

    def _on_cache_change(self, change: Change[_Observations]) -> None:
        keys = {each.key for observation in (change.before, change.after) if observation for each in observation}
        with self._lock:
            self._changed |= keys
        if self._on_change is not None and keys:
            self._on_change(keys)


def _is_not_served(cache: MultiNamespaceCache[_Observations]) -> bool:
    return isinstance(cache.fault, ResourceNotServed) and not cache.values()


def _observation_of(observation: _Observations | None, key: ServiceKey) -> Observation | None:
    return next((each for each in observation or () if each.key == key), None)
