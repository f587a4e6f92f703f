"""Calls that the client cancelled: one rule for all sources that can tell them, in each kind of number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocanary.model.measurement import CancelledCalls, Source
from autocanary.prometheus.counter_queries import CounterFamily, counter_family, counters_query
from autocanary.prometheus.counter_samples import parse_counter_rows
from autocanary.prometheus.counter_tracking import BAD, GOOD, SEPARATE_FAILURE
from autocanary.prometheus.exporters import ExporterVariant, with_cancelled
from autocanary.prometheus.preset_queries import traffic_query
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.revision_labels import RevisionTarget
from autocanary.prometheus.sources import exporter_variants
from autocanary.promql import syntax_error
from tests.prometheus.scripted_prometheus import MetricsHarness, metric_query, row, rows

CANCELLED_LABELS = {
    Source.ISTIO: 'response_flags=~"DC|DR"',
    Source.VLLM: 'finished_reason="abort"',
    Source.TRITON: 'reason="CANCELED"',
    Source.TENSORFLOW_SERVING: 'status="CANCELLED"',
}
TARGET = RevisionTarget("models", "mnist-predictor-00002")
HOST = {"autocanary_revision": "mnist-predictor-00002.models", "instance": "gateway:15020", "job": "istio"}


def failing(source: Source) -> ExporterVariant:
    return with_cancelled(exporter_variants(source)[0], CancelledCalls.FAILURE)


@pytest.mark.parametrize("source", [source for source in Source if source is not Source.AUTO])
def test_each_source_either_counts_them_apart_or_is_left_as_it_is(source: Source) -> None:
    """By default they are left out; as failures they are counted beside the others."""
    variant, counting = exporter_variants(source)[0], failing(source)
    assert with_cancelled(variant, CancelledCalls.IGNORE) is variant
    if source not in CANCELLED_LABELS:
        assert counting is variant
        return
    for query, times in ((traffic_query(variant, 60, [TARGET]), 0), (traffic_query(counting, 60, [TARGET]), 1)):
        assert syntax_error(query) is None
        assert query.count(f"increase({variant.counted[-1].metric}{{") >= times
        assert (CANCELLED_LABELS[source] in query) is bool(times)
    for metric in ("error-rate", "request-duration"):
        family = counter_family(counting, metric)
        if isinstance(family, CounterFamily):
            assert CANCELLED_LABELS[source] in counters_query(family, [TARGET])


def test_thresholds_count_them_as_failures() -> None:
    """90 good, 5 failed, 5 cancelled: 5.26 % of 95, or 10 % of 100."""

    def respond(query: str) -> QueryResponse:
        where = {"autocanary_revision": "mnist-predictor-00002.models"}
        found = [
            row(90, **where, autocanary="count0"),
            row(5, **where, autocanary="count0", autocanary_failed="1"),
            row(1, **where, autocanary="age"),
        ]
        if CANCELLED_LABELS[Source.ISTIO] in query:
            found.append(row(5, **where, autocanary="count1", autocanary_failed="1"))
        return rows(*found)

    asked = metric_query("error-rate", source=Source.ISTIO)
    harness = MetricsHarness(respond)
    ignored = harness.query_one(asked)
    counted = harness.query_one(replace(asked, cancelled=CancelledCalls.FAILURE))
    assert (ignored.requests, counted.requests) == (95, 100)
    assert ignored.value == pytest.approx(100 * 5 / 95)
    assert counted.value == pytest.approx(10)


@pytest.mark.parametrize("metric", ["error-rate", "request-duration"])
def test_comparisons_count_them_as_failures(metric: str) -> None:
    """Beside the codes of the others, so that neither overwrites the other."""
    family = counter_family(failing(Source.ISTIO), metric)
    assert isinstance(family, CounterFamily)
    answer = rows(
        row(90, **HOST, autocanary="count0", response_code="200"),
        row(5, **HOST, autocanary="count0", response_code="503"),
        row(7, **HOST, autocanary="count1"),
        row(4, **HOST, autocanary="at", autocanary_at="990"),
        row(1000, autocanary="now"),
    )
    [scrape] = parse_counter_rows(family, [TARGET], answer)[TARGET].update.scrapes
    name = "" if metric == "request-duration" else "istio_requests_total"
    assert scrape.values == {(GOOD, "200"): 90, (BAD, "503"): 5, (BAD, name): 7}


def test_histograms_without_codes_have_them_subtracted() -> None:
    """As other failures are: a cancelled call is within no bound."""
    family = counter_family(failing(Source.VLLM), "request-duration")
    assert isinstance(family, CounterFamily)
    query = counters_query(family, [TARGET])
    assert '"autocanary", "apart0"' in query
    assert '"autocanary", "apart1"' in query
    where = {"namespace": "models", "revision_name": TARGET.revision, "instance": "a:8080"}
    answer = rows(
        row(100, **where, autocanary="count0"),
        row(80, **where, autocanary="le", le="1.0"),
        row(3, **where, autocanary="apart0"),
        row(7, **where, autocanary="apart1"),
        row(1, **where, autocanary="at", autocanary_at="990"),
        row(1000, autocanary="now"),
    )
    [scrape] = parse_counter_rows(family, [TARGET], answer)[TARGET].update.scrapes
    assert (scrape.values[SEPARATE_FAILURE, "apart0"], scrape.values[SEPARATE_FAILURE, "apart1"]) == (3, 7)
