"""What the tests of this package share: queries, a clock, a pool, and a Prometheus made of a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

from autocanary.errors import MetricsError
from autocanary.model.measurement import Measurement, MetricQuery, Source
from autocanary.prometheus.counter_account import CounterStore
from autocanary.prometheus.counter_collection import RevisionKey
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.exporter_discovery import ExporterDiscovery
from autocanary.prometheus.query_answer import QueryResponse, VectorSample
from autocanary.prometheus.query_batch import QueryLimits, query_measurements
from autocanary.prometheus.query_plan import QueryPlan, QueryResult
from autocanary.prometheus.scrape_windows import ScrapeWindows
from autocanary.promql import result_type

T = TypeVar("T")


class ManualClock:
    """A clock that moves on request."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time


class InlinePool:
    """Runs the work at once, in the caller's thread."""

    def submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - a future carries whatever the work raised
            future.set_exception(error)
        return future


class FakePrometheus:
    """A Prometheus that is a function from query to result, and remembers what it was asked."""

    def __init__(self, respond: Callable[[str], QueryResult]) -> None:
        self.respond = respond
        self.rounds: list[list[str]] = []

    @property
    def queries(self) -> list[str]:
        return [query for queries in self.rounds for query in queries]

    def query(self, promql: str) -> QueryResponse:
        result = self.respond(promql)
        if isinstance(result, MetricsError):
            raise result
        return result

    def run(self, plan: QueryPlan[T]) -> T:
        """Run a plan against the function, a round of queries at a time."""
        try:
            queries = next(plan)
            while True:
                self.rounds.append(list(queries))
                queries = plan.send({query: self.respond(query) for query in queries})
        except StopIteration as stop:
            value: T = stop.value
            return value


class MetricsHarness:
    """The batcher with its memory, over a scripted Prometheus."""

    def __init__(self, respond: Callable[[str], QueryResult], *, revisions: int = 1000, size: int = 200_000) -> None:
        self.clock = ManualClock()
        self.fake = FakePrometheus(respond)
        self.limits = QueryLimits(revisions, size)
        self.discovery = ExporterDiscovery(self.clock.now, max_targets=revisions, max_query_bytes=size)
        self.custom = CustomQueries(self.clock.now, size)
        self.store: CounterStore[RevisionKey] = CounterStore(self.clock.now)
        self.windows = ScrapeWindows(self.clock.now)

    def query(self, *metric_queries: MetricQuery) -> Mapping[MetricQuery, Measurement]:
        return self.fake.run(
            query_measurements(metric_queries, self.discovery, self.custom, self.limits, self.store, self.windows)
        )

    def query_one(self, metric_query: MetricQuery) -> Measurement:
        return self.query(metric_query)[metric_query]


def metric_query(
    metric: str = "request-success-rate",
    *,
    query: str = "",
    service: str = "mnist",
    number: int = 2,
    namespace: str = "models",
    source: Source = Source.KNATIVE,
    window: float = 60.0,
    quantile: float | None = None,
    counters: bool = False,
) -> MetricQuery:
    """A query about revision ``number`` of a service whose stable revision is the one before."""
    return MetricQuery(
        namespace=namespace,
        service=service,
        component="predictor",
        revision=f"{service}-predictor-{number:05}",
        stable=f"{service}-predictor-{number - 1:05}",
        source=source,
        window=window,
        metric="" if query else metric,
        quantile=quantile,
        query=query,
        query_type=result_type(query) or "",
        counters=counters,
    )


def row(value: float | None, **labels: str) -> VectorSample:
    return VectorSample(labels, value, 1_000.0)


def rows(*samples: VectorSample, warnings: Sequence[str] = ()) -> QueryResponse:
    return QueryResponse(tuple(samples), tuple(warnings))


def knative(number: int = 2, service: str = "mnist", namespace: str = "models") -> dict[str, str]:
    """The labels of a revision in a grouped answer of queue-proxy's metrics."""
    return {"namespace_name": namespace, "revision_name": f"{service}-predictor-{number:05}"}


def traffic(
    count: float | None, failed: float = 0.0, age: float | None = 1.0, labels: Mapping[str, str] | None = None
) -> list[VectorSample]:
    """The rows of a traffic query for one revision: all requests, the failed among them, newest sample."""
    where = dict(labels or knative())
    found = []
    if count is not None:
        found.append(row(count - failed, **where, autocanary="count0"))
    if failed:
        found.append(row(failed, **where, autocanary="count0", autocanary_failed="1"))
    if age is not None:
        found.append(row(age, **where, autocanary="age"))
    return found
