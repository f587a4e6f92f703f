"""Queries on the pool: at once, each distinct one only once at a time, and no waiting for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pytest

from autocanary.errors import MetricsUnreachable
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.query_plan import OwnQuery, ProcessingError, QueryResult, QueryRunner
from tests.prometheus.scripted_prometheus import InlinePool, rows
from tests.prometheus.test_query_plan import steps

T = TypeVar("T")


def test_a_plan_is_run_to_its_end() -> None:
    """Every query of every round is asked."""
    asked: list[str] = []

    def query(promql: str) -> QueryResponse:
        asked.append(promql)
        return rows()

    assert QueryRunner(query, InlinePool()).run(steps("a", 2)) == "a"
    assert asked == ["a0", "shared", "a1", "shared"]


def test_errors_are_results() -> None:
    """One query's error does not touch another's answer."""

    def query(promql: str) -> QueryResponse:
        if promql == "bad":
            raise MetricsUnreachable("away")
        return rows()

    results = QueryRunner(query, InlinePool()).run_queries(["bad", "good"])
    assert isinstance(results["bad"], MetricsUnreachable)
    assert results["good"] == rows()


def test_identical_queries_in_flight_are_sent_once() -> None:
    """A caller that asks meanwhile gets the same answer; afterwards the query runs again."""
    begun, go = threading.Event(), threading.Event()
    asked: list[str] = []

    def query(promql: str) -> QueryResponse:
        asked.append(promql)
        begun.set()
        go.wait(10)
        return rows()

    with ThreadPoolExecutor(4) as pool, ThreadPoolExecutor(2) as callers:
        flight = QueryRunner(query, pool)
        first = callers.submit(lambda: flight.run_queries(["up"]))
        assert begun.wait(10)
        joined = threading.Event()

        def join() -> Mapping[str, QueryResult]:
            joined.set()
            return flight.run_queries(["up"])

        second = callers.submit(join)
        assert joined.wait(10)
        third = flight._submit("up")
        go.set()
        assert first.result(10) == second.result(10) == {"up": third.result(10)}
        before = len(asked)
        assert before <= 2  # the second may have come after the first had landed
        flight.run_queries(["up"])
        assert len(asked) == before + 1


def test_queries_of_a_round_run_in_parallel() -> None:
    """Each waits for the other: one after the other would never end."""
    meeting = threading.Barrier(3, timeout=10)

    def query(_promql: str) -> QueryResponse:
        meeting.wait()
        return rows()

    with ThreadPoolExecutor(3) as pool:
        assert len(QueryRunner(query, pool).run_queries(["a", "b", "c"])) == 3


class _Cancelling:
    """A pool that is shut down before the work begins."""

    def submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


class _Closed:
    def submit(self, work: Callable[[], T]) -> Future[T]:
        raise RuntimeError("cannot schedule new futures after shutdown")


@pytest.mark.parametrize("pool", [_Cancelling(), _Closed()])
def test_stopping_pool_is_an_outage(pool: _Cancelling | _Closed) -> None:
    """Shutting down answers every waiting query."""
    [result] = QueryRunner(lambda _query: rows(), pool).run_queries(["up"]).values()
    assert isinstance(result, MetricsUnreachable)
    assert "stopping" in str(result)


def test_defect_in_one_query_fails_that_query_only() -> None:
    """An exception that is no MetricsError becomes that query's error, and the query can be asked again."""

    def query(promql: str) -> QueryResponse:
        if promql == "hostile":
            raise RecursionError("maximum recursion depth exceeded")
        return QueryResponse(())

    runner = QueryRunner(query, InlinePool())
    for _ in range(2):
        results = runner.run_queries(["hostile", "up"])
        assert isinstance(results["hostile"], ProcessingError)
        assert "RecursionError" in str(results["hostile"])
        assert results["up"] == QueryResponse(())


def test_own_queries_run_on_their_own_threads_three_at_a_time() -> None:
    """Slow ones of one caller occupy neither the threads of the others nor all of their own."""
    go, running, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    def query(promql: str) -> QueryResponse:
        if promql.startswith("slow"):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            go.wait(10)
            with lock:
                running[0] -= 1
        return rows()

    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(8) as own, ThreadPoolExecutor(2) as callers:
        runner = QueryRunner(query, pool, own)
        slow = callers.submit(lambda: runner.run_queries([OwnQuery(f"slow{number}") for number in range(7)]))
        assert runner.run_queries(["up", OwnQuery("quick")]) == {"up": rows(), "quick": rows()}
        go.set()
        assert len(slow.result(10)) == 7
    assert 1 <= most[0] <= 3
