"""A day of everything in virtual time: releases, users, outsiders, faults; the invariants hold all along.

``python -m benchmarks.soak --hours 24 --rollouts 500``. The controller is the one of the service, over the
simulated world. Everything at random comes from one seed, which is printed; the same seed gives the same day.
Ends with 1 when an invariant was violated.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from autocanary import logs
from autocanary.app.demo_run import controller_on
from autocanary.controller import Controller
from autocanary.http_server.counters import ControllerMetrics
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from benchmarks.figures import quantile, table
from benchmarks.holding import megabytes_held
from benchmarks.soak_checks import Checks
from benchmarks.soak_day import RandomEvents
from benchmarks.soak_world import HISTORY_LIMIT, ProcessKilled, SoakWorld
from benchmarks.usage import resident_megabytes

__all__ = ["Hour", "Soak", "slope"]

HOUR = 3600
_LONGEST_END = 6 * HOUR
"""Seconds after the last release within which everything must have ended: the longest chain of deadlines."""
_SHOWN = 20


class _DecisionListener(ControllerMetrics):
    """The service's own counters, and the checks hear of each decision too."""

    def __init__(self, checks: Checks) -> None:
        super().__init__()
        self._checks = checks

    def on_decision(self, rollout: Rollout, reason: str) -> None:
        super().on_decision(rollout, reason)
        self._checks.on_decision(rollout, Reason(reason))


@dataclass(frozen=True, slots=True)
class Hour:
    """At the end of a virtual hour. Memory in MB; ``held`` is the controller's state; ``cpu`` seconds so far."""

    hour: int
    running: int
    kept: int
    ended: int
    rss: float
    held: float
    cpu: float
    controller: float


class Soak:
    """One day. ``world`` and ``checks`` may be changed before ``run``, to plant a fault."""

    def __init__(self, *, services: int, seed: int, releases_every: float) -> None:
        self.events: Counter[str] = Counter()
        self.checks = Checks(HISTORY_LIMIT)
        self.world = SoakWorld(seed, self.checks, self.events)
        self.day = RandomEvents(self.world, self.checks, services=services, releases_every=releases_every, seed=seed)
        self.day.kill = self.kill
        self.hours: list[Hour] = []
        self.ticks = 0
        self._engine_seconds = 0.0
        self._counters = _DecisionListener(self.checks)
        self._errors = io.StringIO()
        self.controller = self._begin()

    def _begin(self) -> Controller:
        return controller_on(self.world, self._counters, history_limit=HISTORY_LIMIT)

    def kill(self) -> None:
        """The process ends at once, and another begins."""
        self.world.restart_process()
        self.controller = self._begin()

    # --- time --------------------------------------------------------------------------------------------

    def run(self, seconds: int, said: Callable[[Hour], None] = lambda _: None) -> None:
        """The day, and then what it takes until everything has ended."""
        logs.configure("json", "error", self._errors)
        try:
            self.day.open()
            for second in range(1, seconds + 1):
                self.second()
                if second % HOUR == 0:
                    self.hours.append(self._hour(second // HOUR))
                    said(self.hours[-1])
            self.day.close()
            for _ in range(_LONGEST_END):
                if self._is_over():
                    break
                self.second()
            self.checks.at_the_end()
        finally:
            logs.configure("json", "info")
        for line in self._errors.getvalue().splitlines():
            self.checks.fail("no unexpected error", line[:2000])

    def second(self) -> None:
        """One virtual second and one tick; a process that dies meanwhile is started again."""
        until = self.world.now() + 1.0
        while self.world.now() < until:
            try:
                self.world.clock.advance_to(until)
            except ProcessKilled:
                self._restart_after_kill()
        began = time.perf_counter()
        try:
            self.controller.tick()
        except ProcessKilled:
            self._restart_after_kill()
        self._engine_seconds += time.perf_counter() - began
        self.ticks += 1

    def _restart_after_kill(self) -> None:
        self.events["the process dies in a write"] += 1
        self.kill()

    def _is_over(self) -> bool:
        tracks = self.checks.tracks.values()
        return self.controller.idle() and all(
            each.progress is not None and each.progress.phase.is_final and not each.progress.outbox.pending
            for each in tracks
        )

    def _hour(self, hour: int) -> Hour:
        self.world.sweep()
        gc.collect()
        world = self.world
        without = [world, *vars(world).values(), world.checks, self._counters, self.controller._dependencies]
        return Hour(
            hour=hour,
            running=len(self.checks.running),
            kept=len(world.store.rollouts()),
            ended=sum(self.checks.outcomes.values()),
            rss=resident_megabytes(os.getpid()),
            held=megabytes_held(vars(self.controller).values(), without),
            cpu=time.process_time(),
            controller=self._engine_seconds,
        )


def slope(hours: Sequence[Hour], of: Callable[[Hour], float]) -> float:
    """MB per hour in the second half, by least squares; 0 with fewer than two hours."""
    half = hours[len(hours) // 2 :]
    if len(half) < 2:
        return 0.0
    x_mean = sum(each.hour for each in half) / len(half)
    y_mean = sum(of(each) for each in half) / len(half)
    above = sum((each.hour - x_mean) * (of(each) - y_mean) for each in half)
    return above / sum((each.hour - x_mean) ** 2 for each in half)


# --- what is printed ---------------------------------------------------------------------------------------


def _hour_row(hour: Hour) -> Sequence[str]:
    return (
        f"{hour.hour}",
        f"{hour.running}",
        f"{hour.kept:,}",
        f"{hour.ended:,}",
        f"{hour.rss:.0f}",
        f"{hour.held:.1f}",
        f"{hour.cpu:.0f}",
        f"{hour.controller:.0f}",
    )


_HOUR_COLUMNS = (
    "hour",
    "running",
    "recorded",
    "ended so far",
    "RSS, MB",
    "held by the controller, MB",
    "CPU, s",
    "of it in ticks, s",
)


def report(soak: Soak, seconds: int) -> str:
    checks = soak.checks
    outcomes: Counter[tuple[str, str]] = Counter()
    kinds: dict[tuple[str, str], Counter[str]] = {}
    for (kind, phase, reason), count in checks.outcomes.items():
        outcomes[phase, reason] += count
        kinds.setdefault((phase, reason), Counter())[kind or "first revision"] += count
    rules: Counter[str] = Counter(each.partition(", at ")[0] for each in checks.violations)
    parts = [
        table(("event", "number"), [(name, f"{n:,}") for name, n in sorted(soak.events.items())]),
        table(
            ("rollouts that ended", "reason", "number", "by what the candidate was"),
            [
                (
                    phase,
                    reason,
                    f"{n:,}",
                    ", ".join(f"{k} {c}" for k, c in kinds[phase, reason].most_common()),
                )
                for (phase, reason), n in sorted(outcomes.items())
            ],
        ),
        table(
            ("on_decision", "by", "number"),
            [(what, cause or "NOTHING THAT WAS SEEN", f"{n:,}") for (what, cause), n in sorted(checks.causes.items())],
        ),
        table(
            ("invariant", "checked", "violated"),
            [(rule, f"{checks.looked_at[rule]:,}", f"{rules[rule]}") for rule in sorted({*checks.looked_at, *rules})],
        ),
    ]
    lasted = checks.durations
    parts.append(
        f"{seconds / HOUR:g} virtual hours, {soak.ticks:,} ticks, {len(lasted):,} rollouts, which took "
        f"{quantile(lasted, 0.5):.0f} s (median) to {max(lasted, default=0):.0f} s; "
        f"{time.process_time():.0f} s of CPU; memory in the second half: RSS "
        f"{slope(soak.hours, _rss):+.2f} MB per hour, held by the "
        f"controller {slope(soak.hours, _held):+.3f} MB per hour; "
        f"violations: {len(checks.violations)}"
    )
    return "\n\n".join(parts)


def _rss(hour: Hour) -> float:
    return hour.rss


def _held(hour: Hour) -> float:
    return hour.held


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="virtual hours of the day")
    parser.add_argument(
        "--rollouts",
        type=int,
        default=500,
        help="how many services there are; each rolls out again and again",
    )
    parser.add_argument("--every", type=float, default=2.0, help="mean virtual hours between its releases")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the hours there")
    return parser.parse_args()


def main() -> None:
    given = _arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order within sets is part of what the seed repeats
        command = [sys.executable, "-m", "benchmarks.soak", *sys.argv[1:], "--seed", str(given.seed)]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606
    seconds = int(given.hours * HOUR)
    print(f"seed {given.seed}, {given.rollouts} services, {given.hours:g} virtual hours\n", flush=True)
    print(table(_HOUR_COLUMNS, ()), flush=True)
    soak = Soak(services=given.rollouts, seed=given.seed, releases_every=given.list_all * HOUR)
    soak.run(seconds, lambda hour: print(f"| {' | '.join(_hour_row(hour))} |", flush=True))
    print(f"\n{report(soak, seconds)}")
    for violation in soak.checks.violations[:_SHOWN]:
        print(f"\nVIOLATION {violation}")
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(hour) for hour in soak.hours], indent=2) + "\n")
    sys.exit(1 if soak.checks.violations else 0)


if __name__ == "__main__":
    main()
