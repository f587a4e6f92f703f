"""Simulated requests: what each revision has served, as counters that a scrape reads now and then.

Requests arrive as a Poisson stream, are split as the ingress is really programmed, and wait while a
revision's pods are cold. Counters are computed only when they are read or when the split changes, so a
world of thousands of quiet services costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from autocanary.model.policy import Component
from autocanary.simulator.api_server import NamespacedName
from autocanary.simulator.cluster import KServeCluster
from autocanary.simulator.knative_controller import Revision, RoutedRevisions
from autocanary.simulator.random_counts import LATENCY_BOUNDS, binomial, buckets, lognormal_cdf, poisson
from autocanary.simulator.response_quality import GOOD, Quality, QualityOf, TrafficMoment, value_at
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["RequestLoad", "RevisionSeries", "ScrapedSample", "Scraping", "Traffic"]

SCRAPE_SECONDS = 15.0
_KEPT_SECONDS = 1800.0
_BURST_SECONDS = 60.0
_BURST_SHAPE = 0.5


@dataclass(frozen=True, slots=True)
class Scraping:
    """How Prometheus scrapes: the pods of each revision every so many ``seconds``.

    ``staggered``: each revision at a phase of its own, as Prometheus does; otherwise all at once. ``missed`` is the
    part (0 to 1) of the scrapes that fail, each on its own.
    """

    seconds: float = SCRAPE_SECONDS
    staggered: bool = False
    missed: float = 0.0

    def phase(self, seed: str) -> float:
        """Seconds of a revision's scrapes against the others', whole ones so that times stay exact."""
        return float(Random(f"phase/{seed}").randrange(max(int(self.seconds), 1))) if self.staggered else 0.0


_ALIGNED = Scraping()


@dataclass(frozen=True, slots=True)
class RequestLoad:
    """Requests per second of a service, a number or how it changes with time (epoch seconds).

    ``bursts``: errors of all revisions come and go together, by a factor with mean 1 redrawn each minute.
    """

    requests_per_second: float | Callable[[float], float] = 20.0
    bursts: bool = False

    def at(self, now: float) -> float:
        rate = self.requests_per_second
        return rate(now) if callable(rate) else rate


class ScrapedSample(NamedTuple):
    """What one scrape of a revision read: counters, and requests per latency bucket (+Inf last)."""

    at: float
    requests: int
    errors: int
    buckets: tuple[int, ...]


@dataclass(slots=True)
class RevisionSeries:
    """The counters of one revision. They exist from its first request on, as queue-proxy's do."""

    revision: str
    quality: Quality
    created_at: float
    samples: deque[ScrapedSample]
    requests: int = 0
    errors: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    waiting: int = 0  # requests held back while the pods are cold
    waiting_since: float = 0.0


class _ServingRevision(NamedTuple):
    """Who serves, from one change to the next: revision, its share in percent, and when its pods are warm."""

    revision: Revision
    weight: int
    warm_at: float | None
    is_scraped: bool = False


class _ComponentTraffic:
    """The requests to one component of one service."""

    def __init__(self, load: RequestLoad, seed: str, now: float, scraping: Scraping) -> None:
        self.load = load
        self.series: dict[str, RevisionSeries] = {}
        self._rng = Random(seed)
        self._missing = Random(f"missing/{seed}")
        self._seed, self._scraping, self._scrape = seed, scraping, scraping.seconds
        self._phases: dict[str, float] = {}
        self._at = now
        self._serving: tuple[_ServingRevision, ...] = ()
        self._burst_until, self._burst = 0.0, 1.0

    def on_routing_change(self, child: RoutedRevisions, now: float, quality_of: Callable[[Revision], Quality]) -> None:
        serving = _serving(child)
        if serving == self._serving:
            return
        self.serve_until(now)
        self._serving = serving
        for revision, _, _, _ in serving:
            known = self.series.get(revision.name)
            if known is None or known.created_at != revision.created_at:
                kept: deque[ScrapedSample] = deque(maxlen=int(_KEPT_SECONDS / self._scrape) + 1)
                self.series[revision.name] = RevisionSeries(
                    revision.name, quality_of(revision), revision.created_at, kept
                )
            if revision.name not in self._phases:
                self._phases[revision.name] = self._scraping.phase(f"{self._seed}/{revision.name}")

    def serve_until(self, now: float) -> None:
        """Serve up to ``now``, because something changes there."""
        self.catch_up(now)
        if now > self._at:
            self._serve(now)

    def catch_up(self, now: float) -> None:
        """Serve up to the last scrape before ``now``; a long time without a read in one step."""
        behind = (now - self._at) - _KEPT_SECONDS
        if behind > self._scrape:
            self._serve(self._at + behind // self._scrape * self._scrape)
        while True:
            due = [(self._next_scrape(revision.name), revision) for revision, _, _, _ in self._serving]
            scraped_at = min([at for at, _ in due], default=self._at + self._scrape)
            if scraped_at > now:
                break
            self._serve(scraped_at)
            for (at, _), serving in zip(due, self._serving, strict=True):
                if at == scraped_at:
                    self._sample(serving, scraped_at)

    def _next_scrape(self, revision: str) -> float:
        """When a revision is scraped next after what has been served."""
        phase = self._phases[revision]
        return ((self._at - phase) // self._scrape + 1) * self._scrape + phase

    def _sample(self, serving: _ServingRevision, scraped_at: float) -> None:
        revision, _, warm_at, is_scraped = serving
        series = self.series[revision.name]
        serves = warm_at is not None and warm_at <= scraped_at
        if not series.requests or not (serves or is_scraped):
            return
        if self._scraping.missed and self._missing.random() < self._scraping.missed:
            return
        series.samples.append(ScrapedSample(scraped_at, series.requests, series.errors, tuple(series.buckets)))

    def _serve(self, until: float) -> None:
        since, seconds = self._at, until - self._at
        self._at = until
        rate = self.load.at(since)
        if rate <= 0 or seconds <= 0:
            return
        burst = self._burst_factor(since)
        for revision, weight, warm_at, _ in self._serving:
            series = self.series[revision.name]
            arrived = poisson(self._rng, rate * seconds * weight / 100) if weight else 0
            if warm_at is None:
                continue  # no pods: the client was refused before a counter could see it
            if until <= warm_at:
                series.waiting_since = series.waiting_since if series.waiting else since
                series.waiting += arrived
                continue
            if series.waiting:
                self._serve_waiting(series, max(warm_at - series.waiting_since, 0.001))
            if arrived:
                moment = TrafficMoment(since, since - series.created_at, weight)
                self._answer(series, arrived, moment, burst)

    def _answer(self, series: RevisionSeries, requests: int, moment: TrafficMoment, burst: float) -> None:
        quality, rng = series.quality, self._rng
        share = min(1.0, value_at(quality.error_percent, moment) / 100 * burst)
        series.requests += requests
        series.errors += binomial(rng, requests, share)
        cumulative = lognormal_cdf(value_at(quality.latency_seconds, moment), quality.spread)
        for index, count in enumerate(buckets(rng, requests, cumulative)):
            if count:
                series.buckets[index] += count

    def _serve_waiting(self, series: RevisionSeries, waited: float) -> None:
        """Requests held by the activator are answered once the pods are up, having waited half of it."""
        index = next((i for i, bound in enumerate(LATENCY_BOUNDS) if waited / 2 <= bound), len(LATENCY_BOUNDS))
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
        kserve: KServeCluster,
        *,
        quality_of: QualityOf = lambda _: GOOD,
        load: RequestLoad | None = None,
        seed: int = 1,
        scraping: Scraping = _ALIGNED,
    ) -> None:
        self._clock: VirtualClock = kserve.clock
        self.quality_of = quality_of
        self.scraping = scraping
        self._default_load = load if load is not None else RequestLoad()
        self._loads: dict[NamespacedName, RequestLoad] = {}
        self._seed = seed
        self._streams: dict[tuple[NamespacedName, Component], _ComponentTraffic] = {}
        kserve.controller.on_traffic_change = kserve.kfserving.on_traffic_change = self._on_traffic_change

    def set_load(self, namespace: str, name: str, load: RequestLoad) -> None:
        """From now on the service gets this many requests."""
        self._loads[namespace, name] = load
        for (owner, _), stream in self._streams.items():
            if owner == (namespace, name):
                stream.serve_until(self._clock.now())
                stream.load = load

    def series(self, namespace: str, name: str, component: Component) -> Mapping[str, RevisionSeries]:
        """The counters of the revisions that have served, as the last scrape read them."""
        stream = self._streams.get(((namespace, name), component))
        if stream is None:
            return {}
        stream.catch_up(self._clock.now())
        return stream.series

    def _on_traffic_change(self, name: NamespacedName, component: Component, child: RoutedRevisions) -> None:
        now = self._clock.now()
        stream = self._streams.get((name, component))
        if stream is None:
            load = self._loads.get(name, self._default_load)
            seed = f"{self._seed}/{name[0]}/{name[1]}/{component.value}"
            stream = self._streams[name, component] = _ComponentTraffic(load, seed, now, self.scraping)
        stream.on_routing_change(child, now, lambda revision: self.quality_of(revision.template[0]))


def _serving(child: RoutedRevisions) -> tuple[_ServingRevision, ...]:
    weights: dict[str, int] = {}
    for target in child.programmed:
        weights[target.revision] = weights.get(target.revision, 0) + target.percent
    revisions = child.revisions
    return tuple(
        _ServingRevision(revisions[name], weight, revisions[name].warm_at, revisions[name].runs_unready)
        for name, weight in weights.items()
        if name in revisions
    )
