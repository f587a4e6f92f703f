"""Which kind of "no number" a measurement is."""

from __future__ import annotations

import math

import pytest

from autocanary.errors import MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, Source, Unit
from autocanary.prometheus.exporter_discovery import DiscoveredExporters
from autocanary.prometheus.exporters import ExporterVariant
from autocanary.prometheus.measurements import (
    QueryOutcome,
    custom_measurement,
    preset_measurement,
    undiscovered_measurement,
    unsupported_measurement,
)
from autocanary.prometheus.preset_queries import TrafficCounts
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.query_plan import QueryResult
from autocanary.prometheus.sources import exporter_variants
from tests.prometheus.scripted_prometheus import metric_query, row, rows

[KNATIVE] = exporter_variants(Source.KNATIVE)
OTEL = exporter_variants(Source.KNATIVE_OTEL)[0]
TRITON = exporter_variants(Source.TRITON)[0]
BUSY = TrafficCounts(count=200, failed=3, age=1)


def read(metric: str, evidence: QueryOutcome, variant: ExporterVariant = KNATIVE) -> Measurement:
    return preset_measurement(metric_query(metric, source=variant.source), variant, evidence)


@pytest.mark.parametrize(
    ("metric", "preset_value", "value", "unit"),
    [
        ("request-success-rate", None, 98.5, Unit.PERCENT),
        ("error-rate", None, 1.5, Unit.PERCENT),
        ("request-count", None, 200, Unit.REQUESTS),
        ("request-duration", 0.25, 0.25, Unit.SECONDS),
    ],
)
def test_value_has_unit_requests_age_and_source(
    metric: str, preset_value: float | None, value: float, unit: Unit
) -> None:
    """A value says from how many requests, how fresh, and who measured it."""
    measurement = read(metric, QueryOutcome(BUSY, preset_value))
    assert measurement == Measurement(MeasurementKind.VALUE, value, unit, 200, 1, Source.KNATIVE)


def test_success_rate_without_failures_is_100() -> None:
    """No series of failures means none; rounding never makes more than all."""
    assert read("request-success-rate", QueryOutcome(TrafficCounts(5, 0, 1))).value == 100
    assert read("error-rate", QueryOutcome(TrafficCounts(5, 0, 1))).value == 0
    assert read("request-success-rate", QueryOutcome(TrafficCounts(5, 5.0000001, 1))).value == 0


@pytest.mark.parametrize(
    ("evidence", "kind", "requests", "said"),
    [
        (
            QueryOutcome(TrafficCounts(0, 0, 1)),
            MeasurementKind.NO_SERIES,
            0,
            "completed no request within 1m",
        ),
        (
            QueryOutcome(TrafficCounts(None, 0, None), ever_had_series=True),
            MeasurementKind.NO_SERIES,
            0,
            "no request has reached",
        ),
        (
            QueryOutcome(TrafficCounts(None, 0, None)),
            MeasurementKind.NO_SERIES,
            None,
            "looked for revision_request_count",
        ),
        (QueryOutcome(TrafficCounts(None, 0, 2)), MeasurementKind.NO_SERIES, None, "fewer than two samples"),
        (
            QueryOutcome(TrafficCounts(None, 0, 75)),
            MeasurementKind.STALE,
            None,
            "1m15s old, older than the window of 1m",
        ),
        (QueryOutcome(TrafficCounts(9, 0, 75)), MeasurementKind.STALE, 9, "1m15s old"),
        (QueryOutcome(TrafficCounts(9, 0, None)), MeasurementKind.STALE, 9, "has stopped within the last 1m"),
        (QueryOutcome(TrafficCounts(0, 0, None)), MeasurementKind.STALE, 0, "has stopped"),
        (QueryOutcome(BUSY, warning="a store is down"), MeasurementKind.PARTIAL, 200, "a store is down"),
        (
            QueryOutcome(TrafficCounts(), warning="a store is down"),
            MeasurementKind.PARTIAL,
            None,
            "a store is down",
        ),
        (QueryOutcome(error=MetricsUnreachable("it is away")), MeasurementKind.OUTAGE, None, "it is away"),
        (QueryOutcome(BUSY, error=MetricsRefused("too much")), MeasurementKind.REFUSED, 200, "too much"),
        (QueryOutcome(TrafficCounts(math.nan, 0, 1)), MeasurementKind.NOT_A_NUMBER, None, "nan"),
    ],
)
def test_each_missing_value_has_its_own_kind(
    evidence: QueryOutcome, kind: MeasurementKind, requests: float | None, said: str
) -> None:
    """Each has its own kind and its own sentence."""
    measurement = read("error-rate", evidence)
    assert measurement.kind is kind
    assert said in measurement.detail
    assert measurement.requests == requests


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_quantile_is_not_a_number(value: float) -> None:
    """An empty histogram gives NaN although requests are counted."""
    measurement = read("request-duration", QueryOutcome(BUSY, value))
    assert (measurement.kind, measurement.value) == (MeasurementKind.NOT_A_NUMBER, None)


def test_missing_histogram_is_named() -> None:
    """Requests are counted, latencies are not: an exporter's option, or native histograms alone."""
    measurement = read("request-duration", QueryOutcome(BUSY))
    assert measurement.kind is MeasurementKind.NO_SERIES
    assert "revision_request_latencies" in measurement.detail
    assert measurement.requests == 200


def test_triton_without_summaries_gives_a_hint() -> None:
    """It has no histogram to fall back on."""
    measurement = read("request-duration", QueryOutcome(BUSY), TRITON)
    assert measurement.kind is MeasurementKind.UNSUPPORTED
    assert "summary_latencies=true" in measurement.detail


def test_quantile_at_largest_bucket_is_marked() -> None:
    """Ten seconds from Knative's histogram are ten seconds or more."""
    full = read("request-duration", QueryOutcome(BUSY, 10.0), OTEL)
    assert (full.kind, full.value) == (MeasurementKind.VALUE, 10.0)
    assert "at least 10 s" in full.detail
    assert read("request-duration", QueryOutcome(BUSY, 9.9), OTEL).detail == ""


def test_undiscovered_lists_searched_series() -> None:
    """Names that a user can search for in Prometheus, the stable revision included."""
    asked = metric_query(source=Source.KOURIER)
    measurement = undiscovered_measurement(asked, DiscoveredExporters())
    assert (measurement.kind, measurement.requests) == (MeasurementKind.NO_SERIES, None)
    assert "mnist-predictor-00002 or mnist-predictor-00001" in measurement.detail
    assert "envoy_cluster_upstream_rq with {envoy_cluster_name}" in measurement.detail


def test_failed_discovery_is_outage_or_partial() -> None:
    """Not finding is no finding when the probes failed."""
    assert (
        undiscovered_measurement(metric_query(), DiscoveredExporters(error=MetricsUnreachable("away"))).kind
        is MeasurementKind.OUTAGE
    )
    assert (
        undiscovered_measurement(metric_query(), DiscoveredExporters(warning="store is down")).kind
        is MeasurementKind.PARTIAL
    )


def test_unsupported_names_its_source() -> None:
    """The one asked for, or the one that was found; none when any would do."""
    assert unsupported_measurement(metric_query(source=Source.TRITON), "no").source is Source.TRITON
    assert unsupported_measurement(metric_query(source=Source.AUTO), "no").source is None
    assert unsupported_measurement(metric_query(source=Source.AUTO), "no", Source.KSERVE).source is Source.KSERVE


@pytest.mark.parametrize(
    ("result", "kind", "value", "said"),
    [
        (rows(row(4.5)), MeasurementKind.VALUE, 4.5, ""),
        (QueryResponse((row(4.5),), kind="scalar"), MeasurementKind.VALUE, 4.5, ""),
        (rows(), MeasurementKind.NO_SERIES, None, "no series"),
        (
            rows(row(1, a="x"), row(2, a="y")),
            MeasurementKind.AMBIGUOUS,
            None,
            '2 series, for example {a="x"}',
        ),
        (rows(row(None)), MeasurementKind.NOT_A_NUMBER, None, "native histogram"),
        (rows(row(math.nan)), MeasurementKind.NOT_A_NUMBER, None, "nan"),
        (rows(row(math.inf)), MeasurementKind.NOT_A_NUMBER, None, "inf"),
        (QueryResponse((), kind="matrix"), MeasurementKind.AMBIGUOUS, None, "gives a matrix"),
        (QueryResponse((), kind="string"), MeasurementKind.AMBIGUOUS, None, "gives a string"),
        (rows(row(4.5), warnings=["store is down"]), MeasurementKind.PARTIAL, 4.5, "store is down"),
        (rows(warnings=["store is down"]), MeasurementKind.PARTIAL, None, "store is down"),
        (MetricsRefused("bad"), MeasurementKind.REFUSED, None, "bad"),
        (MetricsUnreachable("away"), MeasurementKind.OUTAGE, None, "away"),
    ],
)
def test_custom_queries(result: QueryResult, kind: MeasurementKind, value: float | None, said: str) -> None:
    """One number, or the reason why it is none and what to write."""
    measurement = custom_measurement(result, 12)
    assert (measurement.kind, measurement.value, measurement.requests) == (kind, value, 12)
    assert (measurement.unit, measurement.source, measurement.age) == (Unit.NUMBER, None, None)
    assert said in measurement.detail


def test_long_detail_is_truncated() -> None:
    """They go into a status that etcd keeps."""
    assert len(custom_measurement(MetricsRefused("x" * 5000), None).detail) < 500


def test_detail_without_stable_revision() -> None:
    """The very first revision has none."""
    lone = MetricQuery("models", "mnist", "predictor", "mnist-predictor-00001", "", Source.KNATIVE, 60, "error-rate")
    detail = preset_measurement(lone, KNATIVE, QueryOutcome()).detail
    assert "models/mnist-predictor-00001; looked for" in detail
