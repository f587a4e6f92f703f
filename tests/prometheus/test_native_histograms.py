"""Counts within bounds from native histograms: exact, or not given."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.model.measurement import MeasurementKind, Source
from autocanary.prometheus.exporters import CLIENT_BOUNDS, HistogramMetric
from autocanary.prometheus.native_histograms import bounds_of, counts_within
from autocanary.prometheus.query_answer import MalformedResponseError, NativeHistogram, parse_response
from autocanary.prometheus.sources import EXPORTERS
from tests.prometheus.scripted_prometheus import MetricsHarness, knative, metric_query, row, rows, traffic

LATENCIES = st.lists(st.floats(min_value=0.0006, max_value=900, allow_nan=False), min_size=1, max_size=60)


def custom(latencies: Sequence[float], bounds: Sequence[float]) -> NativeHistogram:
    """The histogram as Prometheus makes it of a classic one: its empty buckets are not shown."""
    counts = Counter(bisect_left(bounds, latency) for latency in latencies)
    edges = (-math.inf, *bounds, math.inf)
    buckets = tuple((edges[place], edges[place + 1], float(count)) for place, count in sorted(counts.items()))
    return NativeHistogram(len(latencies), buckets)


def exponential(latencies: Sequence[float], schema: int) -> NativeHistogram:
    """The histogram with bounds that are powers of 2^(2^-schema)."""
    steps = 2**schema
    counts = Counter(math.ceil(math.log2(latency) * steps) for latency in latencies)
    buckets = tuple((2 ** ((at - 1) / steps), 2 ** (at / steps), float(count)) for at, count in sorted(counts.items()))
    return NativeHistogram(len(latencies), buckets)


@given(LATENCIES)
def test_custom_buckets_count_exactly_by_the_exporters_bounds(latencies: list[float]) -> None:
    """For every bound of the exporter, also of those whose buckets are empty."""
    histogram = custom(latencies, CLIENT_BOUNDS)
    bounds = bounds_of([histogram], CLIENT_BOUNDS, 1)
    assert bounds == CLIENT_BOUNDS
    exact = {bound: sum(latency <= bound for latency in latencies) for bound in CLIENT_BOUNDS}
    assert counts_within(histogram, bounds) == exact


@given(LATENCIES, st.lists(st.floats(min_value=0.001, max_value=100), min_size=1, max_size=8, unique=True))
def test_other_custom_bounds_are_counted_where_they_are_known(latencies: list[float], own: list[float]) -> None:
    """An exporter whose bounds were changed: no count is wrong, whatever the documented bounds say."""
    histogram = custom(latencies, sorted(own))
    found = counts_within(histogram, bounds_of([histogram], CLIENT_BOUNDS, 1))
    seen = {bound for low, high, _ in histogram.buckets for bound in (low, high) if math.isfinite(bound)}
    assert seen <= {*found, *CLIENT_BOUNDS} or all(math.log2(bound) % 1 == 0 for bound in found)
    for bound, count in found.items():
        assert count == sum(latency <= bound for latency in latencies)


@given(LATENCIES, st.integers(min_value=0, max_value=8))
def test_exponential_buckets_count_exactly_by_powers_of_two(latencies: list[float], schema: int) -> None:
    """At each resolution, so that a bound stays when Prometheus merges buckets."""
    histogram = exponential(latencies, schema)
    bounds = bounds_of([histogram], CLIENT_BOUNDS, 1)
    found = counts_within(histogram, bounds)
    by_powers = all(math.log2(bound) % 1 == 0 for bound in bounds)
    assert by_powers or {high for _, high, _ in histogram.buckets} <= set(CLIENT_BOUNDS)
    if by_powers:
        assert set(found) == set(bounds)
        assert min(found) < 0.001
        assert max(found) > 1000
    edge = 1e-9  # an observation beside a bound falls on either side of it by rounding
    for bound, count in found.items():
        low = sum(latency <= bound * (1 - edge) for latency in latencies)
        high = sum(latency <= bound * (1 + edge) for latency in latencies)
        assert low <= count <= high


def test_exponential_bounds_are_those_of_seconds() -> None:
    """A histogram in milliseconds is counted over the same range of seconds."""
    bounds = bounds_of([exponential([3.3, 170.0, 6000.0], 3)], (), 1000)
    assert (bounds[0], bounds[-1]) == (0.5, 2.0**21)


def test_every_compared_histogram_has_documented_bounds() -> None:
    """Without them a comparison knows only the bounds of buckets that have been hit."""
    for exporter in EXPORTERS:
        for measure in exporter.measures.get("request-duration", ()):
            if isinstance(measure, HistogramMetric):
                assert list(measure.bounds) == sorted(set(measure.bounds))
                assert len(measure.bounds) > 10


@pytest.mark.parametrize(
    "given_histogram",
    [
        [1, {"sum": "1"}],
        [1, {"count": "1", "buckets": [["0", "1"]]}],
        [1, {"count": "x"}],
        [1],
        [1, 2],
        ["x", {"count": "1"}],
    ],
)
def test_malformed_histograms_are_errors(given_histogram: list[object]) -> None:
    """What is not Prometheus' form of a histogram is no answer."""
    result = [{"metric": {}, "histogram": given_histogram}]
    with pytest.raises(MalformedResponseError):
        parse_response({"status": "success", "data": {"resultType": "vector", "result": result}})


def test_histogram_of_the_query_api_is_parsed() -> None:
    """As Prometheus 3.16 writes it; no bucket at all where there are no observations."""
    given_histogram = {"count": "88", "sum": "9", "buckets": [[3, "-Inf", "0.1", "44"], [0, "1", "+Inf", "44"]]}
    result = [{"metric": {"a": "b"}, "histogram": each} for each in ([1.5, given_histogram], [1.5, {"count": "0"}])]
    full, empty = parse_response({"status": "success", "data": {"resultType": "vector", "result": result}}).samples
    assert full.value is None
    assert full.histogram == NativeHistogram(88, ((-math.inf, 0.1, 44), (1, math.inf, 44)))
    assert empty.histogram == NativeHistogram(0, ())


def test_conflicting_counter_resets_are_no_partial_answer() -> None:
    """One process began again, another did not: their sum is right all the same."""
    payload = {"status": "success", "data": {"resultType": "vector", "result": []}}
    reset = "PromQL warning: conflicting counter resets during histogram aggregation (1:5)"
    assert parse_response({**payload, "warnings": [reset]}).warnings == ()
    assert parse_response({**payload, "warnings": ["PromQL warning: other"]}).warnings == ("PromQL warning: other",)


def test_native_form_is_found_within_the_round_that_misses_the_classic_one() -> None:
    """A source with one label scheme is not probed until its histogram is missing; then once, and remembered."""
    name = "revision_request_latencies"
    where = knative()

    def respond(query: str) -> object:
        if "__name__" in query:
            return rows(*(row(1, **where, autocanary_metric=each) for each in (name, "revision_request_count")))
        if query.startswith("histogram_quantile"):
            return rows() if f"{name}_bucket" in query else rows(row(250.0 / 1000, **where))
        return rows(*traffic(100.0))

    harness = MetricsHarness(respond)  # type: ignore[arg-type]
    asked = metric_query("request-duration", source=Source.KNATIVE)
    found = harness.query_one(asked)
    assert (found.kind, found.value) == (MeasurementKind.VALUE, 0.25)
    first = len(harness.fake.queries)
    assert harness.query_one(asked) == found
    assert len(harness.fake.queries) - first == 2
