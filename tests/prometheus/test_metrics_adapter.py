"""The port as the service uses it, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from autocanary import prometheus
from autocanary.errors import MetricsUnreachable
from autocanary.model.measurement import MeasurementKind
from autocanary.ports import Metrics
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from tests.prometheus.scripted_prometheus import ManualClock, metric_query
from tests.testbed.servers import HttpSink, free_port


def body(*labelled: tuple[dict[str, str], str]) -> bytes:
    result = [{"metric": labels, "value": [1, value]} for labels, value in labelled]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


@pytest.fixture
def server() -> Iterator[HttpSink]:
    with HttpSink() as sink:
        yield sink


@pytest.fixture
def outcomes() -> list[str]:
    return []


@pytest.fixture
def metrics(server: HttpSink, outcomes: list[str]) -> Iterator[PrometheusMetrics]:
    with ThreadPoolExecutor(4) as pool:
        config = PrometheusConfig(server.url, timeout=2)
        made = PrometheusMetrics(config, pool=pool, clock=ManualClock(), count=outcomes.append)
        yield made
        made.close()


def test_implements_metrics_port(metrics: PrometheusMetrics) -> None:
    """Type-checked here, so that the controller can rely on it; the package exports no more than this."""
    port: Metrics = metrics
    assert port.query([]) == {}
    assert prometheus.__all__ == [
        "MetricsServers",
        "NamedMetrics",
        "ProbeResult",
        "PrometheusConfig",
        "PrometheusMetrics",
    ]


def test_metric_queries_return_measurements(metrics: PrometheusMetrics, server: HttpSink, outcomes: list[str]) -> None:
    """A query, an HTTP request, a measurement, an outcome counted."""
    labels = {"namespace_name": "models", "revision_name": "mnist-predictor-00002"}
    server.answer(200, body(({**labels, "autocanary": "count0"}, "50"), ({**labels, "autocanary": "age"}, "3")))
    asked = metric_query("request-success-rate")
    measurement = metrics.query([asked])[asked]
    assert (measurement.kind, measurement.value, measurement.requests, measurement.age) == (
        MeasurementKind.VALUE,
        100,
        50,
        3,
    )
    assert outcomes == ["ok"]
    assert len(server.requests) == 1


def test_outage_is_a_measurement(metrics: PrometheusMetrics, server: HttpSink, outcomes: list[str]) -> None:
    """Nothing is raised; each query is counted."""
    server.answer(503, b"")
    asked = metric_query("request-duration")
    measurement = metrics.query([asked])[asked]
    assert measurement.kind is MeasurementKind.OUTAGE
    assert "HTTP 503" in measurement.detail
    assert outcomes == ["unreachable"] * 2


def test_probe_returns_version_or_error(metrics: PrometheusMetrics, server: HttpSink) -> None:
    """One sentence for a user at start-up."""
    server.answer(200, body(({}, "1")))
    assert metrics.probe() == prometheus.ProbeResult(True, "unknown version")
    server.answer_once(200, body(({}, "1")))
    server.answer(200, b'{"status": "success", "data": {"version": "3.5.0"}}')
    assert metrics.probe() == prometheus.ProbeResult(True, "3.5.0")
    server.answer(404, b"")
    probe = metrics.probe()
    assert not probe.ok
    assert "path prefix" in probe.text


def test_refusal_returns_prometheus_error(metrics: PrometheusMetrics, server: HttpSink) -> None:
    """None when it runs, Prometheus' words when refused, an error when no server answers."""
    server.answer(200, body())
    assert metrics.refusal("up") is None
    server.answer(400, b'{"status": "error", "errorType": "bad_data", "error": "parse error"}')
    assert "parse error" in (metrics.refusal("up{") or "")
    with ThreadPoolExecutor(1) as pool:
        config = PrometheusConfig(f"http://127.0.0.1:{free_port()}")
        away = PrometheusMetrics(config, pool=pool, clock=ManualClock())
        with pytest.raises(MetricsUnreachable):
            away.refusal("up")
        away.close()
