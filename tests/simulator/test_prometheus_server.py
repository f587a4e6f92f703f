"""The Metrics port answers with the numbers Prometheus would give, and with each of its faults."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autocanary.model.measurement import (
    Measurement,
    MeasurementKind,
    MetricQuery,
    RequestCounters,
    Source,
    Unit,
)
from autocanary.model.policy import Component
from autocanary.simulator.prometheus_server import PrometheusFault, extrapolation, histogram_quantile
from autocanary.simulator.random_counts import LATENCY_BOUNDS
from autocanary.simulator.response_quality import Quality, Tokens
from autocanary.simulator.traffic import RequestLoad, ScrapedSample
from autocanary.simulator.world import World

V1, V2 = "iris-predictor-00001", "iris-predictor-00002"
SUCCESS = MetricQuery("models", "iris", "predictor", V2, V1, Source.AUTO, 60.0, "request-success-rate")


def world(quality: Quality | None = None, weight: int = 50, load: float = 100.0) -> World:
    made = World(load=RequestLoad(load))
    made.model("v2", quality=quality or Quality(error_percent=0.0))
    made.deploy("iris", "v1")
    made.advance(30)
    made.deploy("iris", "v2", weight=weight)
    made.advance(180)
    return made


def ask(made: World, question: MetricQuery) -> Measurement:
    return made.metrics.query([question])[question]


def test_rates_are_percent_with_the_requests_they_were_made_from() -> None:
    """50 per second in a minute are about 3,000; 4 % of them fail."""
    made = world(Quality(error_percent=4.0))
    success, errors = ask(made, SUCCESS), ask(made, replace(SUCCESS, metric="error-rate"))
    assert success.kind is errors.kind is MeasurementKind.VALUE
    assert success.value == pytest.approx(96.0, abs=1.5)
    assert (success.value or 0) + (errors.value or 0) == pytest.approx(100.0)
    assert success.requests == pytest.approx(3000, rel=0.1)
    assert (success.unit, success.source) == (Unit.PERCENT, Source.KNATIVE)
    assert success.age is not None
    assert 0 <= success.age <= 15


def test_the_count_is_an_increase_over_the_window() -> None:
    """Twice the window, twice the count."""
    made = world()
    counts = [ask(made, replace(SUCCESS, metric="request-count", window=window)).value for window in (60.0, 120.0)]
    assert counts[0] == pytest.approx(3000, rel=0.1)
    assert counts[1] == pytest.approx(6000, rel=0.1)


def test_a_quantile_is_interpolated_between_the_bounds() -> None:
    """The lognormal's own quantiles come back within the width of a bucket."""
    made = world(Quality(latency_seconds=0.1, spread=0.5))
    median = ask(made, replace(SUCCESS, metric="request-duration", quantile=0.5))
    p99 = ask(made, replace(SUCCESS, metric="request-duration"))
    assert (median.unit, p99.unit) == (Unit.SECONDS, Unit.SECONDS)
    assert median.value == pytest.approx(0.1, abs=0.02)
    assert p99.value == pytest.approx(0.1 * math.exp(0.5 * 2.326), abs=0.06)


def test_the_arithmetic_of_histogram_quantile() -> None:
    """Linear within a bucket, from 0 in the first, at most the highest bound, NaN when empty."""
    counts = [0.0] * (len(LATENCY_BOUNDS) + 1)
    assert math.isnan(histogram_quantile(0.5, counts))
    counts[0] = 10
    assert histogram_quantile(0.5, counts) == pytest.approx(LATENCY_BOUNDS[0] / 2)
    counts[1] = 10
    assert histogram_quantile(0.75, counts) == pytest.approx((LATENCY_BOUNDS[0] + LATENCY_BOUNDS[1]) / 2)
    assert histogram_quantile(0.0, counts) == 0.0
    counts[-1] = 1000
    assert histogram_quantile(0.99, counts) == LATENCY_BOUNDS[-1]


@pytest.mark.parametrize(
    ("first_at", "last_at", "start", "end", "before", "factor"),
    [
        (5.0, 50.0, 0.0, 60.0, 1000, 60 / 45),  # both edges within a scrape: extrapolated to the window
        (40.0, 55.0, 0.0, 60.0, 1000, (15 + 7.5 + 5) / 15),  # began within the window: half a scrape
        (5.0, 20.0, 0.0, 60.0, 1000, (15 + 5 + 7.5) / 15),  # ended within it
        (5.0, 50.0, 0.0, 60.0, 1, (45 + 0.45 + 10) / 45),  # never beyond where the counter was zero
    ],
)
def test_the_extrapolation_of_increase(
    first_at: float, last_at: float, start: float, end: float, before: int, factor: float
) -> None:
    """The rules of Prometheus' extrapolatedRate, case by case."""
    first, last = ScrapedSample(first_at, before, 0, ()), ScrapedSample(last_at, before + 100, 0, ())
    count = int((last_at - first_at) / 15) + 1
    assert extrapolation(first, last, count, start, end) == pytest.approx(factor)


def test_no_request_is_no_series() -> None:
    """Whether the revision never served, has stopped, or is not there; an unknown service has no value."""
    made = world(weight=0)
    for question in (SUCCESS, replace(SUCCESS, revision="gone")):
        measurement = ask(made, question)
        assert (measurement.kind, measurement.requests, measurement.value) == (MeasurementKind.NO_SERIES, 0.0, None)
    unknown = ask(made, replace(SUCCESS, service="nobody"))
    assert (unknown.kind, unknown.requests, unknown.value) == (MeasurementKind.NO_SERIES, None, None)
    made = world()
    made.deploy("iris", "v2", weight=0)
    made.advance(180)
    assert ask(made, SUCCESS).kind is MeasurementKind.NO_SERIES


def test_one_scrape_is_not_enough_for_an_increase() -> None:
    """Just after the first requests there is nothing to subtract from."""
    made = World(load=RequestLoad(100.0), start=1_767_225_600.0)
    made.deploy("iris", "v1")
    made.advance(16)
    question = replace(SUCCESS, revision=V1)
    assert ask(made, question).kind is MeasurementKind.NO_SERIES
    made.advance(30)
    assert ask(made, question).kind is MeasurementKind.VALUE


@pytest.mark.parametrize("metric", ["time-to-first-token", "time-per-output-token", "queue-time"])
def test_token_metrics_of_a_language_model(metric: str) -> None:
    """Medians as given, quantiles above them; a server without tokens does not measure them."""
    made = world(Quality(tokens=Tokens(first_seconds=0.5, each_seconds=0.5, queue_seconds=0.5, spread=0.4)))
    median = ask(made, replace(SUCCESS, metric=metric, quantile=0.5))
    assert median.value == pytest.approx(0.5)
    assert median.unit is Unit.SECONDS
    assert (ask(made, replace(SUCCESS, metric=metric)).value or 0) > 1.0
    assert ask(made, replace(SUCCESS, metric="kv-cache-usage")).value == 40.0
    assert ask(world(), replace(SUCCESS, metric=metric)).kind is MeasurementKind.UNSUPPORTED
    assert ask(world(), replace(SUCCESS, metric="kv-cache-usage")).kind is MeasurementKind.UNSUPPORTED


def test_the_source_that_was_asked_for_answers() -> None:
    """auto is answered by knative."""
    assert ask(world(), replace(SUCCESS, source=Source.ISTIO)).source is Source.ISTIO


def test_an_outage_has_a_beginning_and_an_end() -> None:
    """Faults are switched by virtual time."""
    made = world()
    made.metrics.faults.append(PrometheusFault(MeasurementKind.OUTAGE, made.now() + 60, made.now() + 120))
    kinds = []
    for _ in range(4):
        kinds.append(ask(made, SUCCESS).kind)
        made.advance(45)
    assert kinds == [
        MeasurementKind.VALUE,
        MeasurementKind.VALUE,
        MeasurementKind.OUTAGE,
        MeasurementKind.VALUE,
    ]


def test_a_fault_may_hit_one_service_only() -> None:
    """Others are answered."""
    made = world()
    made.metrics.faults.append(PrometheusFault(MeasurementKind.REFUSED, service="other"))
    assert ask(made, SUCCESS).kind is MeasurementKind.VALUE
    made.metrics.faults.append(PrometheusFault(MeasurementKind.REFUSED, namespace="models", service="iris"))
    refused = ask(made, SUCCESS)
    assert (refused.kind, refused.value, refused.requests) == (MeasurementKind.REFUSED, None, None)


def test_stopped_scrape_keeps_the_value_and_ages() -> None:
    """The number stays while its age grows."""
    made = world(Quality(error_percent=3.0))
    made.metrics.faults.append(PrometheusFault(MeasurementKind.STALE, made.now()))
    first = ask(made, SUCCESS)
    made.advance(300)
    later = ask(made, SUCCESS)
    assert first.kind is later.kind is MeasurementKind.STALE
    assert (later.value, later.requests) == (first.value, first.requests)
    assert later.age == pytest.approx((first.age or 0) + 300)
    assert "s old" in later.detail


@pytest.mark.parametrize(
    ("kind", "has_value", "has_requests"),
    [
        (MeasurementKind.PARTIAL, True, True),
        (MeasurementKind.NOT_A_NUMBER, False, True),
        (MeasurementKind.NO_SERIES, False, False),
        (MeasurementKind.AMBIGUOUS, False, True),
    ],
)
def test_measurement_under_each_prometheus_fault(kind: MeasurementKind, has_value: bool, has_requests: bool) -> None:
    """Partial answers keep their number; the others say in words what is wrong."""
    made = world()
    made.metrics.faults.append(PrometheusFault(kind))
    measurement = ask(made, SUCCESS)
    assert measurement.kind is kind
    assert (measurement.value is not None, measurement.requests is not None) == (has_value, has_requests)
    assert measurement.detail


def test_a_policys_own_query_is_answered_by_what_was_registered() -> None:
    """A number, a measurement, nothing, or NaN; an unknown query finds no series."""
    made = world()
    drift = replace(SUCCESS, metric="", query='sum(drift_alerts{revision="x"})')
    assert ask(made, drift).kind is MeasurementKind.NO_SERIES
    answers: list[float | Measurement | None] = [2.0, Measurement(MeasurementKind.AMBIGUOUS), None, math.nan]
    made.metrics.custom["drift_alerts"] = lambda question, now: answers.pop(0)
    assert [ask(made, drift).kind for _ in range(4)] == [
        MeasurementKind.VALUE,
        MeasurementKind.AMBIGUOUS,
        MeasurementKind.NO_SERIES,
        MeasurementKind.NOT_A_NUMBER,
    ]
    made.metrics.faults.append(PrometheusFault(MeasurementKind.OUTAGE))
    assert ask(made, drift).kind is MeasurementKind.OUTAGE


def test_every_query_gets_one_measurement() -> None:
    """All at once, and counted."""
    made = world()
    questions = [SUCCESS, replace(SUCCESS, metric="error-rate"), replace(SUCCESS, revision=V1)]
    assert set(made.metrics.query(questions)) == set(questions)
    assert made.metrics.asked == 3


COUNTED = replace(SUCCESS, metric="error-rate", counters=True)


def counted(made: World, question: MetricQuery = COUNTED) -> RequestCounters:
    counters = ask(made, question).counters
    assert counters is not None
    return counters


def test_counters_are_what_was_scraped_since_the_first_query() -> None:
    """A baseline first; then every request and failure of both revisions, at the same scrape."""
    made = world(Quality(error_percent=10.0))
    first = counted(made)
    assert (first.candidate.requests, first.stable.requests) == (0, 0)
    made.advance(60)
    later = counted(made)
    assert later.account_id == first.account_id
    assert later.at - first.at == 60
    assert later.candidate.requests == pytest.approx(3000, rel=0.1)
    assert later.candidate.errors == pytest.approx(300, rel=0.3)
    assert later.stable.errors < 30
    assert later.candidate.bucket_counts == later.bounds == ()


def test_counters_do_not_change_between_scrapes() -> None:
    """The same again, whichever rate is asked about."""
    made = world()
    made.advance(15 - made.now() % 15 + 1)
    first = counted(made)
    made.advance(5)
    assert counted(made) == first == counted(made, replace(COUNTED, metric="request-success-rate"))


def test_a_revision_that_starts_later_counts_from_its_first_request() -> None:
    """It was read before it had any."""
    made = world(weight=0)
    first = counted(made)
    made.deploy("iris", "v2", weight=50)
    made.advance(62)
    later = counted(made)
    series = made.traffic.series("models", "iris", Component.PREDICTOR)[V2]
    assert later.candidate.requests == series.samples[-1].requests > 0
    assert later.stable.requests > first.stable.requests


def test_latency_counts_successes_within_each_bound() -> None:
    """A failure is within none of them, even where the histogram has it."""
    made = world(Quality(error_percent=20.0, latency_seconds=0.02, spread=0.1))
    question = replace(COUNTED, metric="request-duration")
    counted(made, question)
    made.advance(60)
    totals, bounds = counted(made, question).candidate, counted(made, question).bounds
    assert bounds == LATENCY_BOUNDS
    assert totals.bucket_counts[bounds.index(0.005)] == 0
    assert totals.bucket_counts[-1] == totals.requests - totals.errors


@pytest.mark.parametrize("kind", [MeasurementKind.OUTAGE, MeasurementKind.PARTIAL, MeasurementKind.STALE])
def test_prometheus_fault_does_not_change_counters(kind: MeasurementKind) -> None:
    """The last counters again, and afterwards all of what was meanwhile."""
    made = world()
    made.advance(15 - made.now() % 15)
    first = counted(made)
    made.metrics.faults.append(PrometheusFault(kind, made.now()))
    made.advance(60)
    assert counted(made) == first
    made.metrics.faults.clear()
    later = counted(made)
    assert later.account_id == first.account_id
    assert later.candidate.requests == pytest.approx(3000, rel=0.1)


def test_silent_revision_delays_counters_only_briefly() -> None:
    """A minute and a half; then the other one's time is both's."""
    made = world()
    first = counted(made)
    made.deploy("iris", "v2")  # all of the traffic, so the other revision goes
    made.advance(60)
    assert counted(made).at <= first.at + 15
    made.advance(300)
    later = counted(made)
    assert later.at > first.at + 300
    assert later.candidate.requests > first.candidate.requests + 20_000


def test_restart_begins_a_new_epoch() -> None:
    """A difference to the one before means nothing."""
    made = world()
    first = counted(made)
    made.advance(60)
    made.metrics.restart()
    later = counted(made)
    assert later.account_id != first.account_id
    assert later.candidate.requests == 0


def test_queries_without_counters() -> None:
    """Other metrics, a policy's own PromQL, no stable revision, and queries that want no counters."""
    made = world()
    for question in (
        replace(COUNTED, metric="request-count"),
        replace(COUNTED, metric="", query="up"),
        replace(COUNTED, stable=""),
    ):
        measurement = ask(made, question)
        assert measurement.counters is None
        assert measurement.detail
    assert ask(made, SUCCESS).counters is None


def test_recreated_service_continues_counting() -> None:
    """The revision of the same name begins at 0 again, and the totals do not go back."""
    made = world()
    counted(made)
    made.advance(60)
    before = counted(made)
    made.kserve.delete("models", "iris")
    made.advance(5)
    made.deploy("iris", "v1")
    made.advance(30)
    made.deploy("iris", "v2", weight=50)
    made.advance(90)
    later = counted(made)
    assert later.account_id == before.account_id
    assert later.candidate.requests > before.candidate.requests
    assert later.stable.requests > before.stable.requests
