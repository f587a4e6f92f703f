"""The Metrics port over HTTP: metrics that another service answers, such as an evaluation or a label pipeline.

The client, the reading of an answer, the counts of a window, and the shares of the namespaces.
Must never be here: a decision about a rollout, a threshold, PromQL, or the words of an answer in a message, unless the
operator has listed its host.
"""

from __future__ import annotations

from autocanary.web_metrics.metric_sources import MetricSources
from autocanary.web_metrics.web_client import WebClient
from autocanary.web_metrics.web_metrics import WebMetrics

__all__ = ["MetricSources", "WebClient", "WebMetrics"]
