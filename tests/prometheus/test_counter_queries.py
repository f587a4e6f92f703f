"""Raw counters: the queries parse, and their rows become scrapes that can be counted, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping

import promql_parser
import pytest

from autocanary.model.measurement import Source
from autocanary.prometheus.counter_queries import (
    CounterFamily,
    counter_family,
    counters_query,
    process_history_query,
)
from autocanary.prometheus.counter_samples import ParsedCounters, parse_counter_rows, parse_history_rows
from autocanary.prometheus.counter_tracking import BAD, GOOD, SEPARATE_FAILURE, WITHIN_BOUND
from autocanary.prometheus.exporters import ExporterVariant, RequestCounter
from autocanary.prometheus.query_answer import QueryResponse, VectorSample
from autocanary.prometheus.revision_labels import POD_NAME, PROMOTED, RELABELLED, TARGET_INFO, RevisionTarget
from autocanary.prometheus.sources import exporter_variants
from tests.prometheus.scripted_prometheus import row

CANARY = RevisionTarget("models", "mnist-predictor-00002")
STABLE = RevisionTarget("models", "mnist-predictor-00001")
POD = "mnist-predictor-00002-deployment-5d8f-abcde"
WHERE = {"namespace_name": "models", "revision_name": CANARY.revision}
POD_A = {**WHERE, "pod_name": POD, "instance": "10.0.0.1:9091", "job": "pods"}


def family(
    metric: str = "error-rate",
    source: Source = Source.KNATIVE,
    number: int = 0,
    revision_labels: object = None,
) -> CounterFamily:
    variants = [each for each in exporter_variants(source) if revision_labels in (None, each.revision_labels)]
    found = counter_family(variants[number], metric)
    assert isinstance(found, CounterFamily)
    return found


def parsed(asked: CounterFamily, *samples: VectorSample, at: float = 1000.0) -> ParsedCounters:
    now = row(at, autocanary="now")
    return parse_counter_rows(asked, [CANARY, STABLE], QueryResponse((now, *samples)))[CANARY]


def at(stamp: float, labels: Mapping[str, str], series: float = 2) -> VectorSample:
    return row(series, autocanary="at", autocanary_at=str(stamp), **labels)


def count(value: float | None, labels: Mapping[str, str], code: str = "2xx", number: int = 0) -> VectorSample:
    return row(value, autocanary=f"count{number}", response_code_class=code, **labels)


@pytest.mark.parametrize("variant", exporter_variants(Source.AUTO), ids=str)
@pytest.mark.parametrize("metric", ["error-rate", "request-success-rate", "request-duration"])
def test_every_counter_family_is_one_valid_query(variant: ExporterVariant, metric: str) -> None:
    """The counters as they are, with the times of their samples; never a rate."""
    found = counter_family(variant, metric)
    if isinstance(found, str):
        assert variant.source in (Source.KSERVE, Source.TRITON, Source.TORCHSERVE)
        return
    for query in (counters_query(found, [CANARY, STABLE]), process_history_query(found, [CANARY])):
        promql_parser.parse(query)
        assert "rate(" not in query
        assert "increase(" not in query
    assert counters_query(found, [CANARY]).count("timestamp(") == (
        1 if metric == "request-duration" else len(variant.exporter.counted)
    )


@pytest.mark.parametrize(
    ("source", "metric", "why"),
    [
        (Source.KSERVE, "request-duration", "a fast failure would look like a speed-up"),
        (Source.KSERVE, "error-rate", "counts no errors"),
        (Source.TRITON, "request-duration", "has no histogram"),
        (Source.TORCHSERVE, "request-duration", "only sums its latencies up"),
        (Source.KNATIVE, "request-count", "only error-rate, request-success-rate and request-duration"),
        (Source.VLLM, "time-to-first-token", "only error-rate"),
    ],
)
def test_metric_without_counters_says_why(source: Source, metric: str, why: str) -> None:
    """One sentence, which stands beside the reading."""
    found = counter_family(exporter_variants(source)[0], metric)
    assert isinstance(found, str)
    assert why in found


def test_rows_become_scrapes_by_process() -> None:
    """Pods are kept apart, failures are known by their code, and each has the time of its samples."""
    pod_b = {**POD_A, "pod_name": f"{POD}-b", "instance": "10.0.0.2:9091"}
    found = parsed(
        family(),
        count(100, POD_A),
        count(3, POD_A, "5xx"),
        count(7, POD_A, "4xx"),
        at(990.5, POD_A, 4),
        count(50, pod_b),
        at(985, pod_b),
        at(985, {**POD_A, "revision_name": "nobody"}),
    )
    assert found.problem == ""
    assert found.update.at == 1000
    first, second = sorted(found.update.scrapes, key=lambda scrape: scrape.process)
    assert (first.process, first.instance, first.at, first.series) == (POD, "10.0.0.1:9091", 990.5, 4)
    assert first.values == {(GOOD, "2xx"): 100, (BAD, "5xx"): 3, (GOOD, "4xx"): 7}
    assert (second.process, second.at) == (f"{POD}-b", 985)


def test_target_without_rows_gives_an_empty_update() -> None:
    """A complete query that finds nothing; without its time it is none."""
    assert parsed(family()) == ParsedCounters(parsed(family()).update)
    assert parsed(family()).update.scrapes == []
    assert parse_counter_rows(family(), [CANARY], QueryResponse((count(100, POD_A),))) == {}


def test_non_finite_and_negative_values_are_skipped() -> None:
    """NaN, a native histogram, a negative number, a bound or a stamp that is none."""
    found = parsed(
        family("request-duration"),
        count(float("nan"), POD_A, "2xx"),
        count(None, POD_A, "3xx"),
        count(-1, POD_A, "4xx"),
        count(5, POD_A, "5xx"),
        row(1, autocanary="le", le="many", **POD_A),
        row(1, autocanary="le", le="+Inf", **POD_A),
        row(1, autocanary="other", **POD_A),
        at(float("nan"), POD_A),
        row(1, autocanary="at", autocanary_at="noon", **POD_A),
        at(990, POD_A),
    )
    [scrape] = found.update.scrapes
    assert scrape.values == {(BAD, "5xx"): 5}


def test_response_without_time_gives_nothing() -> None:
    """A scrape of an unknown time."""
    assert parsed(family(), count(5, POD_A)).update.scrapes == []


def test_several_counters_of_one_exporter_are_one_scrape() -> None:
    """Triton counts success and failure under two names."""
    triton = family(source=Source.TRITON)
    where = {"namespace": "models", "revision_name": CANARY.revision, "instance": "10.0.0.1:8002"}
    found = parsed(triton, count(9, where, "", 0), count(1, where, "", 1), at(999, where))
    [scrape] = found.update.scrapes
    assert scrape.values == {
        (GOOD, "requests"): 10,
        (SEPARATE_FAILURE, "requests"): 1,
    }
    assert scrape.process == "10.0.0.1"


def test_buckets_are_in_seconds() -> None:
    """Queue-proxy's milliseconds; failures beside a histogram with codes are not subtracted again."""
    found = parsed(
        family("request-duration"),
        row(80, autocanary="le", le="250", **POD_A),
        row(90, autocanary="le", le="5e2", **POD_A),
        count(95, POD_A),
        count(5, POD_A, "5xx"),
        row(5, autocanary="apart0", **POD_A),
        at(990, POD_A),
    )
    assert found.update.scrapes[0].values == {
        (WITHIN_BOUND, 0.25): 80,
        (WITHIN_BOUND, 0.5): 90,
        (GOOD, "2xx"): 95,
        (BAD, "5xx"): 5,
    }


def test_failures_without_code_are_counted_separately() -> None:
    """Kourier's has none, and a queue-proxy's may have lost its own."""
    asked = family("request-duration")
    total = row(100, autocanary="count0", **POD_A)
    found = parsed(asked, total, row(5, autocanary="apart0", **POD_A), at(990, POD_A))
    assert found.update.scrapes[0].values == {(GOOD, ""): 100, (SEPARATE_FAILURE, "apart0"): 5}
    assert "apart0" in counters_query(family("request-duration", Source.KOURIER), [CANARY])


def test_replicas_and_jobs_are_scrapes_of_one_process() -> None:
    """Their paths differ; the process is the pod, or without one the host."""
    replica_a, replica_b = ({**POD_A, "prometheus_replica": each} for each in "ab")
    found = parsed(
        family(),
        count(100, replica_a),
        at(990, replica_a),
        count(101, replica_b),
        at(991, replica_b),
    )
    assert {scrape.process for scrape in found.update.scrapes} == {POD}
    assert len({scrape.scrape_labels for scrape in found.update.scrapes}) == 2
    bare = [{**WHERE, "instance": f"10.0.0.1:{port}"} for port in (9088, 9091)]
    found = parsed(family(), *(count(1, each) for each in bare), *(at(990, each) for each in bare))
    assert {scrape.process for scrape in found.update.scrapes} == {"10.0.0.1"}
    assert {scrape.instance for scrape in found.update.scrapes} == {"10.0.0.1:9088", "10.0.0.1:9091"}


def test_job_without_pod_label_maps_to_the_pod_by_host() -> None:
    """Its address does."""
    nameless = {**WHERE, "instance": "10.0.0.1:9088", "job": "other"}
    found = parsed(family(), count(100, POD_A), at(990, POD_A), count(100, nameless), at(991, nameless))
    assert [scrape.process for scrape in found.update.scrapes] == [POD, POD]


def test_indistinguishable_scrapes_are_refused() -> None:
    """Samples of different times under the same labels: two servers' series were added up."""
    found = parsed(family(), count(201, POD_A), at(990, POD_A), at(994, POD_A))
    assert not found.update.scrapes
    assert "prometheus_replica" in found.problem


def test_a_pushed_batch_is_one_scrape() -> None:
    """Its samples are stamped one after the other, within milliseconds."""
    found = parsed(family(), count(201, POD_A), at(990.001, POD_A, 1), at(990.003, POD_A, 1))
    [scrape] = found.update.scrapes
    assert (found.problem, scrape.at, scrape.series) == ("", 990.003, 2)


def test_series_without_pod_or_instance_is_refused() -> None:
    """Neither a pod nor an instance: a restart could not be seen."""
    found = parsed(family(), count(100, WHERE), at(990, WHERE))
    assert "neither a label pod nor instance" in found.problem


def test_a_native_histogram_is_refused() -> None:
    """The exporter is looked for again; a classic one beside it is counted."""
    native = row(1, autocanary="native", **WHERE)
    assert "looked for again" in parsed(family("request-duration"), native).problem
    both = parsed(family("request-duration"), native, count(1, POD_A), at(990, POD_A))
    assert both.problem == ""


def shared(revision_labels: object) -> CounterFamily:
    found = [
        each
        for each in exporter_variants(Source.KNATIVE_OTEL)
        if each.exporter.also_exported_by and each.revision_labels is revision_labels
    ]
    asked = counter_family(found[0], "error-rate")
    assert isinstance(asked, CounterFamily)
    return asked


def test_activator_series_are_not_counted() -> None:
    """Both export a request under one name; only the revision's own pods count."""
    where = {"k8s_namespace_name": "models", "kn_revision_name": CANARY.revision}
    own = {**where, "k8s_pod_name": POD, "instance": "a"}
    activator = {**where, "k8s_pod_name": "activator-77f-x", "instance": "b"}
    ok = {"autocanary": "count0", "http_response_status_code": "200"}
    found = parsed(
        shared(PROMOTED),
        row(10, **ok, **own),
        at(990, own),
        row(10, **ok, **activator),
        at(991, activator),
    )
    assert [scrape.process for scrape in found.update.scrapes] == [POD]
    found = parsed(shared(PROMOTED), row(10, **ok, **activator), at(991, activator))
    assert "exported by the activator, too" in found.problem
    assert (
        shared(TARGET_INFO).variant.exporter.also_exported_by
        == shared(POD_NAME).variant.exporter.also_exported_by
        == "the activator"
    )


def test_target_info_with_two_owners_is_dropped() -> None:
    """What OpenTelemetry says of a scraped address must be about one revision at a time."""
    asked = family(source=Source.KNATIVE_OTEL, revision_labels=TARGET_INFO)
    query = counters_query(asked, [CANARY])
    assert "count by (job, instance) (target_info) == 1" in query
    assert "group_left (k8s_namespace_name, kn_revision_name, k8s_pod_name)" in query
    assert "topk" not in query


def test_process_history_lists_processes() -> None:
    """By pod, or by host."""
    asked = family(source=Source.MLSERVER, revision_labels=RELABELLED)
    where = {"namespace": "models", "revision_name": CANARY.revision}
    found = parse_history_rows(
        asked,
        [CANARY, STABLE],
        QueryResponse(
            (
                row(3, **where, pod=POD, instance="10.0.0.1:8082"),
                row(3, **where, instance="10.0.0.2:8082"),
                row(3, **{**where, "namespace": "others"}, pod="x"),
            )
        ),
    )
    assert found == {CANARY: {POD, "10.0.0.2"}, STABLE: set()}
    assert "[1h]" in process_history_query(asked, [CANARY])


@pytest.mark.parametrize(
    ("counted", "fails", "passes"),
    [
        (RequestCounter("m", label="code", bad="5..|0"), ("500", "0"), ("200", "", "50", "5000")),
        (RequestCounter("m", label="status", good="OK"), ("INTERNAL", ""), ("OK",)),
        (RequestCounter("m", failed=True), ("",), ()),
        (RequestCounter("m"), (), ("", "500")),
    ],
)
def test_failure_codes_by_source(counted: RequestCounter, fails: tuple[str, ...], passes: tuple[str, ...]) -> None:
    """As the same pattern in PromQL, which matches the whole value."""
    assert all(counted.fails(value) for value in fails)
    assert not any(counted.fails(value) for value in passes)


def test_ensemble_counts_a_request_once() -> None:
    """Per 100 requests of a Triton ensemble: 10 % of 100, and not 6.67 % of 300."""
    triton = family(source=Source.TRITON)
    where = {"namespace": "models", "revision_name": CANARY.revision, "instance": "10.0.0.1:8002"}
    models = {"preprocess": (100, 0), "classifier": (90, 10), "ensemble": (90, 10)}
    samples = [
        count(value, {**where, "model": model}, "", number)
        for model, counted in models.items()
        for number, value in enumerate(counted)
    ]
    [scrape] = parsed(triton, *samples, at(999, where)).update.scrapes
    assert scrape.values == {(GOOD, "requests"): 100, (SEPARATE_FAILURE, "requests"): 10}
