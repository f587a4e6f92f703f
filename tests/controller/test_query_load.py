"""How many queries evaluations that follow the samples send to Prometheus: few, however many rollouts there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from autocanary.controller import Controller
from autocanary.http_server.counters import ControllerMetrics
from autocanary.model.measurement import Measurement, MetricQuery, Source, Unit
from autocanary.model.policy import ComparisonPolicy, Metric, Policy, Range, Step
from autocanary.prometheus.connection_settings import PrometheusConfig
from autocanary.prometheus.counter_account import CounterStore
from autocanary.prometheus.counter_collection import RevisionKey
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.exporter_discovery import ExporterDiscovery
from autocanary.prometheus.query_answer import QueryResponse, VectorSample
from autocanary.prometheus.query_batch import QueryLimits, query_measurements
from autocanary.prometheus.query_plan import QueryPlan
from autocanary.prometheus.revision_labels import RevisionTarget
from autocanary.prometheus.scrape_windows import ScrapeWindows
from autocanary.prometheus.sources import exporter_variants
from autocanary.simulator.virtual_clock import VirtualClock
from benchmarks.queries import StandIn
from tests.controller.driver import V1, Driver, policy

LONG = (Step(10, 3600.0), Step(100, 60.0))
THRESHOLDS = (
    Metric("request-success-rate", Range(min=99.0), Unit.PERCENT),
    Metric("request-duration", Range(max=5.0), Unit.SECONDS),
    Metric("error-rate", Range(max=1.0), Unit.PERCENT),
    Metric("request-count", Range(min=100.0), Unit.REQUESTS),
)
DEFAULT = (
    Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy()),
    Metric("request-duration", Range(), Unit.SECONDS, compare=ComparisonPolicy()),
)


class _ScrapedStandIn(StandIn):
    """Every revision is scraped every so many seconds, each at an instant of its own."""

    def __init__(self, targets: Sequence[RevisionTarget], clock: VirtualClock, scrape: float) -> None:
        super().__init__({exporter_variants(Source.KNATIVE)[0]: targets}, clock)
        self._now, self._scrape = clock.now, scrape

    def rows(self, query: str) -> Iterator[dict[str, str]]:
        now = self._now()
        for row in super().rows(query):
            phase = sum(map(ord, "".join(row.values()))) % 97 / 97 * self._scrape
            if row.get("autocanary") == "age":
                row[""] = f"{(now - phase) % self._scrape}"
            elif row.get("autocanary") == "interval":
                row[""] = f"{self._scrape}"
            elif "autocanary_at" in row:
                row["autocanary_at"] = f"{now - (now - phase) % self._scrape}"
            elif row.get("autocanary") == "now":
                row[""] = f"{now}"
            yield row


class _CountedMetrics:
    """The Metrics port: the service's own queries, answered without HTTP."""

    def __init__(self, stand_in: StandIn, clock: VirtualClock) -> None:
        config = PrometheusConfig("http://127.0.0.1")
        self._limits = QueryLimits(config.max_revisions, config.max_query_bytes)
        self._discovery = ExporterDiscovery(
            clock.now, max_targets=config.max_revisions, max_query_bytes=config.max_query_bytes
        )
        self._custom = CustomQueries(clock.now, config.max_query_bytes)
        self._store: CounterStore[RevisionKey] = CounterStore(clock.now)
        self._windows = ScrapeWindows(clock.now)
        self._stand_in, self._clock = stand_in, clock
        self.evaluations: dict[str, int] = {}

    @property
    def sent(self) -> int:
        return self._stand_in.requests

    def query(self, queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        for service in {query.service for query in queries}:
            self.evaluations[service] = self.evaluations.get(service, 0) + 1
        plan: QueryPlan[Mapping[MetricQuery, Measurement]] = query_measurements(
            queries, self._discovery, self._custom, self._limits, self._store, self._windows
        )
        try:
            asked = next(plan)
            while True:
                asked = plan.send({each: self._answer(each) for each in asked})
        except StopIteration as stop:
            found: Mapping[MetricQuery, Measurement] = stop.value
            return found

    def _answer(self, query: str) -> QueryResponse:
        rows = [(dict(row), float(row[""])) for row in self._stand_in.rows(query)]
        samples = [
            VectorSample({name: text for name, text in labels.items() if name}, value, 0.0) for labels, value in rows
        ]
        return QueryResponse(tuple(samples))


def fleet(size: int, followed: Policy, scrape: float) -> tuple[Driver, _CountedMetrics]:
    driver = Driver(followed)
    world = driver.world
    names = [f"model-{number:03d}" for number in range(size)]
    revisions = [f"{name}-predictor-0000{number}" for name in names for number in (1, 2)]
    targets = [RevisionTarget("models", each) for each in revisions]
    metrics = _CountedMetrics(_ScrapedStandIn(targets, world.clock, scrape), world.clock)
    driver.controller = Controller(
        cluster=world.cluster,
        store=world.store,
        metrics=metrics,
        policy_webhooks=world.policy_webhooks,
        notifier=world.notifier,
        policies=world.policies,
        leadership=world.leadership,
        clock=world.clock,
        pool=world.pool,
        query_pool=world.pool,
        webhook_pool=world.pool,
        listener=ControllerMetrics(),
        queries_sent=lambda _: metrics.sent,
    )
    for name in names:
        world.deploy(name, V1)
    driver.run(15)
    for name in names:
        driver.release(name=name)
    driver.run(90)
    return driver, metrics


@pytest.mark.parametrize("scrape", [1.0, 15.0])
@pytest.mark.parametrize("metrics", [THRESHOLDS, DEFAULT], ids=["four presets", "default policy"])
@pytest.mark.parametrize("size", [20, 80])
def test_at_most_90_queries_in_30_seconds(size: int, metrics: tuple[Metric, ...], scrape: float) -> None:
    """One source, a policy of 15 s: the same bound for 20 and for 80 rollouts."""
    driver, counted = fleet(size, policy(steps=LONG, metrics=metrics, interval=15.0), scrape)
    assert len(driver.controller.rollouts()) == size
    before, evaluations = counted.sent, dict(counted.evaluations)
    driver.run(60)
    assert (counted.sent - before) / 2 <= 90
    gained = [counted.evaluations[name] - evaluations[name] for name in evaluations]
    assert min(gained) >= 8  # four regular ones, and four or more samples


def test_one_rollout_costs_one_round_per_sample() -> None:
    """Scraped every 15 s and evaluated every 60 s: two queries per sample, and nothing between."""
    driver, counted = fleet(1, policy(steps=LONG, metrics=THRESHOLDS, interval=60.0), 15.0)
    before = counted.sent
    driver.run(120)
    assert 16 <= counted.sent - before <= 24
