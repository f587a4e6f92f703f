"""``python -m tests.fuzz``: a hundred thousand mutations of each kind; ``--only`` repeats one that failed."""

from __future__ import annotations

import argparse
import sys
import time
from random import Random

from tests.fuzz.running import run
from tests.fuzz.targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--only", type=int, help="one try of a seed, to examine it")
    chosen = parser.parse_args()
    for name in chosen.targets:
        if chosen.only is not None:
            outcome = TARGETS[name](Random(f"{name}/{chosen.seed}/{chosen.only}"))
            sys.stdout.write(f"{name}: {outcome}\n")
            continue
        begin = time.monotonic()
        outcomes = run(name, seed=chosen.seed, count=chosen.count)
        took = time.monotonic() - begin
        said = ", ".join(f"{outcome} {number:,}" for outcome, number in sorted(outcomes.items()))
        tries = f"{sum(outcomes.values()):,} tries in {took:.0f} s"
        sys.stdout.write(f"{name}: seed {chosen.seed}, {tries}: {said}\n")


main()
