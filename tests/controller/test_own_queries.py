"""Queries that policies' authors wrote: a slow one delays the rollouts of its namespace alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

import pytest

from autocanary.app.demo_run import controller_on
from autocanary.http_server.counters import ControllerMetrics
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, Unit
from autocanary.model.policy import Metric, Range
from autocanary.simulator.fakes import InlinePool
from autocanary.simulator.response_quality import Quality
from tests.controller.driver import ANALYSIS, LONG_STEPS, SUCCESS, V2, V3, Driver, policy

T = TypeVar("T")

OWN = Metric("drift", Range(max=1.0), Unit.NUMBER, query="drift")


class SlowPool(InlinePool):
    """Work given while ``slow`` is done when ``finish`` is called."""

    def __init__(self) -> None:
        self.slow = False
        self.kept: list[Callable[[], None]] = []

    def submit(self, work: Callable[[], T]) -> Future[T]:
        if not self.slow:
            return super().submit(work)
        future: Future[T] = Future()
        self.kept.append(lambda: future.set_result(work()))
        return future

    def finish(self) -> None:
        kept, self.kept = self.kept, []
        for each in kept:
            each()


class Tenants(Driver):
    """`mnist` in `models` has a query of its own; `victim` in `payments` as well, or a preset."""

    def __init__(self, victims_metric: Metric) -> None:
        self._error_percent = 0.0
        super().__init__(
            policy("own", namespace="models", metrics=(OWN,), steps=LONG_STEPS),
            policy("victims", namespace="payments", metrics=(victims_metric,), steps=LONG_STEPS),
            qualities={V3: Quality(error_percent=lambda _: self._error_percent)},
        )
        self.world.metrics.custom["drift"] = self.drift
        self.batches: list[set[str]] = []
        query = self.world.metrics.query

        def watched(queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
            self.batches.append({each.namespace for each in queries})
            return query(queries)

        self.world.metrics.query = watched  # type: ignore[method-assign]
        self.deploy_stable("mnist")
        self.deploy_stable("victim", namespace="payments")
        self.release(V2, name="mnist")
        self.world.deploy("victim", V3, weight=0, namespace="payments")
        self.until(lambda: self.weights("victim") == [10] and self.weights("mnist") == [10], 120)
        self.run(ANALYSIS.warmup + ANALYSIS.window)
        self.own_pool = SlowPool()
        self.controller = controller_on(
            self.world, ControllerMetrics(), query_pool=InlinePool(), own_query_pool=self.own_pool
        )
        self.run(5)

    def drift(self, query: MetricQuery, _: float) -> Measurement:
        bad = query.namespace == "payments" and self._error_percent > 0
        return Measurement(MeasurementKind.VALUE, 5.0 if bad else 0.0, requests=500.0)

    def turn_bad(self) -> None:
        self._error_percent = 50.0


def test_slow_own_query_delays_no_rollout_with_presets() -> None:
    """Nothing that the worker of the other namespace does is waited for."""
    run = Tenants(SUCCESS)
    run.own_pool.slow = True
    run.run(ANALYSIS.interval + 2)
    assert run.own_pool.kept
    run.turn_bad()
    run.until(lambda: run.weights("victim") == [10, 0], int(ANALYSIS.window / 2 + 2 * ANALYSIS.interval + 3))


def test_namespaces_ask_their_own_queries_apart_and_one_call_at_a_time() -> None:
    """While the call of one namespace is under way, those of its rollouts that come due wait for its end."""
    run = Tenants(OWN)
    run.run(60)
    own = [batch for batch in run.batches if batch]
    assert {"models"} in own
    assert {"payments"} in own
    run.own_pool.slow = True
    run.run(ANALYSIS.interval + 2)
    assert len(run.own_pool.kept) == 2
    run.run(2 * ANALYSIS.interval)
    assert len(run.own_pool.kept) == 2
    run.own_pool.slow = False
    run.own_pool.finish()
    run.turn_bad()
    run.until(lambda: run.weights("victim") == [10, 0], int(3 * ANALYSIS.interval + 5))


@pytest.mark.parametrize("ends_late", [False, True])
def test_own_query_that_hangs_is_abandoned(ends_late: bool) -> None:
    """Its namespace is asked again after three intervals."""
    run = Tenants(OWN)
    run.own_pool.slow = True
    run.until(lambda: run.own_pool.kept, 60)
    run.run(2)
    run.own_pool.slow = False
    run.turn_bad()
    run.run(20)
    assert run.weights("victim") == [10]
    run.until(lambda: run.weights("victim") == [10, 0], 150)
    if ends_late:
        run.own_pool.finish()
    run.run(60)
    assert run.weights("victim") == [10, 0]
    assert run.controller.overdue() == 0
