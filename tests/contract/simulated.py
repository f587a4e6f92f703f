"""A place in the world in memory: time goes by only when a test waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autocanary.simulator import World
from tests.contract.backend import LAG, Backend, behaviour_of
from tests.contract.service_specs import KSERVE, ManifestFormat

__all__ = ["SimulatedBackend"]

_TICK = 0.05


class SimulatedBackend(Backend):
    def __init__(self, *, minimal_crd: bool = False, manifest_format: ManifestFormat = KSERVE) -> None:
        self.manifest_format = manifest_format
        self.namespace = "models"
        self.world = World(lag=LAG, minimal_crd=minimal_crd)
        self.world.kserve.controller.behaviour_of = behaviour_of
        self.world.kserve.kfserving.behaviour_of = behaviour_of
        self.cluster = self.world.cluster
        self.store = self.user_store = self.world.store

    def apply(self, document: Mapping[str, Any]) -> None:
        self.world.kserve.apply(document, "kubectl-client-side-apply", server_side=False)

    def edit(self, name: str, spec: Mapping[str, Any], manager: str) -> None:
        self.world.kserve.patch(self.namespace, name, {"spec": spec}, manager)

    def document(self, name: str) -> Mapping[str, Any] | None:
        return self.world.kserve.objects.find((self.namespace, name))

    def delete(self, name: str) -> None:
        self.world.kserve.delete(self.namespace, name)

    def delete_rollout(self, name: str) -> None:
        self.world.store.remove(self.namespace, name)

    def refuse_revisions(self, name: str, reason: str) -> None:
        self.world.kserve.refuse_revisions(self.namespace, name, reason)

    def eventually(self, true: Callable[[], bool], seconds: float = 20.0) -> bool:
        until = self.world.now() + seconds
        while not true():
            if self.world.now() > until:
                return False
            self.world.advance(_TICK)
        return True

    def rest(self, seconds: float) -> None:
        self.world.advance(seconds)

    def traffic_served(self, name: str = "mnist") -> Mapping[str, int]:
        shares = self.world.kserve.split(self.namespace, name)
        return {revision: share for revision, share in shares.items() if share}
