"""The soak in short: nothing is violated in hours of everything, and what is planted is noticed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autocanary.analysis.verdict import Outcome
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.planner import plan
from autocanary.model.decision import Decision
from autocanary.model.progress_json import with_stored_fields
from autocanary.model.rollout import Rollout
from benchmarks.soak import Hour, Soak, report, slope
from benchmarks.soak_world import WatchedRolloutStore

_HOUR = 3600


def soaked(seed: int, services: int = 20, seconds: int = _HOUR) -> Soak:
    soak = Soak(services=services, seed=seed, releases_every=1200.0)
    soak.run(seconds)
    return soak


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_hour_soak_has_no_violations(seed: int) -> None:
    """Every kind of ending comes up, every rule was checked, and none was broken."""
    soak = soaked(seed)
    assert soak.checks.violations == []
    phases = {phase for _, phase, _ in soak.checks.outcomes}
    assert {"Promoted", "RolledBack"} <= phases
    assert min(soak.checks.looked_at.values()) > 0
    assert len(soak.checks.looked_at) >= 12
    said = report(soak, _HOUR)
    assert "violations: 0" in said
    assert "release: healthy" in said


def test_detects_an_advance_without_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes every evaluation for a pass: the checks see what was really measured."""

    def eager(situation: DecisionInput) -> Decision:
        verdict = situation.verdict
        if verdict is not None and verdict.outcome is not Outcome.PASS:
            situation = DecisionInput(
                **{
                    name: getattr(situation, name)
                    for name in DecisionInput.__slots__
                    if name not in ("verdict", "before")
                },
                verdict=type(verdict)(Outcome.PASS, verdict.reason, "fine", verdict.metrics),
            )
        return plan(situation)

    monkeypatch.setattr("autocanary.controller.evaluate.plan", eager)
    rules = {each.partition(", at ")[0] for each in soaked(1).checks.violations}
    assert {"only with a pass", "bad is not promoted"} <= rules


def test_detects_a_notification_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """It forgets which channels were notified."""
    update_status = WatchedRolloutStore.update_status

    def forgetful(self: Any, rollout: Rollout) -> Rollout:
        before = self.cached(rollout.namespace, rollout.name)
        if before is not None and not rollout.progress.outbox.pending and before.progress.outbox.pending:
            update_status(self, rollout)
            fresh = self.cached(rollout.namespace, rollout.name)
            return update_status(
                self,
                replace(
                    fresh,
                    progress=with_stored_fields(
                        fresh.progress, {"pending_notifications": before.progress.outbox.pending}
                    ),
                ),
            )
        return update_status(self, rollout)

    monkeypatch.setattr(WatchedRolloutStore, "update_status", forgetful)
    soak = Soak(services=5, seed=1, releases_every=600.0)
    monkeypatch.setattr("benchmarks.soak._LONGEST_END", 60)
    soak.run(1200)
    assert any(each.startswith("notified once") for each in soak.checks.violations)


def test_the_slope_is_that_of_the_second_half() -> None:
    """Growth that has come to an end is none."""
    hours = [Hour(n, 0, 0, 0, rss, rss, 0.0, 0.0) for n, rss in enumerate((10, 50, 90, 100, 102, 104), 1)]
    assert slope(hours, lambda each: each.rss) == pytest.approx(2.0)
    assert slope(hours[:1], lambda each: each.rss) == 0.0
