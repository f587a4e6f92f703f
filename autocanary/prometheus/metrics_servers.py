"""The Metrics port over several Prometheus servers: each query goes to the server that its policy names.

Every server has an adapter of its own: connections, discovered exporters, counts, windows and outages. A name that
is unknown, or that the service's namespace may not use, is answered without any I/O, in the same words: a policy
learns nothing of servers that are not its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.ports import Metrics
from autocanary.prometheus.measurements import unsupported_measurement
from autocanary.settings import PrometheusServer

__all__ = ["MetricsServers", "NamedMetrics"]


@dataclass(frozen=True, slots=True)
class NamedMetrics:
    """A configured server, and the adapter that queries it."""

    server: PrometheusServer
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class MetricsServers:
    """Implements ``autocanary.ports.Metrics``; ``main`` answers the queries that name no server."""

    main: Metrics
    named: Mapping[str, NamedMetrics] = field(default_factory=dict)

    def query(self, questions: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        """Exactly one measurement for every query, in the order of the queries."""
        by_server: dict[str, list[MetricQuery]] = {}
        found: dict[MetricQuery, Measurement | None] = dict.fromkeys(questions)
        for query in found:
            metrics = self._metrics_for(query)
            if metrics is None:
                found[query] = unsupported_measurement(query, self._unknown_text(query))
            else:
                by_server.setdefault(query.server, []).append(query)
        for queries in by_server.values():
            if (metrics := self._metrics_for(queries[0])) is not None:
                found.update(metrics.query(queries))
        return {query: measurement for query, measurement in found.items() if measurement is not None}

    def _metrics_for(self, query: MetricQuery) -> Metrics | None:
        if not query.server:
            return self.main
        named = self.named.get(query.server)
        return named.metrics if named is not None and named.server.serves(query.namespace) else None

    def _unknown_text(self, query: MetricQuery) -> str:
        usable = sorted(name for name, each in self.named.items() if each.server.serves(query.namespace))
        known = f"they may use {', '.join(usable)}" if usable else "they have the main one alone"
        return f"no Prometheus {query.server!r} is configured for services of namespace {query.namespace}: {known}"
