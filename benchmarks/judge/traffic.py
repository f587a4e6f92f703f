"""The rows of the benchmark: what the requests of both revisions look like, tick by tick."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DISTURBED",
    "HARMFUL",
    "HEALTHY",
    "LATE",
    "LOADS",
    "ROWS",
    "STEPS",
    "TICK",
    "TICKS",
    "Integers",
    "Scrape",
    "TickCounts",
    "TrafficCase",
    "scraped_ticks",
    "ticks",
]

TICK = 10.0
TICKS = 1440
STEPS = ((0, 10), (480, 25), (960, 50))
"""The first tick and the weight of each step."""
LOADS = (1.0, 10.0, 100.0, 1000.0)
"""Requests per second of both revisions together."""

_MINUTE = 6
_CLUSTER = 5.0

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class TrafficCase:
    """``stable`` and ``candidate`` are failure rates. Harmful rows stay at the first step's weight.

    The candidate fails like stable until ``onset``, a tick; ``bake``: it gets all the traffic after 20 minutes.
    ``shape`` is what else happens. ``loads`` are those at which the row is run, for ``ticks`` ticks.
    """

    name: str
    title: str
    stable: float
    candidate: float
    shape: str = "plain"
    onset: int = 0
    bake: bool = False
    loads: tuple[float, ...] = LOADS
    ticks: int = TICKS

    @property
    def harmful(self) -> bool:
        return self.name[0] in "BC"

    @property
    def steps(self) -> tuple[tuple[int, int], ...]:
        """The first tick and the weight of each step."""
        if self.bake:
            return (0, 10), (60, 50), (120, 100)
        return STEPS[:1] if self.harmful else STEPS


class Scrape(Enum):
    """What a tick's scrapes brought."""

    BOTH = "both"
    ONE = "one"  # one side's was missed: there are no counts of both until the next
    SILENT = "silent"  # one side had none for longer than 90 s


class TickCounts(NamedTuple):
    """One tick of many runs: requests and failures of the candidate, then of stable."""

    n_c: Integers
    e_c: Integers
    n_s: Integers
    e_s: Integers


HEALTHY = (
    TrafficCase("A1", "both 0.1 %", 0.001, 0.001),
    TrafficCase("A2", "both 0.5 %", 0.005, 0.005),
    TrafficCase("A3", "both 0.9 %", 0.009, 0.009),
    TrafficCase("A4", "both 1.5 %", 0.015, 0.015),
    TrafficCase("A5", "both 0.5 %, times the same Gamma(0.5) each minute", 0.005, 0.005, "together"),
    TrafficCase("A6", "both 0.5 %, failures in clusters of 5 on one side", 0.005, 0.005, "clusters"),
    TrafficCase("A7", "both 0.5 %, each times its own Gamma(2) each minute", 0.005, 0.005, "apart"),
    TrafficCase("A8", "0.5 % and 0.6 %, within the margin", 0.005, 0.006),
)
HARMFUL = (
    TrafficCase("B1", "0.1 % to 1 %", 0.001, 0.01),
    TrafficCase("B2", "0.5 % to 5 %", 0.005, 0.05),
    TrafficCase("B3", "1 % to 2 %", 0.01, 0.02),
    TrafficCase("B4", "0.1 % to 100 %", 0.001, 1.0),
)
_FROM_10 = (10.0, 100.0, 1000.0)
LATE = (
    TrafficCase("C1", "0.5 % to 5 %, 5 min into a step", 0.005, 0.05, onset=5 * _MINUTE),
    TrafficCase("C2", "0.5 % to 5 %, 15 min into a step", 0.005, 0.05, onset=15 * _MINUTE),
    TrafficCase("C3", "0.5 % to 5 %, 30 min into a step", 0.005, 0.05, onset=30 * _MINUTE),
    TrafficCase("C4", "0.5 % to 5 %, 60 min into a step", 0.005, 0.05, onset=60 * _MINUTE),
    TrafficCase("C5", "0.5 % to 50 %, 30 min into a step", 0.005, 0.5, onset=30 * _MINUTE),
    TrafficCase("C6", "1 % to 2 %, 30 min into a step", 0.01, 0.02, onset=30 * _MINUTE),
    TrafficCase("C7", "0.5 % to 5 %, 30 min into the bake", 0.005, 0.05, onset=50 * _MINUTE, bake=True),
    TrafficCase("C8", "0.5 % to 50 %, 30 min into the bake", 0.005, 0.5, onset=50 * _MINUTE, bake=True),
    TrafficCase(
        "C9",
        "0.5 % to 5 % after 30 min; before that both fail 20 % for 5 min",
        0.005,
        0.05,
        "incident",
        onset=30 * _MINUTE,
    ),
    TrafficCase("C10", "rare traffic: 0.5 % to 50 %", 0.005, 0.5, loads=(0.05, 0.2)),
)
"""Harm that is not there from the first request on, or hardly any request."""
DISTURBED = (
    TrafficCase("D1", "one side is not scraped for 2 to 20 min, each hour", 0.005, 0.005, "gaps", loads=_FROM_10),
    TrafficCase("D2", "own phases, one scrape in ten is missed", 0.005, 0.005, "missed", loads=_FROM_10),
    TrafficCase("D3", "the same, and both are down 1 to 5 min each hour", 0.005, 0.005, "outages", loads=_FROM_10),
    TrafficCase("D4", "a candidate that fails everything behind a stable that does", 1.0, 1.0, loads=_FROM_10),
    TrafficCase(
        "D5",
        "autoscaling: load and split swing, both fail 3 % for 30 s each 5 min",
        0.005,
        0.005,
        "churn",
        loads=_FROM_10,
    ),
    TrafficCase("D6", "rare traffic, both 0.5 %", 0.005, 0.005, loads=(0.05, 0.2)),
    TrafficCase("D7", "24 hours, both 0.5 %", 0.005, 0.005, loads=(10.0, 100.0), ticks=8640),
    TrafficCase("D8", "cold start: the candidate fails 5 % for its first 3 min", 0.005, 0.005, "cold", loads=_FROM_10),
)
"""Healthy releases, and what happens to both sides or to what is seen of them; D8 is harm while it lasts."""
ROWS = {row.name: row for row in (*HEALTHY, *HARMFUL, *LATE, *DISTURBED)}


def ticks(row: TrafficCase, load: float, runs: int, rng: np.random.Generator) -> Iterator[tuple[int, int, TickCounts]]:
    """(step, weight, counts) of every tick. Draws do not depend on what a rule decides."""
    for step, weight, counts, _ in scraped_ticks(row, load, runs, rng):
        yield step, weight, counts


def scraped_ticks(
    row: TrafficCase, load: float, runs: int, rng: np.random.Generator
) -> Iterator[tuple[int, int, TickCounts, Scrape]]:
    """(step, weight, counts, what was scraped) of every tick: counts are those of the scrapes that were made."""
    if row.shape in ("gaps", "missed", "outages"):
        yield from _with_lost_scrapes(row, load, runs, rng)
        return
    for step, weight, counts in _served_ticks(row, load, runs, rng):
        yield step, weight, counts, Scrape.BOTH


def _served_ticks(
    row: TrafficCase, load: float, runs: int, rng: np.random.Generator
) -> Iterator[tuple[int, int, TickCounts]]:
    p_c: float | NDArray[np.float64] = row.candidate
    p_s: float | NDArray[np.float64] = row.stable
    for tick in range(row.ticks):
        step, weight = max((s, w) for s, (first, w) in enumerate(row.steps) if tick >= first)
        part = weight / 100.0
        if tick % _MINUTE == 0 and row.shape == "together":
            times = rng.gamma(0.5, 2.0, runs)
            p_c, p_s = np.minimum(row.candidate * times, 1.0), np.minimum(row.stable * times, 1.0)
        if tick % _MINUTE == 0 and row.shape == "apart":
            p_c = np.minimum(row.candidate * rng.gamma(2.0, 0.5, runs), 1.0)
            p_s = np.minimum(row.stable * rng.gamma(2.0, 0.5, runs), 1.0)
        if row.onset:
            p_c = row.candidate if tick >= row.onset else row.stable
        if row.shape == "incident":
            both_fail = 60 <= tick < 90
            p_s = 0.2 if both_fail else row.stable
            p_c = 0.2 if both_fail else p_c
        if row.shape == "cold":
            p_c = 0.05 if tick < 3 * _MINUTE else row.candidate
        here = load
        if row.shape == "churn":
            here = load * (0.3 if tick // 30 % 2 else 1.0)
            part *= 0.6 + 0.8 * (tick // 30 % 3) / 2.0
            p_c = p_s = 0.03 if tick % 30 < 3 else row.stable
        n_c = rng.poisson(TICK * here * part, runs)
        n_s = rng.poisson(TICK * here * (1.0 - part), runs)
        if row.shape == "clusters":
            e_c, e_s = _clusters(n_c, row.candidate, rng), _clusters(n_s, row.stable, rng)
        else:
            e_c, e_s = rng.binomial(n_c, p_c), rng.binomial(n_s, p_s)
        yield step, weight, TickCounts(n_c, e_c, n_s, e_s)


_HOUR = 360


def _with_lost_scrapes(
    row: TrafficCase, load: float, runs: int, rng: np.random.Generator
) -> Iterator[tuple[int, int, TickCounts, Scrape]]:
    """Scrapes of one side that are missed, for a tick or for minutes: it shows all of that time with its next scrape.

    Each side's ticks begin at its own phase, so that one shows the beginning and the end of an outage earlier.
    """
    phase = rng.uniform(0.0, 1.0, (2, runs))
    waiting = np.zeros((4, runs), dtype=np.int64)
    lost_until = lost_side = lost_since = 0
    down_from: NDArray[np.float64] = np.zeros(runs)
    down_until: NDArray[np.float64] = np.zeros(runs)
    for tick in range(row.ticks):
        step, weight = max((s, w) for s, (first, w) in enumerate(row.steps) if tick >= first)
        if tick % _HOUR == 0:
            down_from = tick + rng.uniform(6.0, _HOUR - 60.0, runs)
            down_until = down_from + rng.uniform(6.0, 30.0, runs)
        if row.shape == "gaps" and tick % _HOUR == _HOUR // 6:
            lost_since, lost_side = tick, int(rng.integers(2))
            lost_until = tick + int(rng.integers(12, 121))
        if row.shape != "gaps" and tick >= lost_until and rng.random() < 0.1:
            lost_since, lost_side, lost_until = tick, int(rng.integers(2)), tick + 1
        served = []
        for side, part in enumerate((weight / 100.0, 1.0 - weight / 100.0)):
            rate = np.full(runs, row.stable)
            if row.shape == "outages":
                first = tick + phase[side]
                down = np.clip(np.minimum(first + 1.0, down_until) - np.maximum(first, down_from), 0.0, 1.0)
                rate += (1.0 - row.stable) * down
            requests = rng.poisson(TICK * load * part, runs)
            served += [requests, rng.binomial(requests, rate)]
        waiting += np.array(served)
        lost = tick < lost_until
        seen = waiting.copy()
        if lost:
            seen[2 * lost_side : 2 * lost_side + 2] = 0
        waiting -= seen
        scrape = Scrape.BOTH if not lost else Scrape.SILENT if tick - lost_since >= 9 else Scrape.ONE
        yield step, weight, TickCounts(*seen), scrape


def _clusters(requests: Integers, rate: float, rng: np.random.Generator) -> Integers:
    """Failures that come in groups of a geometric size, all in one tick; never more than requests."""
    groups = rng.poisson(requests * rate / _CLUSTER)
    failures = groups.copy()
    some = groups > 0
    failures[some] += rng.negative_binomial(groups[some], 1.0 / _CLUSTER)
    return np.minimum(failures, requests)
