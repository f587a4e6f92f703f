"""The tables: complete, consistent, and honest about what is missing."""

from __future__ import annotations

import re

import promql_parser
import pytest

from autocanary.model.measurement import Source
from autocanary.prometheus.exporters import PRESETS, Exporter, ExporterVariant, GaugeMetric, HistogramMetric
from autocanary.prometheus.preset_queries import (
    preset_query,
    preset_rows,
    probe_query,
    traffic_query,
    traffic_rows,
)
from autocanary.prometheus.revision_labels import RevisionTarget
from autocanary.prometheus.sources import EXPORTERS, exporter_variants
from tests.prometheus.scripted_prometheus import row, rows

TARGETS = [
    RevisionTarget("models", "mnist-predictor-00001"),
    RevisionTarget("team-a", "mnist-predictor-00002"),
]
SIDES = [RevisionTarget("admin", f"tensorflow-mnist-predictor-{side}-00001") for side in ("default", "canary")]
"""KFServing's; with ``-deployment-`` behind them they are longer than what a pod's name keeps of it."""
LLM = ("time-to-first-token", "time-per-output-token", "queue-time", "kv-cache-usage")


def test_every_source_has_an_exporter() -> None:
    """Whatever a policy can name is there, and AUTO is all of them in order of preference."""
    assert {exporter.source for exporter in EXPORTERS} == set(Source) - {Source.AUTO}
    order = list(dict.fromkeys(variant.source for variant in exporter_variants(Source.AUTO)))
    assert order[:4] == [Source.KNATIVE, Source.KNATIVE_OTEL, Source.ISTIO, Source.KOURIER]
    assert order[-1] is Source.KSERVE
    for source in order:
        assert all(variant.source is source for variant in exporter_variants(source))


@pytest.mark.parametrize("exporter", EXPORTERS, ids=str)
def test_every_preset_is_measured_or_has_a_reason(exporter: Exporter) -> None:
    """No preset is both, none is neither, and patterns are valid."""
    for metric in PRESETS:
        why = exporter.unsupported_reason(metric)
        assert not (why and metric in exporter.measures)
        assert why == "" or len(why) > 20
    for counted in exporter.counted:
        assert bool(counted.label) == bool(counted.bad or counted.good)
        re.compile(counted.bad or counted.good)


@pytest.mark.parametrize("metric", LLM)
def test_token_presets_only_for_vllm(metric: str) -> None:
    """The others say that they do not measure it."""
    able = {exporter.source for exporter in EXPORTERS if not exporter.unsupported_reason(metric)}
    assert able == {Source.VLLM}
    assert f"knative does not measure {metric}" in EXPORTERS[0].unsupported_reason(metric)


def test_unsupported_reason_names_an_alternative() -> None:
    """No errors at KServe's server, no quantiles at TorchServe; an unknown preset lists the known."""
    kserve = next(exporter for exporter in EXPORTERS if exporter.source is Source.KSERVE)
    assert "counts no errors" in kserve.unsupported_reason("error-rate")
    torchserve = next(exporter for exporter in EXPORTERS if exporter.source is Source.TORCHSERVE)
    assert "no quantile" in torchserve.unsupported_reason("request-duration")
    assert "known are request-success-rate" in kserve.unsupported_reason("request-sucess-rate")


@pytest.mark.parametrize("variant", exporter_variants(Source.AUTO), ids=str)
def test_every_variant_makes_valid_promql(variant: ExporterVariant) -> None:
    """Traffic, every measure and the probe parse, and each names every target.

    The parser is asked directly: the limits of size are for a policy's own queries.
    """
    queries = [traffic_query(variant, 60, TARGETS)]
    queries += [preset_query(variant, metric, 0.99, 60, TARGETS) for metric in variant.exporter.measures]
    metrics = [counted.metric for counted in variant.exporter.counted]
    queries.append(probe_query(variant.revision_labels, {variant.exporter.matchers: metrics, "": metrics}, TARGETS))
    for query in queries:
        assert isinstance(promql_parser.parse(query), promql_parser.Expr)
        assert all(target.namespace in query and target.revision in query for target in TARGETS)


@pytest.mark.parametrize("variant", exporter_variants(Source.AUTO), ids=str)
def test_both_sides_of_a_kfserving_service_are_read_by_every_preset(variant: ExporterVariant) -> None:
    """Default's revision and canary's, asked about together: each gets its own numbers and no other's."""
    stated = [
        row(100 * (number + 1), **_labels(variant, side), autocanary="count0") for number, side in enumerate(SIDES)
    ]
    read = traffic_rows(variant, SIDES, rows(*stated))
    assert [read[side].count for side in SIDES] == [100, 200]
    for metric in variant.exporter.measures:
        query = preset_query(variant, metric, 0.99, 60, SIDES)
        assert isinstance(promql_parser.parse(query), promql_parser.Expr)
        answer = rows(*(row(number, **_labels(variant, side)) for number, side in enumerate(SIDES)))
        assert preset_rows(variant, SIDES, answer) == {side: float(n) for n, side in enumerate(SIDES)}


def _labels(variant: ExporterVariant, target: RevisionTarget) -> dict[str, str]:
    return dict(zip(variant.revision_labels.group_labels, variant.revision_labels.label_values(target), strict=True))


def test_exporter_units_are_declared() -> None:
    """Milliseconds, microseconds and ratios become seconds and percent."""
    factors = {
        measure.metric: measure.factor if isinstance(measure, GaugeMetric) else measure.per_second
        for exporter in EXPORTERS
        for measures in exporter.measures.values()
        for measure in measures
    }
    assert factors["revision_request_latencies"] == 1000
    assert factors["istio_request_duration_milliseconds"] == 1000
    assert factors["envoy_cluster_upstream_rq_time"] == 1000
    assert factors[":tensorflow:serving:request_latency"] == 1_000_000
    assert factors["nv_inference_request_summary_us"] == 1_000_000
    assert factors["vllm:kv_cache_usage_perc"] == 100
    assert all(factor == 1 for metric, factor in factors.items() if metric.endswith("_seconds"))


def test_histograms_declare_their_largest_bucket() -> None:
    """Knative's OpenTelemetry histograms stop at 10 s, which LLMs exceed."""
    ends = {
        measure.ceiling
        for exporter in EXPORTERS
        if exporter.source is Source.KNATIVE_OTEL
        for measures in exporter.measures.values()
        for measure in measures
        if isinstance(measure, HistogramMetric)
    }
    assert ends == {10.0}
