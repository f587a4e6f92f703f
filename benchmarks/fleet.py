"""N rollouts at once on a real API server: what a tick costs, whether it keeps its interval, how fast a
violation becomes a rollback.

``python -m benchmarks.fleet --rollouts 50 200 500``. Set up like the figures of Flagger and Argo Rollouts
beside which the result is printed; README.md says what is alike and what is not.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from benchmarks.answering import QueryKind
from benchmarks.audit import ApiRequest, AuditLog, count_by_kind
from benchmarks.figures import PEERS, BenchmarkRun, RollbackDelays, SteadyLoad, markdown, quantile
from benchmarks.installation import ACCOUNT, Installation
from benchmarks.standin import AnsweredQuery
from benchmarks.usage import cpu_seconds, idle_seconds, resident_megabytes
from benchmarks.workload import METRICS, candidate, service
from tests.testbed.servers import missing_servers

_VIOLATIONS = 20
_PER_SECONDS = 30.0  # seconds that the tables count requests over
_PROCESSORS = 2


class Fleet:
    """One installation with its rollouts in analysis, and what is measured there."""

    def __init__(self, installation: Installation, count: int, interval: float) -> None:
        self._installation, self._count, self._interval = installation, count, interval
        self._audit = AuditLog(installation.api.audit_log, ACCOUNT)
        self._candidates = frozenset(candidate(number) for number in range(count))
        self._pid = 0

    def warm_up(self, metrics: str) -> float:
        """Until every candidate has been evaluated twice and its status was refreshed; seconds it took."""
        self._installation.deploy(self._count, seconds=60 + self._count)
        begin = time.monotonic()
        self._pid = self._installation.start(metrics, self._interval)
        self._installation.wait(
            lambda: (
                len(self._measurement_times()) == self._count and min(map(len, self._measurement_times().values())) > 1
            ),
            seconds=120 + self._count,
            what=f"{self._count} rollouts in analysis",
        )
        return time.monotonic() - begin

    def window(self, seconds: float) -> SteadyLoad:
        """The load over so many seconds in which nothing happens."""
        # Looks are on a grid of the interval: a window from between two of them holds whole ticks.
        self._sleep((0.5 - time.time() / self._interval) % 1.0 * self._interval)
        self._installation.mark()
        begin, cpu, idle = time.time(), cpu_seconds(self._pid), idle_seconds()
        memory = []
        while (left := begin + seconds - time.time()) > 0:
            self._sleep(min(2.0, left))
            memory.append(resident_megabytes(self._pid))
        end = time.time()
        spent, idled = cpu_seconds(self._pid) - cpu, idle_seconds() - idle
        self._installation.mark()
        queries = [asked for asked in self._installation.prometheus.log() if begin <= asked.at < end]
        calls = [call for call in self._audit.read() if begin <= call.at < end]
        return _load(
            queries,
            calls,
            self._measurement_times(begin, end),
            spent,
            idled,
            memory,
            end - begin,
            self._interval,
        )

    def violation(self, seed: int) -> tuple[RollbackDelays, int]:
        """Some candidates turn bad, each at its own instant; and how many healthy ones were rolled back."""
        chance = random.Random(seed)
        numbers = chance.sample(range(self._count), min(_VIOLATIONS, self._count))
        instants = sorted(chance.uniform(0, self._interval) for _ in numbers)
        begin = time.time()
        turned: dict[str, float] = {}
        for number, instant in zip(numbers, instants, strict=True):
            self._sleep(begin + instant - time.time())
            turned[service(number)] = self._installation.prometheus.turn_bad([candidate(number)])
        deadline = time.monotonic() + 3 * self._interval + 60
        while not turned.keys() <= self._rolled_back(begin).keys() and time.monotonic() < deadline:
            self._sleep(0.5)
        self._sleep(self._interval)
        written = self._rolled_back(begin)
        delays = [written[name] - at for name, at in turned.items() if name in written]
        stored = {
            service(number): self._installation.prometheus.sample_after(candidate(number), turned[service(number)])
            for number in numbers
        }
        from_sample = [written[name] - at for name, at in stored.items() if name in written]
        found = RollbackDelays(
            len(turned),
            len(delays),
            quantile(delays, 0.5),
            quantile(delays, 0.99),
            max(delays, default=float("nan")),
            (quantile(from_sample, 0.5), quantile(from_sample, 0.99), max(from_sample, default=float("nan"))),
        )
        return found, len(written.keys() - turned.keys())

    def _rolled_back(self, since: float) -> dict[str, float]:
        """When each service was first given a weight of 0."""
        found: dict[str, float] = {}
        for call in self._audit.read():
            if call.weight == 0 and call.at >= since:
                found.setdefault(call.name, call.at)
        return found

    def _measurement_times(self, begin: float = 0.0, end: float = float("inf")) -> dict[str, list[float]]:
        """When each candidate was measured, by the queries that reached the stand-in."""
        found: dict[str, list[float]] = defaultdict(list)
        for asked in self._installation.prometheus.log():
            if asked.kind is QueryKind.LATENCY and begin <= asked.at < end:
                for revision in self._candidates.intersection(asked.revisions):
                    found[revision].append(asked.at)
        return found

    def _sleep(self, seconds: float) -> None:
        self._installation.check()
        time.sleep(max(0.0, seconds))


def _load(
    queries: Sequence[AnsweredQuery],
    calls: Sequence[ApiRequest],
    measured_at: dict[str, list[float]],
    cpu: float,
    idle: float,
    memory: Sequence[float],
    seconds: float,
    interval: float,
) -> SteadyLoad:
    gaps = [after - before for times in measured_at.values() for before, after in pairwise(times)]
    ticks = sum(map(len, measured_at.values()))
    writes = sum(call.writes for call in calls)
    status = sum(call.resource == "canaryrollouts/status" for call in calls)
    share = _PER_SECONDS / seconds
    return SteadyLoad(
        ticks=ticks,
        due=round(len(measured_at) * seconds / interval),
        gap_p50=quantile(gaps, 0.5),
        gap_p99=quantile(gaps, 0.99),
        gap_max=max(gaps, default=float("nan")),
        cores=cpu / seconds,
        cpu_ms_per_tick=cpu / max(ticks, 1) * 1000,
        rss_mean=sum(memory) / len(memory),
        rss_max=max(memory),
        queries=len(queries) * share,
        queries_per_tick=len(queries) / max(ticks, 1),
        api=len(calls) * share,
        api_per_tick=len(calls) / max(ticks, 1),
        reads=sum(call.reads for call in calls) * share,
        writes=writes * share,
        idle_percent=idle / seconds / _PROCESSORS * 100,
        api_by_kind=dict(count_by_kind(calls).most_common()),
        status_writes_per_rollout=status * share / max(len(measured_at), 1),
        queries_at_once=_at_once(queries),
    )


def _at_once(queries: Sequence[AnsweredQuery]) -> int:
    """The most queries that were in flight together."""
    moves = sorted([(asked.at, 1) for asked in queries] + [(asked.at + asked.took, -1) for asked in queries])
    most = now = 0
    for _, move in moves:
        now += move
        most = max(most, now)
    return most


def measure(count: int, arguments: argparse.Namespace) -> BenchmarkRun:
    """One row, on servers of its own; what they wrote is kept when it fails."""
    folder = Path(tempfile.mkdtemp(prefix="autocanary-fleet-"))
    try:
        with Installation(
            folder, latency=arguments.latency, scrape=arguments.scrape, profile=arguments.profile
        ) as installation:
            fleet = Fleet(installation, count, arguments.interval)
            _log(f"{count} rollouts: starting")
            took = fleet.warm_up(arguments.metrics)
            _log(f"{count} rollouts: all in analysis {took:.0f} s after the start; settling")
            time.sleep(arguments.warm_up)
            load = fleet.window(arguments.window)
            _log(f"{count} rollouts: violation")
            violation, wrongly = fleet.violation(arguments.seed)
            if wrongly:
                _log(f"{count} rollouts: {wrongly} HEALTHY candidates were rolled back")
    except Exception:
        _log(f"what the servers wrote is in {folder}")
        raise
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return BenchmarkRun("autocanary", count, arguments.interval, load, violation, arguments.metrics)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--rollouts", type=int, nargs="+", default=[50, 200, 500], metavar="N")
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between evaluations (default 10)")
    parser.add_argument("--window", type=float, default=120.0, help="seconds that are measured (default 120)")
    parser.add_argument(
        "--warm-up",
        type=float,
        default=30.0,
        help="seconds between the last start and the window (default 30)",
    )
    parser.add_argument(
        "--metrics",
        choices=sorted(METRICS),
        default="presets",
        help="presets: four presets; mixed: two presets and two queries of the user's own, as for the peers",
    )
    parser.add_argument("--latency", type=float, default=0.005, help="seconds per answer (default 0.005)")
    parser.add_argument("--scrape", type=float, default=1.0, help="seconds between two samples (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="of the times of the violations")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="profile autocanary (costs CPU) into FILE")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    missing = missing_servers("kube-apiserver", "etcd", "kubectl")
    if missing:
        _log(f"missing on this machine: {', '.join(missing)}; `make servers` gets them")
        return 3
    runs = [measure(count, arguments) for count in arguments.rollouts]
    beside = [peer for peer in PEERS if peer.rollouts in arguments.rollouts]
    print(markdown([*runs, *beside]))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(run) for run in runs], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
