"""Runs queries at once on the pool, each distinct one only once at a time, whoever asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import TypeVar

from autocanary.errors import MetricsError, MetricsUnreachable
from autocanary.ports import Pool
from autocanary.prometheus.query_answer import Answer
from autocanary.prometheus.query_plan import Plan, Result

__all__ = ["Flight"]

T = TypeVar("T")


class Flight:
    """May be used from many threads, but not from the pool's own: both methods wait for the pool."""

    def __init__(self, query: Callable[[str], Answer], pool: Pool) -> None:
        self._query = query
        self._pool = pool
        self._flying: dict[str, Future[Answer]] = {}
        self._lock = threading.Lock()

    def fly(self, plan: Plan[T]) -> T:
        """Run a plan to its end."""
        try:
            queries = next(plan)
            while True:
                queries = plan.send(self.fetch(queries))
        except StopIteration as stop:
            value: T = stop.value
            return value

    def fetch(self, queries: Iterable[str]) -> Mapping[str, Result]:
        """Every query's answer or error."""
        promises = {query: self._promise(query) for query in queries}
        return {query: _result(promise) for query, promise in promises.items()}

    def _promise(self, query: str) -> Future[Answer]:
        with self._lock:
            flying = self._flying.get(query)
            if flying is not None:
                return flying
            promise = self._flying[query] = Future()

        def landed(work: Future[Answer]) -> None:
            with self._lock:
                del self._flying[query]
            if work.cancelled():
                promise.set_exception(_stopping())
            elif (error := work.exception()) is not None:
                promise.set_exception(error)
            else:
                promise.set_result(work.result())

        try:
            work = self._pool.submit(lambda: self._query(query))
        except RuntimeError:  # the pool has been shut down
            work = Future()
            work.set_exception(_stopping())
        work.add_done_callback(landed)
        return promise


def _stopping() -> MetricsUnreachable:
    return MetricsUnreachable("Prometheus was not asked: autocanary is stopping")


def _result(promise: Future[Answer]) -> Result:
    try:
        return promise.result()
    except MetricsError as error:
        return error
