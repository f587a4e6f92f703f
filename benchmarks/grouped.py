"""The Metrics port with the real grouping of questions into queries, and answers that cost nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.ports import Clock
from autocanary.prometheus.connection_settings import PrometheusConfig
from autocanary.prometheus.counter_account import CounterStore
from autocanary.prometheus.counter_collection import RevisionKey
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.exporter_discovery import ExporterDiscovery
from autocanary.prometheus.query_answer import QueryResponse, VectorSample
from autocanary.prometheus.query_batch import QueryLimits, query_measurements
from autocanary.prometheus.query_plan import QueryPlan
from autocanary.prometheus.scrape_windows import ScrapeWindows
from benchmarks import answering

__all__ = ["GroupedMetrics"]


class GroupedMetrics:
    """``queries`` counts what would have been sent to Prometheus, ``questions`` what was asked.

    HTTP and JSON are not in it: ``benchmarks.fleet`` measures them.
    """

    def __init__(self, clock: Clock) -> None:
        limits = PrometheusConfig("http://127.0.0.1")
        self._limits = QueryLimits(limits.max_revisions, limits.max_query_bytes)
        self._discovery = ExporterDiscovery(
            clock.now, max_targets=limits.max_revisions, max_query_bytes=limits.max_query_bytes
        )
        self._custom = CustomQueries(clock.now, limits.max_query_bytes)
        self._counter_store: CounterStore[RevisionKey] = CounterStore(clock.now)
        self._windows = ScrapeWindows(clock.now)
        self.queries = self.questions = 0

    def query(self, questions: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        self.questions += len(questions)
        plan: QueryPlan[Mapping[MetricQuery, Measurement]] = query_measurements(
            questions, self._discovery, self._custom, self._limits, self._counter_store, self._windows
        )
        try:
            queries = next(plan)
            while True:
                self.queries += len(queries)
                queries = plan.send({query: _answer(query) for query in queries})
        except StopIteration as stop:
            measurements: Mapping[MetricQuery, Measurement] = stop.value
            return measurements


@lru_cache(maxsize=1024)
def _answer(query: str) -> QueryResponse:
    found = answering.rows(answering.read(query), frozenset())
    return QueryResponse(tuple(VectorSample(labels, value, 0.0) for labels, value in found))
