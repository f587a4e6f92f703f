"""What the simulated parts share: caches of the kinds they watch, and a beat in which they bring them up to date."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, TypeVar

from autocanary.errors import ClusterError, NotFound
from autocanary.kube.api_client import ApiClient
from autocanary.kube.kubeconfig import find_credentials
from autocanary.kube.multi_namespace_cache import MultiNamespaceCache
from autocanary.kube.resource import Resource
from tests.testbed.servers import ApiServer

Document = dict[str, Any]
Self = TypeVar("Self", bound="SimulatedPart")

_BEAT = 0.1


class SimulatedPart(ABC):
    """Started as a context manager; `failures` are the writes that the API server refused."""

    resources: tuple[Resource, ...] = ()

    def __init__(self, api: ApiServer) -> None:
        self._client = ApiClient(find_credentials(str(api.kubeconfig())))
        self._caches = {
            resource: MultiNamespaceCache[Document](self._client, resource, _as_it_is, lambda _: self._changed.set())
            for resource in self.resources
        }
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self.failures: list[str] = []

    @abstractmethod
    def step(self, now: float) -> None:
        """Bring every object up to date, at this moment of the monotonic clock."""

    def objects(self, resource: Resource) -> list[Document]:
        """All objects of a kind, as they were last heard of."""
        return list(self._caches[resource].values())

    def write(self, resource: Resource, document: Mapping[str, Any], change: Document, subresource: str = "") -> bool:
        """Merge-patch one object; False when it was refused, which the next beat tries again."""
        namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]
        try:
            self._client.patch(resource, namespace, name, change, subresource=subresource, manager="simulated")
        except NotFound:
            return True
        except ClusterError as error:
            self.failures.append(str(error))
            return False
        return True

    def __enter__(self: Self) -> Self:
        for cache in self._caches.values():
            cache.start()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(10)
        for cache in self._caches.values():
            cache.stop()
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._changed.wait(_BEAT)
            self._changed.clear()
            self.step(time.monotonic())
            self._stop.wait(0.02)


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Document:
    """One condition of a status; the API server's own clock is not this machine's concern."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    found: Document = {"type": kind, "status": status, "lastTransitionTime": now}
    return found | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def conditions_differ(before: list[Document], after: list[Document]) -> bool:
    """Whether anything but the time has changed."""

    def bare(conditions: list[Document]) -> list[tuple[object, ...]]:
        keys = ("type", "status", "reason", "message")
        return sorted(tuple(str(each.get(key, "")) for key in keys) for each in conditions)

    return bare(before) != bare(after)


def _as_it_is(document: Document) -> Document:
    return document
