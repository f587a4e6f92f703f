"""The Metrics port, put together: queries in, measurements out, nothing raised."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from autocanary.errors import MetricsError, MetricsRefused
from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.ports import Clock, Pool
from autocanary.prometheus.client import PrometheusClient
from autocanary.prometheus.connection_settings import PrometheusConfig
from autocanary.prometheus.counter_account import CounterStore
from autocanary.prometheus.counter_collection import RevisionKey
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.exporter_discovery import ExporterDiscovery
from autocanary.prometheus.measurements import failed_measurement
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.query_batch import QueryLimits, query_measurements
from autocanary.prometheus.query_plan import QueryRunner, guard_plan
from autocanary.prometheus.scrape_windows import ScrapeWindows

__all__ = ["ProbeResult", "PrometheusMetrics"]

_QUERY_TOO_LONG = re.compile(r"-search\.maxQueryLen=([0-9]+)")
_MIN_QUERY_BYTES = 2000


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Whether Prometheus answers; ``text`` is its version, or one sentence that says what is wrong."""

    ok: bool
    text: str


class PrometheusMetrics:
    """Implements ``autocanary.ports.Metrics``; safe to use from many threads.

    ``pool`` runs the queries, ``own_pool`` those that policies' authors wrote; ``query`` waits for both, so it must
    not itself be called on one of their threads.
    ``count`` gets the outcome of every HTTP query: "ok", "partial", "refused" or "unreachable".
    """

    def __init__(
        self,
        config: PrometheusConfig,
        pool: Pool,
        clock: Clock,
        count: Callable[[str], None] = lambda _outcome: None,
        own_pool: Pool | None = None,
    ) -> None:
        self._client = PrometheusClient(config, count)
        self._runner = QueryRunner(self._query, pool, own_pool)
        self._limits = QueryLimits(config.max_revisions, config.max_query_bytes)
        self._discovery = ExporterDiscovery(
            clock.now, max_targets=config.max_revisions, max_query_bytes=config.max_query_bytes
        )
        self._custom = CustomQueries(clock.now, config.max_query_bytes)
        self._counter_store: CounterStore[RevisionKey] = CounterStore(clock.now)
        self._windows = ScrapeWindows(clock.now)

    def query(self, metric_queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        """Exactly one measurement for every query, in the order of the queries."""
        plan = query_measurements(
            metric_queries, self._discovery, self._custom, self._limits, self._counter_store, self._windows
        )
        return self._runner.run(
            guard_plan(plan, lambda error: {each: failed_measurement(each, error) for each in metric_queries})
        )

    def _query(self, promql: str) -> QueryResponse:
        """One answer; a server that says how long a query may be is asked in shorter ones from then on."""
        try:
            return self._client.query(promql)
        except MetricsRefused as error:
            if (limit := _QUERY_TOO_LONG.search(str(error))) is not None:
                query_bytes = max(_MIN_QUERY_BYTES, int(limit[1]))
                self._limits = replace(self._limits, query_bytes=min(self._limits.query_bytes, query_bytes))
                self._discovery.limit_query_bytes(query_bytes)
                self._custom.limit_query_bytes(query_bytes)
            raise

    def run(self, promql: str) -> QueryResponse:
        """One query's answer, or MetricsUnreachable or MetricsRefused with one sentence."""
        return self._query(promql)

    def probe(self) -> ProbeResult:
        """One query and the version; takes at most two timeouts."""
        try:
            self._client.query("vector(1)")
        except MetricsError as error:
            return ProbeResult(False, str(error))
        return ProbeResult(True, self._client.version() or "unknown version")

    def refusal(self, query: str) -> str | None:
        """Why Prometheus refuses the query, None when it runs it; MetricsUnreachable without an answer."""
        try:
            self._client.query(query)
        except MetricsRefused as error:
            return str(error)
        return None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
