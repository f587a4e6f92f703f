"""The Metrics port over simulated counters: the numbers that Prometheus would have worked out of them.

Rates, increases and quantiles follow Prometheus' own rules (extrapolation of ``increase``, interpolation
of ``histogram_quantile``), because the analysis must work with these, not with the true values. Counters are as the
last scrape read them, from the first read of a revision on; all revisions are scraped at once. The latency
histogram does not tell failures from successes, so failures are subtracted from every bucket.

Over 300 lines because every kind of measurement that Prometheus gives has its fault here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import NormalDist

from autocanary.model.measurement import (
    FailureCounts,
    Measurement,
    MeasurementKind,
    MetricQuery,
    RequestCounters,
    RequestTotals,
    Source,
    Unit,
)
from autocanary.model.policy import DEFAULT_QUANTILE, Component
from autocanary.simulator.random_counts import LATENCY_BOUNDS
from autocanary.simulator.response_quality import Tokens
from autocanary.simulator.revision_counters import RevisionCounters, last_sample_until
from autocanary.simulator.traffic import RevisionSeries, ScrapedSample, Traffic
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["CustomAnswer", "LostScrapes", "PrometheusFault", "SimulatedMetrics", "extrapolation", "histogram_quantile"]

CustomAnswer = Callable[[MetricQuery, float], "Measurement | float | None"]
"""Answers a policy's own PromQL at an instant: a measurement, a number, or None for no series."""

_SILENT_AFTER = 90.0  # seconds for which a silent revision holds up the time of both
_COUNTED_METRICS = ("error-rate", "request-success-rate", "request-duration")
_NORMAL = NormalDist()
_TOKEN_METRICS: Mapping[str, Callable[[Tokens], float]] = {
    "time-to-first-token": lambda tokens: tokens.first_seconds,
    "time-per-output-token": lambda tokens: tokens.each_seconds,
    "queue-time": lambda tokens: tokens.queue_seconds,
}
_UNITS = {
    "request-success-rate": Unit.PERCENT,
    "error-rate": Unit.PERCENT,
    "request-duration": Unit.SECONDS,
    "request-count": Unit.REQUESTS,
    "kv-cache-usage": Unit.PERCENT,
}
_DETAILS = {
    MeasurementKind.OUTAGE: "Prometheus does not answer",
    MeasurementKind.NO_SERIES: "no series matches",
    MeasurementKind.REFUSED: "Prometheus refuses the query",
    MeasurementKind.PARTIAL: "Prometheus warns that data is missing from the answer",
    MeasurementKind.NOT_A_NUMBER: "the answer is NaN",
    MeasurementKind.AMBIGUOUS: "several series where one was expected",
    MeasurementKind.UNSUPPORTED: "this source cannot give this metric",
}


@dataclass(frozen=True, slots=True)
class PrometheusFault:
    """Prometheus misbehaves from ``start`` until ``end`` (epoch seconds), for all services or for one.

    ``kind`` is the kind of its measurements then; STALE means that the scrape stopped at ``start``.
    """

    kind: MeasurementKind
    start: float = -math.inf
    end: float = math.inf
    namespace: str = ""
    service: str = ""

    def applies_to(self, query: MetricQuery, now: float) -> bool:
        return (
            self.start <= now < self.end
            and self.namespace in ("", query.namespace)
            and self.service in ("", query.service)
        )


@dataclass(frozen=True, slots=True)
class LostScrapes:
    """The pods of one revision are not scraped from ``start`` until ``end`` (epoch seconds); requests go on."""

    revision: str
    start: float
    end: float = math.inf

    def loses(self, query: MetricQuery, revision: str, now: float) -> bool:
        return revision == self.revision and self.start <= now < self.end and not query.query


class SimulatedMetrics:
    """Answers from a Traffic's counters.

    ``faults`` and ``lost_scrapes`` may be changed at any time; ``custom`` answers PromQL, and URLs of web metrics,
    that contain its key;
    ``asked`` counts queries.
    """

    def __init__(self, traffic: Traffic, clock: VirtualClock) -> None:
        self._traffic, self._clock = traffic, clock
        self.faults: list[PrometheusFault] = []
        self.lost_scrapes: list[LostScrapes] = []
        self.custom: dict[str, CustomAnswer] = {}
        self.asked = 0
        self._restarts = 0
        self.restart()

    def restart(self) -> None:
        """As if the service had restarted: its counter store begins again."""
        self._restarts += 1
        self._revision_counters: dict[tuple[str, str, str, str], RevisionCounters] = {}
        self._last_counters: dict[tuple[str, str, str, str, str, bool], RequestCounters] = {}

    def query(self, queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]:
        now = self._clock.now()
        self.asked += len(queries)
        measurements = {query: self._measure(query, now) for query in queries}
        for query, measurement in measurements.items():
            if query.counters:
                measurements[query] = self._with_counters(query, measurement, now)
        return measurements

    def _with_counters(self, query: MetricQuery, measurement: Measurement, now: float) -> Measurement:
        if query.query or query.metric not in _COUNTED_METRICS or query.stable in ("", query.revision):
            why = f"no counts: {query.metric or 'a query of its own'} has none, or nothing to compare with"
            return replace(measurement, detail=measurement.detail or why)
        latency = query.metric == "request-duration"
        revisions = query.revision, query.stable
        key = (query.namespace, query.service, query.component, *revisions, latency)
        fault = next((each for each in self.faults if each.applies_to(query, now)), None)
        if fault is None or fault.kind in (MeasurementKind.STALE, MeasurementKind.NO_SERIES):
            until = now if fault is None else min(fault.start, now)
            self._update_counters(query, key, until, now)
        measurement = replace(measurement, counters=self._last_counters.get(key))
        return replace(measurement, failures=self._failures(query)) if query.failures else measurement

    def _failures(self, query: MetricQuery) -> FailureCounts | None:
        """Of the candidate, which is one process here."""
        owner = (query.namespace, query.service, query.component, query.revision)
        counters = self._revision_counters.get(owner)
        if counters is None:
            return None
        return FailureCounts(f"sim-{self._restarts}-{query.revision}", counters.failed, counters.failed_by_process)

    def _update_counters(
        self, query: MetricQuery, key: tuple[str, str, str, str, str, bool], until: float, now: float
    ) -> None:
        found = self._traffic.series(query.namespace, query.service, Component(query.component))
        totals: list[RequestTotals] = []
        times: list[float] = []
        current: list[bool] = []
        for revision in (query.revision, query.stable):
            series = found.get(revision)
            newest = last_sample_until(series, self._scraped_until(query, revision, until))
            owner = (query.namespace, query.service, query.component, revision)
            if owner not in self._revision_counters:
                self._revision_counters[owner] = RevisionCounters(series, newest)
            totals.append(self._revision_counters[owner].update(series, newest))
            current.append(newest is not None and now - newest.at <= _SILENT_AFTER)
            if newest is not None and current[-1]:
                times.append(newest.at)
        said = self._last_counters.get(key)
        if said is None or (times and min(times) > said.at):
            latency = key[-1]
            candidate, stable = totals if latency else [RequestTotals(each.requests, each.errors) for each in totals]
            bounds = LATENCY_BOUNDS if latency else ()
            at = min(times) if times else until
            said = RequestCounters(f"sim-{self._restarts}", at, candidate, stable, bounds)
        self._last_counters[key] = replace(said, candidate_current=current[0], stable_current=current[1])

    def _scraped_until(self, query: MetricQuery, revision: str, now: float) -> float:
        """When the revision's pods were last scraped: before the scrape was lost, if it is."""
        lost = [each.start for each in self.lost_scrapes if each.loses(query, revision, now)]
        return min([*lost, now])

    def _measure(self, query: MetricQuery, now: float) -> Measurement:
        fault = next((each for each in self.faults if each.applies_to(query, now)), None)
        if fault is None:
            return self._compute(query, now, now)
        if fault.kind in (MeasurementKind.OUTAGE, MeasurementKind.REFUSED):
            return Measurement(fault.kind, unit=_unit(query), detail=_DETAILS[fault.kind])
        scraped_until = fault.start if fault.kind is MeasurementKind.STALE else now
        return _with_fault(self._compute(query, now, scraped_until), fault, now)

    def _compute(self, query: MetricQuery, now: float, scraped_until: float) -> Measurement:
        if query.query or query.web is not None:
            return self._custom_measurement(query, now)
        source = query.source if query.source is not Source.AUTO else Source.KNATIVE
        found = self._traffic.series(query.namespace, query.service, Component(query.component))
        series = found.get(query.revision)
        until = min(now, scraped_until)
        lost = self._scraped_until(query, query.revision, now)
        span = _span(series, until - query.window, min(until, lost)) if series is not None else None
        if series is None or span is None or span[1].requests == span[0].requests:
            return _no_requests(query, source, any(each.samples for each in found.values()))
        first, last, count = span
        served = last.requests - first.requests
        requests = served * extrapolation(first, last, count, until - query.window, until)
        value = _value(query, series, first, last, requests)
        unit, age = _unit(query), now - last.at
        if value is None:
            kind = MeasurementKind.UNSUPPORTED
            return Measurement(kind, unit=unit, requests=requests, age=age, source=source, detail=_DETAILS[kind])
        scrape_interval = (last.at - first.at) / (count - 1)
        return Measurement(
            MeasurementKind.VALUE,
            value,
            unit,
            requests,
            age,
            source,
            scrape_interval=scrape_interval,
            sample_at=last.at,
        )

    def _custom_measurement(self, query: MetricQuery, now: float) -> Measurement:
        asked = query.web.url if query.web is not None else query.query
        for part, answer in self.custom.items():
            if part in asked:
                said = answer(query, now)
                if isinstance(said, Measurement):
                    return said
                if said is None:
                    break
                kind = MeasurementKind.VALUE if math.isfinite(said) else MeasurementKind.NOT_A_NUMBER
                counted = self._compute(replace(query, query="", web=None, metric="request-count"), now, now)
                return Measurement(kind, said, requests=counted.requests, age=0.0)
        return Measurement(MeasurementKind.NO_SERIES, detail=_DETAILS[MeasurementKind.NO_SERIES])


def _no_requests(query: MetricQuery, source: Source, measured: bool) -> Measurement:
    """No request: 0 of them where the source is known to measure the service, else unknown."""
    unit = _unit(query)
    if measured:
        detail = f"{query.revision} completed no request in the window"
        return Measurement(MeasurementKind.NO_SERIES, unit=unit, requests=0.0, source=source, detail=detail)
    named = None if query.source is Source.AUTO else source
    detail = f"nothing measures {query.namespace}/{query.service}"
    return Measurement(MeasurementKind.NO_SERIES, unit=unit, source=named, detail=detail)


def _with_fault(measurement: Measurement, fault: PrometheusFault, now: float) -> Measurement:
    if fault.kind is MeasurementKind.STALE:
        age = measurement.age if measurement.age is not None else now - fault.start
        return replace(measurement, kind=MeasurementKind.STALE, age=age, detail=f"the newest sample is {age:.0f} s old")
    kept = fault.kind is MeasurementKind.PARTIAL
    return replace(
        measurement,
        kind=fault.kind,
        value=measurement.value if kept else None,
        requests=None if fault.kind is MeasurementKind.NO_SERIES else measurement.requests,
        detail=_DETAILS.get(fault.kind, ""),
    )


def _unit(query: MetricQuery) -> Unit:
    if query.query or query.web is not None:
        return Unit.NUMBER
    return _UNITS.get(query.metric, Unit.SECONDS)


def _span(series: RevisionSeries, start: float, end: float) -> tuple[ScrapedSample, ScrapedSample, int] | None:
    """The first and last sample within (start, end], and how many there are; None with fewer than two."""
    first = last = None
    count = 0
    for sample in reversed(series.samples):
        if sample.at > end:
            continue
        if sample.at <= start:
            break
        last = sample if last is None else last
        first = sample
        count += 1
    return (first, last, count) if first is not None and last is not None and count > 1 else None


def extrapolation(first: ScrapedSample, last: ScrapedSample, count: int, start: float, end: float) -> float:
    """By how much ``increase()`` exceeds the difference of the counters (Prometheus ``extrapolatedRate``)."""
    sampled = last.at - first.at
    average = sampled / (count - 1)
    before, after = first.at - start, end - last.at
    delta = last.requests - first.requests
    if before >= average * 1.1:
        before = average / 2
    if delta > 0:
        before = min(before, sampled * first.requests / delta)
    if after >= average * 1.1:
        after = average / 2
    return (sampled + before + after) / sampled


def histogram_quantile(quantile: float, counts: Sequence[float]) -> float:
    """Prometheus' own: linear within a bucket, the highest bound for what lies beyond it, NaN when empty."""
    cumulative = list(accumulate(counts))
    total = cumulative[-1]
    if not total:
        return math.nan
    rank = quantile * total
    index = next(i for i, height in enumerate(cumulative) if height >= rank)
    if index >= len(LATENCY_BOUNDS):
        return LATENCY_BOUNDS[-1]
    low = LATENCY_BOUNDS[index - 1] if index else 0.0
    below = cumulative[index - 1] if index else 0
    within = cumulative[index] - below
    return low + (LATENCY_BOUNDS[index] - low) * ((rank - below) / within if within else 0.0)


def _value(
    query: MetricQuery, series: RevisionSeries, first: ScrapedSample, last: ScrapedSample, requests: float
) -> float | None:
    """None when this revision does not measure such a thing."""
    served, failed = last.requests - first.requests, last.errors - first.errors
    quantile = query.quantile if query.quantile is not None else DEFAULT_QUANTILE
    tokens = series.quality.tokens
    match query.metric:
        case "request-success-rate":
            return 100.0 * (served - failed) / served
        case "error-rate":
            return 100.0 * failed / served
        case "request-count":
            return requests
        case "request-duration":
            deltas = [high - low for low, high in zip(first.buckets, last.buckets, strict=True)]
            return histogram_quantile(quantile, deltas)
        case "kv-cache-usage":
            return tokens.cache_percent if tokens is not None else None
        case metric if metric in _TOKEN_METRICS and tokens is not None:
            return _TOKEN_METRICS[metric](tokens) * math.exp(tokens.spread * _NORMAL.inv_cdf(quantile))
    return None
