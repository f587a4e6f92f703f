"""Raw counters from real servers: what it scraped is what is counted, through all that can befall it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from autocanary.model.measurement import (
    Measurement,
    MeasurementKind,
    MetricQuery,
    RequestCounters,
    RequestTotals,
    Source,
)
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from tests.prometheus import exposition
from tests.prometheus.exposition import Load, line
from tests.prometheus.scripted_prometheus import ManualClock, metric_query
from tests.testbed.servers import Exporter, Prometheus, Prometheus3, Scrape, require_servers

pytestmark = pytest.mark.real

SERVICES = ("lone", "twice", "replicas", "mixed")
"""Scraped once; by two jobs; by two servers distinguished by a label; and by three that are not."""

_PATIENCE = 20.0


def pod(service: str, number: int, name: str, good: int, failed: int = 0, fast: int | None = None) -> str:
    """One queue-proxy's page; ``fast`` of its successes took at most 0.1 s, the others a second."""
    labels = {
        "namespace_name": "models",
        "revision_name": f"{service}-predictor-{number:05}",
        "pod_name": f"{service}-predictor-{number:05}-deployment-5d8f-{name}",
    }
    text = ""
    for code, count, quick in (("2xx", good, good if fast is None else fast), ("5xx", failed, failed)):
        own = {**labels, "response_code_class": code}
        if count:
            text += line("revision_request_count", own, count)
            text += exposition.histogram(
                "revision_request_latencies", own, Load(count, 0, ((0.1, quick), (1.0, count))), 1000
            )
    return text


@dataclass
class World:
    """Every service on a page of its own, and the adapter that looks at them."""

    kind: str
    pages: Mapping[str, Exporter]
    prometheus: Prometheus
    metrics: PrometheusMetrics

    def show(self, service: str, *candidates: str, stable: int = 1000) -> None:
        self.pages[service].text = pod(service, 1, "stable", stable) + "".join(candidates)

    def query(self, service: str, metric: str = "error-rate") -> Measurement:
        asked: MetricQuery = metric_query(metric, service=service, counters=True)
        return self.metrics.query([asked])[asked]

    def counters(self, service: str, metric: str = "error-rate") -> RequestCounters:
        measurement = self.query(service, metric)
        assert measurement.counters is not None, measurement.detail
        return measurement.counters

    def until(
        self, service: str, true: Callable[[RequestCounters], bool], metric: str = "error-rate"
    ) -> RequestCounters:
        """The first counters of which this is true; scrapes take their time."""
        end = time.monotonic() + _PATIENCE
        while not true(found := self.counters(service, metric)):
            assert time.monotonic() < end, found
            time.sleep(0.1)
        return found

    def scraped(self, service: str, times: int = 2) -> None:
        """Until a page has been scraped so often again."""
        page = self.pages[service]
        page.wait_for(len(page.requests) + times)


def _jobs(service: str, target: str) -> list[Scrape]:
    match service:
        case "twice":
            return [Scrape("twice", target), Scrape("twice-again", target)]
        case "replicas":
            return [
                Scrape(f"replicas-{each}", target, {"job": "replicas", "prometheus_replica": each}) for each in "ab"
            ]
        case "mixed":
            # The same job and instance, and an unknown label; three, as two may coincide in time.
            return [Scrape(f"mixed-{each}", target, {"job": "mixed", "site": each}) for each in "abc"]
    return [Scrape(service, target)]


NATIVE = "prometheus3-native"
SERVERS: Mapping[str, type[Prometheus]] = {
    "prometheus2": Prometheus,
    NATIVE: Prometheus3,
}
"""The servers; ``NATIVE`` keeps no classic histogram: it converts them to native ones with custom buckets."""


@pytest.fixture(scope="module", params=SERVERS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    kind: str = request.param
    require_servers(SERVERS[kind].name)
    with Exporter() as lone, Exporter() as twice, Exporter() as replicas, Exporter() as mixed:
        pages = dict(zip(SERVICES, (lone, twice, replicas, mixed), strict=True))
        scrapes = [job for service, page in pages.items() for job in _jobs(service, page.target)]
        if kind == NATIVE:
            scrapes = [replace(job, options={"convert_classic_histograms_to_nhcb": True}) for job in scrapes]
        with SERVERS[kind](scrapes, interval=1.0) as prometheus, ThreadPoolExecutor(4) as pool:
            config = PrometheusConfig(prometheus.url, timeout=10)
            metrics = PrometheusMetrics(config, pool=pool, clock=ManualClock())
            made = World(kind, pages, prometheus, metrics)
            for service in SERVICES:
                made.show(service)
            prometheus.wait_for("count(count by (job) (revision_request_count)) == 5")
            yield made
            metrics.close()


def test_counters_follow_canary_lifecycle(world: World) -> None:
    """Its first request, its first failure, a restart, a failed scrape, a second pod, and its end."""
    first = world.counters("lone")
    assert (first.candidate, first.stable) == (RequestTotals(), RequestTotals())

    def grows_to(requests: int, errors: int, *pods: str, stable: int) -> RequestCounters:
        world.show("lone", *pods, stable=stable)
        found = world.until("lone", lambda counters: counters.candidate == RequestTotals(requests, errors))
        assert found.account_id == first.account_id
        return world.until("lone", lambda counters: counters.stable == RequestTotals(stable - 1000))

    grows_to(100, 0, pod("lone", 2, "a", 100), stable=1900)
    grows_to(111, 1, pod("lone", 2, "a", 110, 1), stable=1999)
    grows_to(118, 3, pod("lone", 2, "a", 5, 2), stable=2100)  # began again
    world.pages["lone"].answer(500)
    world.scraped("lone")
    during = world.counters("lone")
    world.show("lone", pod("lone", 2, "a", 9, 2), stable=2200)
    world.scraped("lone")
    assert world.counters("lone") == during
    world.pages["lone"].answer()
    grows_to(122, 3, pod("lone", 2, "a", 9, 2), stable=2200)
    grows_to(162, 13, pod("lone", 2, "a", 9, 2), pod("lone", 2, "b", 30, 10), stable=2300)
    last = grows_to(163, 13, pod("lone", 2, "b", 31, 10), stable=2400)
    world.show("lone", stable=2500)
    world.scraped("lone")
    gone = world.counters("lone")
    assert gone.candidate == last.candidate


@pytest.mark.parametrize("service", ["twice", "replicas"])
def test_process_scraped_twice_is_counted_once(world: World, service: str) -> None:
    """By two jobs, or by two servers with a replica label."""
    world.counters(service)
    world.show(service, pod(service, 2, "a", 90, 10), stable=1500)
    wanted = (RequestTotals(100, 10), RequestTotals(500))
    found = world.until(service, lambda counters: counters.candidate.requests >= 100)
    found = world.until(service, lambda counters: counters.stable.requests >= 500)
    assert (found.candidate, found.stable) == wanted
    world.scraped(service, 4)
    later = world.until(service, lambda counters: counters.at > found.at)
    assert (later.candidate, later.stable) == wanted


def test_duplicate_scrapes_with_same_labels_are_refused(world: World) -> None:
    """The reading is as ever; its counts cannot be trusted, and it says what to do."""
    world.show("mixed", pod("mixed", 2, "a", 100))
    world.scraped("mixed", 9)
    measurement = world.query("mixed")
    assert measurement.counters is None
    assert "prometheus_replica" in measurement.detail


def test_latency_is_counted_by_bound_and_outcome(world: World) -> None:
    """Fast failures are within no bound."""
    asked = "request-duration"
    first = world.counters("replicas", asked)
    assert {0.1, 1.0} <= set(first.bounds)
    assert len(first.bounds) == (20 if world.kind == NATIVE else 2)  # those of queue-proxy from 0.1 s on
    base = first.candidate
    world.show("replicas", pod("replicas", 2, "a", 190, 30, fast=130), stable=1600)
    found = world.until("replicas", lambda counters: counters.candidate.requests == base.requests + 120, asked)
    before = dict(zip(first.bounds, base.bucket_counts, strict=True))
    after = dict(zip(found.bounds, found.candidate.bucket_counts, strict=True))
    assert set(found.bounds) <= set(first.bounds)  # this page has no bound between 0.1 s and 1 s
    assert (after[0.1] - before[0.1], after[1.0] - before[1.0]) == (40, 100)
    assert found.candidate.errors - base.errors == 20


def test_restarted_store_starts_with_a_baseline(world: World) -> None:
    """And so does a pod that it did not see at its first evaluation, when Prometheus had scraped it before."""
    with ThreadPoolExecutor(2) as pool:
        config = PrometheusConfig(world.prometheus.url, timeout=10)
        other = PrometheusMetrics(config, pool=pool, clock=ManualClock())
        fresh = replace(world, metrics=other)
        world.show("twice", stable=1500)  # pod a is gone
        gone = 'absent(revision_request_count{pod_name="twice-predictor-00002-deployment-5d8f-a"})'
        world.prometheus.wait_for(gone)
        first = fresh.counters("twice")
        assert first.account_id != world.counters("twice").account_id
        assert (first.candidate, first.stable) == (RequestTotals(), RequestTotals())
        world.show("twice", pod("twice", 2, "a", 95, 10), pod("twice", 2, "new", 7), stable=1600)
        fresh.until("twice", lambda counters: counters.candidate == RequestTotals(7))
        world.show("twice", pod("twice", 2, "a", 96, 11), pod("twice", 2, "new", 7), stable=1700)
        fresh.until("twice", lambda counters: counters.candidate == RequestTotals(9, 1))
        other.close()


def test_hundreds_of_rollouts_take_as_many_queries_as_one(world: World) -> None:
    """The current counters and the history at first, then the counters alone, beside the measurements' own query."""
    outcomes: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        config = PrometheusConfig(world.prometheus.url, timeout=10)
        crowd = PrometheusMetrics(config, pool=pool, clock=ManualClock(), count=outcomes.append)
        asked = [
            metric_query(metric, service=f"s{number}", counters=True)
            for number in range(400)
            for metric in ("error-rate", "request-success-rate")
        ]
        for queries in (3, 2):
            measurements = crowd.query(asked)
            assert {measurement.kind for measurement in measurements.values()} == {MeasurementKind.NO_SERIES}
            assert all(measurement.counters is not None for measurement in measurements.values())
            assert outcomes == ["ok"] * queries
            outcomes.clear()
        crowd.close()


def test_many_custom_queries_become_few_requests(world: World) -> None:
    """Hundreds are joined in one, as long as the server takes it."""
    outcomes: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        config = PrometheusConfig(world.prometheus.url, timeout=10)
        crowd = PrometheusMetrics(config, pool=pool, clock=ManualClock(), count=outcomes.append)
        form = 'sum(rate(model_errors{{namespace="models",revision="s{0}-predictor-00002"}}[1m])) or vector({0})'
        asked = [metric_query(query=form.format(number), service=f"s{number}") for number in range(1000)]
        measurements = crowd.query(asked)
        assert [measurements[each].value for each in asked] == list(range(1000))
        assert len(outcomes) == 7  # three joined ones, two for their ages, and the requests of 2,000 revisions
        crowd.close()


def test_every_source_query_is_valid_in_prometheus(world: World) -> None:
    """No source's query for counters is refused, whatever it finds."""
    for source in Source:
        for metric in ("error-rate", "request-duration"):
            asked = metric_query(metric, service="nobody", source=source, counters=True)
            measurement = world.metrics.query([asked])[asked]
            assert measurement.kind in (MeasurementKind.NO_SERIES, MeasurementKind.UNSUPPORTED), measurement.detail
            assert "refuse" not in measurement.detail


@pytest.mark.parametrize("service", ["lone", "twice", "replicas"])
def test_thresholds_and_comparisons_count_the_same_requests(world: World, service: str) -> None:
    """Two jobs and two replicas store each request twice; request-count, minRequests and comparisons see one."""
    for good, failed in ((10_000, 100), (10_600, 500)):
        world.show(service, pod(service, 3, "once", good, failed))
        world.scraped(service, 3)
    asked = metric_query("request-count", service=service, number=3, window=600)
    measurement = world.metrics.query([asked])[asked]
    # 1,000 by the counters; increase() adds the part of the window before the first and after the last sample.
    assert measurement.value is not None
    assert 1000 <= measurement.value < 1900
