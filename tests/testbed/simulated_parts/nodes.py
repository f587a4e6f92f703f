"""Nodes: the scheduler and the kubelet. The pods of a revision behave as the name of their model says."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autocanary.kube.resource import Resource
from autocanary.simulator.pod_behaviour import CRASHES, UNSCHEDULABLE, Behaviour, behaviour_from_uri, storage_uri
from tests.testbed.servers import ApiServer
from tests.testbed.simulated_parts.part import Document, SimulatedPart, condition

PODS = Resource("", "v1", "pods", "Pod")
REVISION_LABEL = "serving.knative.dev/revision"
_SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
_LOADER = "storage-initializer"
_LOADING_SECONDS = 0.3


@dataclass(frozen=True)
class RevisionPods:
    """The pods of one revision: how many there are, and how many are ready."""

    running: int
    ready: int


class SimulatedNodes(SimulatedPart):
    """Pods become ready, crash, or never get ready.

    A pod is not bound to a node, so the API server removes it as soon as it is deleted.
    """

    resources = (PODS,)

    def __init__(self, api: ApiServer) -> None:
        super().__init__(api)
        self._first_seen: dict[str, float] = {}
        self._written: dict[str, str] = {}
        self._lock = threading.Lock()
        self._struck: dict[tuple[str, str], str] = {}

    def crash(self, namespace: str, revision: str) -> None:
        """Every container of every pod of a revision crash-loops, those of new pods too."""
        self._strike(namespace, revision, "crash")

    def unready(self, namespace: str, revision: str) -> None:
        """All pods of a revision run and fail their readiness probe."""
        self._strike(namespace, revision, "unready")

    def recover(self, namespace: str, revision: str) -> None:
        """The pods behave as their model says again."""
        self._strike(namespace, revision, "")

    def revisions(self) -> Mapping[tuple[str, str], RevisionPods]:
        """The pods of every (namespace, revision) that has any."""
        running: dict[tuple[str, str], int] = defaultdict(int)
        ready: dict[tuple[str, str], int] = defaultdict(int)
        for pod in self.objects(PODS):
            name = _revision_of(pod)
            if not name or pod["metadata"].get("deletionTimestamp"):
                continue
            conditions = (pod.get("status") or {}).get("conditions") or ()
            running[name] += 1
            ready[name] += any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        return {name: RevisionPods(number, ready[name]) for name, number in running.items()}

    def models(self) -> Mapping[tuple[str, str], str]:
        """The place of the model, or the image, of every (namespace, revision) that has pods."""
        named = [(_revision_of(pod), storage_uri(_spec(pod))) for pod in self.objects(PODS)]
        return {revision: model for revision, model in named if revision is not None}

    def step(self, now: float) -> None:
        """See `SimulatedPart.step`."""
        pods = self.objects(PODS)
        for pod in pods:
            uid = pod["metadata"]["uid"]
            age = now - self._first_seen.setdefault(uid, now)
            state = self._state(pod, age)
            if state != self._written.get(uid) and self.write(PODS, pod, {"status": _status(pod, state)}, "status"):
                self._written[uid] = state
        alive = {pod["metadata"]["uid"] for pod in pods}
        for gone in [uid for uid in self._first_seen if uid not in alive]:
            self._first_seen.pop(gone, None)
            self._written.pop(gone, None)

    def _strike(self, namespace: str, revision: str, how: str) -> None:
        with self._lock:
            self._struck[(namespace, revision)] = how
        self._changed.set()

    def _state(self, pod: Document, age: float) -> str:
        with self._lock:
            struck = self._struck.get(_revision_of(pod) or ("", ""), "")
        if struck:
            return struck
        behaviour = _behaviour(pod)
        if behaviour == UNSCHEDULABLE:
            return "unschedulable"
        if behaviour == CRASHES:  # from the first moment: Knative does not notice a crash that comes later
            return "crash"
        if age < _LOADING_SECONDS:
            return "loading"
        if behaviour.ready_after is None:
            if not behaviour.failure:
                return "unready"
            return "initfail" if behaviour.failure == "." else "crash"
        return "ready" if age >= behaviour.ready_after else "unready"


def _revision_of(pod: Mapping[str, Any]) -> tuple[str, str] | None:
    name = (pod["metadata"].get("labels") or {}).get(REVISION_LABEL)
    return (pod["metadata"]["namespace"], str(name)) if name else None


def _behaviour(pod: Mapping[str, Any]) -> Behaviour:
    return behaviour_from_uri(_spec(pod))


def _spec(pod: Mapping[str, Any]) -> Document:
    """As much of the component's spec as the pod shows."""
    source = (pod["metadata"].get("annotations") or {}).get(_SOURCE)
    images = [{"image": each["image"]} for each in pod["spec"]["containers"] if each["name"] != "queue-proxy"]
    return {"model": {"storageUri": source}} if source else {"containers": images}


def _status(pod: Document, state: str) -> Document:
    ready = state == "ready"
    scheduled = state != "unschedulable"
    initialized = scheduled and state not in ("loading", "initfail")
    why = UNSCHEDULABLE.failure if not scheduled else ""
    return {
        "phase": "Running" if initialized else "Pending",
        "podIP": "10.1.0.1" if scheduled else None,
        "podIPs": [{"ip": "10.1.0.1"}] if scheduled else None,
        "conditions": [
            condition("PodScheduled", _word(scheduled), "" if scheduled else "Unschedulable", why),
            condition("Initialized", _word(initialized)),
            condition("ContainersReady", _word(ready)),
            condition("Ready", _word(ready)),
        ],
        "initContainerStatuses": [_init_container(each, state) for each in pod["spec"].get("initContainers") or ()]
        if scheduled
        else None,
        "containerStatuses": [_container(each, state, initialized) for each in pod["spec"]["containers"]]
        if scheduled
        else None,
    }


def _word(true: bool) -> str:
    return "True" if true else "False"


def _terminated(code: int, message: str) -> Document:
    reason = "Completed" if code == 0 else "Error"
    return {"terminated": {"exitCode": code, "reason": reason} | ({"message": message} if message else {})}


def _init_container(container: Document, state: str) -> Document:
    found: Document = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
    if state == "loading":
        return {**found, "ready": False, "state": {"running": {}}}
    if state == "initfail":
        return {
            **found,
            "ready": False,
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": _terminated(1, "the model cannot be downloaded"),
        }
    return {**found, "ready": True, "state": _terminated(0, "")}


def _container(container: Document, state: str, initialized: bool) -> Document:
    found: Document = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
    if not initialized:
        return {**found, "ready": False, "started": False, "state": {"waiting": {"reason": "PodInitializing"}}}
    if state == "crash" and container["name"] != "queue-proxy":
        return {
            **found,
            "ready": False,
            "started": False,
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": _terminated(1, "model failed to load"),
        }
    ready = state == "ready"
    return {**found, "ready": ready, "started": True, "state": {"running": {}}, "lastState": {}}
