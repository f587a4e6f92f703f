"""Deliveries are not forgotten when the record turns out to be another than the one in memory."""

from __future__ import annotations

from dataclasses import replace

from autocanary.model.progress import Phase
from tests.controller.driver import Driver, healthy_start


def _changed_by_another(driver: Driver) -> None:
    """Another instance, or a write of ours whose answer was lost: the rollout store holds something else."""
    held = driver.rollout()
    driver.world.store.update_status(
        replace(held, progress=replace(held.progress, analysis=replace(held.progress.analysis, last_evaluation_at=1.0)))
    )


def test_delivery_during_foreign_status_write_is_recorded() -> None:
    """The messages went out, and the write of their delivery met a record that had moved on."""
    driver = healthy_start()
    driver.until_phase(Phase.PROGRESSING)
    driver.world.notifier.down = True
    driver.until_weight(25)
    assert driver.rollout().progress.outbox.pending
    driver.world.notifier.down = False
    driver.controller.tick()
    _changed_by_another(driver)
    driver.until_phase(Phase.PROMOTED)
    driver.until(lambda: not driver.rollout().progress.outbox.pending, 60)
