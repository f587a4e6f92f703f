"""Which kind of "no number" a reading is."""

from __future__ import annotations

import math

import pytest

from autocanary.errors import MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import Question, Reading, ReadingKind, Source, Unit
from autocanary.prometheus.exporter_discovery import Found
from autocanary.prometheus.measurements import (
    Evidence,
    custom_reading,
    preset_reading,
    undiscovered,
    unsupported,
)
from autocanary.prometheus.preset_queries import Traffic
from autocanary.prometheus.presets import Variant
from autocanary.prometheus.query_answer import Answer
from autocanary.prometheus.query_plan import Result
from autocanary.prometheus.sources import variants_of
from tests.prometheus.fake_prometheus import question, row, rows

[KNATIVE] = variants_of(Source.KNATIVE)
OTEL = variants_of(Source.KNATIVE_OTEL)[0]
TRITON = variants_of(Source.TRITON)[0]
BUSY = Traffic(count=200, failed=3, age=1)


def read(metric: str, evidence: Evidence, variant: Variant = KNATIVE) -> Reading:
    return preset_reading(question(metric, source=variant.source), variant, evidence)


@pytest.mark.parametrize(
    ("metric", "measured", "value", "unit"),
    [
        ("request-success-rate", None, 98.5, Unit.PERCENT),
        ("error-rate", None, 1.5, Unit.PERCENT),
        ("request-count", None, 200, Unit.REQUESTS),
        ("request-duration", 0.25, 0.25, Unit.SECONDS),
    ],
)
def test_numbers_have_units_requests_age_and_source(
    metric: str, measured: float | None, value: float, unit: Unit
) -> None:
    """A value says from how many requests, how fresh, and who measured it."""
    reading = read(metric, Evidence(BUSY, measured))
    assert reading == Reading(ReadingKind.VALUE, value, unit, 200, 1, Source.KNATIVE)


def test_no_failures_are_a_hundred_percent() -> None:
    """No series of failures means none; rounding never makes more than all."""
    assert read("request-success-rate", Evidence(Traffic(5, 0, 1))).value == 100
    assert read("error-rate", Evidence(Traffic(5, 0, 1))).value == 0
    assert read("request-success-rate", Evidence(Traffic(5, 5.0000001, 1))).value == 0


@pytest.mark.parametrize(
    ("evidence", "kind", "requests", "said"),
    [
        (Evidence(Traffic(0, 0, 1)), ReadingKind.NO_SERIES, 0, "no request was completed within 1m"),
        (Evidence(Traffic(None, 0, None), seen=True), ReadingKind.NO_SERIES, 0, "no request has reached"),
        (Evidence(Traffic(None, 0, None)), ReadingKind.NO_SERIES, None, "looked for revision_request_count"),
        (Evidence(Traffic(None, 0, 2)), ReadingKind.NO_SERIES, None, "fewer than two samples"),
        (Evidence(Traffic(None, 0, 75)), ReadingKind.STALE, None, "1m15s old, older than the window of 1m"),
        (Evidence(Traffic(9, 0, 75)), ReadingKind.STALE, 9, "1m15s old"),
        (Evidence(Traffic(9, 0, None)), ReadingKind.STALE, 9, "has stopped within the last 1m"),
        (Evidence(Traffic(0, 0, None)), ReadingKind.STALE, 0, "has stopped"),
        (Evidence(BUSY, warning="a store is down"), ReadingKind.PARTIAL, 200, "a store is down"),
        (Evidence(Traffic(), warning="a store is down"), ReadingKind.PARTIAL, None, "a store is down"),
        (Evidence(error=MetricsUnreachable("it is away")), ReadingKind.OUTAGE, None, "it is away"),
        (Evidence(BUSY, error=MetricsRefused("too much")), ReadingKind.REFUSED, 200, "too much"),
        (Evidence(Traffic(math.nan, 0, 1)), ReadingKind.NOT_A_NUMBER, None, "nan"),
    ],
)
def test_missing_numbers_are_told_apart(
    evidence: Evidence, kind: ReadingKind, requests: float | None, said: str
) -> None:
    """Each has its own kind and its own sentence."""
    reading = read("error-rate", evidence)
    assert reading.kind is kind
    assert said in reading.detail
    assert reading.requests == requests


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_quantile_that_is_no_number(value: float) -> None:
    """An empty histogram gives NaN although requests are counted."""
    reading = read("request-duration", Evidence(BUSY, value))
    assert (reading.kind, reading.value) == (ReadingKind.NOT_A_NUMBER, None)


def test_a_missing_histogram_is_no_data_with_its_name() -> None:
    """Requests are counted, latencies are not: an exporter's option, or native histograms alone."""
    reading = read("request-duration", Evidence(BUSY))
    assert reading.kind is ReadingKind.NO_SERIES
    assert "revision_request_latencies" in reading.detail
    assert reading.requests == 200


def test_triton_without_summaries_says_how_to_get_them() -> None:
    """It has no histogram to fall back on."""
    reading = read("request-duration", Evidence(BUSY), TRITON)
    assert reading.kind is ReadingKind.UNSUPPORTED
    assert "summary_latencies=true" in reading.detail


def test_a_quantile_at_the_end_of_the_histogram_is_marked() -> None:
    """Ten seconds from Knative's histogram are ten seconds or more."""
    full = read("request-duration", Evidence(BUSY, 10.0), OTEL)
    assert (full.kind, full.value) == (ReadingKind.VALUE, 10.0)
    assert "at least 10 s" in full.detail
    assert read("request-duration", Evidence(BUSY, 9.9), OTEL).detail == ""


def test_nothing_found_says_what_was_looked_for() -> None:
    """Names that a person can search for in Prometheus, the stable revision included."""
    asked = question(source=Source.KOURIER)
    reading = undiscovered(asked, Found())
    assert (reading.kind, reading.requests) == (ReadingKind.NO_SERIES, None)
    assert "mnist-predictor-00002 or mnist-predictor-00001" in reading.detail
    assert "envoy_cluster_upstream_rq with {envoy_cluster_name}" in reading.detail


def test_a_failed_search_is_an_outage_or_partial() -> None:
    """Not finding is no finding when the probes failed."""
    assert undiscovered(question(), Found(error=MetricsUnreachable("away"))).kind is ReadingKind.OUTAGE
    assert undiscovered(question(), Found(warning="store is down")).kind is ReadingKind.PARTIAL


def test_unsupported_names_its_source() -> None:
    """The one asked for, or the one that was found; none when any would do."""
    assert unsupported(question(source=Source.TRITON), "no").source is Source.TRITON
    assert unsupported(question(source=Source.AUTO), "no").source is None
    assert unsupported(question(source=Source.AUTO), "no", Source.KSERVE).source is Source.KSERVE


@pytest.mark.parametrize(
    ("result", "kind", "value", "said"),
    [
        (rows(row(4.5)), ReadingKind.VALUE, 4.5, ""),
        (Answer((row(4.5),), kind="scalar"), ReadingKind.VALUE, 4.5, ""),
        (rows(), ReadingKind.NO_SERIES, None, "no series"),
        (rows(row(1, a="x"), row(2, a="y")), ReadingKind.AMBIGUOUS, None, '2 series, for example {a="x"}'),
        (rows(row(None)), ReadingKind.NOT_A_NUMBER, None, "native histogram"),
        (rows(row(math.nan)), ReadingKind.NOT_A_NUMBER, None, "nan"),
        (rows(row(math.inf)), ReadingKind.NOT_A_NUMBER, None, "inf"),
        (Answer((), kind="matrix"), ReadingKind.AMBIGUOUS, None, "gives a matrix"),
        (Answer((), kind="string"), ReadingKind.AMBIGUOUS, None, "gives a string"),
        (rows(row(4.5), warnings=["store is down"]), ReadingKind.PARTIAL, 4.5, "store is down"),
        (rows(warnings=["store is down"]), ReadingKind.PARTIAL, None, "store is down"),
        (MetricsRefused("bad"), ReadingKind.REFUSED, None, "bad"),
        (MetricsUnreachable("away"), ReadingKind.OUTAGE, None, "away"),
    ],
)
def test_custom_queries(result: Result, kind: ReadingKind, value: float | None, said: str) -> None:
    """One number, or the reason why it is none and what to write."""
    reading = custom_reading(result, 12)
    assert (reading.kind, reading.value, reading.requests) == (kind, value, 12)
    assert (reading.unit, reading.source, reading.age) == (Unit.NUMBER, None, None)
    assert said in reading.detail


def test_details_stay_short() -> None:
    """They go into a status that etcd keeps."""
    assert len(custom_reading(MetricsRefused("x" * 5000), None).detail) < 500


def test_a_question_without_a_stable_revision_reads_well() -> None:
    """The very first revision has none."""
    lone = Question(
        "models", "mnist", "predictor", "mnist-predictor-00001", "", Source.KNATIVE, 60, "error-rate"
    )
    detail = preset_reading(lone, KNATIVE, Evidence()).detail
    assert "models/mnist-predictor-00001; looked for" in detail
