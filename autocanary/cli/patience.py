"""Waiting for something that others do: look, sleep, look again, until a deadline.

``monotonic`` and ``sleep`` are here by name so that tests can replace them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from autocanary.cli import printing
from autocanary.errors import Busy, Unreachable

__all__ = ["BLIP", "Tolerance", "looks", "monotonic", "sleep"]

T = TypeVar("T")

monotonic: Callable[[], float] = time.monotonic
sleep: Callable[[float], None] = time.sleep

BLIP = 30.0
"""Seconds for which a cluster that answered before may be away while a command waits."""


def looks(every: float, timeout: float | None) -> Iterator[float]:
    """The seconds left at each look, ``every`` seconds apart; the last one is at the deadline."""
    start = monotonic()
    left = math.inf if timeout is None else timeout
    while True:
        yield max(0.0, left)
        left = math.inf if timeout is None else start + timeout - monotonic()
        if left <= 0:
            return
        sleep(min(every, left))
        left = math.inf if timeout is None else start + timeout - monotonic()


class Tolerance:
    """Lets a short absence of the API server pass: a pipeline must not fail for a restart of it."""

    def __init__(self) -> None:
        self._away_since: float | None = None
        self._answered = False
        self.error: Unreachable | Busy | None = None
        """What the last look ended with, while the cluster is away."""

    @property
    def away(self) -> bool:
        """Whether the last look found nobody."""
        return self.error is not None

    def look(self, read: Callable[[], T]) -> T | None:
        """What ``read`` gives; None while the cluster is away; its error when that lasts, or comes first."""
        try:
            result = read()
        except (Unreachable, Busy) as error:
            if not self._answered:
                raise
            self.error = error
            if self._away_since is None:
                self._away_since = monotonic()
                printing.tell(f"{error}; trying again for {BLIP:.0f} s")
            if monotonic() - self._away_since >= BLIP:
                raise
            return None
        self._answered, self._away_since, self.error = True, None, None
        return result
