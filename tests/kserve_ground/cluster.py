"""A cluster of real controllers over one API server, with nodes, ingress and autoscaler simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.kserve_ground import manifests
from tests.testbed.servers import ApiServer, TcpProxy, wait_until
from tests.testbed.servers.controllers import (
    KnativeController,
    KnativeWebhook,
    KServeManager,
    KubeControllerManager,
    OneSetPerMachine,
)
from tests.testbed.servers.crds import wait_served
from tests.testbed.simulated_parts import SimulatedAutoscaler, SimulatedIngress, SimulatedNodes

__all__ = ["KServeCluster"]

_COMPONENTS = ("-predictor", "-transformer", "-explainer")


class KServeCluster:
    """Up when it is entered: an InferenceService that is applied then becomes ready.

    `webhook` is a proxy before KServe's webhooks: what it refuses, the API server cannot ask.
    """

    def __init__(self, api: ApiServer, folder: Path, *, crd: str = "full") -> None:
        self._api, self._folder, self._crd = api, folder, crd
        self._stack = ExitStack()

    def __enter__(self) -> KServeCluster:
        with self._stack as stack:
            self._open(stack.enter_context)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(None, None, None)

    def split(self) -> Mapping[tuple[str, str], Mapping[str, int]]:
        """What the ingress routes now: percent by revision of every (namespace, InferenceService)."""
        shares: dict[tuple[str, str], dict[str, int]] = {}
        for (namespace, name), revisions in self.ingress.routed().items():
            service = next((name.removesuffix(end) for end in _COMPONENTS if name.endswith(end)), name)
            shares.setdefault((namespace, service), {}).update(revisions)
        return shares

    def _open(self, enter: Callable[[Any], Any]) -> None:
        enter(OneSetPerMachine())
        manifests.install_definitions(self._api, self._crd)
        for group, version, plural in (
            ("serving.kserve.io", "v1beta1", "inferenceservices"),
            ("serving.kserve.io", "v1alpha1", "clusterservingruntimes"),
            ("serving.kserve.io", "v1alpha1", "clusterstoragecontainers"),
            ("serving.knative.dev", "v1", "services"),
            ("networking.internal.knative.dev", "v1alpha1", "ingresses"),
            ("autoscaling.internal.knative.dev", "v1alpha1", "podautoscalers"),
            ("caching.internal.knative.dev", "v1alpha1", "images"),
        ):
            wait_served(self._api, group, version, plural)
        self._api.apply(*manifests.namespaces())
        self._api.apply(*manifests.knative_configuration(), *manifests.kserve_configuration())
        self.nodes: SimulatedNodes = enter(SimulatedNodes(self._api))
        self.ingress: SimulatedIngress = enter(SimulatedIngress(self._api))
        self.autoscaler: SimulatedAutoscaler = enter(SimulatedAutoscaler(self._api))
        self.kubernetes = enter(KubeControllerManager(self._api, self._folder / "kube-controller-manager"))
        self.knative_webhook = KnativeWebhook(self._api, self._folder / "knative-webhook")
        self._api.apply(*manifests.knative_webhooks(self.knative_webhook.port))
        enter(self.knative_webhook)
        self.knative: KnativeController = enter(KnativeController(self._api, self._folder / "knative-controller"))
        self.kserve: KServeManager = enter(KServeManager(self._api, self._folder / "kserve-manager"))
        self.webhook: TcpProxy = enter(TcpProxy(f"https://127.0.0.1:{self.kserve.port}"))
        ca = self._api.ca.read_bytes()
        self._api.apply(*manifests.kserve_webhooks(self.webhook.url, ca))
        wait_until(self._takes_runtimes, seconds=60, what="KServe's webhooks to answer", every=0.5)

    def _takes_runtimes(self) -> bool:
        try:
            self._api.apply(*manifests.kserve_runtime())
        except Exception as error:  # noqa: BLE001 - the API server cannot reach the webhook yet
            self._refused = str(error)
            return False
        return True
