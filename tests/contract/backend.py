"""One place to act and look in, whatever world it is in: what the contract's tests are written against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from autocanary.model.observation import ConditionStatus, Observation, PromotionPending, ServiceKey
from autocanary.model.policy import Component
from autocanary.ports import Cluster, RolloutStore
from autocanary.simulator.pod_behaviour import HEALTHY, Behaviour, behaviour_from_uri, ready_after_seconds
from tests.contract.service_specs import KSERVE, ManifestFormat

__all__ = ["LAG", "Backend", "behaviour_of", "revision"]

LAG = 0.15
"""Seconds from a write until KServe's status shows it; a quarter of what was measured, to save time."""

_WAIT_SECONDS = 20.0


def behaviour_of(spec: Mapping[str, Any]) -> Behaviour:
    """How the pods made from a component's spec behave, in both worlds: said in the model's name."""
    describe_measurement = behaviour_from_uri(spec)
    return ready_after_seconds(LAG) if describe_measurement is HEALTHY else describe_measurement


def revision(number: int, name: str = "mnist") -> str:
    """The name that Knative gives a predictor's revision, in KServe."""
    return KSERVE.revision(number, name)


class Backend(ABC):
    """A namespace of its own in one of the worlds, with the ports that look at it.

    ``user_store`` is the rollout store as a user sees it, who has other rights than the service. ``manifest_format`` is how
    services are written.
    """

    manifest_format: ManifestFormat
    namespace: str
    cluster: Cluster
    store: RolloutStore
    user_store: RolloutStore

    # what users do

    def serve(self, name: str, version: str, weight: int | None = None, **model: Any) -> None:
        """``kubectl apply`` of a manifest; ``weight`` None leaves the field out."""
        uri = f"gs://models/{name}/{version}"
        present = self.document(name)
        self.apply(self.manifest_format.manifest((self.namespace, name), uri, weight, model, present))

    def patch(self, name: str, predictor: Mapping[str, Any], manager: str) -> None:
        """A merge-patch of the newest version's predictor (or the weight) by some other field manager."""
        present = self.document(name)
        assert present is not None
        self.edit(name, self.manifest_format.predictor_patch(predictor, present)["spec"], manager)

    @abstractmethod
    def document(self, name: str) -> Mapping[str, Any] | None:
        """The object as it is now."""

    @abstractmethod
    def apply(self, document: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def edit(self, name: str, spec: Mapping[str, Any], manager: str) -> None:
        """A merge-patch of the whole spec by some other field manager."""

    @abstractmethod
    def delete(self, name: str) -> None: ...

    @abstractmethod
    def delete_rollout(self, name: str) -> None:
        """``kubectl delete canaryrollout`` by a user."""

    # what goes wrong

    @abstractmethod
    def refuse_revisions(self, name: str, reason: str) -> None:
        """Creating Revisions is refused; "" allows it again."""

    # time

    @abstractmethod
    def eventually(self, true: Callable[[], bool], seconds: float = _WAIT_SECONDS) -> bool:
        """Whether something comes to be within so much of the place's time."""

    @abstractmethod
    def rest(self, seconds: float) -> None:
        """Let time go by."""

    # what is seen

    @abstractmethod
    def traffic_served(self, name: str = "mnist") -> Mapping[str, int]:
        """Who really answers the requests, whatever the status says: percent by revision, none with 0."""

    def revision(self, number: int, name: str = "mnist") -> str:
        """What the n-th version that was served is called."""
        return self.manifest_format.revision(number, name)

    def key(self, name: str = "mnist") -> ServiceKey:
        return ServiceKey(self.namespace, name, Component.PREDICTOR)

    def observation(self, name: str = "mnist") -> Observation:
        found = self.cluster.observe(self.key(name))
        assert found is not None, f"{name} is not in the picture"
        return found

    def wait_until(self, name: str = "mnist", **wanted: Any) -> Observation:
        """The observation, once all these fields of it are as wanted."""

        def shown() -> dict[str, Any]:
            found = self.cluster.observe(self.key(name))
            return {field: getattr(found, field, "no service") for field in wanted}

        assert self.eventually(lambda: shown() == wanted), f"{shown()} never became {wanted}"
        return self.observation(name)

    def wait_until_ready(self, name: str = "mnist") -> Observation:
        """The first version of a service, rolled out to all traffic."""
        self.serve(name, "v1")
        first = self.revision(1, name)
        return self.wait_until(name, rolled_out=first, traffic={first: 100})

    def staged(self, name: str = "mnist", weight: int = 0) -> Observation:
        """A second version that is ready at a weight."""
        self.wait_until_ready(name)
        self.serve(name, "v2", weight)
        first, second = self.revision(1, name), self.revision(2, name)
        return self.wait_until(name, ready=second, traffic={first: 100 - weight, second: weight})

    def promoted(self, name: str = "mnist") -> Observation:
        """A second version that has everything by weight 100, and is not finalized where a write is needed."""
        staged = self.staged(name)
        self.cluster.set_weight(staged, 100)
        first, second = self.revision(1, name), self.revision(2, name)
        return self.wait_until(name, **self.manifest_format.at_100(first, second), route_ready=ConditionStatus.TRUE)

    def finalized(self, promoted: Observation) -> Observation:
        """The service when every write has been made that its promotion still lacked (none, in KServe)."""
        name = promoted.key.name
        stable, second = self.manifest_format.promoted(2, name), self.revision(2, name)
        if promoted.promotion_pending is PromotionPending.ADOPT:
            self.cluster.finalize(promoted)
            traffic = {stable: 0, second: 100}
            self.cluster.finalize(
                self.wait_until(name, rolled_out=stable, promotion_pending=PromotionPending.CLEAR, traffic=traffic)
            )
        return self.wait_until(name, promotion_pending=None, rolled_out=stable, traffic={stable: 100})
