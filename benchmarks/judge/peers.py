"""Rules of other tools on the same counts: as their documentation and source have them, nothing tuned.

Every rule sees each tick once and answers which runs it ends now.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autocanary.analysis.parameters import FACTOR_WEIGHTS, ComparisonParameters
from benchmarks.judge.crowd import log_ratios_of
from benchmarks.judge.traffic import TickCounts

__all__ = ["Argo", "ArgoFourFailures", "Flagger", "Kayenta", "Mixture", "OBrienFleming", "PlainBets", "Pooled", "Rule"]

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]

_MINUTE = 6
_LIMIT = 0.01
_Z = 2.3263478740408408  # one-sided 1 %
_LOOKS, _LOOK_TICKS = 48, 30
_OBRIEN_FLEMING = 1.8807  # one-sided 5 % in 48 analyses, by numerical integration
_TAU_SQUARED = 0.01**2


class Rule(Protocol):
    """Ends runs."""

    def update(self, step: int, counts: TickCounts, /) -> Booleans:
        """The runs that would be rolled back at the end of this tick."""
        ...


class Flagger:
    """Each minute the error rate of that minute against 1 %; no request is a failed check, too.

    Checks add up; the rollback comes at the interval after the fifth (``threshold: 5``).
    """

    def __init__(self, runs: int) -> None:
        self._n, self._e = np.zeros(runs), np.zeros(runs)
        self._failed = np.zeros(runs, dtype=np.int64)
        self._tick = 0

    def update(self, _step: int, counts: TickCounts, /) -> Booleans:
        self._n += counts.n_c
        self._e += counts.e_c
        self._tick += 1
        if self._tick % _MINUTE:
            return np.zeros(len(self._n), dtype=np.bool_)
        ended = self._failed >= 5
        self._failed += (self._n == 0) | (self._e > _LIMIT * self._n)
        self._n[:], self._e[:] = 0.0, 0.0
        return ended


class Argo:
    """Each minute the error rate of that minute against 1 %; the first failure aborts (``failureLimit: 0``).

    Minutes without requests are errors of the measurement there, not failures; they do nothing here.
    """

    def __init__(self, runs: int) -> None:
        self._n, self._e = np.zeros(runs), np.zeros(runs)
        self._tick = 0

    def update(self, _step: int, counts: TickCounts, /) -> Booleans:
        self._n += counts.n_c
        self._e += counts.e_c
        self._tick += 1
        if self._tick % _MINUTE:
            return np.zeros(len(self._n), dtype=np.bool_)
        ended: Booleans = self._e > _LIMIT * self._n
        self._n[:], self._e[:] = 0.0, 0.0
        return ended


class ArgoFourFailures(Argo):
    """The same with ``failureLimit: 3``: the fourth failure of all aborts."""

    def __init__(self, runs: int) -> None:
        super().__init__(runs)
        self._failures = np.zeros(runs, dtype=np.int64)

    def update(self, step: int, counts: TickCounts, /) -> Booleans:
        self._failures += super().update(step, counts)
        ended: Booleans = self._failures >= 4
        return ended


class _WholeRollout:
    """The sums of both revisions over the rollout, while both have traffic."""

    def __init__(self, runs: int) -> None:
        self._sums = np.zeros((4, runs))
        self._tick = 0

    def _add(self, counts: TickCounts) -> tuple[Floats, Floats, Booleans]:
        """How much oftener the candidate fails, the variance of that, and whether both are known."""
        self._tick += 1
        for kept, more in zip(self._sums, counts, strict=True):
            kept += more
        n_c, e_c, n_s, e_s = self._sums
        c, s = np.maximum(n_c, 1.0), np.maximum(n_s, 1.0)
        pooled = (e_c + e_s) / (c + s)
        variance = pooled * (1.0 - pooled) * (1.0 / c + 1.0 / s)
        return e_c / c - e_s / s, variance, (n_c > 0) & (n_s > 0) & (variance > 0)


class Mixture(_WholeRollout):
    """mSPRT at 5 % (Johari et al., Operations Research 2022): normal mixture of one point, on the rollout's counts."""

    def update(self, _step: int, counts: TickCounts, /) -> Booleans:
        difference, variance, known = self._add(counts)
        v = np.where(known, variance, 1.0)
        both = v + _TAU_SQUARED
        log_ratio = 0.5 * np.log(v / both) + _TAU_SQUARED * difference**2 / (2.0 * v * both)
        ended: Booleans = known & (difference > 0) & (log_ratio >= np.log(20.0))
        return ended


class OBrienFleming(_WholeRollout):
    """A pooled z-test at 5 %, one-sided, 48 times in four hours, with O'Brien and Fleming's bounds (1979)."""

    def update(self, _step: int, counts: TickCounts, /) -> Booleans:
        difference, variance, known = self._add(counts)
        look = self._tick // _LOOK_TICKS
        if self._tick % _LOOK_TICKS or look > _LOOKS:
            return np.zeros(len(known), dtype=np.bool_)
        bound = _OBRIEN_FLEMING * np.sqrt(_LOOKS / look)
        ended: Booleans = known & (difference > bound * np.sqrt(np.where(known, variance, 1.0)))
        return ended


class PlainBets:
    """The bets of the comparison at 5 % and nothing else: no blocks, no cap, no new bets, no fast path."""

    def __init__(self, runs: int) -> None:
        self._logs = np.tile(np.log(np.array(FACTOR_WEIGHTS)), (runs, 1))

    def update(self, _step: int, counts: TickCounts, /) -> Booleans:
        self._logs += log_ratios_of(counts, ComparisonParameters().fail_margin)
        ended: Booleans = np.logaddexp.reduce(self._logs, axis=1) >= np.log(20.0)
        return ended


class Pooled:
    """A pooled two-proportion z-test at 1 %, one-sided, on the counts of the step so far, at every tick."""

    def __init__(self, runs: int) -> None:
        self._sums = np.zeros((4, runs))
        self._step = 0

    def update(self, step: int, counts: TickCounts, /) -> Booleans:
        if step != self._step:
            self._sums[:] = 0.0
            self._step = step
        for kept, more in zip(self._sums, counts, strict=True):
            kept += more
        n_c, e_c, n_s, e_s = self._sums
        c, s = np.maximum(n_c, 1.0), np.maximum(n_s, 1.0)
        pooled = (e_c + e_s) / (c + s)
        spread = np.sqrt(pooled * (1.0 - pooled) * (1.0 / c + 1.0 / s))
        ended: Booleans = (n_c > 0) & (n_s > 0) & (e_c / c - e_s / s > _Z * spread) & (spread > 0)
        return ended


class Kayenta:
    """Every ten minutes a Mann-Whitney test at 1 %, one-sided, on the error rates of the step's minutes.

    The normal approximation with corrections for ties and continuity. Minutes without requests count as
    free of failures.
    """

    def __init__(self, runs: int) -> None:
        self._sums = np.zeros((4, runs))
        self._candidate: list[Floats] = []
        self._stable: list[Floats] = []
        self._tick = self._step = 0

    def update(self, step: int, counts: TickCounts, /) -> Booleans:
        if step != self._step:
            self._step = step
            self._candidate, self._stable = [], []
        for kept, more in zip(self._sums, counts, strict=True):
            kept += more
        self._tick += 1
        if self._tick % _MINUTE == 0:
            n_c, e_c, n_s, e_s = self._sums
            self._candidate.append(e_c / np.maximum(n_c, 1.0))
            self._stable.append(e_s / np.maximum(n_s, 1.0))
            self._sums[:] = 0.0
        if self._tick % (10 * _MINUTE):
            return np.zeros(self._sums.shape[1], dtype=np.bool_)
        return _mann_whitney(np.stack(self._candidate, axis=1), np.stack(self._stable, axis=1)) > _Z


def _mann_whitney(candidate: Floats, stable: Floats) -> Floats:
    """The z of every run that its candidate's values are the larger ones."""
    runs, many = candidate.shape
    both = np.concatenate([candidate, stable], axis=1)
    order = np.argsort(both, axis=1, kind="stable")
    ordered = np.take_along_axis(both, order, axis=1)
    group = np.zeros(both.shape, dtype=np.int64)
    group[:, 1:] = np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1)
    total = both.shape[1]
    sizes = np.zeros((runs, total))
    np.add.at(sizes, (np.arange(runs)[:, None], group), 1.0)
    middle = np.cumsum(sizes, axis=1) - (sizes - 1.0) / 2.0
    ranks = np.take_along_axis(middle, group, axis=1)
    rank_sum = np.where(order < many, ranks, 0.0).sum(axis=1)
    above = rank_sum - many * (many + 1) / 2.0
    other = total - many
    ties = (sizes**3 - sizes).sum(axis=1) / (total * (total - 1.0))
    variance = many * other / 12.0 * (total + 1.0 - ties)
    z: Floats = (above - many * other / 2.0 - 0.5) / np.sqrt(np.maximum(variance, 1e-12))
    z[variance <= 0.0] = 0.0
    return z
