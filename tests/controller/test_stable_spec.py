"""Stable's spec is known from the first moment and after a restart, so a rollback that is blocked has a way out."""

from __future__ import annotations

from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.simulator.pod_behaviour import Behaviour
from tests.controller.driver import V1, V2, V3, Driver, fast_policy

CRASHES_SOON = Behaviour(ready_after=1.0, crashes_after=5.0)


def released_over(driver: Driver, stable: str, candidate: str) -> None:
    """A stable version, and a candidate that crashes after it was ready, all before the controller first evaluates."""
    driver.world.deploy("mnist", stable)
    driver.world.advance(60)
    driver.world.deploy("mnist", candidate, weight=10)
    driver.world.advance(2)


def test_a_release_seconds_after_the_first_one_has_a_way_back() -> None:
    """The service is two seconds old: its first spec is stable's, and nothing is waited for."""
    driver = Driver(fast_policy(), behaviours={V2: CRASHES_SOON})
    driver.world.deploy("mnist", V1)
    driver.until(lambda: driver.world.split("mnist"), 10)
    driver.run(1)
    driver.release(V2, 10)
    record = driver.until_phase(Phase.ROLLED_BACK, limit=120)
    assert record.progress.reason is Reason.REVISION_FAILED
    assert driver.world.kserve.document("models", "mnist")["spec"]["predictor"]["model"]["storageUri"] == V1
    assert driver.share("00002")[-1] == 0


def test_a_controller_that_starts_in_the_middle_of_a_release_has_a_way_back() -> None:
    """It has seen nothing of stable: the API server still has the version before the release."""
    driver = Driver(fast_policy(), behaviours={V3: CRASHES_SOON})
    driver.world.deploy("mnist", V1)
    driver.world.advance(30)
    released_over(driver, V2, V3)
    driver.until(lambda: driver.has_rollout("mnist-00003"))
    assert (driver.rollout("mnist-00003").stable_spec or {})["model"]["storageUri"] == V2
    driver.until_phase(Phase.ROLLED_BACK, name="mnist-00003", limit=120)
    assert driver.world.kserve.document("models", "mnist")["spec"]["predictor"]["model"]["storageUri"] == V2


def test_a_spec_that_was_in_force_for_a_moment_is_not_taken_for_stables() -> None:
    """Another spec two seconds before the release: stable may be of the one before."""
    driver = Driver(fast_policy())
    driver.world.deploy("mnist", V1)
    driver.world.advance(30)
    driver.world.deploy("mnist", V2)
    driver.world.advance(0.3)
    driver.world.deploy("mnist", V3, weight=10)
    driver.until(lambda: driver.rollout_names())
    assert driver.rollout(driver.rollout_names()[0]).stable_spec is None


def test_a_release_older_than_the_versions_that_are_kept_says_that_its_way_back_is_unknown() -> None:
    """etcd is compacted every few minutes: the message advises users to apply the last good manifest."""
    driver = Driver(fast_policy(), behaviours={V3: CRASHES_SOON})
    driver.world.deploy("mnist", V1)
    driver.world.advance(30)
    released_over(driver, V2, V3)
    driver.world.kserve.objects.compact()
    driver.until(lambda: driver.has_rollout("mnist-00003"))
    assert driver.rollout("mnist-00003").stable_spec is None
    driver.until(lambda: "RollbackBlocked" in driver.rollout("mnist-00003").progress.outbox.warnings_sent, 120)
    (warning,) = driver.messages_of("rollout_warning", "mnist-00003")
    assert "the spec of stable is unknown to autocanary" in warning
