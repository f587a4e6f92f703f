"""Raw counters: the queries parse, and their rows become scrapes that can be counted, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping

import promql_parser
import pytest

from autocanary.model.measurement import Source
from autocanary.prometheus.counter_queries import Family, family_of, history_query, raw_query
from autocanary.prometheus.counter_samples import Heard, heard_rows, history_rows
from autocanary.prometheus.counter_tracking import APART, BAD, GOOD, WITHIN
from autocanary.prometheus.presets import Counted, Variant
from autocanary.prometheus.query_answer import Answer, Sample
from autocanary.prometheus.revision_labels import POD_NAME, PROMOTED, RELABELLED, TARGET_INFO, Target
from autocanary.prometheus.sources import variants_of
from tests.prometheus.fake_prometheus import row

CANARY = Target("models", "mnist-predictor-00002")
STABLE = Target("models", "mnist-predictor-00001")
POD = "mnist-predictor-00002-deployment-5d8f-abcde"
WHERE = {"namespace_name": "models", "revision_name": CANARY.revision}
POD_A = {**WHERE, "pod_name": POD, "instance": "10.0.0.1:9091", "job": "pods"}


def family(
    metric: str = "error-rate", source: Source = Source.KNATIVE, number: int = 0, labelling: object = None
) -> Family:
    variants = [each for each in variants_of(source) if labelling in (None, each.labelling)]
    found = family_of(variants[number], metric)
    assert isinstance(found, Family)
    return found


def heard(asked: Family, *samples: Sample, at: float = 1000.0) -> Heard:
    now = row(at, autocanary="now")
    return heard_rows(asked, [CANARY, STABLE], Answer((now, *samples)))[CANARY]


def at(stamp: float, labels: Mapping[str, str], series: float = 2) -> Sample:
    return row(series, autocanary="at", autocanary_at=str(stamp), **labels)


def count(value: float | None, labels: Mapping[str, str], code: str = "2xx", number: int = 0) -> Sample:
    return row(value, autocanary=f"count{number}", response_code_class=code, **labels)


@pytest.mark.parametrize("variant", variants_of(Source.AUTO), ids=str)
@pytest.mark.parametrize("metric", ["error-rate", "request-success-rate", "request-duration"])
def test_every_family_is_asked_in_one_well_formed_query(variant: Variant, metric: str) -> None:
    """The counters as they are, with the times of their samples; never a rate."""
    found = family_of(variant, metric)
    if isinstance(found, str):
        assert variant.source in (Source.KSERVE, Source.TRITON, Source.TORCHSERVE)
        return
    for query in (raw_query(found, [CANARY, STABLE]), history_query(found, [CANARY])):
        promql_parser.parse(query)
        assert "rate(" not in query
        assert "increase(" not in query
    assert raw_query(found, [CANARY]).count("timestamp(") == (
        1 if metric == "request-duration" else len(variant.meter.counted)
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
def test_what_has_no_counters_says_why(source: Source, metric: str, why: str) -> None:
    """One sentence, which stands beside the reading."""
    found = family_of(variants_of(source)[0], metric)
    assert isinstance(found, str)
    assert why in found


def test_rows_become_scrapes_by_process() -> None:
    """Pods are kept apart, failures are told by their code, and each has the time of its samples."""
    pod_b = {**POD_A, "pod_name": f"{POD}-b", "instance": "10.0.0.2:9091"}
    found = heard(
        family(),
        count(100, POD_A),
        count(3, POD_A, "5xx"),
        count(7, POD_A, "4xx"),
        at(990.5, POD_A, 4),
        count(50, pod_b),
        at(985, pod_b),
        at(985, {**POD_A, "revision_name": "nobody"}),
    )
    assert found.trouble == ""
    assert found.look.at == 1000
    first, second = sorted(found.look.scrapes, key=lambda scrape: scrape.process)
    assert (first.process, first.instance, first.at, first.series) == (POD, "10.0.0.1:9091", 990.5, 4)
    assert first.values == {(GOOD, "2xx"): 100, (BAD, "5xx"): 3, (GOOD, "4xx"): 7}
    assert (second.process, second.at) == (f"{POD}-b", 985)


def test_silence_is_heard_too() -> None:
    """A complete look that finds nothing; without the time of the look it is none."""
    assert heard(family()) == Heard(heard(family()).look)
    assert heard(family()).look.scrapes == []
    assert heard_rows(family(), [CANARY], Answer((count(100, POD_A),))) == {}


def test_values_that_are_no_counts_are_left_out() -> None:
    """NaN, a native histogram, a negative number, a bound or a stamp that is none."""
    found = heard(
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
    [scrape] = found.look.scrapes
    assert scrape.values == {(BAD, "5xx"): 5}


def test_counters_without_a_time_are_left_out() -> None:
    """A scrape of which nobody knows when it was."""
    assert heard(family(), count(5, POD_A)).look.scrapes == []


def test_several_counters_of_one_exporter_are_one_scrape() -> None:
    """Triton counts success and failure under two names."""
    triton = family(source=Source.TRITON)
    where = {"namespace": "models", "revision_name": CANARY.revision, "instance": "10.0.0.1:8002"}
    found = heard(triton, count(9, where, "", 0), count(1, where, "", 1), at(999, where))
    [scrape] = found.look.scrapes
    assert scrape.values == {
        (GOOD, "nv_inference_request_success"): 9,
        (BAD, "nv_inference_request_failure"): 1,
    }
    assert scrape.process == "10.0.0.1"


def test_buckets_are_in_seconds() -> None:
    """Queue-proxy's milliseconds; failures beside a histogram with codes are not subtracted again."""
    found = heard(
        family("request-duration"),
        row(80, autocanary="le", le="250", **POD_A),
        row(90, autocanary="le", le="5e2", **POD_A),
        count(95, POD_A),
        count(5, POD_A, "5xx"),
        row(5, autocanary="apart0", **POD_A),
        at(990, POD_A),
    )
    assert found.look.scrapes[0].values == {
        (WITHIN, 0.25): 80,
        (WITHIN, 0.5): 90,
        (GOOD, "2xx"): 95,
        (BAD, "5xx"): 5,
    }


def test_failures_beside_a_histogram_without_codes_are_kept_apart() -> None:
    """Kourier's has none, and a queue-proxy's may have lost its own."""
    asked = family("request-duration")
    total = row(100, autocanary="count0", **POD_A)
    found = heard(asked, total, row(5, autocanary="apart0", **POD_A), at(990, POD_A))
    assert found.look.scrapes[0].values == {(GOOD, ""): 100, (APART, "apart0"): 5}
    assert "apart0" in raw_query(family("request-duration", Source.KOURIER), [CANARY])


def test_replicas_and_jobs_are_scrapes_of_one_process() -> None:
    """Their paths differ; the process is the pod, or without one the host."""
    replica_a, replica_b = ({**POD_A, "prometheus_replica": each} for each in "ab")
    found = heard(
        family(),
        count(100, replica_a),
        at(990, replica_a),
        count(101, replica_b),
        at(991, replica_b),
    )
    assert {scrape.process for scrape in found.look.scrapes} == {POD}
    assert len({scrape.path for scrape in found.look.scrapes}) == 2
    bare = [{**WHERE, "instance": f"10.0.0.1:{port}"} for port in (9088, 9091)]
    found = heard(family(), *(count(1, each) for each in bare), *(at(990, each) for each in bare))
    assert {scrape.process for scrape in found.look.scrapes} == {"10.0.0.1"}
    assert {scrape.instance for scrape in found.look.scrapes} == {"10.0.0.1:9088", "10.0.0.1:9091"}


def test_a_job_that_does_not_name_the_pod_scrapes_it_all_the_same() -> None:
    """Its address does."""
    nameless = {**WHERE, "instance": "10.0.0.1:9088", "job": "other"}
    found = heard(family(), count(100, POD_A), at(990, POD_A), count(100, nameless), at(991, nameless))
    assert [scrape.process for scrape in found.look.scrapes] == [POD, POD]


def test_scrapes_that_cannot_be_told_apart_are_refused() -> None:
    """Samples of different times under the same labels: two servers' series were added up."""
    found = heard(family(), count(201, POD_A), at(990, POD_A), at(994, POD_A))
    assert not found.look.scrapes
    assert "prometheus_replica" in found.trouble


def test_a_pushed_batch_is_one_scrape() -> None:
    """Its samples are stamped one after the other, within milliseconds."""
    found = heard(family(), count(201, POD_A), at(990.001, POD_A, 1), at(990.003, POD_A, 1))
    [scrape] = found.look.scrapes
    assert (found.trouble, scrape.at, scrape.series) == ("", 990.003, 2)


def test_a_series_of_nobody_cannot_be_counted() -> None:
    """Neither a pod nor an instance: a restart could not be seen."""
    found = heard(family(), count(100, WHERE), at(990, WHERE))
    assert "neither a label pod nor instance" in found.trouble


def test_a_native_histogram_is_refused() -> None:
    """Unless the classic one is kept beside it."""
    native = row(1, autocanary="native", **WHERE)
    assert "always_scrape_classic_histograms" in heard(family("request-duration"), native).trouble
    both = heard(family("request-duration"), native, count(1, POD_A), at(990, POD_A))
    assert both.trouble == ""


def shared(labelling: object) -> Family:
    found = [
        each for each in variants_of(Source.KNATIVE_OTEL) if each.meter.also and each.labelling is labelling
    ]
    asked = family_of(found[0], "error-rate")
    assert isinstance(asked, Family)
    return asked


def test_the_activator_beside_queue_proxy_is_not_counted() -> None:
    """Both export a request under one name; only the revision's own pods count."""
    where = {"k8s_namespace_name": "models", "kn_revision_name": CANARY.revision}
    own = {**where, "k8s_pod_name": POD, "instance": "a"}
    activator = {**where, "k8s_pod_name": "activator-77f-x", "instance": "b"}
    ok = {"autocanary": "count0", "http_response_status_code": "200"}
    found = heard(
        shared(PROMOTED),
        row(10, **ok, **own),
        at(990, own),
        row(10, **ok, **activator),
        at(991, activator),
    )
    assert [scrape.process for scrape in found.look.scrapes] == [POD]
    found = heard(shared(PROMOTED), row(10, **ok, **activator), at(991, activator))
    assert "exported by the activator, too" in found.trouble
    assert shared(TARGET_INFO).variant.meter.also == shared(POD_NAME).variant.meter.also == "the activator"


def test_a_target_with_two_owners_is_left_out() -> None:
    """What OpenTelemetry says of a scraped address must be about one revision at a time."""
    asked = family(source=Source.KNATIVE_OTEL, labelling=TARGET_INFO)
    query = raw_query(asked, [CANARY])
    assert "count by (job, instance) (target_info) == 1" in query
    assert "group_left (k8s_namespace_name, kn_revision_name, k8s_pod_name)" in query
    assert "topk" not in query


def test_the_history_names_processes() -> None:
    """By pod, or by host."""
    asked = family(source=Source.MLSERVER, labelling=RELABELLED)
    where = {"namespace": "models", "revision_name": CANARY.revision}
    found = history_rows(
        asked,
        [CANARY, STABLE],
        Answer(
            (
                row(3, **where, pod=POD, instance="10.0.0.1:8082"),
                row(3, **where, instance="10.0.0.2:8082"),
                row(3, **{**where, "namespace": "others"}, pod="x"),
            )
        ),
    )
    assert found == {CANARY: {POD, "10.0.0.2"}, STABLE: set()}
    assert "[1h]" in history_query(asked, [CANARY])


@pytest.mark.parametrize(
    ("counted", "fails", "passes"),
    [
        (Counted("m", label="code", bad="5..|0"), ("500", "0"), ("200", "", "50", "5000")),
        (Counted("m", label="status", good="OK"), ("INTERNAL", ""), ("OK",)),
        (Counted("m", failed=True), ("",), ()),
        (Counted("m"), (), ("", "500")),
    ],
)
def test_which_codes_are_failures(counted: Counted, fails: tuple[str, ...], passes: tuple[str, ...]) -> None:
    """As the same pattern in PromQL, which matches the whole value."""
    assert all(counted.fails(value) for value in fails)
    assert not any(counted.fails(value) for value in passes)
