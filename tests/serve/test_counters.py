"""Tests of autocanary.serve.counters."""

from __future__ import annotations

import threading

import pytest

from autocanary.core.progress import Phase
from autocanary.core.reason import Reason
from autocanary.ports import Listener
from autocanary.serve.counters import BUCKETS, Counters, Distribution
from tests.serve.examples import rollout


def test_it_is_the_port() -> None:
    """The engine's Protocol is what the counters offer."""
    counters = Counters()
    listener: Listener = counters
    listener.decided(rollout(), Reason.NO_DATA)
    listener.finished(rollout(phase=Phase.PROMOTED, reason=Reason.PROMOTED))
    snapshot = counters.snapshot()
    assert snapshot.counts["autocanary_decisions_total"][("NoData",)] == 1
    assert snapshot.counts["autocanary_rollouts_finished_total"] == {("Promoted", "Promoted"): 1}


def test_no_count_is_lost_between_threads() -> None:
    """Eight threads count the same thing."""
    counters = Counters()

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
    assert snapshot.counts["autocanary_prometheus_queries_total"] == {("ok",): 4000}
    assert sum(snapshot.distributions["autocanary_tick_duration_seconds"].counts) == 4000


def test_snapshot_does_not_move() -> None:
    """What was read is not changed by what comes after."""
    counters = Counters()
    counters.kube_request("get", 0)
    snapshot = counters.snapshot()
    counters.kube_request("get", 0)
    counters.tick(1.0, 1.0)
    assert snapshot.counts["autocanary_kube_requests_total"] == {("get", "0"): 1}
    assert snapshot.distributions["autocanary_tick_lag_seconds"] == Distribution()


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
    seen = Distribution().with_one(value)
    assert seen.counts.index(1) == place
    assert seen.total == value


def test_lag_below_zero_is_none() -> None:
    """A tick that began early is not late, and a sum must not fall."""
    counters = Counters()
    counters.tick(0.1, -0.5)
    assert counters.snapshot().distributions["autocanary_tick_lag_seconds"].total == 0.0
