"""What a tick costs: the unchanged controller over N rollouts of the simulated world, in virtual time.

``python -m benchmarks.tick``. Every port is timed apart, so the controller's own cost (with planner and analysis)
is not mixed with that of the world. Each N runs in a process of its own, for the sake of its memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from autocanary import logs
from autocanary.controller import Controller
from autocanary.http_server.counters import ControllerMetrics
from autocanary.model.progress import Phase
from autocanary.policy_files import ActivePolicies
from autocanary.ports import Metrics
from autocanary.simulator import World
from benchmarks.accounts import CpuTimes, TimedPort
from benchmarks.figures import table
from benchmarks.grouped import GroupedMetrics
from benchmarks.holding import megabytes_held
from benchmarks.usage import resident_megabytes
from benchmarks.workload import METRICS, NAMESPACE, policy_document, service

_TICK_SECONDS = 1.0
_LONGEST_WARM_UP = 600.0  # virtual seconds
_CHILD_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one N. Milliseconds of CPU per evaluation; memory in MB.

    ``adapter`` is the grouping of questions and the taking apart of answers (or the simulated metrics);
    ``store`` and ``cluster`` are the world's, with JSON where an API server would have it. ``cores`` is
    the share of a core at this interval, without the world. ``bare_memory`` was in use before there was
    anything but code, ``world_memory`` before the controller began; ``own_memory`` is what the objects take that
    the real service would hold as well: the controller's state, and the caches of services and rollouts.
    """

    rollouts: int
    looks: int
    controller: float
    adapter: float
    store: float
    cluster: float
    cores: float
    longest_tick: float
    start_seconds: float
    queries_per_tick: float
    writes_per_rollout: float
    bare_memory: float
    own_memory: float
    world_memory: float
    memory: float

    @property
    def service_memory(self) -> float:
        """What a process would need that has no world in it."""
        return self.bare_memory + self.own_memory

    @property
    def ours(self) -> float:
        return self.controller + self.adapter


class Bench:
    """A world with N services in analysis, and the controller that looks after them."""

    def __init__(self, count: int, interval: float, metrics: str, source: str) -> None:
        self._count, self._interval = count, interval
        self.bare_memory = resident_megabytes(os.getpid())
        self._world = World()
        self._deploy("v1", None)
        self._deploy("v2", 0)
        gc.collect()
        self.world_memory = resident_megabytes(os.getpid())
        self._account = CpuTimes()
        self._grouped = GroupedMetrics(self._world.clock)
        port = self._grouped if source == "grouped" else self._world.metrics
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bench.json"
            path.write_text(json.dumps(policy_document(metrics, interval)))
            self._book = ActivePolicies([path])
            self._book.reload()
        self._controller = self._engine_over(port)

    def _deploy(self, version: str, weight: int | None) -> None:
        for number in range(self._count):
            name = service(number)
            self._world.deploy(name, f"gs://models/{name}/{version}", weight=weight, namespace=NAMESPACE)
        self._world.advance(20.0)

    def _engine_over(self, metrics: Metrics) -> Controller:
        world, account = self._world, self._account
        cluster = TimedPort(world.cluster, "cluster", account)
        store = TimedPort(world.store, "store", account)
        timed = TimedPort(metrics, "metrics", account)
        self._ports = (cluster, store, timed)
        return Controller(
            cluster=cluster,
            store=store,
            metrics=timed,
            policy_webhooks=world.policy_webhooks,
            notifier=world.notifier,
            policies=self._book,
            leadership=world.leadership,
            clock=world.clock,
            pool=world.pool,
            query_pool=world.pool,
            webhook_pool=world.pool,
            listener=ControllerMetrics(),
        )

    def warm_up(self) -> float:
        """Until every rollout has been evaluated twice; CPU seconds of the controller and its ports."""
        clock, spent = self._world.clock, 0.0
        until = clock.now() + _LONGEST_WARM_UP
        while clock.now() < until:
            spent += self._tick()
            running = self._controller.rollouts()
            passes = [state.passes for each in running for state in each.progress.analysis.metrics.values()]
            if len(running) == self._count and len(passes) == 4 * self._count and min(passes) >= 2:
                return spent
        raise SystemExit(f"not all of {self._count} rollouts were in analysis: {self._phases()}")

    def measure(self, looks: int) -> tuple[list[float], CpuTimes]:
        """The CPU of each tick in so many intervals, and where it went."""
        clock = self._world.clock
        self._world.advance((0.5 - clock.now() / self._interval) % 1.0 * self._interval)
        self._tick()
        self._account.reset()
        self._grouped.queries = self._grouped.questions = 0
        self._world.store.writes.clear()
        ticks = [self._tick() for _ in range(math.ceil(looks * self._interval / _TICK_SECONDS))]
        return ticks, self._account

    def _tick(self) -> float:
        self._world.advance(_TICK_SECONDS)
        begin = time.thread_time()
        self._controller.tick()
        return time.thread_time() - begin

    def _held_megabytes(self) -> float:
        """Megabytes in what the service holds; the world behind the ports is none of it."""
        world = self._world
        ports = [world, *vars(world).values(), *self._ports, self._account, self._controller]
        pictures = [list(world.cluster.services()), list(world.store.rollouts())]
        roots = [*vars(self._controller).values(), *pictures, vars(self._grouped), self._book]
        return megabytes_held(roots, ports)

    def _phases(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in self._world.store.rollouts():
            found[each.progress.phase.value] = found.get(each.progress.phase.value, 0) + 1
        return found

    def cost(self, looks: int) -> Cost:
        started = self.warm_up()
        ticks, account = self.measure(looks)
        if set(self._phases()) != {Phase.PROGRESSING.value}:
            raise SystemExit(f"something happened in the window: {self._phases()}")
        total = self._count * looks
        seconds = account.seconds
        ports = {name: seconds.get(name, 0.0) for name in ("metrics", "store", "cluster")}
        controller = sum(ticks) - sum(ports.values())
        window = looks * self._interval
        gc.collect()
        return Cost(
            rollouts=self._count,
            looks=looks,
            controller=controller / total * 1000,
            adapter=ports["metrics"] / total * 1000,
            store=ports["store"] / total * 1000,
            cluster=ports["cluster"] / total * 1000,
            cores=(controller + ports["metrics"]) / window,
            longest_tick=max(ticks),
            start_seconds=started,
            queries_per_tick=self._grouped.queries / looks,
            writes_per_rollout=len(self._world.store.writes) / self._count * 30 / window,
            bare_memory=self.bare_memory,
            own_memory=self._held_megabytes(),
            world_memory=self.world_memory,
            memory=resident_megabytes(os.getpid()),
        )


_COLUMNS = (
    "rollouts",
    "controller, ms",
    "adapter, ms",
    "both, ms",
    "cores",
    "store, ms",
    "cluster, ms",
    "longest tick, s",
    "start, s",
    "queries per interval",
    "status writes per rollout and 30 s",
    "memory: service / world / all, MB",
)


def _row(cost: Cost) -> Sequence[str]:
    return (
        f"{cost.rollouts:,}",
        f"{cost.controller:.3f}",
        f"{cost.adapter:.3f}",
        f"{cost.ours:.3f}",
        f"{cost.cores:.3f}",
        f"{cost.store:.3f}",
        f"{cost.cluster:.3f}",
        f"{cost.longest_tick:.2f}",
        f"{cost.start_seconds:.1f}",
        f"{cost.queries_per_tick:.1f}",
        f"{cost.writes_per_rollout:.2f}",
        f"{cost.service_memory:.0f} / {cost.world_memory:.0f} / {cost.memory:.0f}",
    )


def _measure_in_process(count: int, arguments: argparse.Namespace) -> Cost:
    """The cost of one N, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.tick", "--one", "--rollouts", str(count)]
    for name in ("interval", "looks", "metrics", "source"):
        command += [f"--{name}", str(getattr(arguments, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_CHILD_SECONDS, check=True)
    return Cost(**json.loads(done.stdout))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tick", description=__doc__)
    parser.add_argument("--rollouts", type=int, nargs="+", default=[10, 100, 1000, 5000], metavar="N")
    parser.add_argument("--interval", type=float, default=10.0, help="virtual seconds between looks")
    parser.add_argument("--looks", type=int, default=6, help="how many looks at each rollout are measured")
    parser.add_argument("--metrics", choices=sorted(METRICS), default="presets")
    parser.add_argument(
        "--source",
        choices=("grouped", "simulated"),
        default="grouped",
        help="grouped: constant answers to the real queries; simulated: counters of simulated traffic",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    if arguments.one:
        logs.configure("json", "error")
        bench = Bench(arguments.rollouts[0], arguments.interval, arguments.metrics, arguments.source)
        print(json.dumps(asdict(bench.cost(arguments.looks))))
        return
    costs = [_measure_in_process(count, arguments) for count in arguments.rollouts]
    print(table(_COLUMNS, [_row(cost) for cost in costs]))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=2) + "\n")


if __name__ == "__main__":
    main()
