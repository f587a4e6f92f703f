"""What one evaluation of one rollout costs: two metrics, errors and latency, and the traffic share."""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from collections.abc import Iterator
from statistics import median, quantiles
from time import thread_time

from autocanary.analysis.combined_evidence import Comparisons, update_comparisons
from autocanary.analysis.parameters import parameters_of
from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.model.policy import ComparisonPolicy

__all__ = ["cost"]

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BELOW = (0.02, 0.1, 0.3, 0.52, 0.78, 0.92, 0.972, 0.99, 0.996, 0.999, 0.9995)
_LOOKS = 3000
_EVERY = 10.0
_PER_EVALUATION = 1000


def cost(samples: int = _LOOKS) -> str:
    """A Markdown table; CPU time, so the figures are this machine's."""
    spent, sizes = _cpu_seconds(samples)
    rows = (
        ("an evaluation, median", f"{median(spent) * 1e6:.0f} µs"),
        ("an evaluation, mean (blocks end at every third)", f"{sum(spent) / len(spent) * 1e6:.0f} µs"),
        ("an evaluation, 99 %", f"{quantiles(spent, n=100)[98] * 1e6:.0f} µs"),
        ("state as JSON, largest", f"{max(sizes):,} bytes"),
    )
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _cpu_seconds(samples: int) -> tuple[list[float], list[int]]:
    parameters = {
        "error-rate": parameters_of(ComparisonPolicy()),
        "request-duration": parameters_of(ComparisonPolicy(), latency=True),
    }
    comparisons, spent, sizes = Comparisons(), [], []
    for tick, counters in enumerate(list(_counters(samples))):
        began = thread_time()
        comparisons, _ = update_comparisons(
            comparisons,
            parameters,
            dict.fromkeys(parameters, counters),
            step=tick // 1000,
            steps=3,
            weight=10,
        )
        spent.append(thread_time() - began)
        sizes.append(len(json.dumps(comparisons.to_dict())))
    return spent, sizes


def _counters(samples: int) -> Iterator[RequestCounters]:
    rng = random.Random(1)
    sums = ([0] * (2 + len(_BOUNDS)), [0] * (2 + len(_BOUNDS)))
    for tick in range(samples):
        for side, many in zip(sums, (_PER_EVALUATION // 10, _PER_EVALUATION - _PER_EVALUATION // 10), strict=True):
            for place, more in enumerate(_draw_counts(many, rng)):
                side[place] += more
        sides = [RequestTotals(float(n), float(e), tuple(map(float, within))) for n, e, *within in sums]
        yield RequestCounters("account", tick * _EVERY, sides[0], sides[1], _BOUNDS)


def _draw_counts(many: int, rng: random.Random) -> list[int]:
    """Requests, failures, and how many succeeded within each bound."""
    failed = sum([rng.random() < 0.002 for _ in range(many)])
    served = sorted([rng.random() for _ in range(many - failed)])
    return [many, failed, *(bisect_left(served, below) for below in _BELOW)]
