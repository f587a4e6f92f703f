"""Tests of autocanary.web_metrics.metric_sources: who is asked for what, and whose samples are how old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery
from autocanary.web_metrics import MetricSources
from tests.web_metrics.web_queries import web_query

WEB = web_query("http://eval")
PRESET = replace(WEB, web=None, metric="error-rate")


class Answering:
    """Takes ``seconds`` of the clock for an answer."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds
        self.asked: list[MetricQuery] = []

    def query(self, queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        self.asked += queries
        self.clock.at += self.seconds
        return {query: Measurement(MeasurementKind.VALUE, 1.0, age=2.0) for query in queries}


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at


def test_each_source_is_asked_for_its_own() -> None:
    """And what was answered first has aged by the time that all is answered."""
    clock = Clock()
    prometheus, web = Answering(clock, 4.0), Answering(clock, 9.0)
    found = MetricSources(prometheus, web, clock).query([PRESET, WEB])
    assert (prometheus.asked, web.asked) == ([PRESET], [WEB])
    assert [(query, measurement.age) for query, measurement in found.items()] == [(PRESET, 2.0), (WEB, 6.0)]


def test_without_web_metrics_prometheus_alone_is_asked() -> None:
    """Its answer is passed on as it is."""
    clock = Clock()
    prometheus, web = Answering(clock, 0.0), Answering(clock, 0.0)
    sources = MetricSources(prometheus, web, clock)
    assert list(sources.query([PRESET])) == [PRESET]
    assert (list(sources.query([WEB])), prometheus.asked, web.asked) == ([WEB], [PRESET], [WEB])
