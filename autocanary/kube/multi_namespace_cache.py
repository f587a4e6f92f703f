"""One kind of object over all watched namespaces: a watch for all of them, or one for each that is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from autocanary.errors import ClusterError
from autocanary.kube.api_client import ApiClient
from autocanary.kube.cache import Cache, Change, ObjectKey
from autocanary.kube.list_watch import Reflector, WatchTiming, is_forbidden
from autocanary.kube.resource import Resource

__all__ = ["MultiNamespaceCache"]

T = TypeVar("T")


class MultiNamespaceCache(Generic[T]):
    """Reads without I/O of what ``project`` makes of each object; see ``Reflector`` for the arguments."""

    def __init__(
        self,
        client: ApiClient,
        resource: Resource,
        project: Callable[[dict[str, Any]], T],
        on_change: Callable[[Change[T]], None],
        *,
        namespaces: Sequence[str] = (),
        timing: WatchTiming | None = None,
    ) -> None:
        self.resource = resource
        self._reflectors = {
            namespace: Reflector(client, resource, namespace, project, on_change, timing=timing)
            for namespace in dict.fromkeys(namespaces or ("",))
        }

    def start(self) -> None:
        for reflector in self._reflectors.values():
            reflector.start()

    def stop(self) -> None:
        """End all threads; each is asked first and waited for afterwards."""
        for reflector in self._reflectors.values():
            reflector.stop(0.0)
        for reflector in self._reflectors.values():
            reflector.stop(1.0)

    def wait(self, seconds: float) -> bool:
        """Whether every namespace has been listed (or has nothing to list) within so many seconds."""
        until = time.monotonic() + seconds
        return all(reflector.wait(max(0.0, until - time.monotonic())) for reflector in self._reflectors.values())

    def cache_age(self, key: ObjectKey | None = None) -> float:
        """Of the namespace that was confirmed longest ago; of ``key``'s where one is given.

        Infinite for a namespace that is not watched: nothing will ever be known of it.
        """
        if key is None:
            return max(reflector.cache_age() for reflector in self._reflectors.values())
        reflector = self._reflector_for(key)
        return reflector.cache_age() if reflector else float("inf")

    def is_healthy(self) -> bool:
        """Whether the cache of every namespace is whole; see ``Reflector.is_healthy``."""
        return all(reflector.is_healthy() for reflector in self._reflectors.values())

    def skipped(self) -> Mapping[ObjectKey, str]:
        """The objects that are left out now, and why."""
        return {key: why for reflector in self._reflectors.values() for key, why in reflector.skipped().items()}

    @property
    def fault(self) -> ClusterError | None:
        """Why some namespace cannot be followed now."""
        return next((reflector.fault for reflector in self._reflectors.values() if reflector.fault), None)

    @property
    def forbidden_errors(self) -> ClusterError | None:
        """The fault, when all that keeps some namespace from being followed is a right that is missing."""
        faults = [
            reflector.fault for reflector in self._reflectors.values() if reflector.fault or not reflector.wait(0)
        ]
        return faults[0] if faults and all(is_forbidden(fault) for fault in faults) else None

    def get(self, key: ObjectKey) -> T | None:
        cache = self._cache_for(key)
        return cache.get(key) if cache is not None else None

    def values(self) -> Sequence[T]:
        caches = [reflector.cache.values() for reflector in self._reflectors.values()]
        return caches[0] if len(caches) == 1 else [value for cache in caches for value in cache]

    def put(self, key: ObjectKey, version: str, value: T) -> bool:
        """What a write or a single read answered; see ``Cache.put``."""
        cache = self._cache_for(key)  # an empty one is false, and takes its first object here
        return cache.put(key, version, value) if cache is not None else False

    def remove(self, key: ObjectKey) -> None:
        """A read of our own found it gone."""
        cache = self._cache_for(key)
        if cache is not None:
            cache.remove(key)

    def _cache_for(self, key: ObjectKey) -> Cache[T] | None:
        reflector = self._reflector_for(key)
        return reflector.cache if reflector else None

    def _reflector_for(self, key: ObjectKey) -> Reflector[T] | None:
        return self._reflectors.get("") or self._reflectors.get(key.namespace)
