"""The tables: complete, consistent, and honest about what is missing."""

from __future__ import annotations

import re

import pytest

from autocanary import promql
from autocanary.model.measurement import Source
from autocanary.prometheus.preset_queries import (
    measure_query,
    measured_rows,
    probe_query,
    traffic_query,
    traffic_rows,
)
from autocanary.prometheus.presets import PRESETS, Gauge, Histogram, Meter, Variant
from autocanary.prometheus.revision_labels import Target
from autocanary.prometheus.sources import METERS, variants_of
from tests.prometheus.fake_prometheus import row, rows

TARGETS = [Target("models", "mnist-predictor-00001"), Target("team-a", "mnist-predictor-00002")]
SIDES = [Target("admin", f"tensorflow-mnist-predictor-{side}-00001") for side in ("default", "canary")]
"""KFServing's; with ``-deployment-`` behind them they are longer than what a pod's name keeps of it."""
LLM = ("time-to-first-token", "time-per-output-token", "queue-time", "kv-cache-usage")


def test_every_source_has_a_table() -> None:
    """Whatever a policy can name is there, and AUTO is all of them in order of preference."""
    assert {meter.source for meter in METERS} == set(Source) - {Source.AUTO}
    order = list(dict.fromkeys(variant.source for variant in variants_of(Source.AUTO)))
    assert order[:4] == [Source.KNATIVE, Source.KNATIVE_OTEL, Source.ISTIO, Source.KOURIER]
    assert order[-1] is Source.KSERVE
    for source in order:
        assert all(variant.source is source for variant in variants_of(source))


@pytest.mark.parametrize("meter", METERS, ids=str)
def test_every_preset_is_measured_or_denied_in_words(meter: Meter) -> None:
    """No preset is both, none is neither, and patterns are valid."""
    for metric in PRESETS:
        why = meter.lack(metric)
        assert not (why and metric in meter.measures)
        assert why == "" or len(why) > 20
    for counted in meter.counted:
        assert bool(counted.label) == bool(counted.bad or counted.good)
        re.compile(counted.bad or counted.good)


@pytest.mark.parametrize("metric", LLM)
def test_tokens_are_only_known_to_vllm(metric: str) -> None:
    """The others say that they do not measure it."""
    able = {meter.source for meter in METERS if not meter.lack(metric)}
    assert able == {Source.VLLM}
    assert f"knative does not measure {metric}" in METERS[0].lack(metric)


def test_what_a_source_cannot_give_names_the_way_out() -> None:
    """No errors at KServe's server, no quantiles at TorchServe; an unknown preset lists the known."""
    kserve = next(meter for meter in METERS if meter.source is Source.KSERVE)
    assert "counts no errors" in kserve.lack("error-rate")
    torchserve = next(meter for meter in METERS if meter.source is Source.TORCHSERVE)
    assert "no quantile" in torchserve.lack("request-duration")
    assert "known are request-success-rate" in kserve.lack("request-sucess-rate")


@pytest.mark.parametrize("variant", variants_of(Source.AUTO), ids=str)
def test_every_variant_makes_valid_promql(variant: Variant) -> None:
    """Traffic, every measure and the probe parse, and each asks about every target."""
    queries = [traffic_query(variant, 60, TARGETS)]
    queries += [measure_query(variant, metric, 0.99, 60, TARGETS) for metric in variant.meter.measures]
    metrics = [counted.metric for counted in variant.meter.counted]
    queries.append(probe_query(variant.labelling, metrics, variant.meter.matchers, TARGETS))
    for query in queries:
        assert promql.check(query) is None
        assert all(target.namespace in query and target.revision in query for target in TARGETS)


@pytest.mark.parametrize("variant", variants_of(Source.AUTO), ids=str)
def test_both_sides_of_a_kfserving_service_are_read_by_every_preset(variant: Variant) -> None:
    """Default's revision and canary's, asked about together: each gets its own numbers and no other's."""
    stated = [
        row(100 * (number + 1), **_labels(variant, side), autocanary="count0")
        for number, side in enumerate(SIDES)
    ]
    read = traffic_rows(variant, SIDES, rows(*stated))
    assert [read[side].count for side in SIDES] == [100, 200]
    for metric in variant.meter.measures:
        query = measure_query(variant, metric, 0.99, 60, SIDES)
        assert promql.check(query) is None
        told = rows(*(row(number, **_labels(variant, side)) for number, side in enumerate(SIDES)))
        assert measured_rows(variant, SIDES, told) == {side: float(n) for n, side in enumerate(SIDES)}


def _labels(variant: Variant, target: Target) -> dict[str, str]:
    return dict(zip(variant.labelling.by, variant.labelling.key(target), strict=True))


def test_units_are_stated_where_exporters_differ() -> None:
    """Milliseconds, microseconds and ratios become seconds and percent."""
    factors = {
        measure.metric: measure.factor if isinstance(measure, Gauge) else measure.per_second
        for meter in METERS
        for measures in meter.measures.values()
        for measure in measures
    }
    assert factors["revision_request_latencies"] == 1000
    assert factors["istio_request_duration_milliseconds"] == 1000
    assert factors["envoy_cluster_upstream_rq_time"] == 1000
    assert factors[":tensorflow:serving:request_latency"] == 1_000_000
    assert factors["nv_inference_request_summary_us"] == 1_000_000
    assert factors["vllm:kv_cache_usage_perc"] == 100
    assert all(factor == 1 for metric, factor in factors.items() if metric.endswith("_seconds"))


def test_histograms_that_end_early_say_where() -> None:
    """Knative's OpenTelemetry histograms stop at 10 s, which LLMs exceed."""
    ends = {
        measure.ceiling
        for meter in METERS
        if meter.source is Source.KNATIVE_OTEL
        for measures in meter.measures.values()
        for measure in measures
        if isinstance(measure, Histogram)
    }
    assert ends == {10.0}
