"""The whole world in one value: a cluster with KServe, its traffic, its metrics and its users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autocanary.kserve.v1beta1 import WEIGHT
from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Component, Policy
from autocanary.simulator import pod_behaviour, response_quality
from autocanary.simulator.cluster import KServeCluster
from autocanary.simulator.controller_loop import LAG, PROGRESS_DEADLINE, Lag
from autocanary.simulator.fakes import (
    FakeLeadership,
    FakePolicies,
    FakePolicyWebhooks,
    InlinePool,
    RecordingNotifier,
)
from autocanary.simulator.memory_inference_services import InMemoryCluster
from autocanary.simulator.memory_rollout_store import InMemoryRolloutStore
from autocanary.simulator.pod_behaviour import HEALTHY, Behaviour
from autocanary.simulator.prometheus_server import SimulatedMetrics
from autocanary.simulator.response_quality import GOOD, Quality
from autocanary.simulator.traffic import SCRAPE_SECONDS, RequestLoad, Scraping, Traffic
from autocanary.simulator.virtual_clock import START, VirtualClock

__all__ = ["World", "kfserving_manifest", "manifest"]


def manifest(name: str, uri: str, *, namespace: str = "models", weight: int | None = None) -> dict[str, Any]:
    """An InferenceService as users write it."""
    predictor: dict[str, Any] = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": uri}}
    if weight is not None:
        predictor[WEIGHT] = weight
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"predictor": predictor},
    }


def kfserving_manifest(
    name: str,
    uri: str,
    *,
    canary: str = "",
    weight: int | None = None,
    namespace: str = "models",
    framework: str = "tensorflow",
) -> dict[str, Any]:
    """An InferenceService of KFServing's v1alpha2, as users write it; ``canary`` is its model."""
    spec: dict[str, Any] = {"default": {"predictor": {framework: {"storageUri": uri}}}}
    if weight is not None:
        spec[WEIGHT] = weight
    if canary:
        spec["canary"] = {"predictor": {framework: {"storageUri": canary}}}
    return {
        "apiVersion": "serving.kubeflow.org/v1alpha2",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


class World:
    """Every port that the controller needs, over one virtual clock.

    ``behaviours`` and ``qualities`` say by storageUri how the revisions made from it start and serve; they
    may grow while the world runs (``model``). ``scraping`` is how Prometheus scrapes; left out, all revisions at once
    every ``scrape_seconds``. Nothing happens but in ``advance``.
    """

    def __init__(
        self,
        *,
        policies: Sequence[Policy] = (),
        behaviours: Mapping[str, Behaviour] | None = None,
        qualities: Mapping[str, Quality] | None = None,
        load: RequestLoad | None = None,
        seed: int = 1,
        start: float = START,
        lag: Lag = LAG,
        progress_deadline: float = PROGRESS_DEADLINE,
        scrape_seconds: float = SCRAPE_SECONDS,
        scraping: Scraping | None = None,
        minimal_crd: bool = False,
    ) -> None:
        self._behaviours = dict(behaviours or {})
        self._qualities = dict(qualities or {})
        self.clock = VirtualClock(start)
        self.kserve = KServeCluster(
            self.clock,
            behaviour_of=pod_behaviour.by_uri(self._behaviours),
            lag=lag,
            progress_deadline=progress_deadline,
            minimal_crd=minimal_crd,
        )
        self.traffic = Traffic(
            self.kserve,
            quality_of=response_quality.by_uri(self._qualities),
            load=load,
            seed=seed,
            scraping=scraping if scraping is not None else Scraping(scrape_seconds),
        )
        self.metrics = SimulatedMetrics(self.traffic, self.clock)
        self.cluster = InMemoryCluster(self.kserve)
        self.store = InMemoryRolloutStore(self.clock)
        self.notifier = RecordingNotifier()
        self.policy_webhooks = FakePolicyWebhooks()
        self.pool = InlinePool()
        self.leadership = FakeLeadership()
        self.policies = FakePolicies(policies)

    def now(self) -> float:
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Lets virtual time go by."""
        self.clock.advance(seconds)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Does something when that much time has gone by."""
        self.clock.call_at(self.clock.now() + seconds, lambda: _ignore_result(action()))

    def model(self, uri: str, behaviour: Behaviour = HEALTHY, quality: Quality = GOOD) -> None:
        """How the revisions made from this storageUri start and serve; says nothing of those that run."""
        self._behaviours[uri] = behaviour
        self._qualities[uri] = quality

    def deploy(self, name: str, uri: str, *, weight: int | None = None, namespace: str = "models") -> Mapping[str, Any]:
        """``kubectl apply`` of a manifest with this model, with the weight or without the field."""
        document = manifest(name, uri, namespace=namespace, weight=weight)
        return self.kserve.apply(document, "kubectl", server_side=False)

    def deploy_kfserving(
        self, name: str, uri: str, *, canary: str = "", weight: int | None = None, namespace: str = "models"
    ) -> Mapping[str, Any]:
        """``kubectl apply`` of a manifest of KFServing's v1alpha2."""
        document = kfserving_manifest(name, uri, canary=canary, weight=weight, namespace=namespace)
        return self.kserve.apply(document, "kubectl", server_side=False)

    def key(self, name: str, *, namespace: str = "models", component: Component = Component.PREDICTOR) -> ServiceKey:
        return ServiceKey(namespace, name, component)

    def split(self, name: str, *, namespace: str = "models") -> Mapping[str, int]:
        """Percent of the requests by the revision's number, as they are really routed: ``{"00002": 10}``.

        Where two sides count on their own, with the side: ``{"canary-00001": 10}``.
        """
        shares = self.kserve.split(namespace, name)
        prefix = f"{name}-{Component.PREDICTOR.value}-"
        return {revision.removeprefix(prefix): share for revision, share in shares.items()}


def _ignore_result(_: object) -> None:
    """An action's result is of no interest."""
