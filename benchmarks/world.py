"""Healthy releases in the whole simulated world: the controller, KServe's rules, a scrape grid, and mishaps.

``python -m benchmarks.world`` runs 2,000 rollouts under the default policy and prints how many were rolled
back. Both revisions of each are equally good; their traffic, errors and latency differ from rollout to
rollout, and while it runs pods are replaced (their counters begin at 0 and what was not scraped is lost),
the service is restarted, the load swings, errors come in bursts, and Prometheus is down.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from random import Random

from autocanary.app.demo_run import controller_on
from autocanary.model.measurement import MeasurementKind
from autocanary.model.policy import Component, Policy
from autocanary.model.progress import Phase
from autocanary.model.rate_intervals import wilson_interval
from autocanary.model.rollout import Rollout
from autocanary.policy_files import parse
from autocanary.simulator.prometheus_server import PrometheusFault
from autocanary.simulator.response_quality import Quality
from autocanary.simulator.traffic import RequestLoad
from autocanary.simulator.world import World

__all__ = ["DEFAULT_POLICY", "RolloutResult", "main", "run_rollout"]

_SEED = 20261122
_RUNS = 2000
_SAID_EVERY = 50
_HORIZON = 6 * 3600.0
_ALPHA = 0.05
_RELEASED = 40.0
_WINDOW = 3600.0  # seconds from the release within which mishaps happen
_NAMESPACE, _SERVICE, _STABLE, _CANDIDATE = "models", "mnist", "gs://mnist/1", "gs://mnist/2"
_DAY = 86400.0

_TEXT = """
apiVersion: autocanary.dev/v1alpha1
kind: RolloutPolicy
metadata: {name: default}
spec: {selector: {}, stepWeights: [10, 25, 50, 100]}
"""
DEFAULT_POLICY: Policy = parse(_TEXT)[0]
"""What a policy is that says nothing but its selector and weights."""


@dataclass(frozen=True)
class RolloutResult:
    """How a rollout ended; ``disturbances`` are the words for what it met."""

    seed: str
    phase: str
    reason: str
    seconds: float
    disturbances: tuple[str, ...]

    @property
    def is_rolled_back(self) -> bool:
        return self.phase in (Phase.ROLLED_BACK.value, Phase.ROLLING_BACK.value)


class _SimulatedRollout:
    """One world with a controller in it, ticking at the seconds at which something may be due."""

    def __init__(self, seed: str, worse: float) -> None:
        rng = self.rng = Random(f"world/{seed}")
        rps = math.exp(rng.uniform(math.log(5.0), math.log(200.0)))
        errors = rng.choice((0.0, 0.05, 0.2, 0.5, 1.0, 2.0))
        latency, swing, phase = rng.uniform(0.02, 0.5), rng.choice((0.0, 0.0, 0.5, 0.9)), rng.random()
        every = rng.choice((600.0, 3600.0, _DAY))

        def load(now: float) -> float:
            return rps * (1.0 + swing * math.sin(2.0 * math.pi * (now / every + phase)))

        bursts = rng.random() < 0.2
        self.disturbances = [*(["bursts"] if bursts else []), *(["swinging load"] if swing else [])]
        self.world = World(
            policies=(DEFAULT_POLICY,),
            qualities={
                _STABLE: Quality(errors, latency),
                _CANDIDATE: Quality(min(errors * worse, 100.0), latency),
            },
            load=RequestLoad(load, bursts=bursts),
            seed=rng.getrandbits(32),
            start=World().now() + rng.randrange(60),
            scrape_seconds=rng.choice((5.0, 15.0, 30.0)),
        )
        self.controller = controller_on(self.world)
        self.began = self.world.now()

    def plan(self) -> None:
        """The mishaps, each at its time."""
        rng, now = self.rng, self.world.now()
        plans: Sequence[tuple[str, int, Callable[[], None]]] = (
            ("pods replaced", rng.choice((0, 0, 1, 3, 10)), self._replace_pods),
            ("service restarted", rng.choice((0, 0, 1, 2)), self._restart_service),
        )
        for word, times, act in plans:
            self.disturbances += [word] if times else []
            for _ in range(times):
                self.world.after(rng.uniform(0.0, _WINDOW), act)
        if rng.random() < 0.3:
            kind = rng.choice((MeasurementKind.OUTAGE, MeasurementKind.STALE, MeasurementKind.PARTIAL))
            start = now + rng.uniform(0.0, _WINDOW)
            self.world.metrics.faults.append(PrometheusFault(kind, start, start + rng.uniform(10.0, 900.0)))
            self.disturbances.append(f"Prometheus: {kind.value}")

    def _replace_pods(self) -> None:
        """Of one revision: counted from 0 again, and the requests since the last scrape are counted for no revision."""
        found = self.world.traffic.series(_NAMESPACE, _SERVICE, Component.PREDICTOR)
        series = self.rng.choice(list(found.values()))
        series.requests = series.errors = 0
        series.buckets = [0] * len(series.buckets)
        series.samples.clear()
        series.created_at += 1e-3

    def _restart_service(self) -> None:
        self.world.metrics.restart()
        self.controller = controller_on(self.world)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = self.world.now() + seconds
        while self.world.now() < end and not until():
            self.world.advance(min(self._until_next(), end - self.world.now()))
            self.controller.tick()

    def _until_next(self) -> float:
        """A second, or several in which no test would do anything."""
        due = [each for each in (self.controller.next_due_at(), self.world.clock.next_due()) if each is not None]
        if not due or not self.controller.idle():
            return 1.0
        return float(max(math.ceil(min(due) - self.world.now()), 1))

    def rollout(self) -> Rollout | None:
        return next(iter(self.world.store.rollouts()), None)

    def is_over(self) -> bool:
        rollout = self.rollout()
        return rollout is not None and rollout.is_final


def run_rollout(seed: str, worse: float = 1.0, horizon: float = _HORIZON) -> RolloutResult:
    """One rollout; the candidate fails ``worse`` times as often as stable."""
    stage = _SimulatedRollout(seed, worse)
    stage.world.deploy(_SERVICE, _STABLE, namespace=_NAMESPACE)
    stage.run(_RELEASED)
    stage.world.deploy(_SERVICE, _CANDIDATE, weight=0, namespace=_NAMESPACE)
    stage.plan()
    stage.run(horizon, stage.is_over)
    rollout = stage.rollout()
    assert rollout is not None
    seconds = stage.world.now() - stage.began - _RELEASED
    progress = rollout.progress
    return RolloutResult(seed, progress.phase.value, progress.reason.value, seconds, tuple(stage.disturbances))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.world", description=__doc__)
    parser.add_argument("--runs", type=int, default=_RUNS)
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--json", action="store_true", help="one line for programs, and one per rollback")
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    ends: list[RolloutResult] = []
    seeds = [f"{chosen.seed}/{run}" for run in range(chosen.runs)]
    pool = ProcessPoolExecutor(chosen.jobs, initializer=_ignore_signals) if chosen.jobs > 1 else None
    try:
        for end in pool.map(run_rollout, seeds, chunksize=5) if pool is not None else map(run_rollout, seeds):
            ends.append(end)
            if len(ends) % _SAID_EVERY == 0:
                left = (time.monotonic() - began) / len(ends) * (chosen.runs - len(ends))
                said = f"{_rolled_back(ends)}; about {left / 60:.0f} min left"
                print(said, file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted: the figures are those of the first rollouts", file=sys.stderr)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
    if not ends:
        return 1
    print(f"{len(ends)} of {chosen.runs} in {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(_as_json(ends, chosen.seed) if chosen.json else _report(ends, chosen.seed))
    return 0


def _ignore_signals() -> None:
    """Ctrl-C is for the process that adds up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _rolled_back(ends: Sequence[RolloutResult]) -> str:
    back = sum(end.is_rolled_back for end in ends)
    low, high = wilson_interval(back, len(ends))
    return (
        f"{back} of {len(ends):,} healthy rollouts were rolled back, {100 * back / len(ends):.2f} %; "
        f"95 % interval {100 * low:.2f} to {100 * high:.2f} %"
    )


def _report(ends: Sequence[RolloutResult], seed: int) -> str:
    back = [end for end in ends if end.is_rolled_back]
    lines = [
        f"{_rolled_back(ends)} (alpha {100 * _ALPHA:g} %, seed {seed})",
        "",
        "| Ended as | Rollouts |",
        "|---|---|",
    ]
    counted = Counter((end.phase, end.reason) for end in ends)
    lines += [f"| {phase}, {reason} | {many:,} |" for (phase, reason), many in counted.most_common()]
    lines += ["", "| Met on the way | Rollouts | Rolled back |", "|---|---|---|"]
    words = Counter(word for end in ends for word in end.disturbances or ("nothing",))
    hit = Counter(word for end in back for word in end.disturbances or ("nothing",))
    lines += [f"| {word} | {many:,} | {hit[word]:,} |" for word, many in words.most_common()]
    return "\n".join(lines)


def _as_json(ends: Sequence[RolloutResult], seed: int) -> str:
    back = [end for end in ends if end.is_rolled_back]
    low, high = wilson_interval(len(back), len(ends))
    found = {"runs": len(ends), "seed": seed, "rolled_back": len(back), "low": low, "high": high}
    return "\n".join(json.dumps(each) for each in [found, *map(vars, back)])


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends it, it says what it has
    sys.exit(main())
