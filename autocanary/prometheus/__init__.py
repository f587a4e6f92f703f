"""Prometheus: the Metrics port over PromQL.

Lives here: ``client`` (one query: deadline, credentials, one translation of errors), ``sources/`` (one small
table per exporter), ``labelling`` (how series name their revision), ``queries`` (grouped PromQL),
``discover`` (which source measures a service), ``batch`` (many questions to few queries), ``custom`` (users'
own PromQL), ``readings`` (rows to readings), ``counters`` and ``scrapes`` (raw counters: asking, and reading
the rows), ``tally`` and ``account`` (what they have grown by), ``counting`` (these brought together),
``flight`` (runs queries at once).

Must never be here: decisions about a rollout, thresholds, or a query per rollout.
"""

from __future__ import annotations

from autocanary.prometheus.config import PrometheusConfig
from autocanary.prometheus.metrics import Probe, PrometheusMetrics

__all__ = ["Probe", "PrometheusConfig", "PrometheusMetrics"]
