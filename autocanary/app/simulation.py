"""Many simulated rollouts of a policy: shares, times and costs, on all processors.

The seeds of the runs are drawn before the runs start, and results are added up in their order. Therefore the
figures do not depend on the number of processes. Two policies get the same requests, run by run.
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

from autocanary.app.simulated_rollout import RunOutcome, RunResult, make_simulatable, simulate_run
from autocanary.errors import AutocanaryError
from autocanary.model.policy import Policy
from autocanary.model.rate_intervals import wilson_interval
from autocanary.simulator.releases import STANDARD_RELEASES, SimulatedRelease, seeds_of

__all__ = ["SimulationSummary", "describe_releases", "simulate"]

_RUNS_PER_BATCH = 10  # runs per task of a process: the bar moves, and Ctrl-C is answered
_MAX_RUNS_IN_PROCESS = 4 * _RUNS_PER_BATCH  # starting processes takes longer than so few runs
_QUEUED_BATCHES_PER_PROCESS = 4
_MEDIAN, _P90 = 0.5, 0.9
_RELEASE_NAME = "release"

RunBatch = tuple[Policy, SimulatedRelease, Sequence[int], float]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SimulationSummary:
    """All runs of one release under one policy. Seconds are counted from the candidate's first step.

    ``seconds_to_rollback`` and ``seconds_to_promotion`` are the times of the runs that ended so, ``failed``
    what each run's candidate had answered with an error until its rollout was over; all ascending.
    """

    policy: str
    release: SimulatedRelease
    seconds_to_rollback: tuple[float, ...]
    seconds_to_promotion: tuple[float, ...]
    undecided: int
    failed: tuple[int, ...]

    @property
    def runs(self) -> int:
        return len(self.failed)

    @property
    def rolled_back_share(self) -> tuple[float, float, float]:
        """The share of runs that were rolled back, and its 95 % interval (Wilson)."""
        count = len(self.seconds_to_rollback)
        return count / self.runs, *wilson_interval(count, self.runs)

    @property
    def promoted_share(self) -> float:
        return len(self.seconds_to_promotion) / self.runs

    @property
    def undecided_share(self) -> float:
        """The share of runs that were neither at the horizon."""
        return self.undecided / self.runs

    def rollback_quantile(self, quantile: float) -> float | None:
        return _quantile(self.seconds_to_rollback, quantile)

    def promotion_quantile(self, quantile: float) -> float | None:
        return _quantile(self.seconds_to_promotion, quantile)

    def failed_requests_quantile(self, quantile: float) -> float | None:
        return _quantile(self.failed, quantile)

    def to_dict(self) -> dict[str, Any]:
        """Errors and shares are fractions of 1."""
        share, low, high = self.rolled_back_share
        return {
            "name": self.release.name,
            "rps": self.release.rps,
            "base_error": round(self.release.base_error / 100, 9),
            "canary_error": round(self.release.canary_error / 100, 9),
            "runs": self.runs,
            "rolled_back": {"share": share, "low": round(low, 6), "high": round(high, 6)},
            "promoted": {"share": self.promoted_share},
            "undecided": {"share": self.undecided_share},
            "seconds_to_rollback": {
                "p50": self.rollback_quantile(_MEDIAN),
                "p90": self.rollback_quantile(_P90),
            },
            "bad_requests": {
                "p50": self.failed_requests_quantile(_MEDIAN),
                "p90": self.failed_requests_quantile(_P90),
            },
            "seconds_to_promotion": {"p50": self.promotion_quantile(_MEDIAN)},
        }


def describe_releases(
    *,
    rps: float | None,
    base_error: float | None,
    canary_error: float | None,
    base_latency: float | None,
    canary_latency: float | None,
    onset: float | None,
    bursts: bool,
) -> tuple[SimulatedRelease, ...]:
    """The release that is described; what is not said is as in a healthy one, and nothing said is the
    standard set. Errors in percent, times in seconds."""
    given_values = (rps, base_error, canary_error, base_latency, canary_latency, onset)
    if all(each is None for each in given_values) and not bursts:
        return STANDARD_RELEASES
    healthy = SimulatedRelease(_RELEASE_NAME)
    errors = healthy.base_error if base_error is None else base_error
    latency = healthy.base_latency if base_latency is None else base_latency
    release = SimulatedRelease(
        _RELEASE_NAME,
        rps=healthy.rps if rps is None else rps,
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
    releases: Sequence[SimulatedRelease],
    *,
    runs: int,
    seed: int,
    horizon: float,
    jobs: int | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> tuple[list[SimulationSummary], list[str]]:
    """Summaries by release and then by policy, and notes on what is left out.

    ``policies`` are named; ``on_progress`` hears how many runs of how many are done. InputError for a policy
    that cannot be simulated.
    """
    notes: list[str] = []
    simulatable: list[tuple[str, Policy]] = []
    for name, policy in policies:
        changed, left_out = make_simulatable(policy)
        simulatable.append((name, changed))
        notes += [f"{name}: {note}" for note in left_out]
    pairs = [(name, policy, release) for release in releases for name, policy in simulatable]
    batches = [
        (policy, release, seeds[first : first + _RUNS_PER_BATCH], horizon)
        for _, policy, release in pairs
        for seeds in [seeds_of(seed, release, runs)]
        for first in range(0, runs, _RUNS_PER_BATCH)
    ]
    total = len(pairs) * runs
    results: list[RunResult] = []
    for found in _run_batches(batches, _processes(jobs, total)):
        results += found
        on_progress(len(results), total)
    results_by_pair = [results[index * runs : (index + 1) * runs] for index in range(len(pairs))]
    summaries = [
        _summary(name, release, found) for (name, _, release), found in zip(pairs, results_by_pair, strict=True)
    ]
    return summaries, notes


def _processes(jobs: int | None, runs: int) -> int:
    if jobs is not None:
        return jobs
    return 1 if runs <= _MAX_RUNS_IN_PROCESS else len(os.sched_getaffinity(0))


def _run_batches(batches: Sequence[RunBatch], jobs: int) -> Iterator[list[RunResult]]:
    """What came of each piece, in order."""
    if jobs <= 1:
        yield from map(_run_batch, batches)
        return
    # Not forked: there may be threads, of a progress bar for one.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_ignore_sigint)
    try:
        left = iter(batches)
        waiting: deque[Future[list[RunResult]]] = deque(
            pool.submit(_run_batch, each) for each in islice(left, jobs * _QUEUED_BATCHES_PER_PROCESS)
        )
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(_run_batch, each) for each in islice(left, 1))
    except BrokenProcessPool as error:
        raise AutocanaryError(
            "a process of the simulation was killed, probably because memory ran out; use fewer --runs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_sigint() -> None:
    """Ctrl-C reaches the whole group of processes; the one that waits for the others answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_batch(batch: RunBatch) -> list[RunResult]:
    policy, release, seeds, horizon = batch
    return [simulate_run(policy, release, seed, horizon) for seed in seeds]


def _summary(policy: str, release: SimulatedRelease, results: Sequence[RunResult]) -> SimulationSummary:
    def times(outcome: RunOutcome) -> tuple[float, ...]:
        return tuple(sorted(each.seconds for each in results if each.outcome is outcome))

    return SimulationSummary(
        policy=policy,
        release=release,
        seconds_to_rollback=times(RunOutcome.ROLLED_BACK),
        seconds_to_promotion=times(RunOutcome.PROMOTED),
        undecided=sum(each.outcome is RunOutcome.UNDECIDED for each in results),
        failed=tuple(sorted(each.failed for each in results)),
    )


def _quantile(ascending: Sequence[float], quantile: float) -> float | None:
    """The smallest value that this part of all do not exceed; None of nothing."""
    if not ascending:
        return None
    return ascending[max(math.ceil(quantile * len(ascending)) - 1, 0)]
