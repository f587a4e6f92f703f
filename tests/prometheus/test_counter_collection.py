"""Counters beside readings: who gets them, how many queries they cost, and what a lost answer does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from autocanary.errors import MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import Counters, Question, Reading, ReadingKind, Source, Totals
from autocanary.prometheus.query_answer import Sample
from autocanary.prometheus.query_plan import Result
from tests.prometheus.fake_prometheus import Desk, knative, question, row, rows, traffic

ASKED = question("error-rate", counters=True)
STABLE = {**knative(1), "pod_name": "stable", "instance": "10.0.0.1:9091"}
CANARY = {**knative(2), "pod_name": "canary", "instance": "10.0.0.2:9091"}


def is_raw(query: str) -> bool:
    return "autocanary_at" in query


def is_history(query: str) -> bool:
    return "count_over_time" in query


def reading_of(query: str) -> Result:
    return rows(row(0.25, **knative())) if query.startswith("histogram_quantile") else rows(*traffic(100, 2))


class Served:
    """A Prometheus whose counters go on with its time; ``spoilt`` may answer in its stead."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.canary: tuple[float, float] | None = None
        self.stable = 5000.0
        self.spoilt: Callable[[str], Result | None] = lambda _query: None

    def __call__(self, query: str) -> Result:
        spoilt = self.spoilt(query)
        if spoilt is not None:
            return spoilt
        if is_history(query):
            return rows(row(3, **STABLE))
        return rows(*self.raw()) if is_raw(query) else reading_of(query)

    def raw(self) -> list[Sample]:
        found = [row(self.now, autocanary="now")]
        found += self.pod(STABLE, self.stable, 0)
        return found if self.canary is None else found + self.pod(CANARY, *self.canary)

    def pod(self, labels: dict[str, str], good: float, failed: float) -> list[Sample]:
        return [
            row(good, **labels, autocanary="count0", response_code_class="2xx"),
            row(failed, **labels, autocanary="count0", response_code_class="5xx"),
            row(2, **labels, autocanary="at", autocanary_at=str(self.now - 3)),
        ]

    def go_on(self, good: float, failed: float = 0.0) -> None:
        self.now += 15
        before = self.canary or (0.0, 0.0)
        self.canary = (before[0] + good, before[1] + failed)
        self.stable += 100


def counters(reading: Reading) -> Counters:
    assert reading.counters is not None, reading.detail
    return reading.counters


def test_readings_come_with_counters() -> None:
    """A baseline, then what the canary did from its first request on, its value untouched."""
    served = Served()
    desk = Desk(served)
    first = desk.ask_one(ASKED)
    assert (first.kind, first.value, first.detail) == (ReadingKind.VALUE, 2, "")
    assert counters(first).candidate == Totals()
    served.go_on(40, 2)
    later = counters(desk.ask_one(ASKED))
    assert (later.candidate, later.stable, later.at) == (Totals(42, 2), Totals(100), 1012)
    assert later.epoch == counters(first).epoch


def test_only_who_asks_gets_counters() -> None:
    """Without the wish no query more."""
    desk = Desk(Served())
    assert desk.ask_one(question("error-rate")).counters is None
    assert not any(is_raw(query) for query in desk.played.queries)


def test_counters_cost_a_query_per_family_and_one_more_at_first() -> None:
    """Both rates are one family; the latency is another, as it rests on buckets."""
    desk = Desk(Served())
    asked = [
        question(metric, service=f"s{number}", counters=True)
        for number in range(50)
        for metric in ("error-rate", "request-success-rate", "request-duration")
    ]
    for expected in (2 + 2 + 2, 2 + 2):  # the readings' own, the looks, the histories
        desk.ask(*asked)
        assert len(desk.played.queries) == expected
        assert len(desk.played.rounds) == 1
        desk.played.rounds.clear()


def test_answers_with_buckets_are_asked_in_turn() -> None:
    """Many revisions' buckets are not held in memory all at once."""
    desk = Desk(Served())
    desk.ask(*(question("request-duration", service=f"s{n}", counters=True) for n in range(300)))
    raw = [sum(is_raw(query) for query in queries) for queries in desk.played.rounds]
    assert raw == [1, 1, 1]


@pytest.mark.parametrize(
    "spoiling",
    [MetricsUnreachable("away"), MetricsRefused("no"), "warned", "timeless"],
    ids=lambda each: str(each),
)
def test_a_lost_answer_adds_nothing_and_loses_nothing(spoiling: Result | str) -> None:
    """The last counters again and a word why; the next answer has it all."""
    served = Served()
    desk = Desk(served)
    desk.ask_one(ASKED)
    served.go_on(40, 2)
    before = desk.ask_one(ASKED)

    def spoilt(query: str) -> Result | None:
        if not is_raw(query):
            return None
        if spoiling == "warned":
            return rows(*served.raw(), warnings=["a store is down"])
        return rows() if isinstance(spoiling, str) else spoiling

    served.spoilt = spoilt
    served.go_on(10)
    during = desk.ask_one(ASKED)
    assert during.counters == before.counters
    assert (during.kind, during.value) == (ReadingKind.VALUE, 2)
    assert during.detail.startswith("no new counts: ")
    served.spoilt = lambda _query: None
    served.go_on(1, 1)
    assert counters(desk.ask_one(ASKED)).candidate == Totals(54, 3)


@pytest.mark.parametrize("spoiling", ["look", "history"])
def test_no_account_is_opened_on_half_an_answer(spoiling: str) -> None:
    """Neither without the look nor, while it may still come, without the history."""
    served = Served()
    desk = Desk(served)
    lost = is_raw if spoiling == "look" else is_history
    served.spoilt = lambda query: MetricsUnreachable("away") if lost(query) else None
    reading = desk.ask_one(ASKED)
    assert reading.counters is None
    assert reading.detail == "no counts: away"
    served.spoilt = lambda _query: None
    served.go_on(40)
    assert counters(desk.ask_one(ASKED)).candidate == Totals()
    served.go_on(5)
    assert counters(desk.ask_one(ASKED)).candidate == Totals(5)


def test_a_server_that_refuses_the_history_gets_an_account_that_trusts_nobody() -> None:
    """A new pod is a baseline then: too little, never too much."""
    served = Served()
    served.spoilt = lambda query: MetricsRefused("too many samples") if is_history(query) else None
    desk = Desk(served)
    desk.ask_one(ASKED)
    served.go_on(40)
    assert counters(desk.ask_one(ASKED)).candidate == Totals()
    served.go_on(2)
    assert counters(desk.ask_one(ASKED)).candidate == Totals(2)


def test_a_failed_chunk_holds_up_its_own_rollouts_only() -> None:
    """The others' counters go on."""
    served = Served()

    def respond(query: str) -> Result:
        if not (is_raw(query) or is_history(query)):
            return reading_of(query)
        if "s00-" in query and served.canary is not None:
            return MetricsUnreachable("away")
        samples = [row(served.now, autocanary="now")]
        for number in range(20):
            pod = {**knative(1, f"s{number:02}"), "pod_name": "p", "instance": "i"}
            samples += served.pod(pod, served.stable, 0)
        return rows(*samples)

    desk = Desk(respond, revisions=10)
    asked = [question("error-rate", service=f"s{number:02}", counters=True) for number in range(20)]
    first = desk.ask(*asked)
    served.go_on(1)
    later = desk.ask(*asked)
    moved = [counters(later[each]).at > counters(first[each]).at for each in asked]
    assert moved == [False] * 5 + [True] * 15


def test_what_is_refused_says_so_beside_the_value() -> None:
    """Two scrapes under the same labels: the reading keeps its number."""
    served = Served()

    def mixed(query: str) -> Result | None:
        twin = row(2, **STABLE, autocanary="at", autocanary_at=str(served.now - 9))
        return rows(*served.raw(), twin) if is_raw(query) else None

    served.spoilt = mixed
    reading = Desk(served).ask_one(ASKED)
    assert (reading.kind, reading.value, reading.counters) == (ReadingKind.VALUE, 2, None)
    assert reading.detail.startswith("no counts: several scrapes")


def test_latency_waits_for_its_first_bucket() -> None:
    """Which bounds there are is not known before."""
    reading = Desk(Served()).ask_one(question("request-duration", counters=True))
    assert reading.value == 0.25
    assert reading.counters is None
    assert "by its latency" in reading.detail


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (question("request-count", counters=True), "only error-rate"),
        (question(query="up", counters=True), "a query of the policy's own has no counters"),
        (question("request-duration", source=Source.TRITON, counters=True), "has no histogram"),
    ],
)
def test_what_has_no_counters_says_why(asked: Question, why: str) -> None:
    """In the reading's detail, beside whatever the value has to say."""

    def respond(query: str) -> Result:
        if "autocanary_metric" in query:
            found = {"namespace": "models", "revision_name": asked.stable}
            return rows(row(1, **found, autocanary_metric="nv_inference_request_success"))
        return reading_of(query)

    reading = Desk(respond).ask_one(asked)
    assert reading.counters is None
    assert why in reading.detail


def test_a_service_that_nothing_measures_has_no_counters() -> None:
    """Its own detail is enough."""
    reading = Desk(lambda _query: rows()).ask_one(question("error-rate", source=Source.AUTO, counters=True))
    assert (reading.kind, reading.counters) == (ReadingKind.NO_SERIES, None)
    assert reading.detail.startswith("nothing measures")


def test_a_lone_revision_has_nothing_to_be_compared_with() -> None:
    """The first revision of a service."""
    reading = Desk(Served()).ask_one(replace(ASKED, stable=""))
    assert (reading.value, reading.counters) == (2, None)
    assert "no stable revision" in reading.detail
