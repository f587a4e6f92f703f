"""Model servers as they really count: pages recorded from real ones, against what their client counted.

``tests/prometheus/recorded/record.py`` records them. Each page is scraped by a real Prometheus before and after.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autocanary.model.measurement import Measurement, MeasurementKind, RequestCounters, Source
from autocanary.prometheus import PrometheusConfig, PrometheusMetrics
from tests.prometheus.scripted_prometheus import ManualClock, metric_query
from tests.testbed.servers import Exporter, Prometheus, Scrape, require_servers

pytestmark = pytest.mark.real

RECORDED = Path(__file__).parent.parent / "recorded"
_PATIENCE = 20.0


def recorded(name: str) -> Mapping[str, object]:
    found: Mapping[str, object] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


class ReplayedServer:
    """The recorded server as stable and as candidate; the candidate alone gets the recorded requests."""

    def __init__(self, name: str, stable: Exporter, candidate: Exporter, metrics: PrometheusMetrics) -> None:
        self._recorded = recorded(name)
        self._candidate = candidate
        self.metrics = metrics
        stable.text = candidate.text = str(self._recorded["before"])

    def replay(self) -> None:
        self._candidate.text = str(self._recorded["after"])

    def query(self, metric: str) -> Measurement:
        asked = metric_query(metric, source=Source.AUTO, window=600, counters=True)
        return self.metrics.query([asked])[asked]

    def gained(self, metric: str) -> tuple[float, float, RequestCounters]:
        """The candidate's requests and failures between the two pages, and the last counters."""
        before = self.query(metric).counters
        assert before is not None, self.query(metric).detail
        self.replay()
        end = time.monotonic() + _PATIENCE
        while True:
            after = self.query(metric).counters
            assert after is not None
            if after.candidate.requests > before.candidate.requests:
                break
            assert time.monotonic() < end, after
            time.sleep(0.2)
        requests = after.candidate.requests - before.candidate.requests
        return requests, after.candidate.errors - before.candidate.errors, after


@pytest.fixture
def replayed(request: pytest.FixtureRequest) -> Iterator[ReplayedServer]:
    require_servers("prometheus")
    with Exporter() as stable, Exporter() as candidate, ThreadPoolExecutor(4) as pool:
        scrapes = [
            Scrape("models", page.target, {"namespace": "models", "revision_name": f"mnist-predictor-{number:05}"})
            for number, page in enumerate((stable, candidate), start=1)
        ]
        scrapes = [Scrape(f"models-{number}", each.target, each.labels) for number, each in enumerate(scrapes)]
        server = ReplayedServer.__new__(ReplayedServer)
        with Prometheus(scrapes) as prometheus:
            metrics = PrometheusMetrics(PrometheusConfig(prometheus.url, timeout=10), pool=pool, clock=ManualClock())
            server = ReplayedServer(request.param, stable, candidate, metrics)
            for page in (stable, candidate):
                page.wait_for(len(page.requests) + 3)
            yield server
            metrics.close()


@pytest.mark.parametrize("replayed", ["mlserver"], indirect=True)
def test_mlserver_counts_calls_of_its_model(replayed: ReplayedServer) -> None:
    """Good, batched, abandoned and failed calls once each; no probe, no metadata, and no other client's mistakes.

    A call of an unknown model is a failure in MLServer's own counters, of that model's name.
    """
    counts = recorded("mlserver")["counts"]
    assert counts == {
        "good 200": 20,
        "batch 200": 1,
        "raising 500": 3,
        "unknown model 404": 1,
        "malformed 422": 1,
        "probe 200": 7,
        "metadata 200": 1,
        "left gone": 1,
    }
    assert 'model_infer_request_failure_total{model="nobody"' in str(recorded("mlserver")["after"])
    requests, failed, _ = replayed.gained("error-rate")
    assert (requests, failed) == (20 + 1 + 3 + 1, 3)
    assert replayed.query("error-rate").source is Source.MLSERVER


@pytest.mark.parametrize("replayed", ["mlserver"], indirect=True)
def test_mlserver_times_its_rest_calls(replayed: ReplayedServer) -> None:
    """All of the inference path, by status: those that it refuses are timed as well, as fast successes."""
    requests, failed, after = replayed.gained("request-duration")
    assert (requests, failed) == (20 + 1 + 3 + 1 + 2, 3)
    within = dict(zip(after.bounds, after.candidate.bucket_counts, strict=True))
    assert within[1.0] == 20 + 1 + 2  # the abandoned one took three seconds
    assert within[10.0] == 20 + 1 + 2 + 1


@pytest.mark.parametrize("replayed", ["kserve"], indirect=True)
def test_kserve_counts_calls_and_no_failures(replayed: ReplayedServer) -> None:
    """The calls that reached the model, failed and abandoned ones among them; it cannot say how many failed."""
    counts = recorded("kserve")["counts"]
    assert counts == {
        "good 200": 20,
        "batch 200": 1,
        "raising 500": 3,
        "unknown model 404": 1,
        "malformed 400": 1,
        "probe 200": 7,
        "metadata 200": 1,
        "left gone": 1,
    }
    before, after = (str(recorded("kserve")[each]) for each in ("before", "after"))
    name = 'request_predict_seconds_count{model_name="mnist"} '
    grown = [float(line.removeprefix(name)) for page in (before, after) for line in page.splitlines() if name in line]
    assert grown[1] - grown[0] == 20 + 1 + 3 + 1
    errors = replayed.query("error-rate")
    assert errors.kind is MeasurementKind.UNSUPPORTED
    assert "counts no errors" in errors.detail
    assert replayed.query("request-count").source is Source.KSERVE
