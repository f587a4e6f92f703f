"""What a policy does with releases, many times over: chances, times and costs, on all processors.

The seeds of the runs are drawn before anybody plays them, and results are added up in their order: the
figures do not depend on how many processes there are. Two policies meet the same requests, run by run.
"""

from __future__ import annotations

import math
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Any

from autocanary.analysis.e_values import wilson
from autocanary.app.simulated_rollout import Course, Outcome, play, playable
from autocanary.errors import AutocanaryError
from autocanary.model.policy import Policy
from autocanary.simulator.releases import STANDARD, Release, seeds_of

__all__ = ["Summary", "described", "simulate"]

_PIECE = 10  # runs that a process plays at a time: a bar that moves, and a Ctrl-C that is answered
_ALONE = 4 * _PIECE  # starting processes takes longer than so few runs
_AHEAD = 4
_HALF, _MOST = 0.5, 0.9
_DESCRIBED = "release"

Piece = tuple[Policy, Release, Sequence[int], float]
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """All runs of one release under one policy. Seconds are counted from the candidate's first step.

    ``to_rollback`` and ``to_promotion`` are the times of the runs that ended so, ``failed`` what each run's
    candidate had answered with an error until its rollout was over; all ascending.
    """

    policy: str
    release: Release
    to_rollback: tuple[float, ...]
    to_promotion: tuple[float, ...]
    undecided: int
    failed: tuple[int, ...]

    @property
    def runs(self) -> int:
        return len(self.failed)

    @property
    def rolled_back(self) -> tuple[float, float, float]:
        """The share of runs that were rolled back, and its 95 % interval (Wilson)."""
        many = len(self.to_rollback)
        return many / self.runs, *wilson(many, self.runs)

    @property
    def promoted(self) -> float:
        return len(self.to_promotion) / self.runs

    @property
    def open(self) -> float:
        """The share of runs that were neither at the horizon."""
        return self.undecided / self.runs

    def rollback_by(self, part: float) -> float | None:
        return _quantile(self.to_rollback, part)

    def promotion_by(self, part: float) -> float | None:
        return _quantile(self.to_promotion, part)

    def failed_by(self, part: float) -> float | None:
        return _quantile(self.failed, part)

    def to_dict(self) -> dict[str, Any]:
        """Errors and shares are fractions of 1."""
        share, low, high = self.rolled_back
        return {
            "name": self.release.name,
            "rps": self.release.rps,
            "base_error": round(self.release.base_error / 100, 9),
            "canary_error": round(self.release.canary_error / 100, 9),
            "runs": self.runs,
            "rolled_back": {"share": share, "low": round(low, 6), "high": round(high, 6)},
            "promoted": {"share": self.promoted},
            "undecided": {"share": self.open},
            "seconds_to_rollback": {"p50": self.rollback_by(_HALF), "p90": self.rollback_by(_MOST)},
            "bad_requests": {"p50": self.failed_by(_HALF), "p90": self.failed_by(_MOST)},
            "seconds_to_promotion": {"p50": self.promotion_by(_HALF)},
        }


def described(
    *,
    rps: float | None,
    base_error: float | None,
    canary_error: float | None,
    base_latency: float | None,
    canary_latency: float | None,
    onset: float | None,
    bursts: bool,
) -> tuple[Release, ...]:
    """The release that is described; what is not said is as in a healthy one, and nothing said is the
    standard set. Errors in percent, times in seconds."""
    said = (rps, base_error, canary_error, base_latency, canary_latency, onset)
    if all(each is None for each in said) and not bursts:
        return STANDARD
    usual = Release(_DESCRIBED)
    errors = usual.base_error if base_error is None else base_error
    latency = usual.base_latency if base_latency is None else base_latency
    release = Release(
        _DESCRIBED,
        rps=usual.rps if rps is None else rps,
        base_error=errors,
        canary_error=errors if canary_error is None else canary_error,
        base_latency=latency,
        canary_latency=latency if canary_latency is None else canary_latency,
        onset=0.0 if onset is None else onset,
        bursts=bursts,
    )
    return (release,)


def simulate(
    policies: Sequence[tuple[str, Policy]],
    releases: Sequence[Release],
    *,
    runs: int,
    seed: int,
    horizon: float,
    jobs: int | None = None,
    told: Told = lambda *_: None,
) -> tuple[list[Summary], list[str]]:
    """Summaries by release and then by policy, and notes on what is left out.

    ``policies`` are named; ``told`` hears how many runs of how many are done. InputError for a policy that
    cannot be simulated.
    """
    notes: list[str] = []
    able: list[tuple[str, Policy]] = []
    for name, policy in policies:
        changed, left_out = playable(policy)
        able.append((name, changed))
        notes += [f"{name}: {note}" for note in left_out]
    pairs = [(name, policy, release) for release in releases for name, policy in able]
    pieces = [
        (policy, release, seeds[first : first + _PIECE], horizon)
        for _, policy, release in pairs
        for seeds in [seeds_of(seed, release, runs)]
        for first in range(0, runs, _PIECE)
    ]
    total = len(pairs) * runs
    courses: list[Course] = []
    for found in _played(pieces, _processes(jobs, total)):
        courses += found
        told(len(courses), total)
    found_all = [courses[index * runs : (index + 1) * runs] for index in range(len(pairs))]
    summaries = [
        _summary(name, release, found) for (name, _, release), found in zip(pairs, found_all, strict=True)
    ]
    return summaries, notes


def _processes(jobs: int | None, runs: int) -> int:
    if jobs is not None:
        return jobs
    return 1 if runs <= _ALONE else len(os.sched_getaffinity(0))


def _played(pieces: Sequence[Piece], jobs: int) -> Iterator[list[Course]]:
    """What came of each piece, in order."""
    if jobs <= 1:
        yield from map(_piece, pieces)
        return
    # Not forked: there may be threads, of a progress bar for one.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_deaf)
    try:
        left = iter(pieces)
        waiting: deque[Future[list[Course]]] = deque(
            pool.submit(_piece, each) for each in islice(left, jobs * _AHEAD)
        )
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(_piece, each) for each in islice(left, 1))
    except BrokenProcessPool as error:
        raise AutocanaryError(
            "a process of the simulation was killed, probably for want of memory; try fewer --runs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _deaf() -> None:
    """Ctrl-C reaches the whole group of processes; the one that waits for the others answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _piece(piece: Piece) -> list[Course]:
    policy, release, seeds, horizon = piece
    return [play(policy, release, seed, horizon) for seed in seeds]


def _summary(policy: str, release: Release, courses: Sequence[Course]) -> Summary:
    def times(outcome: Outcome) -> tuple[float, ...]:
        return tuple(sorted(each.seconds for each in courses if each.outcome is outcome))

    return Summary(
        policy=policy,
        release=release,
        to_rollback=times(Outcome.ROLLED_BACK),
        to_promotion=times(Outcome.PROMOTED),
        undecided=sum(each.outcome is Outcome.UNDECIDED for each in courses),
        failed=tuple(sorted(each.failed for each in courses)),
    )


def _quantile(ascending: Sequence[float], part: float) -> float | None:
    """The smallest value that this part of all do not exceed; None of nothing."""
    if not ascending:
        return None
    return ascending[max(math.ceil(part * len(ascending)) - 1, 0)]
