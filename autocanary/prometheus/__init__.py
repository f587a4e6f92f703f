"""The Metrics port over PromQL: measurements of many revisions in few queries.

The client, one table per exporter in ``sources``, grouped queries, the tracking of raw counters, and the
detection of which exporter measures a service.
Must never be here: a decision about a rollout, a threshold, or a query per rollout.
"""

from __future__ import annotations

from autocanary.prometheus.connection_settings import PrometheusConfig
from autocanary.prometheus.metrics_adapter import ProbeResult, PrometheusMetrics
from autocanary.prometheus.metrics_servers import MetricsServers, NamedMetrics

__all__ = ["MetricsServers", "NamedMetrics", "ProbeResult", "PrometheusConfig", "PrometheusMetrics"]
