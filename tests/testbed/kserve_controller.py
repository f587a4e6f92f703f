"""KServe and Knative behind a real API server: the simulated world's own rules, simulated in real time.

The rules are those of ``autocanary.simulator``, proven against recordings of the real controllers; here they see
real objects through a real watch and write real statuses through the status subresource.
"""

from __future__ import annotations

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from autocanary.errors import ClusterError, NotFound
from autocanary.kserve import Dialect, merge_patch
from autocanary.kserve.v1alpha2 import V1Alpha2
from autocanary.kserve.v1beta1 import V1Beta1
from autocanary.kube.api_client import ApiClient
from autocanary.kube.cache import Change
from autocanary.kube.kubeconfig import find_credentials
from autocanary.kube.multi_namespace_cache import MultiNamespaceCache
from autocanary.kube.resource import inference_services_of
from autocanary.model.policy import Component
from autocanary.simulator.controller_loop import LAG, NamespacedName
from autocanary.simulator.kfserving_controller import KFServingController
from autocanary.simulator.knative_controller import RoutedRevisions
from autocanary.simulator.kserve_controller import KServeController
from autocanary.simulator.pod_behaviour import BehaviourOf, behaviour_from_uri
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["KFServingControllerRunner", "KServeControllerRunner", "KubeflowController"]

_BEAT = 0.02


class ControllerRules(Protocol):
    """What runs: KServe's rules, or those of its predecessor."""

    def on_event(self, name: NamespacedName, document: Mapping[str, Any], status: Mapping[str, Any] | None) -> None: ...
    def forget(self, name: NamespacedName) -> None: ...
    def children(self, name: NamespacedName) -> Mapping[Component, RoutedRevisions]: ...


R = TypeVar("R", bound=ControllerRules)
S = TypeVar("S", bound="_ControllerOverApiServer[Any]")


class _ControllerOverApiServer(ABC, Generic[R]):
    """Started as a context manager. One thread runs the rules; a few others write their results.

    ``behaviour_of`` says how the pods of a revision behave; by default the model's URI says it
    (``gs://models/x/v2-slow8`` is ready after 8 s, a URI with ``crash`` never is).
    """

    def __init__(
        self,
        kubeconfig: Path,
        *,
        behaviour_of: BehaviourOf = behaviour_from_uri,
        lag: float = LAG,
        writers: int = 4,
    ) -> None:
        dialect, make = self._generation()
        self._resource = inference_services_of(dialect)
        self._client = ApiClient(find_credentials(str(kubeconfig)))
        self._clock = VirtualClock(time.monotonic())
        self.rules = make(self._clock, self._publish, behaviour_of=behaviour_of, lag=lag)
        self._cache: MultiNamespaceCache[dict[str, Any]] = MultiNamespaceCache(
            self._client, self._resource, lambda document: document, self._heard
        )
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._written: dict[NamespacedName, dict[str, Any]] = {}
        self._uids: dict[NamespacedName, str] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kserve", daemon=True)
        # One thread each, so that the statuses of one service are written in the order they came to be in.
        self._writers = [ThreadPoolExecutor(1, "kserve-status") for _ in range(writers)]
        self.failures: list[str] = []

    @abstractmethod
    def _generation(self) -> tuple[Dialect, Callable[..., R]]:
        """What is watched, and the rules that are simulated."""

    def __enter__(self: S) -> S:
        self._cache.start()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._cache.stop()
        self._thread.join(5)
        for writer in self._writers:
            writer.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def split(self) -> Mapping[tuple[str, str], Mapping[str, int]]:
        """What the ingress really routes now: percent by revision, each component of a service for itself."""
        with self._lock:
            shares: dict[tuple[str, str], dict[str, int]] = {}
            for name in list(self._written):
                shares[name] = {}
                for child in self.rules.children(name).values():
                    for target in child.programmed:
                        known = shares[name].get(target.revision, 0)
                        shares[name][target.revision] = known + target.percent
            return shares

    def do(self, action: Callable[[R], None]) -> None:
        """Something happens inside the world (pods crash, a revision is refused), between two beats."""
        done = threading.Event()

        def act() -> None:
            try:
                action(self.rules)
            finally:
                done.set()

        self._work.put(act)
        assert done.wait(10), "the rules' thread has ended"

    def _heard(self, change: Change[dict[str, Any]]) -> None:
        name = (change.key.namespace, change.key.name)
        document = change.after
        if document is None:
            self._work.put(lambda: self._forget(name))
            return
        before = change.before
        if before is not None and _ground(before) == _ground(document):
            return  # only the status moved: ours
        self._work.put(lambda: self._saw(name, document))

    def _saw(self, name: NamespacedName, document: dict[str, Any]) -> None:
        uid = document["metadata"]["uid"]
        if self._uids.setdefault(name, uid) != uid:  # a watch that was cut may tell of the namesake only
            self._forget(name)
            self._uids[name] = uid
        known = self._written.get(name)
        self._written.setdefault(name, dict(document.get("status") or {}))
        self.rules.on_event(name, document, known or document.get("status"))

    def _forget(self, name: NamespacedName) -> None:
        self._written.pop(name, None)
        self._uids.pop(name, None)
        self.rules.forget(name)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                action: Callable[[], None] | None = self._work.get(timeout=_BEAT)
            except queue.Empty:
                action = None
            with self._lock:
                self._clock.advance_to(time.monotonic())
                while action is not None:
                    action()
                    try:
                        action = self._work.get_nowait()
                    except queue.Empty:
                        action = None

    def _publish(self, name: NamespacedName, status: dict[str, Any]) -> None:
        before = self._written.get(name)
        if before is None or before == status:
            return
        change = merge_patch.diff(before, status)
        self._written[name] = status
        self._writers[hash(name) % len(self._writers)].submit(self._write, name, change)

    def _write(self, name: NamespacedName, change: dict[str, Any]) -> None:
        while not self._written_once(name, change):  # a controller whose API server is down tries again
            if self._stop.wait(0.2):
                return

    def _written_once(self, name: NamespacedName, change: dict[str, Any]) -> bool:
        try:
            self._client.patch(self._resource, *name, {"status": change}, subresource="status")
        except NotFound:
            return True
        except ClusterError as error:
            self.failures.append(str(error))
            return False
        return True


class KServeControllerRunner(_ControllerOverApiServer[KServeController]):
    """KServe 0.20 and Knative 1.21."""

    def _generation(self) -> tuple[Dialect, Callable[..., KServeController]]:
        return V1Beta1(), KServeController


class KubeflowController(_ControllerOverApiServer[KServeController]):
    """The same in the group that it had as KFServing 0.5 and 0.6."""

    def _generation(self) -> tuple[Dialect, Callable[..., KServeController]]:
        return V1Beta1(group="serving.kubeflow.org"), KServeController


class KFServingControllerRunner(_ControllerOverApiServer[KFServingController]):
    """KFServing 0.4, for ``serving.kubeflow.org/v1alpha2``."""

    def _generation(self) -> tuple[Dialect, Callable[..., KFServingController]]:
        return V1Alpha2(), KFServingController


def _ground(document: Mapping[str, Any]) -> tuple[Any, ...]:
    metadata = document["metadata"]
    return (
        metadata.get("uid"),
        document.get("spec"),
        metadata.get("annotations"),
        metadata.get("labels"),
        metadata.get("deletionTimestamp"),
    )
