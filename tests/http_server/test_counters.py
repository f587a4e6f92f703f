"""Tests of autocanary.http_server.counters."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from autocanary.app.demo_run import controller_on
from autocanary.http_server.counters import BUCKETS, FINAL_REASONS, ControllerMetrics, HistogramCounts
from autocanary.model.progress import FINAL, Phase
from autocanary.model.reason import Reason
from autocanary.ports import DecisionListener
from autocanary.simulator.scenarios import SCENARIOS
from tests.http_server.examples import rollout


def test_it_is_the_port() -> None:
    """The controller's Protocol is what the counters offer."""
    counters = ControllerMetrics()
    listener: DecisionListener = counters
    listener.on_decision(rollout(), Reason.NO_DATA)
    listener.on_rollout_finished(rollout(phase=Phase.PROMOTED, reason=Reason.PROMOTED))
    snapshot = counters.snapshot()
    assert snapshot.counts["autocanary_decisions_total"][("NoData",)] == 1
    ended = snapshot.counts["autocanary_rollouts_finished_total"]
    assert {labels for labels, count in ended.items() if count} == {("Promoted", "Promoted")}


def test_what_will_be_counted_is_there_before_it_happens() -> None:
    """increase() and rate() do not see the first count of a series that is born with it."""
    counters = ControllerMetrics()
    before = counters.snapshot().counts
    assert set(before["autocanary_rollouts_finished_total"].values()) == {0}
    assert set(before["autocanary_prometheus_queries_total"]) == {
        ("main", "ok"),
        ("main", "partial"),
        ("main", "refused"),
        ("main", "unreachable"),
    }
    counters.query("ok", "team-a")
    queries = counters.snapshot().counts["autocanary_prometheus_queries_total"]
    assert {outcome: count for (server, outcome), count in queries.items() if server == "team-a"} == {
        "ok": 1,
        "partial": 0,
        "refused": 0,
        "unreachable": 0,
    }
    assert before["autocanary_notifications_total"] == {}
    counters.count_notification("slack", "failed")
    counted = counters.snapshot().counts["autocanary_notifications_total"]
    assert counted == {("slack", "delivered"): 0, ("slack", "failed"): 1, ("slack", "dropped"): 0}
    counters.count_notification("slack", "failed")
    assert counters.snapshot().counts["autocanary_notifications_total"][("slack", "failed")] == 2


def test_final_reasons_cover_all_final_phases() -> None:
    """Every final phase has at least one reason, and no other phase is an end."""
    assert set(FINAL_REASONS) == FINAL


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_scenario_ends_in_a_series_that_was_not_there(name: str) -> None:
    """The list of ends is what the controller really counts."""
    world, counters = SCENARIOS[name].open(), ControllerMetrics()
    controller = controller_on(world, counters)
    for _ in range(int(SCENARIOS[name].horizon)):
        world.advance(1.0)
        controller.tick()
    counted = counters.snapshot().counts["autocanary_rollouts_finished_total"]
    assert sum(counted.values()) >= 1
    assert set(counted) == {
        (phase.value, reason.value) for phase, reasons in FINAL_REASONS.items() for reason in reasons
    }


def test_no_count_is_lost_between_threads() -> None:
    """Eight threads count the same thing."""
    counters = ControllerMetrics()

    def work() -> None:
        for _ in range(500):
            counters.query("ok")
            counters.tick(0.1, 0.0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = counters.snapshot()
    assert snapshot.counts["autocanary_prometheus_queries_total"]["main", "ok"] == 4000
    assert sum(snapshot.distributions["autocanary_tick_duration_seconds"].counts) == 4000


def test_snapshot_does_not_move() -> None:
    """What was read is not changed by what comes after."""
    counters = ControllerMetrics()
    counters.count_kube_request("get", 0)
    snapshot = counters.snapshot()
    counters.count_kube_request("get", 0)
    counters.tick(1.0, 1.0)
    assert snapshot.counts["autocanary_kube_requests_total"] == {("get", "0"): 1}
    assert snapshot.distributions["autocanary_tick_lag_seconds"] == HistogramCounts()


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (0.0, 0),
        (0.005, 0),
        (0.0051, 1),
        (1.0, BUCKETS.index(1.0)),
        (30.0, len(BUCKETS) - 1),
        (31.0, len(BUCKETS)),
    ],
)
def test_bucket_bounds_are_inclusive(value: float, place: int) -> None:
    """``le`` means less or equal; above all bounds there is one more place."""
    seen = HistogramCounts().with_observation(value)
    assert seen.counts.index(1) == place
    assert seen.total == value


def test_lag_below_zero_is_none() -> None:
    """A tick that began early is not late, and a sum must not fall."""
    counters = ControllerMetrics()
    counters.tick(0.1, -0.5)
    assert counters.snapshot().distributions["autocanary_tick_lag_seconds"].total == 0.0


def test_the_ends_of_a_service_are_counted_and_begin_at_0() -> None:
    """increase() does not see a series' birth, so the first decision makes it."""
    counters = ControllerMetrics()
    counters.on_decision(rollout(), "StepPassed")
    name = "autocanary_service_rollouts_finished_total"
    before = counters.snapshot().counts[name]
    assert set(before.values()) == {0}
    assert {labels[:2] for labels in before} == {("models", "mnist")}
    counters.on_rollout_finished(rollout(phase=Phase.ROLLED_BACK))
    after = counters.snapshot().counts[name]
    assert after["models", "mnist", "RolledBack"] == 1
    assert sum(after.values()) == 1


def test_the_labels_of_services_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant who makes services without end fills one series with empty names."""
    monkeypatch.setattr("autocanary.http_server.counters._MAX_SERVICES", 2)
    counters = ControllerMetrics()
    for number in range(5):
        made = replace(rollout(phase=Phase.PROMOTED), service=f"s{number}")
        counters.on_rollout_finished(made)
    counts = counters.snapshot().counts["autocanary_service_rollouts_finished_total"]
    assert {labels[:2] for labels in counts} == {("models", "s0"), ("models", "s1"), ("", "")}
    assert counts["", "", "Promoted"] == 3
