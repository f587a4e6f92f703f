"""A command line over the simulated cluster: its clock moves while a command sleeps, and the controller ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from autocanary.cli import backend, follow
from autocanary.kserve.knative_routes import Route
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.rollout import Request, Rollout
from tests.controller.driver import Driver


class WorldClient:
    """A user's access to the rollouts of a driver's world."""

    namespace = "models"

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def rollouts(self, namespace: str | None) -> Sequence[Rollout]:
        return [each for each in self.driver.world.store.rollouts() if namespace in (None, each.namespace)]

    def read(self, namespace: str, name: str) -> Rollout | None:
        return self.driver.world.store.read(namespace, name)

    def observe(self, rollout: Rollout) -> Observation | None:
        return self.driver.world.cluster.observe(rollout.key)

    def routes(self, rollouts: Sequence[Rollout]) -> Sequence[tuple[str, Route]]:
        del rollouts
        return ()

    def set_timeout(self, seconds: float) -> None:
        """Nothing in this world takes time of its own."""

    def user_name(self) -> str:
        return "ada"

    def services(self, namespace: str | None) -> Sequence[Observation]:
        return [each for each in self.driver.world.cluster.services() if namespace in (None, each.key.namespace)]

    def policy_documents(self, namespace: str | None) -> Sequence[Mapping[str, Any]]:
        del namespace
        return ()

    def release(self, rollout: Rollout, spec: Mapping[str, Any], *, by: str, reason: str) -> None:
        raise NotImplementedError

    def write_request(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout:
        return self.driver.world.store.write_request(namespace, name, paused=paused, request=request)

    def close(self) -> None:
        """Nothing is open."""


def use_world(monkeypatch: pytest.MonkeyPatch, driver: Driver, policy: Policy | None) -> None:
    """Commands act on this world from now on."""
    client = WorldClient(driver)
    monkeypatch.setattr(backend, "open_client", lambda *_: client)
    monkeypatch.setattr(backend, "policy_of", lambda _: policy)
    monkeypatch.setattr(follow, "now", driver.world.clock.now)
    monkeypatch.setattr(follow, "monotonic", driver.world.clock.now)
    monkeypatch.setattr(follow, "sleep", lambda seconds: driver.run(max(1, seconds)))
