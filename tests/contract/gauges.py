"""Revisions that answer requests, and the Metrics port that measures them, in both worlds."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, Source
from autocanary.ports import Metrics
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from autocanary.scheduler import SteadyClock, ThreadPool
from autocanary.simulator import PrometheusFault, Quality, RequestLoad, World, ready_after_seconds
from tests.contract.backend import revision
from tests.real.traffic import RevisionTraffic
from tests.testbed.servers import Prometheus, Scrape

__all__ = ["ERRORS", "RPS", "WINDOW", "MetricsBackend", "PrometheusBackend", "SimulatedMetrics", "metric_query"]

NAMESPACE = "models"
RPS = 500.0
ERRORS = 0.2
LATENCY = 0.42
"""Seconds that every request to a bad revision takes; both histograms have bounds at 0.4 or below and 0.5."""

WINDOW = 6.0
WINDOW_FILL_SECONDS = 8.0
"""Seconds until the windows of all revisions are full."""

_SCRAPE = 1.0
_SPLIT = {"split": 50, "quiet": 0, "calmed": 50}


class MetricsBackend(ABC):
    """Services whose stable revision is good and whose second one is bad: ``split`` at half and half,
    ``quiet`` and ``calmed`` with nothing for the second, which in ``calmed`` had half before.
    """

    metrics: Metrics

    def ask(self, *queries: MetricQuery) -> list[Measurement]:
        measurements = self.metrics.query(queries)
        return [measurements[each] for each in queries]

    @abstractmethod
    def rest(self, seconds: float) -> None:
        """Let time go by."""

    @abstractmethod
    def prometheus_down(self) -> AbstractContextManager[None]:
        """Prometheus does not answer meanwhile."""

    @abstractmethod
    def scrape_stopped(self) -> AbstractContextManager[None]:
        """Prometheus answers meanwhile, and the scrape has stopped."""

    @abstractmethod
    def restart(self) -> None:
        """Start the adapter again; what it knew is forgotten."""

    @abstractmethod
    def custom(self, value: float | None) -> str:
        """PromQL of a policy's own that gives this number, or no series."""


class SimulatedMetrics(MetricsBackend):
    def __init__(self) -> None:
        self._world = World(load=RequestLoad(RPS), scrape_seconds=_SCRAPE, lag=0.1)
        self.metrics = self._world.metrics
        good = Quality(error_percent=0.0, latency_seconds=0.018, spread=0.001)
        bad = Quality(error_percent=ERRORS * 100, latency_seconds=LATENCY, spread=0.001)
        self._world.model("gs://v1", ready_after_seconds(0.1), good)
        self._world.model("gs://v2", ready_after_seconds(0.1), bad)
        for service, percent in _SPLIT.items():
            self._world.deploy(service, "gs://v1")
            self._world.advance(1.0)
            self._world.deploy(service, "gs://v2", weight=percent)
        self._world.advance(WINDOW_FILL_SECONDS)
        self._world.deploy("calmed", "gs://v2", weight=0)
        self._world.advance(WINDOW_FILL_SECONDS)

    def rest(self, seconds: float) -> None:
        self._world.advance(seconds)

    @contextmanager
    def prometheus_down(self) -> Iterator[None]:
        with self._fault(MeasurementKind.OUTAGE):
            yield

    @contextmanager
    def scrape_stopped(self) -> Iterator[None]:
        with self._fault(MeasurementKind.STALE):
            self._world.advance(2 * _SCRAPE)
            yield

    def restart(self) -> None:
        self._world.metrics.restart()

    @contextmanager
    def _fault(self, kind: MeasurementKind) -> Iterator[None]:
        self._world.metrics.faults.append(PrometheusFault(kind, start=self._world.now()))
        yield
        self._world.metrics.faults.clear()

    def custom(self, value: float | None) -> str:
        query = f"drift_{value}".replace(".", "_")
        self._world.metrics.custom[query] = lambda _query, _now: value
        return query


class PrometheusBackend(MetricsBackend):
    """A real Prometheus that scrapes the simulated revisions; opened as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._metrics: PrometheusMetrics | None = None
        self._splits = {
            (NAMESPACE, service): {revision(1, service): 100 - percent, revision(2, service): percent}
            for service, percent in _SPLIT.items()
        }

    def __enter__(self) -> PrometheusBackend:
        with self._stack as stack:
            self._traffic = stack.enter_context(RevisionTraffic(lambda: self._splits, rps=RPS))
            for service in _SPLIT:
                self._traffic.behave(revision(1, service), latency_ms=18)
                self._traffic.behave(revision(2, service), errors=ERRORS, latency_ms=LATENCY * 1000)
            job = Scrape("revisions", self._traffic.exporter.target)
            self._prometheus = stack.enter_context(Prometheus([job], interval=_SCRAPE, folder=self._folder))
            self._pool = ThreadPool(4)
            stack.callback(self._pool.stop, 0.0)
            self.restart()
            stack.callback(self._close)
            time.sleep(WINDOW_FILL_SECONDS)
            self._splits[NAMESPACE, "calmed"] = {revision(1, "calmed"): 100, revision(2, "calmed"): 0}
            time.sleep(WINDOW_FILL_SECONDS)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(None, None, None)

    def _close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()

    def restart(self) -> None:
        self._close()
        config = PrometheusConfig(self._prometheus.url)
        self.metrics = self._metrics = PrometheusMetrics(config, self._pool, SteadyClock())

    def rest(self, seconds: float) -> None:
        time.sleep(seconds)

    @contextmanager
    def prometheus_down(self) -> Iterator[None]:
        self._prometheus.kill()
        try:
            yield
        finally:
            self._prometheus.start()

    @contextmanager
    def scrape_stopped(self) -> Iterator[None]:
        self._traffic.exporter.answer(500)
        try:
            time.sleep(2 * _SCRAPE + 0.5)
            yield
        finally:
            self._traffic.exporter.answer()

    def custom(self, value: float | None) -> str:
        return "vector(1) > 2" if value is None else f"vector({value})"


def metric_query(metric: str, service: str = "split", *, number: int = 2, **changes: object) -> MetricQuery:
    """About a service's second revision, over the window of these tests."""
    asked = MetricQuery(
        namespace=NAMESPACE,
        service=service,
        component="predictor",
        revision=revision(number, service),
        stable=revision(1, service),
        source=Source.KNATIVE,
        window=WINDOW,
        metric=metric,
    )
    return replace(asked, **changes)  # type: ignore[arg-type]
