"""A release that changes the model server: each revision is measured by its own exporter."""

from __future__ import annotations

import re

from autocanary.model.measurement import Measurement, MeasurementKind, Source
from autocanary.prometheus.query_answer import QueryResponse, VectorSample
from autocanary.prometheus.query_plan import QueryResult
from tests.prometheus.scripted_prometheus import MetricsHarness, metric_query, row, rows

STABLE, CANDIDATE = "mnist-predictor-00001", "mnist-predictor-00002"


class ModelServers:
    """Stable exports vLLM's metrics and the candidate Triton's (of 100 requests 30 failed), if it ``serves``."""

    def __init__(self, *, serves: bool = True) -> None:
        self.serves = serves
        self.now = 1000.0

    def __call__(self, query: str) -> QueryResult:
        if query.startswith("count by"):
            return self._probe(query)
        if "count_over_time" in query and "[1h]" in query:  # which processes the last hour had
            return rows()
        samples = self._counters(query) if "count_values" in query else self._traffic(query)
        return QueryResponse((*samples, row(self.now, autocanary="now")), server_time=self.now)

    def _probe(self, query: str) -> QueryResult:
        if "(namespace, revision_name, autocanary_metric)" not in query:
            return rows()
        found = []
        for metric, revision in (("vllm:request_success_total", STABLE), ("nv_inference_request_success", CANDIDATE)):
            if metric in query and revision in query and (self.serves or revision == STABLE):
                found.append(row(1, namespace="models", revision_name=revision, autocanary_metric=metric))
        return rows(*found)

    def _traffic(self, query: str) -> list[VectorSample]:
        if "vllm:request_success_total" in query and STABLE in query:
            where = {"namespace": "models", "revision_name": STABLE}
            return [row(900, **where, autocanary="count0"), row(2, **where, autocanary="age")]
        if "nv_inference_request_success" in query and self.serves and CANDIDATE in query:
            where = {"namespace": "models", "revision_name": CANDIDATE, "model": "mnist"}
            return [
                row(70, **where, autocanary="count0"),
                row(30, **where, autocanary="count1", autocanary_failed="1"),
                row(2, namespace="models", revision_name=CANDIDATE, autocanary="age"),
            ]
        return []

    def _counters(self, query: str) -> list[VectorSample]:
        requests = (self.now - 1000) * 10
        if "vllm:request_success_total" in query and STABLE in query:
            where = {"namespace": "models", "revision_name": STABLE, "pod": "s"}
            return [
                row(9 * requests, **where, finished_reason="stop", autocanary="count0"),
                row(1, **where, autocanary="at", autocanary_at=str(self.now - 1)),
            ]
        if "nv_inference_request_success" in query and CANDIDATE in query:
            where = {"namespace": "models", "revision_name": CANDIDATE, "pod": "c", "model": "mnist", "version": "1"}
            return [
                row(0.7 * requests, **where, autocanary="count0"),
                row(0.3 * requests, **where, reason="OTHER", autocanary="count1"),
                row(2, **where, autocanary="at", autocanary_at=str(self.now - 1)),
            ]
        return []


def measured(harness: MetricsHarness, metric: str, *, counters: bool = False) -> Measurement:
    return harness.query_one(metric_query(metric, source=Source.AUTO, counters=counters))


def test_candidate_is_measured_by_its_own_exporter() -> None:
    """30 of 100 failed, says Triton; vLLM, which measures stable, has no series of the candidate."""
    measurement = measured(MetricsHarness(ModelServers()), "error-rate")
    assert (measurement.kind, measurement.source) == (MeasurementKind.VALUE, Source.TRITON)
    assert measurement.value == 30


def test_candidate_without_series_is_probed_again() -> None:
    """Before it serves there is no data; once it exports something, that is found within 30 seconds."""
    servers = ModelServers(serves=False)
    harness = MetricsHarness(servers)
    measurement = measured(harness, "error-rate")
    assert measurement.kind is MeasurementKind.NO_SERIES
    assert "no request has reached it, or its pods are gone" in measurement.detail
    servers.serves = True
    harness.clock.time += 30
    assert measured(harness, "error-rate").value == 30


def test_rates_of_two_exporters_are_compared_by_exact_counts() -> None:
    """Both count requests and failures, so the comparison has the counts of both."""
    servers = ModelServers()
    harness = MetricsHarness(servers)
    measured(harness, "error-rate", counters=True)
    servers.now += 60
    harness.clock.time += 60
    counters = measured(harness, "error-rate", counters=True).counters
    assert counters is not None
    assert (counters.candidate.requests, counters.candidate.errors) == (600, 180)
    assert (counters.stable.requests, counters.stable.errors) == (5400, 0)


def test_latencies_of_two_exporters_are_not_compared_and_it_is_said() -> None:
    """They time different parts of a request."""

    def both_have_histograms(query: str) -> QueryResult:
        if query.startswith("count by"):
            names = {STABLE: "vllm:request_success_total", CANDIDATE: ":tensorflow:serving:request_count"}
            return rows(
                *(
                    row(1, namespace="models", revision_name=revision, autocanary_metric=metric)
                    for revision, metric in names.items()
                    if re.search(r"\(namespace, revision_name,", query) and revision in query
                )
            )
        return rows()

    measurement = measured(MetricsHarness(both_have_histograms), "request-duration", counters=True)
    assert measurement.counters is None
    assert (
        "mnist-predictor-00002 is measured by tensorflow-serving, mnist-predictor-00001 by vllm" in measurement.detail
    )
    assert "latencies are not compared" in measurement.detail
