"""Throws many mutations at one target and says what came of them."""

from __future__ import annotations

import time
from collections import Counter
from random import Random

from tests.fuzz.targets import TARGETS

__all__ = ["run"]


def run(name: str, *, seed: int, count: int, seconds: float = float("inf")) -> Counter[str]:
    """The outcomes of up to ``count`` tries, begun within ``seconds``.

    Every try has a seed of its own; AssertionError names it when the target raised anything.
    """
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + seconds
    for index in range(count):
        if time.monotonic() > end:
            break
        try:
            outcomes[TARGETS[name](Random(f"{name}/{seed}/{index}"))] += 1
        except Exception as error:
            raise AssertionError(f"{name} with --seed {seed} --only {index}: {error!r}") from error
    return outcomes
