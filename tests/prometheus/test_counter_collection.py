"""Counters beside measurements: who gets them, how many queries they cost, and what a lost answer does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from autocanary.errors import MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import (
    Measurement,
    MeasurementKind,
    MetricQuery,
    RequestCounters,
    RequestTotals,
    Source,
)
from autocanary.prometheus.query_answer import VectorSample
from autocanary.prometheus.query_plan import QueryResult
from tests.prometheus.scripted_prometheus import MetricsHarness, knative, metric_query, row, rows, traffic

ASKED = metric_query("error-rate", counters=True)
STABLE = {**knative(1), "pod_name": "stable", "instance": "10.0.0.1:9091"}
CANARY = {**knative(2), "pod_name": "canary", "instance": "10.0.0.2:9091"}


def is_raw(query: str) -> bool:
    return "autocanary_at" in query


def is_history(query: str) -> bool:
    return "count_over_time" in query and "[1h]" in query


def response_to(query: str) -> QueryResult:
    return rows(row(0.25, **knative())) if query.startswith("histogram_quantile") else rows(*traffic(100, 2))


class FakeCounters:
    """A Prometheus whose counters go on with its time; ``override`` may answer in its stead."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.canary: tuple[float, float] | None = None
        self.stable = 5000.0
        self.override: Callable[[str], QueryResult | None] = lambda _query: None

    def __call__(self, query: str) -> QueryResult:
        override = self.override(query)
        if override is not None:
            return override
        if is_history(query):
            return rows(row(3, **STABLE))
        return rows(*self.raw()) if is_raw(query) else response_to(query)

    def raw(self) -> list[VectorSample]:
        found = [row(self.now, autocanary="now")]
        found += self.pod(STABLE, self.stable, 0)
        return found if self.canary is None else found + self.pod(CANARY, *self.canary)

    def pod(self, labels: dict[str, str], good: float, failed: float) -> list[VectorSample]:
        return [
            row(good, **labels, autocanary="count0", response_code_class="2xx"),
            row(failed, **labels, autocanary="count0", response_code_class="5xx"),
            row(2, **labels, autocanary="at", autocanary_at=str(self.now - 3)),
        ]

    def advance(self, good: float, failed: float = 0.0) -> None:
        self.now += 15
        before = self.canary or (0.0, 0.0)
        self.canary = (before[0] + good, before[1] + failed)
        self.stable += 100


def counters(measurement: Measurement) -> RequestCounters:
    assert measurement.counters is not None, measurement.detail
    return measurement.counters


def test_measurements_carry_counters() -> None:
    """A baseline, then what the canary did from its first request on, its value untouched."""
    served = FakeCounters()
    desk = MetricsHarness(served)
    first = desk.query_one(ASKED)
    assert (first.kind, first.value, first.detail) == (MeasurementKind.VALUE, 2, "")
    assert counters(first).candidate == RequestTotals()
    served.advance(40, 2)
    later = counters(desk.query_one(ASKED))
    assert (later.candidate, later.stable, later.at) == (RequestTotals(42, 2), RequestTotals(100), 1012)
    assert later.account_id == counters(first).account_id


def test_counters_only_when_requested() -> None:
    """Without counters wanted there is no further query."""
    desk = MetricsHarness(FakeCounters())
    assert desk.query_one(metric_query("error-rate")).counters is None
    assert not any(is_raw(query) for query in desk.fake.queries)


def test_counters_cost_one_query_per_family_plus_history() -> None:
    """Both rates are one family; the latency is another, as it rests on buckets."""
    desk = MetricsHarness(FakeCounters())
    asked = [
        metric_query(metric, service=f"s{number}", counters=True)
        for number in range(50)
        for metric in ("error-rate", "request-success-rate", "request-duration")
    ]
    for expected in (2 + 2 + 2, 2 + 2):  # the measurements' own, the current counters, the histories
        desk.query(*asked)
        assert len(desk.fake.queries) == expected
        assert len(desk.fake.rounds) == 1
        desk.fake.rounds.clear()


def test_bucket_queries_run_sequentially() -> None:
    """Many revisions' buckets are not held in memory all at once."""
    desk = MetricsHarness(FakeCounters())
    desk.query(*(metric_query("request-duration", service=f"s{n}", counters=True) for n in range(300)))
    raw = [sum(is_raw(query) for query in queries) for queries in desk.fake.rounds]
    assert raw == [1, 1, 1]


@pytest.mark.parametrize(
    "spoiling",
    [MetricsUnreachable("away"), MetricsRefused("no"), "warned", "timeless"],
    ids=lambda each: str(each),
)
def test_lost_response_neither_adds_nor_loses_counts(spoiling: QueryResult | str) -> None:
    """The last counters again and a word why; the next answer has it all."""
    served = FakeCounters()
    desk = MetricsHarness(served)
    desk.query_one(ASKED)
    served.advance(40, 2)
    before = desk.query_one(ASKED)

    def override(query: str) -> QueryResult | None:
        if not is_raw(query):
            return None
        if spoiling == "warned":
            return rows(*served.raw(), warnings=["a store is down"])
        return rows() if isinstance(spoiling, str) else spoiling

    served.override = override
    served.advance(10)
    during = desk.query_one(ASKED)
    assert during.counters == before.counters
    assert (during.kind, during.value) == (MeasurementKind.VALUE, 2)
    assert during.detail.startswith("no new counts: ")
    served.override = lambda _query: None
    served.advance(1, 1)
    assert counters(desk.query_one(ASKED)).candidate == RequestTotals(54, 3)


@pytest.mark.parametrize("spoiling", ["look", "history"])
def test_partial_response_does_not_start_tracking(spoiling: str) -> None:
    """Neither without the current counters nor, while it may still come, without the history."""
    served = FakeCounters()
    desk = MetricsHarness(served)
    lost = is_raw if spoiling == "look" else is_history
    served.override = lambda query: MetricsUnreachable("away") if lost(query) else None
    measurement = desk.query_one(ASKED)
    assert measurement.counters is None
    assert measurement.detail == "no counts: away"
    served.override = lambda _query: None
    served.advance(40)
    assert counters(desk.query_one(ASKED)).candidate == RequestTotals()
    served.advance(5)
    assert counters(desk.query_one(ASKED)).candidate == RequestTotals(5)


def test_refused_history_makes_every_process_a_baseline() -> None:
    """A new pod is a baseline then: too little, never too much."""
    served = FakeCounters()
    served.override = lambda query: MetricsRefused("too many samples") if is_history(query) else None
    desk = MetricsHarness(served)
    desk.query_one(ASKED)
    served.advance(40)
    assert counters(desk.query_one(ASKED)).candidate == RequestTotals()
    served.advance(2)
    assert counters(desk.query_one(ASKED)).candidate == RequestTotals(2)


def test_failed_chunk_delays_its_rollouts_only() -> None:
    """The others' counters go on."""
    served = FakeCounters()

    def respond(query: str) -> QueryResult:
        if not (is_raw(query) or is_history(query)):
            return response_to(query)
        if "s00-" in query and served.canary is not None:
            return MetricsUnreachable("away")
        samples = [row(served.now, autocanary="now")]
        for number in range(20):
            pod = {**knative(1, f"s{number:02}"), "pod_name": "p", "instance": "i"}
            samples += served.pod(pod, served.stable, 0)
        return rows(*samples)

    desk = MetricsHarness(respond, revisions=10)
    asked = [metric_query("error-rate", service=f"s{number:02}", counters=True) for number in range(20)]
    first = desk.query(*asked)
    served.advance(1)
    later = desk.query(*asked)
    moved = [counters(later[each]).at > counters(first[each]).at for each in asked]
    assert moved == [False] * 5 + [True] * 15


def test_refused_counters_are_named_in_the_detail() -> None:
    """Two scrapes under the same labels: the reading keeps its number."""
    served = FakeCounters()

    def mixed(query: str) -> QueryResult | None:
        twin = row(2, **STABLE, autocanary="at", autocanary_at=str(served.now - 9))
        return rows(*served.raw(), twin) if is_raw(query) else None

    served.override = mixed
    measurement = MetricsHarness(served).query_one(ASKED)
    assert (measurement.kind, measurement.value, measurement.counters) == (MeasurementKind.VALUE, 2, None)
    assert measurement.detail.startswith("no counts: several scrapes")


def test_latency_counters_wait_for_the_first_bucket() -> None:
    """Which bounds there are is not known before."""
    measurement = MetricsHarness(FakeCounters()).query_one(metric_query("request-duration", counters=True))
    assert measurement.value == 0.25
    assert measurement.counters is None
    assert "by its latency" in measurement.detail


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (metric_query("request-count", counters=True), "only error-rate"),
        (metric_query(query="up", counters=True), "a query of the policy's own has no counters"),
        (metric_query("request-duration", source=Source.TRITON, counters=True), "has no histogram"),
    ],
)
def test_metric_without_counters_says_why(asked: MetricQuery, why: str) -> None:
    """In the reading's detail, beside whatever the value has to say."""

    def respond(query: str) -> QueryResult:
        if "autocanary_metric" in query:
            found = {"namespace": "models", "revision_name": asked.stable}
            return rows(row(1, **found, autocanary_metric="nv_inference_request_success"))
        return response_to(query)

    measurement = MetricsHarness(respond).query_one(asked)
    assert measurement.counters is None
    assert why in measurement.detail


def test_unmeasured_service_has_no_counters() -> None:
    """Its own detail is enough."""
    measurement = MetricsHarness(lambda _query: rows()).query_one(
        metric_query("error-rate", source=Source.AUTO, counters=True)
    )
    assert (measurement.kind, measurement.counters) == (MeasurementKind.NO_SERIES, None)
    assert measurement.detail.startswith("nothing measures")


def test_single_revision_has_no_counters() -> None:
    """The first revision of a service."""
    measurement = MetricsHarness(FakeCounters()).query_one(replace(ASKED, stable=""))
    assert (measurement.value, measurement.counters) == (2, None)
    assert "no stable revision" in measurement.detail
