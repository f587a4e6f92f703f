"""One kind of object over all watched namespaces: a watch for all of them, or one for each that is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from autocanary.errors import ClusterError
from autocanary.kube.api_client import Session
from autocanary.kube.cache import Change, Key, Picture
from autocanary.kube.list_watch import Pace, Watch, is_barred
from autocanary.kube.resource import Resource

__all__ = ["Mirror"]

T = TypeVar("T")


class Mirror(Generic[T]):
    """Reads without I/O of what ``project`` makes of each object; see ``Watch`` for the arguments."""

    def __init__(
        self,
        session: Session,
        resource: Resource,
        project: Callable[[dict[str, Any]], T],
        on_change: Callable[[Change[T]], None],
        *,
        namespaces: Sequence[str] = (),
        pace: Pace | None = None,
    ) -> None:
        self.resource = resource
        self._watches = {
            namespace: Watch(session, resource, namespace, project, on_change, pace=pace)
            for namespace in dict.fromkeys(namespaces or ("",))
        }

    def start(self) -> None:
        for watch in self._watches.values():
            watch.start()

    def stop(self) -> None:
        """End all threads; each is asked first and waited for afterwards."""
        for watch in self._watches.values():
            watch.stop(0.0)
        for watch in self._watches.values():
            watch.stop(1.0)

    def wait(self, seconds: float) -> bool:
        """Whether every namespace has been listed (or has nothing to list) within so many seconds."""
        until = time.monotonic() + seconds
        return all(watch.wait(max(0.0, until - time.monotonic())) for watch in self._watches.values())

    def age(self, key: Key | None = None) -> float:
        """Of the namespace that was confirmed longest ago; of ``key``'s where one is given.

        Infinite for a namespace that is not watched: nothing will ever be known of it.
        """
        if key is None:
            return max(watch.age() for watch in self._watches.values())
        watch = self._watch(key)
        return watch.age() if watch else float("inf")

    @property
    def fault(self) -> ClusterError | None:
        """Why some namespace cannot be followed now."""
        return next((watch.fault for watch in self._watches.values() if watch.fault), None)

    @property
    def barred(self) -> ClusterError | None:
        """The fault, when all that keeps some namespace from being followed is a right that is missing."""
        faults = [watch.fault for watch in self._watches.values() if watch.fault or not watch.wait(0)]
        return faults[0] if faults and all(is_barred(fault) for fault in faults) else None

    def get(self, key: Key) -> T | None:
        picture = self._picture(key)
        return picture.get(key) if picture is not None else None

    def values(self) -> Sequence[T]:
        pictures = [watch.picture.values() for watch in self._watches.values()]
        return pictures[0] if len(pictures) == 1 else [value for picture in pictures for value in picture]

    def put(self, key: Key, version: str, value: T) -> bool:
        """What a write or a single read answered; see ``Picture.put``."""
        picture = self._picture(key)  # an empty one is false, and takes its first object here
        return picture.put(key, version, value) if picture is not None else False

    def remove(self, key: Key) -> None:
        """A read of our own found it gone."""
        picture = self._picture(key)
        if picture is not None:
            picture.remove(key)

    def _picture(self, key: Key) -> Picture[T] | None:
        watch = self._watch(key)
        return watch.picture if watch else None

    def _watch(self, key: Key) -> Watch[T] | None:
        return self._watches.get("") or self._watches.get(key.namespace)
