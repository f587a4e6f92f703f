"""A structured fuzzer beside a victim: hostile objects of every watched kind, on a real API server.

    python -m tests.hostile.fuzz --minutes 30 [--seed 7]
    python -m tests.hostile.fuzz --seed 7 --show 1234     prints what the object of this number sends

While it runs, one victim after another turns bad and must be rolled back in time. It ends with the first thing that
is not so: a process that has ended, a watch that is not whole, memory over the chart's limit, a victim that is late.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.hostile.hostile_documents import KINDS, Draft, draft
from tests.hostile.world import VICTIMS, HostileWorld

__all__ = ["Figures", "run"]

NAMESPACES = ("fuzz-a", "fuzz-b", "fuzz-c")
WITHIN = 2 * 1.0 + 1.0 + 8.0
"""Two evaluations, a scrape, and what a machine with more processes than cores adds, in seconds."""
MEMORY_LIMIT = 512 * 1024 * 1024
_KEPT = 250
_PAUSE = 0.03


@dataclass
class Figures:
    """What a run has sent and seen."""

    seed: int
    objects: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    victims: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    log_bytes: int = 0

    def __str__(self) -> str:
        late = sum(seconds > WITHIN for seconds in self.victims)
        refused = sum(number for status, number in self.statuses.items() if status >= 400 or not status)
        slowest = max(self.victims, default=0.0)
        return "\n".join(
            (
                f"seed {self.seed}: {sum(self.objects.values())} objects ({_listed(self.objects)})",
                f"requests by the API server's answer: {_listed(self.statuses)}; {refused} refused",
                f"log events: {_listed(self.events)}",
                f"victims: {len(self.victims)} rolled back, {late} late, the slowest after {slowest:.1f} s",
                f"memory: {self.peak_bytes / 2**20:.0f} MiB at most; log: {self.log_bytes} bytes",
            )
        )


def _listed(counted: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counted.items(), key=lambda each: str(each[0])))


class Fuzzer:
    """Sends object after object until ``stop``; each follows from the seed and its number."""

    def __init__(self, world: HostileWorld, seed: int) -> None:
        self._world, self._seed = world, seed
        self.figures = Figures(seed)
        self.stop = threading.Event()
        self._kept: deque[tuple[str, str, str]] = deque()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        for namespace in NAMESPACES:
            self._world.tenant.namespace(namespace)
            self._world.tenant.policy(namespace, "all", names=["*"])
        self._thread.start()

    def join(self) -> None:
        self.stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        number = 0
        while not self.stop.wait(_PAUSE):
            self._send(number)
            number += 1

    def _send(self, number: int) -> None:
        random = Random(f"{self._seed}/{number}/where")
        namespace, kind = random.choice(NAMESPACES), random.choice(KINDS)
        made = draft(kind, namespace, f"{self._seed}/{number}")
        self.figures.objects[kind] += 1
        tenant = self._world.tenant
        if random.random() < 0.1:
            self._count(tenant.delete(kind, namespace, made.name))
        status = tenant.create(kind, namespace, made.spec_body)[0]
        self._count(status)
        if status == 409:
            self._count(tenant.patch(kind, namespace, made.name, made.spec_body))
        if made.status_body:
            self._count(tenant.patch(kind, namespace, made.name, made.status_body, subresource="status"))
        self._keep_few(kind, namespace, made)

    def _count(self, status: int) -> None:
        self.figures.statuses[status] += 1

    def _keep_few(self, kind: str, namespace: str, made: Draft) -> None:
        self._kept.append((kind, namespace, made.name))
        while len(self._kept) > _KEPT:
            kind, namespace, name = self._kept.popleft()
            self._world.tenant.patch(kind, namespace, name, {"metadata": {"finalizers": None}})
            self._world.tenant.delete(kind, namespace, name)


def run(folder: Path, *, seconds: float, seed: int) -> Figures:
    """Fuzz for so long, or until the first failure, which is raised as an AssertionError."""
    with ExitStack() as stack:
        world = HostileWorld(folder, stack)
        world.tenant.namespace(VICTIMS)
        world.victim_policy()
        world.process = world.begin()
        fuzzer = Fuzzer(world, seed)
        world.prepare_victim("bad-0")
        fuzzer.start()
        stack.callback(fuzzer.join)
        end, number = time.monotonic() + seconds, 0
        try:
            while time.monotonic() < end:
                after = world.turn_bad(f"bad-{number}")
                fuzzer.figures.victims.append(after)
                assert after <= WITHIN, f"the victim was rolled back after {after:.1f} s"
                _check(world, fuzzer.figures)
                number += 1
                if time.monotonic() < end:
                    world.prepare_victim(f"bad-{number}")
        except BaseException as error:
            _check_log(world, fuzzer.figures)
            raise AssertionError(f"{error}\n{fuzzer.figures}") from error
        fuzzer.join()
        _check(world, fuzzer.figures)
        _check_log(world, fuzzer.figures)
        return fuzzer.figures


def _check(world: HostileWorld, figures: Figures) -> None:
    assert world.process is not None
    assert world.process.process.poll() is None, f"autocanary has ended: {world.process.text()[-3000:]}"
    ready, metrics, figures.peak_bytes = world.health()
    assert ready[0] == 200, ready
    assert figures.peak_bytes < MEMORY_LIMIT, f"{figures.peak_bytes >> 20} MiB"
    unhealthy = [name for name, value in metrics.items() if name.startswith("autocanary_watch_healthy") and value != 1]
    assert not unhealthy, unhealthy


def _check_log(world: HostileWorld, figures: Figures) -> None:
    assert world.process is not None
    text = world.process.text()
    figures.log_bytes = len(text)
    figures.events = Counter(json.loads(line)["event"] for line in text.splitlines() if line.startswith("{"))
    assert max(map(len, text.splitlines())) < 20_000
    assert "\x1b" not in text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--show", type=int, metavar="NUMBER", help="print the object of this number and send nothing")
    given = parser.parse_args()
    if given.show is not None:
        random = Random(f"{given.seed}/{given.show}/where")
        namespace, kind = random.choice(NAMESPACES), random.choice(KINDS)
        made = draft(kind, namespace, f"{given.seed}/{given.show}")
        print(kind, namespace, made.name, made.spec_body.decode(), made.status_body.decode(), sep="\n")  # noqa: T201
        return
    print(f"seed {given.seed}", flush=True)  # noqa: T201
    folder = Path(tempfile.mkdtemp(prefix="autocanary-fuzz-"))
    print(run(folder, seconds=60 * given.minutes, seed=given.seed))  # noqa: T201


if __name__ == "__main__":
    main()
