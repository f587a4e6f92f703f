"""Knative's autoscaler: it scales the Deployments of revisions, and says in PodAutoscalers whether they serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.kube.resource import Resource
from tests.testbed.servers import ApiServer
from tests.testbed.simulated_parts.part import Document, SimulatedPart, condition, conditions_differ

POD_AUTOSCALERS = Resource("autoscaling.internal.knative.dev", "v1alpha1", "podautoscalers", "PodAutoscaler")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
_MIN_SCALE = "autoscaling.knative.dev/min-scale"
_WINDOW_SECONDS = 60.0
_UNREACHABLE_SECONDS = 0.5


class SimulatedAutoscaler(SimulatedPart):
    """One to `min-scale` pods for what a Route names, none for the rest.

    A revision that no Route names loses its pods at once. One whose pods failed keeps them for a stable window:
    its failure makes it unreachable although a Route names it.
    """

    resources = (POD_AUTOSCALERS, DEPLOYMENTS)

    def __init__(self, api: ApiServer) -> None:
        super().__init__(api)
        self._unreachable_since: dict[str, float] = {}
        self.window_seconds = _WINDOW_SECONDS

    def step(self, now: float) -> None:
        """See `SimulatedPart.step`."""
        deployments = {
            (each["metadata"]["namespace"], each["metadata"]["name"]): each for each in self.objects(DEPLOYMENTS)
        }
        for autoscaler in self.objects(POD_AUTOSCALERS):
            metadata = autoscaler["metadata"]
            deployment = deployments.get((metadata["namespace"], autoscaler["spec"]["scaleTargetRef"]["name"]))
            if deployment is not None and not metadata.get("deletionTimestamp"):
                self._scale(autoscaler, deployment, now)

    def _scale(self, autoscaler: Document, deployment: Document, now: float) -> None:
        wanted = self._wanted(autoscaler, deployment, now)
        if deployment["spec"].get("replicas") != wanted:
            self.write(DEPLOYMENTS, deployment, {"spec": {"replicas": wanted}})
        ready = int((deployment.get("status") or {}).get("readyReplicas") or 0)
        status = _status(autoscaler, wanted, ready)
        before = autoscaler.get("status") or {}
        same = all(before.get(key) == value for key, value in status.items() if key != "conditions")
        if not same or conditions_differ(before.get("conditions") or [], status["conditions"]):
            self.write(POD_AUTOSCALERS, autoscaler, {"status": status}, "status")

    def _wanted(self, autoscaler: Document, deployment: Document, now: float) -> int:
        least = max(1, int((autoscaler["metadata"].get("annotations") or {}).get(_MIN_SCALE) or 0))
        uid = autoscaler["metadata"]["uid"]
        if autoscaler["spec"].get("reachability") != "Unreachable":
            self._unreachable_since.pop(uid, None)
            return least
        ready = int((deployment.get("status") or {}).get("readyReplicas") or 0)
        since = self._unreachable_since.setdefault(uid, now)
        failed = deployment["spec"].get("replicas") and not ready
        return 0 if now - since > (self.window_seconds if failed else _UNREACHABLE_SECONDS) else least


def _status(autoscaler: Mapping[str, Any], wanted: int, ready: int) -> Document:
    name = autoscaler["metadata"]["name"]
    before = {each["type"]: each["status"] for each in (autoscaler.get("status") or {}).get("conditions") or ()}
    initialized = ready > 0 or before.get("ScaleTargetInitialized") == "True"
    active, reason, message = "True", "", ""
    if wanted == 0:
        active, reason, message = "False", "NoTraffic", "The target is not receiving traffic."
    elif ready == 0:
        active, reason = "Unknown", "Queued"
        message = "Requests to the target are being buffered as resources are provisioned."
    serving = "True" if ready else "Unknown"
    all_ready = "True" if (active, serving) == ("True", "True") else ("False" if active == "False" else "Unknown")
    return {
        "observedGeneration": autoscaler["metadata"]["generation"],
        "serviceName": name,
        "metricsServiceName": f"{name}-private",
        "desiredScale": wanted,
        "actualScale": ready,
        "conditions": [
            condition("Active", active, reason, message),
            condition("Ready", all_ready, reason, message),
            condition("SKSReady", serving, "" if ready else "NotReady"),
            condition("ScaleTargetInitialized", "True" if initialized else "Unknown"),
        ],
    }
