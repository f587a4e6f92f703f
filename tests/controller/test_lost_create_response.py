"""A start whose answer was lost, and a newer release before it is tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.controller.create_rollout import _complete_record
from autocanary.errors import Unreachable
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout_json import from_document
from autocanary.simulator.fault_injection import FaultTiming
from autocanary.simulator.memory_rollout_store import InMemoryRolloutStore
from tests.controller.driver import V2, V3, Driver


def created_without_status(further_failures: int) -> Driver:
    """A release whose rollout was created, and whose first status is not written until so many creates have failed."""
    driver = Driver()
    driver.deploy_stable()
    down = Unreachable("connection refused")
    faults = driver.world.store.faults
    faults.next(down, timing=FaultTiming.BETWEEN, verb="create", name="mnist-00002")
    faults.next(down, verb="update_status", name="mnist-00002")
    faults.next(down, verb="create", name="mnist-00002", times=further_failures)
    driver.release(V2, 0)
    driver.until(lambda: driver.has_rollout("mnist-00002"), 10)
    assert not driver.rollout("mnist-00002").has_status
    return driver


def test_rollout_with_lost_create_response_is_adopted() -> None:
    """Its create arrived, the answer did not: it is started and superseded, and the newer one runs alone."""
    driver = Driver()
    driver.deploy_stable()
    lost = Unreachable("read timed out")
    driver.world.store.faults.next(lost, timing=FaultTiming.AFTER, verb="create", name="mnist-00002")
    driver.world.store.faults.next(lost, verb="create", name="mnist-00002", times=1)
    driver.release(V2, 0)
    driver.until(lambda: driver.has_rollout("mnist-00002"), 10)
    driver.release(V3, 0)
    driver.until(lambda: driver.has_rollout("mnist-00003"), 60)
    driver.until_weight(10)
    driver.pause(True, "mnist-00002")
    driver.pause(False, "mnist-00002")
    driver.finish("mnist-00003")
    assert driver.phase("mnist-00002") is Phase.SUPERSEDED
    assert driver.phase("mnist-00003") is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


@pytest.mark.parametrize("restarted", [False, True])
def test_rollout_without_status_ends_when_a_newer_candidate_starts_first(restarted: bool) -> None:
    """Its first status was never written: it ends as Superseded, and writes no weight and no notification."""
    driver = created_without_status(9)
    if restarted:
        driver.restart()
    driver.release(V3, 0)
    driver.until_weight(10)
    driver.until(lambda: driver.rollout("mnist-00002").has_status, 180)
    assert driver.phase_and_reason("mnist-00002") == (Phase.SUPERSEDED, Reason.NEW_REVISION)
    assert driver.world.notifier.events("mnist-00002") == []
    driver.finish("mnist-00003")
    assert driver.phase("mnist-00003") is Phase.PROMOTED
    assert driver.weights() == [10, 25, 50, 100]


@pytest.mark.parametrize("restarted", [False, True])
def test_rollout_without_status_ends_as_missed_when_its_candidate_was_promoted_meanwhile(restarted: bool) -> None:
    """Its first status was never written, and a user gave the candidate everything: it does not stay without a phase."""
    driver = created_without_status(3)
    driver.patch_weight(100)
    if restarted:
        driver.world.advance(10)
        driver.restart()
    driver.until(lambda: driver.rollout("mnist-00002").has_status, 180)
    assert driver.phase_and_reason("mnist-00002") == (Phase.MISSED, Reason.MISSED_UNSTAGED)
    driver.run(3)
    assert driver.world.notifier.events("mnist-00002") == ["rollout_ended"]
    assert driver.weights() == []


def test_record_completed_after_a_restart_keeps_the_specs_of_its_create() -> None:
    """The process ended between create and the first status; the new one has not learned stable's spec yet."""
    driver = Driver()
    driver.deploy_stable()
    driver.release(V2, 0)
    driver.until(lambda: driver.has_rollout("mnist-00002"), 10)
    whole = driver.rollout("mnist-00002")
    assert whole.stable_spec is not None
    store = InMemoryRolloutStore(driver.world.clock)
    store.faults.next(Unreachable("killed"), timing=FaultTiming.BETWEEN, verb="create")
    with pytest.raises(Unreachable):
        store.create(whole)
    after_restart = replace(whole, stable_spec=None, stable_digest="", spec_digests={})
    existing = store.read("models", "mnist-00002")
    assert existing is not None
    completed, error = _complete_record(store, after_restart, existing)
    assert (error, completed is not None and completed.has_status) == (None, True)
    stored = from_document(store.document("models", "mnist-00002"))
    assert stored.stable_spec == whole.stable_spec
    assert stored.changed_specs == ()
