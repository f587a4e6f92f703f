"""What happens to a release in the benchmark of whole rollouts: rates over time, outages, and what is scraped when."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from autocanary.simulator.prometheus_server import LostScrapes
from autocanary.simulator.releases import CANDIDATE, FIRST_STEP_AFTER, STABLE, RevisionPair, SimulatedRelease
from autocanary.simulator.response_quality import Quality, TrafficMoment, ValueOverTime
from autocanary.simulator.traffic import RequestLoad, ScrapedSample

__all__ = ["Outage", "Release", "ScrapeSchedule", "stagger"]

_GRID = 5.0
_FULL_WEIGHT = 100


@dataclass(frozen=True, slots=True)
class Outage:
    """Both revisions fail ``percent`` of their requests from ``start`` on, in seconds from the first step."""

    start: float
    seconds: float
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class ScrapeSchedule:
    """Each revision is scraped every ``every`` seconds (a multiple of 5) at its own phase; ``missed`` is the share of
    scrapes that fail. ``lost`` is the revision that is not scraped at all from ``start`` on, in seconds from the first
    step."""

    every: float = 15.0
    staggered: bool = True
    missed: float = 0.05
    lost: str = ""
    start: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Release(SimulatedRelease):
    """A release of which more can be said. Rates are in percent.

    The candidate fails ``canary_error`` where ``is_bad``: from ``onset`` on, from ``bad_from_weight`` on,
    ``bake_onset`` seconds after it got all the traffic, and only for ``transient`` seconds of its life. ``swing``: the
    rates of both are multiplied by one factor between 1 and 1 + swing, drawn again each minute.
    """

    bad_from_weight: int = 0
    bake_onset: float | None = None
    transient: float | None = None
    swing: float = 0.0
    load_swing: float = 0.0
    outages: tuple[Outage, ...] = ()
    scrapes: ScrapeSchedule = field(default_factory=ScrapeSchedule)

    @property
    def load(self) -> RequestLoad:
        if not self.load_swing:
            return RequestLoad(self.rps, bursts=self.bursts)
        low = self.rps * (1.0 - self.load_swing)

        def pods_come_and_go(now: float) -> float:
            return low if int(now // 300.0) % 2 else self.rps

        return RequestLoad(pods_come_and_go, bursts=self.bursts)

    def qualities(self, start: float) -> tuple[Quality, Quality]:
        began = start + FIRST_STEP_AFTER
        factors = Random(f"swing/{start}")
        swings = [1.0 + self.swing * factors.random() for _ in range(600)]
        baking_since: list[float] = []

        def both(rate: Callable[[TrafficMoment], float]) -> ValueOverTime:
            def now(moment: TrafficMoment) -> float:
                since = moment.at - began
                for outage in self.outages:
                    if outage.start <= since < outage.start + outage.seconds:
                        return outage.percent
                return min(rate(moment) * swings[int(max(since, 0.0) // 60.0) % len(swings)], 100.0)

            return now

        def is_bad(moment: TrafficMoment) -> bool:
            if moment.weight == _FULL_WEIGHT and not baking_since:
                baking_since.append(moment.at)
            if self.bake_onset is not None:
                return bool(baking_since) and moment.at >= baking_since[0] + self.bake_onset
            if self.transient is not None and moment.at >= began + self.transient:
                return False
            return moment.at >= began + self.onset and moment.weight >= self.bad_from_weight

        def candidate(moment: TrafficMoment) -> float:
            return self.canary_error if is_bad(moment) else self.base_error

        stable = Quality(both(lambda _: self.base_error), self.base_latency)
        return stable, Quality(both(candidate), self.canary_latency)


class _ScrapedWhen(deque[ScrapedSample]):
    """The samples of one revision that its own scrapes would have read, of all that are on the grid."""

    def __init__(self, every: float, phase: float, missed: float, rng: Random) -> None:
        super().__init__(maxlen=int(1800.0 / every) + 2)
        self._every, self._phase, self._missed, self._rng = every, phase, missed, rng

    def append(self, sample: ScrapedSample, /) -> None:
        if (sample.at - self._phase) % self._every < _GRID / 2 and self._rng.random() >= self._missed:
            super().append(sample)


def stagger(pair: RevisionPair, scrapes: ScrapeSchedule, seed: int) -> None:
    """Have the pair scraped as ``scrapes`` says, from the first step on."""
    rng = Random(f"scrapes/{seed}")
    if scrapes.staggered:
        for stream in pair._traffic._streams.values():
            stream._scrape = _GRID
            for series in stream.series.values():
                phase = rng.randrange(int(scrapes.every // _GRID)) * _GRID
                samples = _ScrapedWhen(scrapes.every, phase, scrapes.missed, Random(f"{seed}/{series.revision}"))
                deque.extend(samples, series.samples)
                series.samples = samples
    if scrapes.lost:
        revision = CANDIDATE if scrapes.lost == "candidate" else STABLE
        start = pair.start + FIRST_STEP_AFTER + scrapes.start
        pair.metrics.lost_scrapes.append(LostScrapes(revision, start, start + scrapes.seconds))


def with_scrapes(release: Release, **changes: object) -> Release:
    """The same release, scraped in another way."""
    return replace(release, scrapes=replace(release.scrapes, **changes))  # type: ignore[arg-type]
