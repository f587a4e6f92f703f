"""Simulated requests: what each revision has served, as counters that a scrape reads now and then.

Requests arrive as a Poisson stream, are split as the ingress is really programmed, and wait while a
revision's pods are cold. Counters are worked out only when somebody looks or when the split moves, so a
world of thousands of quiet services costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from autocanary.model.policy import Component
from autocanary.simulator.api_server import Name
from autocanary.simulator.cluster import KServe
from autocanary.simulator.knative_controller import Revision, Routed
from autocanary.simulator.random_counts import BOUNDS, binomial, buckets, lognormal_heights, poisson
from autocanary.simulator.response_quality import GOOD, Moment, Quality, QualityOf, level
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["Load", "Sample", "Series", "Traffic"]

SCRAPE_SECONDS = 15.0
_KEPT_SECONDS = 1800.0
_BURST_SECONDS = 60.0
_BURST_SHAPE = 0.5


@dataclass(frozen=True, slots=True)
class Load:
    """Requests per second of a service, a number or how it changes with time (epoch seconds).

    ``bursts``: errors of all revisions come and go together, by a factor with mean 1 redrawn each minute.
    """

    requests_per_second: float | Callable[[float], float] = 20.0
    bursts: bool = False

    def at(self, now: float) -> float:
        rate = self.requests_per_second
        return rate(now) if callable(rate) else rate


class Sample(NamedTuple):
    """What one scrape of a revision read: counters, and requests per latency bucket (+Inf last)."""

    at: float
    requests: int
    errors: int
    buckets: tuple[int, ...]


@dataclass(slots=True)
class Series:
    """The counters of one revision. They exist from its first request on, as queue-proxy's do."""

    revision: str
    quality: Quality
    created_at: float
    samples: deque[Sample]
    requests: int = 0
    errors: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    waiting: int = 0  # requests held back while the pods are cold
    waiting_since: float = 0.0


class _Serving(NamedTuple):
    """Who serves, from one change to the next: revision, its share in percent, and when its pods are warm."""

    revision: Revision
    weight: int
    warm_at: float | None


class _Stream:
    """The requests to one component of one service."""

    def __init__(self, load: Load, rng: Random, now: float, scrape: float) -> None:
        self.load = load
        self.series: dict[str, Series] = {}
        self._rng = rng
        self._scrape = scrape
        self._at = now
        self._serving: tuple[_Serving, ...] = ()
        self._burst_until, self._burst = 0.0, 1.0

    def moved(self, child: Routed, now: float, quality_of: Callable[[Revision], Quality]) -> None:
        serving = _serving(child)
        if serving == self._serving:
            return
        self.serve_until(now)
        self._serving = serving
        for revision, _, _ in serving:
            known = self.series.get(revision.name)
            if known is None or known.created_at != revision.created_at:
                kept: deque[Sample] = deque(maxlen=int(_KEPT_SECONDS / self._scrape) + 1)
                self.series[revision.name] = Series(
                    revision.name, quality_of(revision), revision.created_at, kept
                )

    def serve_until(self, now: float) -> None:
        """Serve up to ``now``, because something changes there."""
        self.catch_up(now)
        if now > self._at:
            self._serve(now)

    def catch_up(self, now: float) -> None:
        """Serve up to the last scrape before ``now``; a long time in which nobody looked in one go."""
        behind = (now - self._at) - _KEPT_SECONDS
        if behind > self._scrape:
            self._serve(self._at + behind // self._scrape * self._scrape)
        while True:
            scraped_at = (self._at // self._scrape + 1) * self._scrape
            if scraped_at > now:
                break
            self._serve(scraped_at)
            for revision, _, warm_at in self._serving:
                series = self.series[revision.name]
                if series.requests and warm_at is not None and warm_at <= scraped_at:
                    series.samples.append(
                        Sample(scraped_at, series.requests, series.errors, tuple(series.buckets))
                    )

    def _serve(self, until: float) -> None:
        since, seconds = self._at, until - self._at
        self._at = until
        rate = self.load.at(since)
        if rate <= 0 or seconds <= 0:
            return
        burst = self._burst_factor(since)
        for revision, weight, warm_at in self._serving:
            series = self.series[revision.name]
            arrived = poisson(self._rng, rate * seconds * weight / 100) if weight else 0
            if warm_at is None:
                continue  # no pods: whoever asked was turned away before anybody could count it
            if until <= warm_at:
                series.waiting_since = series.waiting_since if series.waiting else since
                series.waiting += arrived
                continue
            if series.waiting:
                self._release(series, max(warm_at - series.waiting_since, 0.001))
            if arrived:
                moment = Moment(since, since - series.created_at, weight)
                self._answer(series, arrived, moment, burst)

    def _answer(self, series: Series, requests: int, moment: Moment, burst: float) -> None:
        quality, rng = series.quality, self._rng
        share = min(1.0, level(quality.error_percent, moment) / 100 * burst)
        series.requests += requests
        series.errors += binomial(rng, requests, share)
        heights = lognormal_heights(level(quality.latency_seconds, moment), quality.spread)
        for index, count in enumerate(buckets(rng, requests, heights)):
            if count:
                series.buckets[index] += count

    def _release(self, series: Series, waited: float) -> None:
        """Requests held by the activator are answered once the pods are up, having waited half of it."""
        index = next((i for i, bound in enumerate(BOUNDS) if waited / 2 <= bound), len(BOUNDS))
        series.requests += series.waiting
        series.buckets[index] += series.waiting
        series.waiting = 0

    def _burst_factor(self, now: float) -> float:
        if not self.load.bursts:
            return 1.0
        if now >= self._burst_until:
            self._burst_until = now + _BURST_SECONDS
            self._burst = self._rng.gammavariate(_BURST_SHAPE, 1 / _BURST_SHAPE)
        return self._burst


class Traffic:
    """The requests to every service of a KServe, and the counters they leave behind.

    ``quality_of`` says how good the revision made from a component's spec is. The same seed and the same
    writes give the same counters.
    """

    def __init__(
        self,
        kserve: KServe,
        *,
        quality_of: QualityOf = lambda _: GOOD,
        load: Load | None = None,
        seed: int = 1,
        scrape_seconds: float = SCRAPE_SECONDS,
    ) -> None:
        self._clock: VirtualClock = kserve.clock
        self.quality_of = quality_of
        self.scrape_seconds = scrape_seconds
        self._default_load = load if load is not None else Load()
        self._loads: dict[Name, Load] = {}
        self._seed = seed
        self._streams: dict[tuple[Name, Component], _Stream] = {}
        kserve.controller.served = kserve.kfserving.served = self._served

    def set_load(self, namespace: str, name: str, load: Load) -> None:
        """From now on the service gets this many requests."""
        self._loads[namespace, name] = load
        for (owner, _), stream in self._streams.items():
            if owner == (namespace, name):
                stream.serve_until(self._clock.now())
                stream.load = load

    def series(self, namespace: str, name: str, component: Component) -> Mapping[str, Series]:
        """The counters of the revisions that have served, as the last scrape read them."""
        stream = self._streams.get(((namespace, name), component))
        if stream is None:
            return {}
        stream.catch_up(self._clock.now())
        return stream.series

    def _served(self, name: Name, component: Component, child: Routed) -> None:
        now = self._clock.now()
        stream = self._streams.get((name, component))
        if stream is None:
            load = self._loads.get(name, self._default_load)
            rng = Random(f"{self._seed}/{name[0]}/{name[1]}/{component.value}")
            stream = self._streams[name, component] = _Stream(load, rng, now, self.scrape_seconds)
        stream.moved(child, now, lambda revision: self.quality_of(revision.template[0]))


def _serving(child: Routed) -> tuple[_Serving, ...]:
    weights: dict[str, int] = {}
    for target in child.programmed:
        weights[target.revision] = weights.get(target.revision, 0) + target.percent
    revisions = child.revisions
    return tuple(
        _Serving(revisions[name], weight, revisions[name].warm_at)
        for name, weight in weights.items()
        if name in revisions
    )
