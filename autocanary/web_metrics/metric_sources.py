"""The Metrics port over all that measures: Prometheus, and the services of web metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.ports import Clock, Metrics

__all__ = ["MetricSources"]


@dataclass(frozen=True, slots=True)
class MetricSources:
    """Implements ``autocanary.ports.Metrics``: ``web`` answers the queries that name a service."""

    prometheus: Metrics
    web: Metrics
    clock: Clock

    def query(self, metric_queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        """Exactly one measurement for every query.

        The services are asked first, and their samples are older by the time that Prometheus takes.
        """
        web = [each for each in metric_queries if each.web is not None]
        if not web:
            return self.prometheus.query(metric_queries)
        found = dict(self.web.query(web))
        answered_at = self.clock.now()
        others = [each for each in metric_queries if each.web is None]
        if others:
            measured = self.prometheus.query(others)
            passed = max(0.0, self.clock.now() - answered_at)
            found = {query: _older(measurement, passed) for query, measurement in found.items()}
            found.update(measured)
        return {query: found[query] for query in dict.fromkeys(metric_queries)}


def _older(measurement: Measurement, seconds: float) -> Measurement:
    return measurement if measurement.age is None else replace(measurement, age=measurement.age + seconds)
