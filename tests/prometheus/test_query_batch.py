"""Many metric queries in few PromQL queries, and every one with its own measurement."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocanary.errors import MetricsError, MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, Source, Unit
from autocanary.prometheus import measurements, pending_measurement, query_batch
from autocanary.prometheus.exporters import PRESETS
from autocanary.prometheus.preset_queries import probed_name
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.query_plan import QueryResult
from autocanary.prometheus.revision_labels import RevisionTarget
from autocanary.prometheus.sources import exporter_variants
from tests.prometheus.scripted_prometheus import MetricsHarness, knative, metric_query, row, rows, traffic

FOUR = ("request-success-rate", "request-duration", "error-rate", "request-count")


def is_latency(query: str) -> bool:
    return query.startswith("histogram_quantile")


def serving(query: str) -> QueryResult:
    """Queue-proxy's metrics of the canary of `mnist`: 100 requests, two failed, p99 at 0.25 s."""
    if is_latency(query):
        return rows(row(0.25, **knative()))
    return rows(*traffic(100, 2))


def test_four_presets_are_two_queries() -> None:
    """Rates and counts share one query with the age of the samples; the latency takes another."""
    desk = MetricsHarness(serving)
    measurements = desk.query(*(metric_query(metric) for metric in FOUR))
    assert len(desk.fake.rounds) == 1
    assert len(desk.fake.queries) == 2
    assert [measurement.value for measurement in measurements.values()] == [98, 0.25, 2, 100]
    assert {measurement.requests for measurement in measurements.values()} == {100}
    assert {measurement.kind for measurement in measurements.values()} == {MeasurementKind.VALUE}


def test_windows_and_quantiles_get_separate_queries() -> None:
    """Each window its traffic; each quantile its latency; the same ones together."""
    desk = MetricsHarness(serving)
    desk.query(
        metric_query("request-duration", quantile=0.99),
        metric_query("request-duration"),
        metric_query("request-duration", quantile=0.5),
        metric_query("error-rate", window=420),
        metric_query("error-rate", service="other"),
    )
    assert len(desk.fake.queries) == 4
    assert sum("0.5" in query for query in desk.fake.queries) == 1
    assert sum("[7m]" in query for query in desk.fake.queries) == 1


def test_chunks_are_bounded_in_revisions_and_bytes() -> None:
    """More revisions than fit are asked in several queries at once."""
    crowd = [metric_query("error-rate", service=f"s{number:03}") for number in range(50)]
    desk = MetricsHarness(lambda _query: rows(), revisions=20)
    assert len(desk.query(*crowd)) == 50
    assert len(desk.fake.rounds) == 1
    assert len(desk.fake.queries) == 5  # 50 candidates and 50 stable ones
    desk = MetricsHarness(lambda _query: rows(), size=3000)
    desk.query(*crowd)
    assert all(len(query) <= 3000 for query in desk.fake.queries)


def test_failed_query_is_an_outage_for_its_metrics_only() -> None:
    """The latency's query fails: rates are fine; the traffic's query fails: nothing can be said."""
    outage = MetricsUnreachable("Prometheus is away")

    def latency_fails(query: str) -> QueryResult:
        return outage if is_latency(query) else serving(query)

    measurements = MetricsHarness(latency_fails).query(metric_query("error-rate"), metric_query("request-duration"))
    assert [measurement.kind for measurement in measurements.values()] == [
        MeasurementKind.VALUE,
        MeasurementKind.OUTAGE,
    ]
    assert [measurement.detail for measurement in measurements.values()] == ["", "Prometheus is away"]

    def traffic_fails(query: str) -> QueryResult:
        return serving(query) if is_latency(query) else outage

    measurements = MetricsHarness(traffic_fails).query(metric_query("error-rate"), metric_query("request-duration"))
    assert {measurement.kind for measurement in measurements.values()} == {MeasurementKind.OUTAGE}


def test_failed_chunk_affects_its_revisions_only() -> None:
    """Only the services in it are without an answer."""

    def respond(query: str) -> QueryResult:
        if "s000-" in query:
            return MetricsUnreachable("away")
        return rows(*(sample for n in range(50) for sample in traffic(9, labels=knative(2, f"s{n:03}"))))

    measurements = MetricsHarness(respond, revisions=10).query(
        *(metric_query("error-rate", service=f"s{n:03}") for n in range(50))
    )
    kinds = [measurement.kind for measurement in measurements.values()]
    assert kinds == [MeasurementKind.OUTAGE] * 5 + [MeasurementKind.VALUE] * 45


def test_warning_makes_measurements_partial() -> None:
    """Both queries' warnings are logged, each once."""

    def respond(query: str) -> QueryResult:
        answer = serving(query)
        assert not isinstance(answer, MetricsError)
        return rows(*answer.samples, warnings=["a store is down"])

    measurement = MetricsHarness(respond).query_one(metric_query("request-duration"))
    assert (measurement.kind, measurement.value) == (MeasurementKind.PARTIAL, 0.25)
    assert measurement.detail == "Prometheus warns: a store is down"


def test_canary_without_series_has_zero_requests() -> None:
    """The source is known to exist, so there were no requests; a latency says the same."""

    def respond(query: str) -> QueryResult:
        return rows() if is_latency(query) else rows(*traffic(100, labels=knative(1)))

    for metric in ("error-rate", "request-duration", "request-count"):
        measurement = MetricsHarness(respond).query_one(metric_query(metric))
        assert (measurement.kind, measurement.requests) == (MeasurementKind.NO_SERIES, 0), metric


def test_service_with_earlier_series_is_known() -> None:
    """Later silence of both revisions is no traffic rather than no source."""
    desk = MetricsHarness(serving)
    desk.query(metric_query("error-rate"))
    desk.fake.respond = lambda _query: rows()
    assert desk.query_one(metric_query("error-rate")).requests == 0
    assert desk.query_one(metric_query("error-rate", service="other")).requests is None


def test_same_revision_in_two_namespaces_stays_separate() -> None:
    """The same revision name in two namespaces is two revisions; others in the answer are ignored."""

    def respond(_query: str) -> QueryResult:
        here, there = traffic(10, 1), traffic(10, 9, labels=knative(namespace="team-a"))
        return rows(*here, *there, *traffic(5, 5, labels=knative(namespace="nobody")))

    measurements = MetricsHarness(respond).query(
        metric_query("error-rate"), metric_query("error-rate", namespace="team-a")
    )
    assert [measurement.value for measurement in measurements.values()] == [10, 90]


def test_unsupported_metric_sends_no_query() -> None:
    """An unknown preset, and one the named source does not have, are answered without a query."""
    desk = MetricsHarness(serving)
    unknown, tokens, kserve = desk.query(
        metric_query("request-sucess-rate", source=Source.AUTO),
        metric_query("time-to-first-token"),
        metric_query("error-rate", source=Source.KSERVE),
    ).values()
    assert {unknown.kind, tokens.kind, kserve.kind} == {MeasurementKind.UNSUPPORTED}
    assert "known are" in unknown.detail
    assert "knative does not measure" in tokens.detail
    assert kserve.unit is Unit.PERCENT
    assert desk.fake.rounds == []


def test_custom_query_reports_request_count() -> None:
    """The policy's minimum holds for them as well; the source's own trouble does not hurt them."""
    mine = metric_query(query="sum(drift)", source=Source.KNATIVE)

    def respond(query: str) -> QueryResult:
        return rows(row(0.5)) if query == "sum(drift)" else rows(*traffic(40))

    measurement = MetricsHarness(respond).query_one(mine)
    assert (measurement.kind, measurement.value, measurement.requests) == (MeasurementKind.VALUE, 0.5, 40)

    def quiet(query: str) -> QueryResult:
        return rows(row(0.5)) if query == "sum(drift)" else rows(*traffic(40, labels=knative(1)))

    assert MetricsHarness(quiet).query_one(mine).requests == 0

    def broken(query: str) -> QueryResult:
        return rows(row(0.5)) if query == "sum(drift)" else MetricsUnreachable("away")

    measurement = MetricsHarness(broken).query_one(mine)
    assert (measurement.kind, measurement.requests) == (MeasurementKind.VALUE, None)
    undiscovered = metric_query(query="sum(drift)", source=Source.AUTO)
    assert MetricsHarness(broken).query_one(undiscovered).requests is None


def test_identical_custom_queries_are_sent_once() -> None:
    """One query for all whose text is the same."""
    desk = MetricsHarness(lambda query: rows(row(1)))
    desk.query(*(metric_query(query="up", service=f"s{number}") for number in range(10)))
    assert desk.fake.queries.count("up") == 1


def test_no_metric_query_sends_no_query() -> None:
    """An idle tick costs no request."""
    desk = MetricsHarness(serving)
    assert desk.query() == {}
    assert desk.fake.rounds == []


QUESTIONS = st.builds(
    metric_query,
    st.sampled_from([*PRESETS, "no-such-preset"]),
    query=st.sampled_from(["", "", "", "up", "sum(x)", "1", "bad(", "x[5m]"]),
    service=st.sampled_from(["a", "b", "c"]),
    number=st.integers(1, 3),
    namespace=st.sampled_from(["models", "team-a"]),
    source=st.sampled_from(Source),
    window=st.sampled_from([60.0, 300.0]),
    quantile=st.sampled_from([None, 0.5, 0.99]),
)


@st.composite
def responses(draw: st.DrawFn, query: str) -> QueryResult:
    """Anything a Prometheus may answer: errors, nothing, warnings, or rows with labels of any form."""
    shape = draw(st.sampled_from(["rows", "rows", "rows", "empty", "warned", "refused", "away"]))
    if shape == "refused":
        return MetricsRefused("no")
    if shape == "away":
        return MetricsUnreachable("away")
    if shape == "empty":
        return rows()
    samples = []
    for variant in exporter_variants(Source.AUTO):
        target = RevisionTarget(
            draw(st.sampled_from(["models", "team-a"])), f"{draw(st.sampled_from('abc'))}-predictor-00002"
        )
        labels = dict(
            zip(
                variant.revision_labels.group_labels,
                variant.revision_labels.label_values(target),
                strict=True,
            )
        )
        tags = draw(
            st.sampled_from(
                [
                    {},
                    {"autocanary": "count0"},
                    {"autocanary": "age"},
                    {"autocanary": "count0", "autocanary_failed": "1"},
                    {"autocanary_metric": probed_name(variant.exporter.counted[0].metric, variant.exporter.matchers)},
                    {"autocanary_q": "0"},
                ]
            )
        )
        samples.append(row(draw(st.floats()), **labels, **tags))
    return rows(*samples, warnings=["a store is down"] if shape == "warned" else [])


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.data(), st.lists(QUESTIONS, max_size=12))
def test_every_metric_query_gets_one_measurement(data: st.DataObject, asked: list[MetricQuery]) -> None:
    """Whatever Prometheus answers, nothing is raised, nothing is missing, and numbers are finite."""
    desk = MetricsHarness(lambda query: data.draw(responses(query)))
    for _ in range(2):
        measurements = desk.query(*asked)
        assert list(measurements) == list(dict.fromkeys(asked))
        for measurement in measurements.values():
            assert (measurement.kind is MeasurementKind.VALUE) <= (measurement.value is not None)
            for number in (measurement.value, measurement.requests, measurement.age):
                assert number is None or math.isfinite(number)
            assert measurement.source is not Source.AUTO
        desk.clock.time += 31


@settings(max_examples=60, deadline=None)
@given(st.lists(QUESTIONS.filter(lambda asked: not asked.query), max_size=40), st.integers(1, 40))
def test_query_count_depends_on_metrics_not_rollouts(asked: list[MetricQuery], copies: int) -> None:
    """Copying every metric query to more services adds no query."""
    sources = [Source.KNATIVE, Source.ISTIO, Source.KOURIER]  # with a form of their own, so nothing is probed
    decided = [query_ for query_ in asked if query_.source in sources]

    def queries(many: Sequence[MetricQuery]) -> int:
        desk = MetricsHarness(lambda _query: rows())
        desk.query(*many)
        return len(desk.fake.queries)

    crowd = [moved(one, number) for one in decided for number in range(copies)]
    kinds = {(one.source, one.window) for one in decided if answerable(one)}
    latencies = {(one.source, one.window, one.quantile or 0.99) for one in decided if one.metric == "request-duration"}
    assert queries(decided) == queries(crowd) == len(kinds) + len(latencies)


def moved(one: MetricQuery, number: int) -> MetricQuery:
    revision = re.sub(r"^.", f"x{number}", one.revision)
    stable = re.sub(r"^.", f"x{number}", one.stable)
    return MetricQuery(
        one.namespace,
        f"x{number}",
        one.component,
        revision,
        stable,
        one.source,
        one.window,
        one.metric,
        one.quantile,
    )


def answerable(one: MetricQuery) -> bool:
    return not exporter_variants(one.source)[0].exporter.unsupported_reason(one.metric)


def test_defect_in_one_query_leaves_the_round_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer, a query and a measurement that raise are each their own query's outage, and say why."""
    asked = {
        "preset": metric_query("error-rate"),
        "own": metric_query(query="sum(up)"),
        "bad answer": metric_query("request-duration"),
        "bad value": metric_query(query="bad"),
    }
    real = measurements.custom_measurement

    def custom_measurement(result: QueryResult, requests: float | None, age: float | None) -> Measurement:
        if isinstance(result, QueryResponse) and result.samples[0].value == 666:
            raise RecursionError("maximum recursion depth exceeded")
        return real(result, requests, age)

    def preset_rows(*_: object) -> dict[RevisionTarget, float]:
        raise ZeroDivisionError("division by zero")

    def respond(query: str) -> QueryResult:
        if "autocanary_q" in query:
            return rows(row(7, autocanary_q=str(1)), row(666, autocanary_q=str(0)))
        return serving(query)

    monkeypatch.setattr(pending_measurement, "custom_measurement", custom_measurement)
    monkeypatch.setattr(query_batch, "preset_rows", preset_rows)
    got = MetricsHarness(respond).query(*asked.values())
    assert got[asked["preset"]].value == 2
    assert got[asked["own"]].value == 7
    for name, error in (("bad answer", "ZeroDivisionError"), ("bad value", "RecursionError")):
        assert got[asked[name]].kind is MeasurementKind.REFUSED
        assert error in got[asked[name]].detail


def test_age_is_that_of_the_newest_sample_when_the_server_answers_from_the_past() -> None:
    """VictoriaMetrics 1.79 with its default latency offset: time() is 30 s before the Date of the answer."""
    now = row(1795983432.386, autocanary="now")

    def respond(_query: str) -> QueryResult:
        return QueryResponse((*traffic(100, 2, age=0.2), now), server_time=1795983462.0)

    measurement = MetricsHarness(respond).query_one(metric_query("error-rate"))
    assert measurement.age == pytest.approx(29.8, abs=0.1)
    assert measurement.value == 2
    assert measurement.detail == "the server evaluates queries 30s in the past"


def test_server_that_answers_now_has_no_delay() -> None:
    """Whole seconds of the Date header and the evaluation of the query are no delay."""
    now = row(1795983461.2, autocanary="now")

    def respond(_query: str) -> QueryResult:
        return QueryResponse((*traffic(100, 2, age=4.0), now), server_time=1795983462.0)

    measurement = MetricsHarness(respond).query_one(metric_query("error-rate"))
    assert (measurement.age, measurement.detail) == (4.0, "")


@pytest.mark.parametrize(
    ("models", "requests", "error_rate"),
    [
        ({"preprocess": (100, 0), "classifier": (90, 10), "ensemble": (90, 10)}, 100, 10),
        ({"preprocess": (200, 0), "classifier": (90, 10), "mnist": (90, 10)}, 100, 10),  # named by the service
        ({"other": (50, 50), "mnist": (100, 0)}, 100, 0),
        ({"one": (99, 1)}, 100, 1),
    ],
)
def test_requests_of_a_triton_ensemble_are_counted_once(
    models: dict[str, tuple[float, float]], requests: float, error_rate: float
) -> None:
    """The model that the service names counts, else the largest counts of any model; never the sum."""
    where = {"namespace": "models", "revision_name": "mnist-predictor-00002"}
    samples = [row(2, **where, autocanary="age")]
    for model, (good, failed) in models.items():
        samples.append(row(good, **where, model=model, autocanary="count0"))
        samples.append(row(failed, **where, model=model, autocanary="count1", autocanary_failed="1"))

    def respond(query: str) -> QueryResult:
        if query.startswith("count by"):
            return rows(row(1, **where, autocanary_metric="nv_inference_request_success"))
        return rows(*samples)

    measurement = MetricsHarness(respond).query_one(metric_query("error-rate", source=Source.TRITON))
    assert (measurement.requests, measurement.value) == (requests, error_rate)


@pytest.mark.parametrize(
    ("interval", "window", "kind", "text"),
    [
        (60, 60, MeasurementKind.UNSUPPORTED, "is scraped every 1m, the window is 1m: use at least 3m"),
        (60, 100, MeasurementKind.UNSUPPORTED, "is scraped every 1m, the window is 1m40s: use at least 3m"),
        (15, 60, MeasurementKind.NO_SERIES, "fewer than two samples"),
        (30.02, 60, MeasurementKind.NO_SERIES, "fewer than two samples"),
        (None, 60, MeasurementKind.NO_SERIES, "fewer than two samples"),
    ],
)
def test_window_that_is_too_short_for_the_scrapes_is_no_missing_data(
    interval: float | None, window: float, kind: MeasurementKind, text: str
) -> None:
    """Stable shows how often the pods are scraped: held like an outage, with the numbers."""
    measured = [] if interval is None else [row(interval, **knative(1), autocanary="interval")]
    asked = metric_query("error-rate", window=window)
    measurement = MetricsHarness(lambda _query: rows(*traffic(None, age=40), *measured)).query_one(asked)
    assert measurement.kind is kind
    assert text in measurement.detail


def test_measured_scrape_interval_does_not_matter_while_there_is_a_count() -> None:
    interval = row(60, **knative(1), autocanary="interval")
    measurement = MetricsHarness(lambda _query: rows(*traffic(100, 2), interval)).query_one(metric_query("error-rate"))
    assert measurement.value == 2
