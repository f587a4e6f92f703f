"""Knative's own queue-proxy in front of a small server: what it counts is what its client got."""

from __future__ import annotations

import http.client
import http.server
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from autocanary.model.measurement import Measurement, MetricQuery, Source
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from tests.prometheus.scripted_prometheus import ManualClock, metric_query
from tests.testbed.servers import Prometheus, Scrape, free_port, require_servers, skip_unless_required, wait_until
from tests.testbed.servers.process import ServerProcess, program

pytestmark = pytest.mark.real

REVISION = "mnist-predictor-00002"
TIMEOUT = 2  # seconds; queue-proxy takes whole ones
FIXED_PORTS = (8022, 9090)  # of its admin and autoscaler servers, which cannot be changed
HISTOGRAM = "http_server_request_duration_seconds"
APP_HISTOGRAM = "kn_serving_invocation_duration_seconds"


class QueueProxy(ServerProcess):
    """One queue-proxy for an application on a port; its metrics are on another one."""

    name = "queue-proxy"

    def __init__(self, application: int, folder: Path) -> None:
        super().__init__(folder)
        self.port, self.metrics_port = free_port(), free_port()
        self._application = application

    def command(self) -> list[str]:
        """It takes its settings from the environment."""
        settings = {
            "CONTAINER_CONCURRENCY": "1",
            "QUEUE_SERVING_PORT": self.port,
            "QUEUE_SERVING_TLS_PORT": free_port(),
            "USER_PORT": self._application,
            "REVISION_TIMEOUT_SECONDS": TIMEOUT,
            "SERVING_LOGGING_CONFIG": "",
            "SERVING_LOGGING_LEVEL": "error",
            "SERVING_NAMESPACE": "models",
            "SERVING_SERVICE": "mnist",
            "SERVING_CONFIGURATION": "mnist-predictor",
            "SERVING_REVISION": REVISION,
            "SERVING_POD": f"{REVISION}-deployment-5d8f-abcde",
            "SERVING_POD_IP": "127.0.0.1",
            "OBSERVABILITY_CONFIG": '{"requestMetrics":{"protocol":"prometheus"}}',
            "METRICS_PROMETHEUS_PORT": self.metrics_port,
        }
        return ["/usr/bin/env", *(f"{name}={value}" for name, value in settings.items()), program(self.name)]

    def ready(self) -> bool:
        """Whether it listens."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class _Application(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/stream"):
            self._stream(breaks=self.path == "/stream-breaks")
            return
        if self.path == "/slow":
            time.sleep(TIMEOUT + 1)
        status = {"/bad": 500, "/none": 404}.get(self.path, 200)
        try:
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        except OSError:
            pass  # queue-proxy has given up

    def _stream(self, *, breaks: bool) -> None:
        """Five parts, half a second in all; one that breaks ends after the second without its last chunk."""
        try:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(5):
                self.wfile.write(b"5\r\ntoken\r\n")
                self.wfile.flush()
                if breaks and number == 1:
                    self.close_connection = True
                    return
                time.sleep(0.1)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def application() -> Iterator[int]:
    """A model server that obeys the path, on a port of its own."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), _Application)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class World:
    """Queue-proxy, scraped by a Prometheus, and a client that counts what it gets."""

    proxy: QueueProxy
    prometheus: Prometheus
    metrics: PrometheusMetrics
    got: Counter[int]

    def send(self, path: str, headers: Mapping[str, str] | None = None, seconds: float = 10.0) -> int:
        """The status, or 0 when the client gave up first."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.proxy.port}{path}", headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - to this machine
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def query(self, metric: str) -> Measurement:
        asked: MetricQuery = metric_query(metric, source=Source.AUTO, window=600, counters=True)
        return self.metrics.query([asked])[asked]

    def total(self, histogram: str, **labels: str) -> float:
        matchers = ",".join(f'{name}=~"{value}"' for name, value in labels.items())
        return sum(float(each["value"][1]) for each in self.prometheus.query(f"{histogram}_count{{{matchers}}}"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    require_servers("queue-proxy", "prometheus")
    for port in FIXED_PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                skip_unless_required(f"port {port} of queue-proxy is taken on this machine")
    os.environ.setdefault("NO_PROXY", "127.0.0.1")
    with application() as port, QueueProxy(port, tmp_path / "proxy") as proxy, ThreadPoolExecutor(4) as pool:
        labels = {"namespace": "models", "revision_name": REVISION}
        with Prometheus([Scrape("pods", f"127.0.0.1:{proxy.metrics_port}", labels)]) as prometheus:
            metrics = PrometheusMetrics(PrometheusConfig(prometheus.url, timeout=10), pool=pool, clock=ManualClock())
            yield World(proxy, prometheus, metrics, Counter())
            metrics.close()


def test_counts_are_what_clients_got(world: World) -> None:
    """Timeouts and a full queue are failures, probes are no requests; a client that left counts as a success.

    The histogram around the container alone calls requests that timed out a success: it is not preferred.
    """
    assert world.send("/ok") == 200
    wait_until(lambda: world.total(HISTOGRAM) == 1, seconds=20, what="the first request")
    first = world.query("error-rate").counters
    assert first is not None
    for path in [*["/ok"] * 20, *["/bad"] * 3, "/none", "/slow"]:
        world.got[world.send(path)] += 1
    for headers in ({"K-Network-Probe": "queue"}, {"K-Network-Probe": "queue"}, {"K-Kubelet-Probe": "queue"}):
        world.send("/", headers)
    assert world.got == Counter({200: 20, 500: 3, 404: 1, 504: 1})
    with ThreadPoolExecutor(20) as clients:  # a container with one request at a time, and a queue of ten times that
        crowd = Counter(clients.map(world.send, ["/slow"] * 20))
    assert set(crowd) == {503, 504}
    time.sleep(TIMEOUT + 2)
    assert world.send("/slow", seconds=0.5) == 0
    time.sleep(TIMEOUT + 2)
    requests, failures = 20 + 3 + 1 + 1 + 20 + 1, 3 + 1 + 20
    wait_until(lambda: world.total(HISTOGRAM) == 1 + requests, seconds=20, what="all requests")
    found = world.query("error-rate")
    assert found.source is Source.KNATIVE_OTEL
    assert found.counters is not None
    assert found.exporter.startswith(f"{HISTOGRAM}_count")
    assert found.counters.candidate.requests - first.candidate.requests == requests
    assert found.counters.candidate.errors - first.candidate.errors == failures
    assert world.total(APP_HISTOGRAM, http_response_status_code="5..") == 3


def test_streams_retries_and_cancelled_calls(world: World) -> None:
    """A stream is one request, and each retry is one.

    A stream that breaks, or whose client leaves it, is no request: queue-proxy's handler is aborted before it is
    counted. The histogram around the container has each of them as a 500.
    """
    assert world.send("/ok") == 200
    wait_until(lambda: world.total(HISTOGRAM) == 1, seconds=20, what="the first request")
    first = world.query("error-rate").counters
    assert first is not None
    read = [_stream(world.proxy.port, "/stream") for _ in range(6)]
    assert read == ["whole"] * 6
    broken = [_stream(world.proxy.port, "/stream-breaks") for _ in range(3)]
    assert broken == ["broken"] * 3
    left = [_stream(world.proxy.port, "/stream", leave_after=1) for _ in range(4)]
    assert left == ["left"] * 4
    tries = [_with_retries(world, "/bad", 3) for _ in range(2)]
    assert tries == [[500, 500, 500]] * 2
    requests, failures, aborted = 6 + 2 * 3, 2 * 3, 3 + 4
    wait_until(
        lambda: world.total(APP_HISTOGRAM) == 1 + requests + aborted, seconds=20, what="all calls of the container"
    )
    wait_until(lambda: world.total(HISTOGRAM) == 1 + requests, seconds=20, what="all requests")
    found = world.query("error-rate").counters
    assert found is not None
    assert found.candidate.requests - first.candidate.requests == requests
    assert found.candidate.errors - first.candidate.errors == failures
    assert world.total(APP_HISTOGRAM, http_response_status_code="5..") == failures + aborted


def _stream(port: int, path: str, leave_after: int | None = None) -> str:
    """How a streamed answer ended for its client, which may leave after some of its parts."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        parts = 0
        while part := answer.read(5):
            parts += part == b"token"
            if parts == leave_after:
                return "left"
        return "whole" if parts == 5 else "broken"
    except (http.client.HTTPException, OSError):
        return "broken"
    finally:
        connection.close()


def _with_retries(world: World, path: str, tries: int) -> list[int]:
    """A client that tries again after each failure."""
    statuses: list[int] = []
    while len(statuses) < tries and (not statuses or statuses[-1] >= 500):
        statuses.append(world.send(path))
    return statuses
