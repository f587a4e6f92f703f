"""The store of a dry run behaves like the real one, in memory, with a clock that moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.errors import AlreadyExists, Conflict, NotFound
from autocanary.kube.dry_run_store import DryRunRolloutStore
from autocanary.model.progress import Phase
from autocanary.model.rollout import Request, Rollout
from autocanary.simulator.virtual_clock import VirtualClock
from tests.controller.driver import V2, Driver, healthy_start
from tests.controller.driver import policy as make_policy


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    driver = healthy_start()
    driver.until_weight(10)
    return driver.rollout()


def test_whole_rollout_runs_on_it() -> None:
    """The controller promotes a release, and each rollout is created at its own time."""
    driver = Driver(make_policy())
    store = driver.world.store = DryRunRolloutStore(driver.world.clock)  # type: ignore[assignment]
    driver.controller = driver.new_controller()
    driver.deploy_stable()
    created_after = driver.world.now()
    driver.release(V2)
    driver.finish()
    assert driver.phase() is Phase.PROMOTED
    (only,) = store.rollouts()
    assert created_after <= only.created_at < driver.world.now()


def test_status_is_guarded_by_the_resource_version(rollout: Rollout) -> None:
    store = DryRunRolloutStore(VirtualClock(100.0))
    created = store.create(rollout)
    with pytest.raises(AlreadyExists, match="models/mnist-00002"):
        store.create(rollout)
    store.write_request("models", "mnist-00002", paused=True, request=Request("1", "abort"))
    assert store.take_changes() == {("models", "mnist-00002")}
    assert store.take_changes() == set()
    with pytest.raises(Conflict):
        store.update_status(created)
    latest = store.read("models", "mnist-00002")
    assert latest is not None
    assert (latest.paused, latest.request) == (True, Request("1", "abort"))
    message = replace(latest.progress, message="new")
    assert store.update_status(replace(latest, progress=message)).progress.message == "new"


def test_deleted_rollout_is_gone(rollout: Rollout) -> None:
    store = DryRunRolloutStore(VirtualClock(100.0))
    created = store.create(rollout)
    store.delete(created)
    store.delete(created)
    assert store.cached("models", "mnist-00002") is None
    with pytest.raises(NotFound, match="models/mnist-00002"):
        store.update_status(created)
