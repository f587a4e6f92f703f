"""The ingress gateway: what Knative's Ingress objects ask for is routed, and their status says so."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from autocanary.kube.resource import Resource
from tests.testbed.servers import ApiServer
from tests.testbed.simulated_parts.part import Document, SimulatedPart, condition

INGRESSES = Resource("networking.internal.knative.dev", "v1alpha1", "ingresses", "Ingress")
_REVISION_HEADER = "Knative-Serving-Revision"
_GATEWAY = {"ingress": [{"domainInternal": "gateway.istio-system.svc.cluster.local"}]}


class SimulatedIngress(SimulatedPart):
    """Programs each object as soon as it is heard of, unless its namespace is held back."""

    resources = (INGRESSES,)

    def __init__(self, api: ApiServer) -> None:
        super().__init__(api)
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._programmed: dict[tuple[str, str], tuple[str, int, Mapping[str, int]]] = {}

    def hold(self, namespace: str, held: bool = True) -> None:
        """Program nothing more in a namespace, or go on."""
        with self._lock:
            (self._held.add if held else self._held.discard)(namespace)
        self._changed.set()

    def routed(self) -> Mapping[tuple[str, str], Mapping[str, int]]:
        """Percent of the requests by revision, of every (namespace, Knative Service), as it is programmed now."""
        with self._lock:
            return {key: dict(shares) for key, (_, _, shares) in self._programmed.items()}

    def step(self, now: float) -> None:
        """See `SimulatedPart.step`."""
        seen: set[tuple[str, str]] = set()
        for ingress in self.objects(INGRESSES):
            metadata = ingress["metadata"]
            key = (metadata["namespace"], metadata["name"])
            seen.add(key)
            wanted = (metadata["uid"], metadata["generation"])
            with self._lock:
                known = self._programmed.get(key)
                if key[0] in self._held or (known is not None and known[:2] == wanted and _is_programmed(ingress)):
                    continue
                self._programmed[key] = (*wanted, _shares(ingress))
            self.write(INGRESSES, ingress, {"status": _status(metadata["generation"])}, "status")
        with self._lock:
            for gone in [key for key in self._programmed if key not in seen]:
                del self._programmed[gone]


def _is_programmed(ingress: Mapping[str, Any]) -> bool:
    return bool((ingress.get("status") or {}).get("observedGeneration") == ingress["metadata"]["generation"])


def _shares(ingress: Mapping[str, Any]) -> dict[str, int]:
    """The split of the rule for the service's own host: the hosts of tags stand in rules of their own."""
    name = ingress["metadata"]["name"]
    shares: dict[str, int] = {}
    for rule in ingress["spec"].get("rules") or ():
        if not any(host.startswith(f"{name}.") for host in rule["hosts"]):
            continue
        for split in rule["http"]["paths"][-1]["splits"]:
            revision = (split.get("appendHeaders") or {}).get(_REVISION_HEADER) or split["serviceName"]
            shares[revision] = shares.get(revision, 0) + int(split.get("percent", 100))
        return shares
    return shares


def _status(generation: int) -> Document:
    kinds = ("LoadBalancerReady", "NetworkConfigured", "Ready")
    return {
        "observedGeneration": generation,
        "conditions": [condition(kind, "True") for kind in kinds],
        "publicLoadBalancer": _GATEWAY,
        "privateLoadBalancer": _GATEWAY,
    }
