"""A record is checked whole, and its times corrected, before its rollout is adopted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.controller.adopted_record import check_record, without_future_times
from autocanary.model.progress import MetricState, Notification, Progress
from autocanary.model.progress_json import progress_to_json, with_stored_fields
from autocanary.model.rollout import Rollout
from tests.controller.driver import healthy_start


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    driver = healthy_start()
    driver.until_weight(10)
    return driver.rollout()


def with_progress(rollout: Rollout, **changes: Any) -> Rollout:
    return replace(rollout, progress=with_stored_fields(rollout.progress, changes))


def notification(**changes: Any) -> Notification:
    values: dict[str, Any] = {
        "id": "id",
        "event": "step_taken",
        "at": 1.0,
        "phase": "Progressing",
        "step": 1,
        "weight": 10,
        "reason": "StepTaken",
        "message": "",
    }
    return Notification(**{**values, **changes})


def test_record_of_autocanary_passes(rollout: Rollout) -> None:
    check_record(rollout)
    check_record(with_progress(rollout, pending_notifications=(notification(),)))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"pending_notifications": (notification(delivered_channels=("log", None, {})),)}, "delivered_channels"),
        ({"pending_notifications": (notification(id=["a"]),)}, "pending_notifications.id"),
        ({"pending_notifications": (notification(weight="10"),)}, "pending_notifications.weight"),
        ({"channel_message_ids": {"slack": {}}}, "channel_message_ids.slack"),
        ({"metrics": {"error-rate": MetricState(violations="2")}}, "metrics.error-rate"),  # type: ignore[arg-type]
    ],
)
def test_field_of_a_wrong_type_is_named(rollout: Rollout, changes: dict[str, Any], where: str) -> None:
    with pytest.raises(ValueError, match=where):
        check_record(with_progress(rollout, **changes))


def test_future_times_become_now(rollout: Rollout) -> None:
    """All of them, and no other field; those in the past stay."""
    progress = replace(
        rollout.progress, step=replace(rollout.progress.step, verified_at=5000.0), phase_since=4000.0, started_at=100.0
    )
    corrected, ahead = without_future_times(progress, 4400.0)
    assert corrected == with_stored_fields(
        progress, {"verified_at": 4400.0, **_later_than(progress, 4400.0, {"verified_at"})}
    )
    assert ahead["verified_at"] == 600.0
    assert "phase_since" not in ahead


def _later_than(progress: Progress, now: float, other_than: set[str]) -> dict[str, Any]:
    names = {"step_started_at", "last_evaluation_at", "held_since", "hold_notified_at"} - other_than
    stored = progress_to_json(progress)
    return {name: now for name in names if (stored.get(name) or 0.0) > now}


def test_clocks_that_differ_by_less_than_a_second_are_not_reported(rollout: Rollout) -> None:
    now = rollout.progress.started_at + 1e9
    corrected, ahead = without_future_times(
        replace(rollout.progress, step=replace(rollout.progress.step, verified_at=now + 0.5)), now
    )
    assert corrected.step.verified_at == now
    assert ahead == {}


def test_times_in_the_past_change_nothing(rollout: Rollout) -> None:
    corrected, ahead = without_future_times(rollout.progress, 1e12)
    assert corrected is rollout.progress
    assert ahead == {}
