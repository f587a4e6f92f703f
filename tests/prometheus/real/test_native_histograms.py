"""Native histograms as a model server exposes them itself: exponential buckets, by protobuf, on Prometheus 3."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, RequestCounters, Source
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from tests.prometheus.native_exposition import NativeExporter, NativeSeries
from tests.prometheus.scripted_prometheus import ManualClock, metric_query
from tests.testbed.servers import Prometheus3, Scrape, require_servers

pytestmark = pytest.mark.real

NAME = "kn_serving_invocation_duration_seconds"
WINDOW = 600.0
_PATIENCE = 20.0
FAST, SLOW = 0.2, 3.0  # seconds; between two powers of two each, so that the counts of no bound depend on rounding


def series(number: int, fast: int, slow: int, failed: int, schema: int) -> list[NativeSeries]:
    """A revision's queue-proxy: successes fast and slow, and failures."""
    labels = {"namespace": "models", "revision_name": f"mnist-predictor-{number:05}"}
    return [
        NativeSeries({**labels, "http_response_status_code": "200"}, {FAST: fast, SLOW: slow}, schema),
        NativeSeries({**labels, "http_response_status_code": "500"}, {FAST: failed}, schema),
    ]


@dataclass
class World:
    """Two revisions on a page each, and the adapter that measures them."""

    pages: tuple[NativeExporter, NativeExporter]
    prometheus: Prometheus3
    metrics: PrometheusMetrics

    def show(self, stable: tuple[int, int, int], candidate: tuple[int, int, int], schema: int = 3) -> None:
        """Requests so far: fast and slow successes, failures."""
        for number, (page, counts) in enumerate(zip(self.pages, (stable, candidate), strict=True), start=1):
            page.set(NAME, series(number, *counts, schema))
        for page in self.pages:
            page.wait_for(len(page.requests) + 2)

    def query(self, metric: str, **more: object) -> Measurement:
        asked: MetricQuery = metric_query(metric, source=Source.AUTO, window=WINDOW, **more)  # type: ignore[arg-type]
        return self.metrics.query([asked])[asked]

    def counters(self, metric: str) -> RequestCounters:
        found = self.query(metric, counters=True)
        assert found.counters is not None, found.detail
        return found.counters


@pytest.fixture
def world() -> Iterator[World]:
    require_servers("prometheus3")
    with NativeExporter() as stable, NativeExporter() as candidate, ThreadPoolExecutor(4) as pool:
        options = {"scrape_native_histograms": True, "scrape_protocols": ["PrometheusProto"]}
        scrapes = [
            Scrape(f"pods-{number}", page.target, options=options) for number, page in enumerate((stable, candidate))
        ]
        with Prometheus3(scrapes, interval=1.0) as prometheus:
            metrics = PrometheusMetrics(PrometheusConfig(prometheus.url, timeout=10), pool=pool, clock=ManualClock())
            made = World((stable, candidate), prometheus, metrics)
            made.show((9000, 900, 500), (5000, 400, 300))
            yield made
            metrics.close()


def test_exponential_histograms_are_measured_and_compared(world: World) -> None:
    """Rates, quantile and counts of both revisions, also after Prometheus' resolution has changed."""
    bare = world.prometheus.query(f'count({{__name__=~"{NAME}.*"}}) by (__name__)')
    assert [each["metric"]["__name__"] for each in bare] == [NAME]  # no classic series at all
    first = world.counters("request-duration")
    rates = world.counters("error-rate")
    assert {0.25, 0.5, 1.0, 2.0, 4.0} <= set(first.bounds)
    world.show((9900, 990, 510), (5060, 420, 320))
    errors, count, slow = (world.query(each) for each in ("error-rate", "request-count", "request-duration"))
    assert (errors.kind, count.kind, slow.kind) == (MeasurementKind.VALUE,) * 3, (errors, count, slow)
    assert errors.source is Source.KNATIVE_OTEL
    assert errors.value == pytest.approx(20.0)  # 20 of 100
    assert count.value == pytest.approx(100, rel=0.9)
    assert slow.value == pytest.approx(SLOW, rel=0.1)  # schema 3: buckets of 9 %
    found = _until(world, "request-duration", first, 100)
    gained = dict(
        zip(
            found.bounds,
            (new - old for new, old in zip(found.candidate.bucket_counts, first.candidate.bucket_counts, strict=True)),
            strict=True,
        )
    )
    assert (gained[0.125], gained[0.25], gained[2.0], gained[4.0]) == (0, 60, 60, 80)
    assert found.candidate.errors - first.candidate.errors == 20
    assert found.stable.requests - first.stable.requests == 1000
    later = _until(world, "error-rate", rates, 100)
    assert later.candidate.errors - rates.candidate.errors == 20
    # The exporter begins to use wider buckets: the bounds of before are bounds still.
    world.show((9990, 1000, 510), (5100, 430, 320), schema=1)
    wider = _until(world, "request-duration", found, 50)
    assert wider.bounds == found.bounds
    assert wider.account_id == found.account_id


def _until(world: World, metric: str, before: RequestCounters, gained: int) -> RequestCounters:
    """The first counters in which the candidate has so many requests more."""
    end = time.monotonic() + _PATIENCE
    while (found := world.counters(metric)).candidate.requests - before.candidate.requests < gained:
        assert time.monotonic() < end, found
        time.sleep(0.2)
    assert found.candidate.requests - before.candidate.requests == gained
    return found
