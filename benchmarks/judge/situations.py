"""What happens to a release in the benchmark of whole rollouts: rates over time, outages, and what is scraped when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from autocanary.simulator.prometheus_server import LostScrapes
from autocanary.simulator.releases import CANDIDATE, FIRST_STEP_AFTER, STABLE, RevisionPair, SimulatedRelease
from autocanary.simulator.response_quality import Quality, TrafficMoment, ValueOverTime
from autocanary.simulator.traffic import RequestLoad, Scraping

__all__ = ["Outage", "Release", "ScrapeSchedule", "lose_scrapes", "with_scrapes"]

_FULL_WEIGHT = 100


@dataclass(frozen=True, slots=True)
class Outage:
    """Both revisions fail ``percent`` of their requests from ``start`` on, in seconds from the first step."""

    start: float
    seconds: float
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class ScrapeSchedule:
    """Each revision is scraped every ``every`` seconds at its own phase; ``missed`` is the share of
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
    def scraping(self) -> Scraping:
        return Scraping(self.scrapes.every, self.scrapes.staggered, self.scrapes.missed)

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


def lose_scrapes(pair: RevisionPair, scrapes: ScrapeSchedule) -> None:
    """Have one revision of the pair not scraped for a while, as ``scrapes`` says."""
    if scrapes.lost:
        revision = CANDIDATE if scrapes.lost == "candidate" else STABLE
        start = pair.start + FIRST_STEP_AFTER + scrapes.start
        pair.metrics.lost_scrapes.append(LostScrapes(revision, start, start + scrapes.seconds))


def with_scrapes(release: Release, **changes: object) -> Release:
    """The same release, scraped in another way."""
    return replace(release, scrapes=replace(release.scrapes, **changes))  # type: ignore[arg-type]
