"""The Metrics port: what is read of revisions whose errors and latency are known, and what of silence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autocanary.model.measurement import MeasurementKind, RequestCounters, RequestTotals, Source, Unit
from tests.contract.gauges import (
    ERRORS,
    LATENCY,
    RPS,
    WINDOW,
    MetricsBackend,
    PrometheusBackend,
    SimulatedMetrics,
    metric_query,
)
from tests.testbed.servers import require_servers

REQUESTS = RPS * WINDOW / 2
PRESETS = ("request-success-rate", "error-rate", "request-duration", "request-count")


@pytest.fixture(scope="module", params=["sim", pytest.param("real", marks=pytest.mark.real)])
def metrics_backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MetricsBackend]:
    """One for all tests: most of them only look."""
    if request.param == "sim":
        yield SimulatedMetrics()
        return
    require_servers("prometheus")
    with PrometheusBackend(tmp_path_factory.mktemp("prometheus")) as real:
        yield real


@pytest.mark.parametrize(
    ("metric", "unit", "low", "high"),
    [
        ("request-success-rate", Unit.PERCENT, 100 - 125 * ERRORS, 100 - 75 * ERRORS),
        ("error-rate", Unit.PERCENT, 75 * ERRORS, 125 * ERRORS),
        ("request-duration", Unit.SECONDS, 0.4, 0.5),
        ("request-count", Unit.REQUESTS, 0.75 * REQUESTS, 1.25 * REQUESTS),
    ],
)
def test_a_bad_revision(metrics_backend: MetricsBackend, metric: str, unit: Unit, low: float, high: float) -> None:
    """Its own numbers in the preset's unit, from how many requests, how fresh, and by which source."""
    [measurement] = metrics_backend.ask(metric_query(metric, quantile=0.99 if metric == "request-duration" else None))
    assert measurement.kind is MeasurementKind.VALUE
    assert measurement.value is not None
    assert low <= measurement.value <= high
    assert measurement.unit is unit
    assert measurement.requests == pytest.approx(REQUESTS, rel=0.25)
    assert measurement.age is not None
    assert 0 <= measurement.age < 3
    assert measurement.source is Source.KNATIVE
    assert measurement.detail == ""


def test_the_good_revision_beside_it(metrics_backend: MetricsBackend) -> None:
    """The stable one has none of it: revisions are not mixed up."""
    rate, errors, duration, count = metrics_backend.ask(*(metric_query(metric, number=1) for metric in PRESETS))
    assert rate.value == 100
    assert errors.value == 0
    assert duration.value is not None
    assert 0.01 <= duration.value <= 0.025
    assert count.value == pytest.approx(REQUESTS, rel=0.25)
    assert count.requests == count.value


def test_the_median_is_not_the_99th_percentile(metrics_backend: MetricsBackend) -> None:
    """The quantile is the query's."""
    median, high = metrics_backend.ask(*(metric_query("request-duration", quantile=each) for each in (0.5, 0.99)))
    assert median.value is not None
    assert high.value is not None
    assert median.value < high.value


def test_auto_names_the_source(metrics_backend: MetricsBackend) -> None:
    """It finds out who measures, and says so."""
    for measurement in metrics_backend.ask(*(metric_query(metric, source=Source.AUTO) for metric in PRESETS)):
        assert measurement.kind is MeasurementKind.VALUE
        assert measurement.source is Source.KNATIVE


@pytest.mark.parametrize("source", [Source.KNATIVE, Source.AUTO])
@pytest.mark.parametrize("service", ["quiet", "calmed"])
@pytest.mark.parametrize("metric", PRESETS)
def test_a_revision_without_traffic(metrics_backend: MetricsBackend, service: str, metric: str, source: Source) -> None:
    """Never, or not in the window: no series, from 0 requests, by the source that measures its neighbour."""
    [measurement] = metrics_backend.ask(metric_query(metric, service, source=source))
    assert measurement.kind is MeasurementKind.NO_SERIES
    assert measurement.value is None
    assert measurement.requests == 0
    assert measurement.source is Source.KNATIVE
    assert measurement.detail != ""


def test_an_unknown_revision(metrics_backend: MetricsBackend) -> None:
    """Of a known service: it had no request."""
    [measurement] = metrics_backend.ask(metric_query("request-success-rate", number=9))
    assert measurement.kind is MeasurementKind.NO_SERIES
    assert (measurement.value, measurement.requests) == (None, 0)
    assert measurement.source is Source.KNATIVE


@pytest.mark.parametrize(("source", "named"), [(Source.KNATIVE, Source.KNATIVE), (Source.AUTO, None)])
def test_an_unknown_service(metrics_backend: MetricsBackend, source: Source, named: Source | None) -> None:
    """No exporter measures it, so it is unknown how many requests it had."""
    [measurement] = metrics_backend.ask(metric_query("request-success-rate", "unknown", source=source))
    assert measurement.kind is MeasurementKind.NO_SERIES
    assert (measurement.value, measurement.requests) == (None, None)
    assert measurement.source is named
    assert measurement.detail != ""


def test_every_query_has_one_measurement(metrics_backend: MetricsBackend) -> None:
    """In the order of the queries, one that is asked twice included; none is no query at all."""
    one, other = metric_query("request-count"), metric_query("error-rate", "quiet")
    assert list(metrics_backend.metrics.query([one, other, one])) == [one, other]
    assert list(metrics_backend.metrics.query([])) == []


def test_custom_query_returns_its_value(metrics_backend: MetricsBackend) -> None:
    """A bare number by no source, with the requests that the revision had meanwhile."""
    asked = metric_query("", query=metrics_backend.custom(3.5))
    [measurement] = metrics_backend.ask(asked)
    assert (measurement.kind, measurement.value, measurement.unit) == (MeasurementKind.VALUE, 3.5, Unit.NUMBER)
    assert measurement.source is None
    assert measurement.requests == pytest.approx(REQUESTS, rel=0.25)
    [silent] = metrics_backend.ask(metric_query("", query=metrics_backend.custom(None)))
    assert (silent.kind, silent.value) == (MeasurementKind.NO_SERIES, None)
    assert silent.detail != ""


def test_custom_query_without_traffic_has_no_series(metrics_backend: MetricsBackend) -> None:
    """The number counts for nothing when no request was there: that is for the analysis to see."""
    [measurement] = metrics_backend.ask(metric_query("", "quiet", query=metrics_backend.custom(3.5)))
    assert (measurement.kind, measurement.requests) == (MeasurementKind.VALUE, 0)


def query_counters(
    metrics_backend: MetricsBackend, metric: str = "error-rate", service: str = "split"
) -> RequestCounters:
    [measurement] = metrics_backend.ask(metric_query(metric, service, counters=True))
    assert measurement.counters is not None, measurement.detail
    return measurement.counters


def grown(
    metrics_backend: MetricsBackend, metric: str = "error-rate", service: str = "split"
) -> tuple[RequestCounters, RequestCounters]:
    """The counters, and those a few scrapes later."""
    first = query_counters(metrics_backend, metric, service)
    metrics_backend.rest(4)
    return first, query_counters(metrics_backend, metric, service)


def test_counters_of_both_revisions(metrics_backend: MetricsBackend) -> None:
    """Requests and failures as they happened, in the time between the two samples; nothing of the past."""
    first, later = grown(metrics_backend)
    assert later.account_id == first.account_id
    assert later.exact
    seconds = later.at - first.at
    assert 2 <= seconds <= 8
    requests = later.candidate.requests - first.candidate.requests
    assert requests == pytest.approx(RPS / 2 * seconds, rel=0.25)
    assert later.candidate.errors - first.candidate.errors == pytest.approx(ERRORS * requests, rel=0.3)
    assert later.stable.requests - first.stable.requests == pytest.approx(RPS / 2 * seconds, rel=0.25)
    assert later.stable.errors == first.stable.errors == 0
    assert later.bounds == later.candidate.bucket_counts == ()


def test_both_rates_have_the_same_counters(metrics_backend: MetricsBackend) -> None:
    """They are two ways to look at one count, and a round asks for it once."""
    rates = ("error-rate", "request-success-rate")
    errors, success = metrics_backend.ask(*(metric_query(metric, counters=True) for metric in rates))
    assert errors.counters is not None
    assert errors.counters == success.counters
    assert errors.detail == success.detail == ""


def test_counters_of_latency(metrics_backend: MetricsBackend) -> None:
    """Successes by bound: a failure is within none, however fast it was."""
    first, later = grown(metrics_backend, "request-duration")
    assert later.account_id == first.account_id
    assert later.bounds == first.bounds == tuple(sorted(later.bounds))
    requests = later.candidate.requests - first.candidate.requests
    bucket_counts = [
        high - low for high, low in zip(later.candidate.bucket_counts, first.candidate.bucket_counts, strict=True)
    ]
    fast = [share for bound, share in zip(later.bounds, bucket_counts, strict=True) if bound < LATENCY * 0.9]
    slow = [share for bound, share in zip(later.bounds, bucket_counts, strict=True) if bound >= 0.5]
    assert fast == [0] * len(fast)
    assert slow == pytest.approx([(1 - ERRORS) * requests] * len(slow), rel=0.1)
    assert later.stable.bucket_counts[-1] - first.stable.bucket_counts[-1] == pytest.approx(
        later.stable.requests - first.stable.requests
    )


def test_counters_of_a_revision_without_traffic(metrics_backend: MetricsBackend) -> None:
    """It has none of the requests while the other goes on."""
    first, later = grown(metrics_backend, service="quiet")
    assert later.candidate == first.candidate == RequestTotals()
    assert later.at > first.at
    assert later.stable.requests > first.stable.requests


def test_sources_without_counters(metrics_backend: MetricsBackend) -> None:
    """Queries without counters; other metrics, a query of the policy's own and a lone revision say why."""
    assert metrics_backend.ask(metric_query("error-rate"))[0].counters is None
    for asked in (
        metric_query("request-count", counters=True),
        metric_query("", query=metrics_backend.custom(3.5), counters=True),
        metric_query("error-rate", stable="", counters=True),
    ):
        [measurement] = metrics_backend.ask(asked)
        assert measurement.kind is MeasurementKind.VALUE
        assert measurement.counters is None
        assert measurement.detail != ""


def test_restarted_adapter_starts_a_new_counter_account(metrics_backend: MetricsBackend) -> None:
    """Nothing before it counts, and no difference spans it."""
    before, _ = grown(metrics_backend)
    metrics_backend.restart()
    after = query_counters(metrics_backend)
    assert after.account_id != before.account_id
    assert after.candidate.requests == after.stable.requests == 0


def test_counters_while_nothing_is_scraped(metrics_backend: MetricsBackend) -> None:
    """The last ones again: not a revision that has fallen silent. What was meanwhile comes afterwards."""
    _, before = grown(metrics_backend)
    with metrics_backend.scrape_stopped():
        during = query_counters(metrics_backend)
        metrics_backend.rest(2)
        assert query_counters(metrics_backend) == during
        assert during.at - before.at < 2
    metrics_backend.rest(4)
    after = query_counters(metrics_backend)
    assert after.account_id == before.account_id
    requests = after.candidate.requests - before.candidate.requests
    assert requests == pytest.approx(RPS / 2 * (after.at - before.at), rel=0.25)


def test_a_scrape_that_has_stopped_is_stale(metrics_backend: MetricsBackend) -> None:
    """The numbers are from before; that is neither an outage nor the candidate's fault."""
    asked = metric_query("request-success-rate")
    with metrics_backend.scrape_stopped():
        [measurement] = metrics_backend.ask(asked)
    assert measurement.kind is MeasurementKind.STALE
    assert measurement.detail != ""


def test_prometheus_away_is_an_outage(metrics_backend: MetricsBackend) -> None:
    """For every query, whatever it is about; when it is back, the answers are as before."""
    metrics_backend.rest(WINDOW + 2)
    asked = [metric_query(metric) for metric in PRESETS]
    asked += [metric_query("error-rate", "quiet"), metric_query("", query=metrics_backend.custom(3.5))]
    before, counters = metrics_backend.ask(*asked), query_counters(metrics_backend)
    with metrics_backend.prometheus_down():
        assert query_counters(metrics_backend) == counters
        for measurement in metrics_backend.ask(*asked, metric_query("error-rate", "new", source=Source.AUTO)):
            assert measurement.kind is MeasurementKind.OUTAGE
            assert measurement.value is None
            assert measurement.detail != ""
    metrics_backend.rest(WINDOW + 2)
    assert [each.kind for each in metrics_backend.ask(*asked)] == [each.kind for each in before]
    assert before[0].kind is MeasurementKind.VALUE
    after = query_counters(metrics_backend)
    assert after.account_id == counters.account_id
    assert after.candidate.requests - counters.candidate.requests == pytest.approx(
        RPS / 2 * (after.at - counters.at), rel=0.25
    )
