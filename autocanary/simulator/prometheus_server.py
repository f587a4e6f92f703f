"""The Metrics port over simulated counters: the numbers that Prometheus would have worked out of them.

Rates, increases and quantiles follow Prometheus' own rules (extrapolation of ``increase``, interpolation
of ``histogram_quantile``), because a judge must live with these, not with the truth. Counters are as the
last scrape read them, from the first look at a revision on; all revisions are scraped at once. The latency
histogram does not tell failures from successes, so failures are subtracted from every bucket.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import NormalDist

from autocanary.model.measurement import Counters, Question, Reading, ReadingKind, Source, Totals, Unit
from autocanary.model.policy import Component
from autocanary.simulator.random_counts import BOUNDS
from autocanary.simulator.response_quality import Tokens
from autocanary.simulator.revision_counters import Account, newest_by
from autocanary.simulator.traffic import Sample, Series, Traffic
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["Custom", "Fault", "SimMetrics", "extrapolation", "histogram_quantile"]

Custom = Callable[[Question, float], "Reading | float | None"]
"""Answers a policy's own PromQL at an instant: a reading, a number, or None for no series."""

_DEFAULT_QUANTILE = 0.99
_LINGERING = 90.0  # seconds for which a silent revision holds up the time of both
_COUNTED = ("error-rate", "request-success-rate", "request-duration")
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
_SAID = {
    ReadingKind.OUTAGE: "Prometheus does not answer",
    ReadingKind.NO_SERIES: "no series matches",
    ReadingKind.REFUSED: "Prometheus refuses the query",
    ReadingKind.PARTIAL: "Prometheus warns that data is missing from the answer",
    ReadingKind.NOT_A_NUMBER: "the answer is NaN",
    ReadingKind.AMBIGUOUS: "several series where one was expected",
    ReadingKind.UNSUPPORTED: "this source cannot give this metric",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Prometheus misbehaves from ``start`` until ``end`` (epoch seconds), for all services or for one.

    ``kind`` is what the readings then are; STALE means that the scrape stopped at ``start``.
    """

    kind: ReadingKind
    start: float = -math.inf
    end: float = math.inf
    namespace: str = ""
    service: str = ""

    def hits(self, question: Question, now: float) -> bool:
        return (
            self.start <= now < self.end
            and self.namespace in ("", question.namespace)
            and self.service in ("", question.service)
        )


class SimMetrics:
    """Answers from a Traffic's counters.

    ``faults`` may be changed at any time; ``custom`` answers PromQL that contains its key; ``asked`` counts
    questions.
    """

    def __init__(self, traffic: Traffic, clock: VirtualClock) -> None:
        self._traffic, self._clock = traffic, clock
        self.faults: list[Fault] = []
        self.custom: dict[str, Custom] = {}
        self.asked = 0
        self._lives = 0
        self.restart()

    def restart(self) -> None:
        """As if the service had been started anew: its account of counters begins again."""
        self._lives += 1
        self._accounts: dict[tuple[str, str, str, str], Account] = {}
        self._said: dict[tuple[str, str, str, str, str, bool], Counters] = {}

    def ask(self, questions: Sequence[Question]) -> Mapping[Question, Reading]:
        now = self._clock.now()
        self.asked += len(questions)
        readings = {question: self._answer(question, now) for question in questions}
        for question, reading in readings.items():
            if question.counters:
                readings[question] = self._with_counters(question, reading, now)
        return readings

    def _with_counters(self, question: Question, reading: Reading, now: float) -> Reading:
        if question.query or question.metric not in _COUNTED or question.stable in ("", question.revision):
            why = f"no counts: {question.metric or 'a query of its own'} has none, or nothing to compare with"
            return replace(reading, detail=reading.detail or why)
        latency = question.metric == "request-duration"
        revisions = question.revision, question.stable
        key = (question.namespace, question.service, question.component, *revisions, latency)
        fault = next((each for each in self.faults if each.hits(question, now)), None)
        if fault is None or fault.kind is ReadingKind.STALE:
            until = now if fault is None else min(fault.start, now)
            self._look(question, key, until, now)
        return replace(reading, counters=self._said.get(key))

    def _look(
        self, question: Question, key: tuple[str, str, str, str, str, bool], until: float, now: float
    ) -> None:
        found = self._traffic.series(question.namespace, question.service, Component(question.component))
        totals, times = [], []
        for revision in (question.revision, question.stable):
            series = found.get(revision)
            newest = newest_by(series, until)
            owner = (question.namespace, question.service, question.component, revision)
            if owner not in self._accounts:
                self._accounts[owner] = Account(series, newest)
            totals.append(self._accounts[owner].look(series, newest))
            if newest is not None and now - newest.at <= _LINGERING:
                times.append(newest.at)
        said = self._said.get(key)
        if said is None or (times and min(times) > said.at):
            latency = key[-1]
            candidate, stable = totals if latency else [Totals(each.requests, each.errors) for each in totals]
            bounds = BOUNDS if latency else ()
            at = min(times) if times else until
            self._said[key] = Counters(f"sim-{self._lives}", at, candidate, stable, bounds)

    def _answer(self, question: Question, now: float) -> Reading:
        fault = next((each for each in self.faults if each.hits(question, now)), None)
        if fault is None:
            return self._read(question, now, now)
        if fault.kind in (ReadingKind.OUTAGE, ReadingKind.REFUSED):
            return Reading(fault.kind, unit=_unit(question), detail=_SAID[fault.kind])
        scraped_until = fault.start if fault.kind is ReadingKind.STALE else now
        return _spoilt(self._read(question, now, scraped_until), fault, now)

    def _read(self, question: Question, now: float, scraped_until: float) -> Reading:
        if question.query:
            return self._read_custom(question, now)
        source = question.source if question.source is not Source.AUTO else Source.KNATIVE
        found = self._traffic.series(question.namespace, question.service, Component(question.component))
        series = found.get(question.revision)
        until = min(now, scraped_until)
        span = _span(series, until - question.window, until) if series is not None else None
        if series is None or span is None or span[1].requests == span[0].requests:
            return _silent(question, source, any(each.samples for each in found.values()))
        first, last, count = span
        served = last.requests - first.requests
        requests = served * extrapolation(first, last, count, until - question.window, until)
        value = _value(question, series, first, last, requests)
        unit, age = _unit(question), now - last.at
        if value is None:
            kind = ReadingKind.UNSUPPORTED
            return Reading(kind, unit=unit, requests=requests, age=age, source=source, detail=_SAID[kind])
        return Reading(ReadingKind.VALUE, value, unit, requests, age, source)

    def _read_custom(self, question: Question, now: float) -> Reading:
        for part, answer in self.custom.items():
            if part in question.query:
                said = answer(question, now)
                if isinstance(said, Reading):
                    return said
                if said is None:
                    break
                kind = ReadingKind.VALUE if math.isfinite(said) else ReadingKind.NOT_A_NUMBER
                counted = self._read(replace(question, query="", metric="request-count"), now, now)
                return Reading(kind, said, requests=counted.requests, age=0.0)
        return Reading(ReadingKind.NO_SERIES, detail=_SAID[ReadingKind.NO_SERIES])


def _silent(question: Question, source: Source, measured: bool) -> Reading:
    """No request: 0 of them where the source is known to measure the service, else nobody knows."""
    unit = _unit(question)
    if measured:
        detail = "the revision completed no request in the window"
        return Reading(ReadingKind.NO_SERIES, unit=unit, requests=0.0, source=source, detail=detail)
    named = None if question.source is Source.AUTO else source
    detail = f"nothing measures {question.namespace}/{question.service}"
    return Reading(ReadingKind.NO_SERIES, unit=unit, source=named, detail=detail)


def _spoilt(reading: Reading, fault: Fault, now: float) -> Reading:
    if fault.kind is ReadingKind.STALE:
        age = reading.age if reading.age is not None else now - fault.start
        return replace(
            reading, kind=ReadingKind.STALE, age=age, detail=f"the newest sample is {age:.0f} s old"
        )
    kept = fault.kind is ReadingKind.PARTIAL
    return replace(
        reading,
        kind=fault.kind,
        value=reading.value if kept else None,
        requests=None if fault.kind is ReadingKind.NO_SERIES else reading.requests,
        detail=_SAID.get(fault.kind, ""),
    )


def _unit(question: Question) -> Unit:
    if question.query:
        return Unit.NUMBER
    return _UNITS.get(question.metric, Unit.SECONDS)


def _span(series: Series, start: float, end: float) -> tuple[Sample, Sample, int] | None:
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


def extrapolation(first: Sample, last: Sample, count: int, start: float, end: float) -> float:
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
    heights = list(accumulate(counts))
    total = heights[-1]
    if not total:
        return math.nan
    rank = quantile * total
    index = next(i for i, height in enumerate(heights) if height >= rank)
    if index >= len(BOUNDS):
        return BOUNDS[-1]
    low = BOUNDS[index - 1] if index else 0.0
    below = heights[index - 1] if index else 0
    within = heights[index] - below
    return low + (BOUNDS[index] - low) * ((rank - below) / within if within else 0.0)


def _value(question: Question, series: Series, first: Sample, last: Sample, requests: float) -> float | None:
    """None when this revision does not measure such a thing."""
    served, failed = last.requests - first.requests, last.errors - first.errors
    quantile = question.quantile if question.quantile is not None else _DEFAULT_QUANTILE
    tokens = series.quality.tokens
    match question.metric:
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
