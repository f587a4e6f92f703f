"""Prometheus: the Metrics port over PromQL.

Lives here: ``metrics`` (the port, put together), ``client`` (one query: one answer or one error) with its
``config``, ``credentials``, ``transport`` (HTTP with a deadline) and ``answer`` (the JSON, read strictly),
``sources/`` (one small table per exporter, in the words of ``presets``), ``labelling`` (how series name
their revision), ``plan`` (what to ask next, given what was answered), ``queries`` (grouped PromQL),
``discover`` (which source measures a service), ``batch`` (many questions to few queries), ``custom``
(users' own PromQL), ``readings`` (rows to readings), ``counters`` and ``scrapes`` (raw counters: asking,
and reading the rows), ``tally`` and ``account`` (what they have grown by), ``counting`` (these brought
together), ``flight`` (runs queries at once).

Must never be here: decisions about a rollout, thresholds, or a query per rollout.
"""

from __future__ import annotations

from autocanary.prometheus.config import PrometheusConfig
from autocanary.prometheus.metrics import Probe, PrometheusMetrics

__all__ = ["Probe", "PrometheusConfig", "PrometheusMetrics"]
