"""The rows of the benchmark: what the requests of both revisions look like, tick by tick."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HARMFUL",
    "HEALTHY",
    "LOADS",
    "ROWS",
    "STEPS",
    "TICK",
    "TICKS",
    "Integers",
    "TickCounts",
    "TrafficCase",
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
    """``stable`` and ``candidate`` are failure rates. Harmful rows stay at the first step's weight."""

    name: str
    title: str
    stable: float
    candidate: float
    shape: str = "plain"

    @property
    def harmful(self) -> bool:
        return self.name.startswith("B")


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
ROWS = {row.name: row for row in (*HEALTHY, *HARMFUL)}


def ticks(row: TrafficCase, load: float, runs: int, rng: np.random.Generator) -> Iterator[tuple[int, int, TickCounts]]:
    """(step, weight, counts) of every tick. Draws do not depend on the decisions."""
    p_c: float | NDArray[np.float64] = row.candidate
    p_s: float | NDArray[np.float64] = row.stable
    for tick in range(TICKS):
        step, weight = 0, STEPS[0][1]
        if not row.harmful:
            step, weight = max((s, w) for s, (first, w) in enumerate(STEPS) if tick >= first)
        if tick % _MINUTE == 0 and row.shape == "together":
            times = rng.gamma(0.5, 2.0, runs)
            p_c, p_s = np.minimum(row.candidate * times, 1.0), np.minimum(row.stable * times, 1.0)
        if tick % _MINUTE == 0 and row.shape == "apart":
            p_c = np.minimum(row.candidate * rng.gamma(2.0, 0.5, runs), 1.0)
            p_s = np.minimum(row.stable * rng.gamma(2.0, 0.5, runs), 1.0)
        n_c = rng.poisson(TICK * load * weight / 100.0, runs)
        n_s = rng.poisson(TICK * load * (100 - weight) / 100.0, runs)
        if row.shape == "clusters":
            e_c, e_s = _clusters(n_c, row.candidate, rng), _clusters(n_s, row.stable, rng)
        else:
            e_c, e_s = rng.binomial(n_c, p_c), rng.binomial(n_s, p_s)
        yield step, weight, TickCounts(n_c, e_c, n_s, e_s)


def _clusters(requests: Integers, rate: float, rng: np.random.Generator) -> Integers:
    """Failures that come in groups of a geometric size, all in one tick; never more than requests."""
    groups = rng.poisson(requests * rate / _CLUSTER)
    failures = groups.copy()
    some = groups > 0
    failures[some] += rng.negative_binomial(groups[some], 1.0 / _CLUSTER)
    return np.minimum(failures, requests)
