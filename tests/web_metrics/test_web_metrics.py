"""Tests of autocanary.web_metrics.web_metrics: the port against real services, good, slow and hostile."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from autocanary.model.measurement import MeasurementKind, WebAnswerForm
from autocanary.outbound.http_client import HttpClient
from autocanary.outbound.webhook_hosts import WebhookHosts
from autocanary.scheduler import SteadyClock, ThreadPool
from autocanary.web_metrics import WebClient, WebMetrics
from tests.web_metrics import evaluation_service as behaviours
from tests.web_metrics.conftest import LOOPBACK
from tests.web_metrics.evaluation_service import EvaluationService, Handler, wait_until
from tests.web_metrics.web_queries import web_query

COUNTS = WebAnswerForm.COUNTS


def test_value_is_measured(service: EvaluationService, metrics: WebMetrics, outcomes: list[str]) -> None:
    """One GET; the measurement names the service by its origin."""
    service.behaviour = behaviours.says({"value": 0.97, "samples": 240})
    query = web_query(service.origin)
    found = metrics.query([query])[query]
    assert (found.kind, found.value, found.requests) == (MeasurementKind.VALUE, 0.97, 240.0)
    assert found.exporter == f"GET {service.origin}"
    assert outcomes == ["ok"]


def test_both_revisions_are_asked_about_where_they_are_compared(
    service: EvaluationService, metrics: WebMetrics
) -> None:
    """And each question is asked once, whatever number of rollouts wait for it."""

    def counts(handler: Handler) -> None:
        stable = handler.path.endswith("00001")
        behaviours.says({"bad": 9, "total": 900} if stable else {"bad": 3, "total": 240})(handler)

    service.behaviour = counts
    queries = [web_query(service.origin, compared=True, form=COUNTS, window=window) for window in (60.0, 90.0)]
    found = metrics.query(queries)
    assert sorted(path for path, _ in service.asked) == [
        "/score?revision=mnist-predictor-00001",
        "/score?revision=mnist-predictor-00002",
    ]
    counters = [found[query].counters for query in queries]
    assert [(each.candidate.requests, each.stable.errors) for each in counters if each] == [(240.0, 9.0)] * 2
    service.behaviour = behaviours.says({"bad": 4, "total": 250})
    again = metrics.query(queries)[queries[0]]
    assert (again.value, again.requests) == (10.0, 10.0)


def test_last_counts_of_stable_stay(service: EvaluationService, metrics: WebMetrics) -> None:
    """At 100 % stable has no traffic, and a service may know nothing of it any more."""
    query = web_query(service.origin, compared=True, form=COUNTS)
    service.behaviour = behaviours.says({"bad": 9, "total": 900})
    metrics.query([query])

    def without_stable(handler: Handler) -> None:
        of_stable = handler.path.endswith("00001")
        behaviours.says({"unknown": "gone"} if of_stable else {"bad": 10, "total": 950})(handler)

    service.behaviour = without_stable
    found = metrics.query([query])[query].counters
    assert found is not None
    assert (found.account_id, found.candidate.requests, found.stable.requests) == ("web", 950.0, 900.0)
    assert (found.candidate_current, found.stable_current) == (True, False)


@pytest.mark.parametrize(
    ("document", "outcome", "kind"),
    [
        ({"unknown": "later"}, "unknown", MeasurementKind.NO_SERIES),
        ({"value": "1"}, "unreadable", MeasurementKind.OUTAGE),
        ({"bad": 2, "total": 1}, "unreadable", MeasurementKind.OUTAGE),
    ],
)
def test_what_is_no_number(
    service: EvaluationService,
    metrics: WebMetrics,
    outcomes: list[str],
    document: Any,
    outcome: str,
    kind: MeasurementKind,
) -> None:
    """Counted by its outcome, and never a value."""
    service.behaviour = behaviours.says(document)
    query = web_query(service.origin)
    found = metrics.query([query])[query]
    assert (found.kind, found.value, outcomes) == (kind, None, [outcome])


def test_refused_address_is_counted_and_not_reached(service: EvaluationService, outcomes: list[str]) -> None:
    """A tenant's policy names a private address."""
    pool = ThreadPool(2, "web")
    hosts = WebhookHosts()
    metrics = WebMetrics(WebClient(HttpClient(hosts=hosts)), hosts, pool, SteadyClock(), outcomes.append)
    query = web_query(service.origin)
    found = metrics.query([query])[query]
    pool.stop()
    assert (found.kind, outcomes, service.asked) == (MeasurementKind.REFUSED, ["refused"], [])
    assert "AUTOCANARY_WEBHOOK_HOSTS" in found.detail


def test_origin_that_hangs_is_asked_no_more_in_the_round(service: EvaluationService, metrics: WebMetrics) -> None:
    """Of a hundred metrics of a namespace a few are asked; the others say why not."""
    service.behaviour = behaviours.hangs
    queries = [web_query(f"{service.origin}/{number}", timeout=0.2) for number in range(100)]
    found = metrics.query(queries)
    assert {each.kind for each in found.values()} == {MeasurementKind.OUTAGE}
    assert len(service.asked) == 3
    assert "was not asked: it did not answer the questions before" in found[queries[-1]].detail


def test_namespace_that_hangs_delays_no_other(client: WebClient, service: EvaluationService) -> None:
    """Its share of the threads is its own; another namespace is answered while it hangs."""
    pool = ThreadPool(6, "web")
    metrics = WebMetrics(client, LOOPBACK, pool, SteadyClock())
    slow = [web_query(f"{service.origin}/slow/{each}", timeout=9.0, namespace="greedy") for each in range(50)]
    service.behaviour = lambda handler: (
        behaviours.hangs(handler) if "slow" in handler.path else behaviours.says({"value": 1})(handler)
    )
    greedy = threading.Thread(target=lambda: metrics.query(slow), daemon=True)
    greedy.start()
    wait_until(lambda: len(service.asked) == 3)
    query = web_query(service.origin)
    assert metrics.query([query])[query].value == 1.0
    assert greedy.is_alive()
    assert sum("slow" in path for path, _ in service.asked) == 3
    service.stopping.set()
    pool.stop()


def test_questions_that_are_still_open_use_up_the_share(client: WebClient, service: EvaluationService) -> None:
    """What a resolver or a socket holds on to after its time is not asked again and again."""

    class HeldPool:
        def __init__(self) -> None:
            self.given = 0

        def submit(self, _: Any) -> Future[Any]:
            self.given += 1
            held: Future[Any] = Future()
            held.set_running_or_notify_cancel()
            return held

    pool = HeldPool()
    metrics = WebMetrics(client, LOOPBACK, pool, SteadyClock())
    queries = [web_query(f"{service.origin}/{each}", timeout=-1.9) for each in range(5)]
    found = [metrics.query([query])[query].detail for query in queries]
    assert pool.given == 3
    assert "did not answer within" in found[0]
    assert "was not asked: earlier questions are still open" in found[4]


def test_round_has_an_end_and_what_is_left_comes_first_next_time(client: WebClient, service: EvaluationService) -> None:
    """No metric is left out for ever because those before it are slow."""
    now = [0.0]
    pool = ThreadPool(6, "web")
    metrics = WebMetrics(client, LOOPBACK, pool, SteadyClock(), round_seconds=20.0, monotonic=lambda: now[0])

    def slowly(handler: Handler) -> None:
        now[0] += 9.0
        behaviours.says({"value": 1})(handler)

    service.behaviour = slowly
    queries = [web_query(f"{service.origin}/{each}") for each in range(6)]
    first = metrics.query(queries)
    kinds = [first[query].kind for query in queries]
    assert kinds == [MeasurementKind.VALUE] * 3 + [MeasurementKind.OUTAGE] * 3
    assert "the other web metrics of namespace models took 20 s" in first[queries[5]].detail
    second = metrics.query(queries)
    assert [second[query].kind for query in queries] == [MeasurementKind.OUTAGE] * 3 + [MeasurementKind.VALUE] * 3
    pool.stop()


def test_stopped_pool_raises_nothing(client: WebClient, service: EvaluationService) -> None:
    """A round that meets the end of the process is an outage."""
    pool = ThreadPool(1, "web")
    pool.stop()
    query = web_query(service.origin)
    found = WebMetrics(client, LOOPBACK, pool, SteadyClock()).query([query])[query]
    assert found.kind is MeasurementKind.OUTAGE
    assert "was not asked" in found.detail


def test_words_of_unlisted_hosts_are_not_shown(service: EvaluationService, client: WebClient) -> None:
    """The host may be reached by its network, and is not listed by its name: then its words are its own."""
    pool = ThreadPool(1, "web")
    service.behaviour = behaviours.says({"unknown": "s3cret"})
    query = web_query(service.origin)
    for hosts, shown in ((WebhookHosts(), False), (LOOPBACK, True)):
        found = WebMetrics(client, hosts, pool, SteadyClock()).query([query])[query]
        assert ("s3cret" in found.detail) is shown
    pool.stop()
