"""A dry run follows whole rollouts with a shadow of the weight: nothing is written, and nothing false is said."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from autocanary.app.demo_run import controller_on
from autocanary.controller import Controller
from autocanary.kube.dry_run_cluster import DryRunCluster
from autocanary.kube.dry_run_store import DryRunRolloutStore
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.notifications.audit_log import AuditLog
from autocanary.notifications.message_text import action_taken, advice, calls_for_action, summary, title
from autocanary.simulator.pod_behaviour import NEVER_READY
from tests.controller.driver import BROKEN, V2, V3, Driver, policy


class DryDriver(Driver):
    """The controller as ``run --dry-run`` has it: a shadow over the real cluster, and a store in memory."""

    def __init__(self, *policies: Any, **more: Any) -> None:
        self.dry_store: DryRunRolloutStore | None = None
        super().__init__(*policies, **more)

    def new_controller(self) -> Controller:
        world = self.world
        self.dry_store = DryRunRolloutStore(world.clock)
        self.dry_cluster = DryRunCluster(world.cluster)
        return controller_on(world, cluster=self.dry_cluster, store=self.dry_store, dry_run=True)

    def has_rollout(self, name: str) -> bool:
        return any(each.name == name for each in self.rollouts())

    def rollout(self, name: str = "mnist-00002") -> Any:
        return next(each for each in self.rollouts() if each.name == name)

    def rollouts(self) -> list[Any]:
        return list(self.dry_store.rollouts()) if self.dry_store is not None else []

    def said(self) -> list[str]:
        messages = {each.notification.id: each for each in self.world.notifier.messages}
        return [summary(each) for each in messages.values()]


def dry(**more: Any) -> DryDriver:
    driver = DryDriver(policy(), **more)
    driver.deploy_stable()
    return driver


DONE = re.compile(
    r"\b(raised|rolled back|promoted|goes to|has all the traffic|keeps|set the weight|held at|is held|took|restored|"
    r"put back)\b"
)


def test_a_healthy_release_is_followed_to_its_promotion() -> None:
    """Applied without a weight: KServe gives it everything, and the shadow takes every step."""
    driver = dry()
    driver.release(V2, None)
    driver.until_phase(Phase.PROMOTED)
    driver.run(5)
    assert driver.world.cluster.writes == []
    assert driver.world.split("mnist") == {"00002": 100}
    nothing = " Nothing was written: KServe sends the traffic as the manifest says."
    assert driver.said() == [
        f"autocanary would roll mnist-predictor-00002 out, from 0 % on.{nothing}",
        *(f"autocanary would raise mnist-predictor-00002 to {weight} %.{nothing}" for weight in (10, 25, 50, 100)),
        f"autocanary would promote mnist-predictor-00002.{nothing}",
    ]


def test_a_bad_release_is_followed_to_its_rollback() -> None:
    """The numbers are real; the rollback is not made, and the next release is followed again."""
    driver = dry(qualities={V2: BROKEN})
    driver.release(V2, None)
    driver.until_phase(Phase.ROLLED_BACK)
    driver.run(120)
    assert driver.world.cluster.writes == []
    assert [each.name for each in driver.rollouts()] == ["mnist-00002"]
    *_, back, end = driver.said()
    assert back.startswith("autocanary would roll mnist-predictor-00002 back: success rate ")
    assert end.startswith("mnist-predictor-00001 would have all traffic again.")
    driver.release(V3, None)
    driver.until_phase(Phase.PROMOTED, name="mnist-00003")
    assert driver.world.cluster.writes == []


def test_nothing_false_is_said_whatever_happens() -> None:
    """No sentence says that something was done, no title, no advice, no mention."""
    driver = dry(qualities={V2: BROKEN}, behaviours={V3: NEVER_READY})
    driver.release(V2, None)
    driver.until_phase(Phase.ROLLED_BACK)
    driver.release(V3, None)
    driver.until(lambda: driver.has_rollout("mnist-00003") and driver.rollout("mnist-00003").is_final)
    messages = driver.world.notifier.messages
    assert len(messages) > 6
    for each in messages:
        for text in (summary(each), title(each)):
            assert "would" in text
            assert not DONE.search(text), text
        assert "dry run" in title(each)
        assert (action_taken(each), advice(each), calls_for_action(each)) == ("", "", False)
        line = AuditLog().fields(each)
        assert (line["dry_run"], line["message"]) == (True, summary(each))


def test_another_clients_weight_ends_the_shadow() -> None:
    """Then the real weight is seen, as an external change."""
    driver = dry()
    driver.release(V2, None)
    driver.until(lambda: driver.has_rollout("mnist-00002") and driver.rollout().progress.step.weight == 25)
    driver.patch_weight(33)
    driver.until_reason(Reason.EXTERNAL_CHANGE)
    seen = driver.dry_cluster.observe(driver.world.key("mnist"))
    assert seen is not None
    assert seen.weight == 33
    assert any("would stop and keep 33 %" in text for text in driver.said())


def test_a_newer_release_is_followed_from_the_real_service() -> None:
    """The shadow was about the revision before; the watch shows the new one before it is ready."""
    driver = dry(watching=True)
    driver.release(V2, None)
    driver.until(lambda: driver.has_rollout("mnist-00002") and driver.rollout().progress.step.weight == 25)
    driver.release(V3, None)
    driver.until(lambda: driver.has_rollout("mnist-00003"))
    assert driver.phase("mnist-00002") is Phase.SUPERSEDED
    driver.until_phase(Phase.PROMOTED, name="mnist-00003")
    assert driver.world.cluster.writes == []


@pytest.mark.parametrize("weight", [0, 10])
def test_a_staged_release_keeps_its_real_traffic(weight: int) -> None:
    """At 0 % there is nothing to measure, which is no fault of the candidate: it is said, and nothing is written."""
    driver = dry()
    driver.release(V2, weight)
    driver.run(200)
    assert driver.world.cluster.writes == []
    assert driver.world.split("mnist").get("00002", 0) == weight
    if weight:
        driver.until_phase(Phase.PROMOTED)
        assert driver.world.split("mnist") == {"00001": 90, "00002": 10}


def test_a_restore_is_shown_and_not_made() -> None:
    """The shadow of a restored spec is a revision of stable's spec with all traffic."""
    driver = dry()
    driver.release(V2, None)
    driver.until(lambda: driver.has_rollout("mnist-00002") and driver.rollout().progress.step.weight == 25)
    key = driver.world.key("mnist")
    seen = driver.dry_cluster.observe(key)
    assert seen is not None
    spec = {"model": {"storageUri": "gs://models/mnist/1"}}
    after = driver.dry_cluster.restore(seen, spec, 0)
    assert (after.weight, after.created, after.traffic) == (
        0,
        "mnist-predictor-00001-restored",
        {"mnist-predictor-00001-restored": 100},
    )
    assert driver.dry_cluster.observe(key) == replace(after, resource_version=after.resource_version)
    assert key in driver.dry_cluster.take_changes()
    assert driver.world.cluster.writes == []
