"""Waiting for something that others do: look, sleep, look again, until a deadline.

``monotonic`` and ``sleep`` are here by name so that tests can replace them.
"""

from __future__ import annotations

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


def looks(every: float, timeout: float | None) -> Iterator[int]:
    """Counts looks, ``every`` seconds apart; the last one is at the deadline, not before it."""
    start, count = monotonic(), 0
    while True:
        count += 1
        yield count
        left = float("inf") if timeout is None else start + timeout - monotonic()
        if left <= 0:
            return
        sleep(min(every, left))


class Tolerance:
    """Lets a short absence of the API server pass: a pipeline must not fail for a restart of it."""

    def __init__(self) -> None:
        self._away_since: float | None = None
        self._answered = False

    @property
    def away(self) -> bool:
        """Whether the last look found nobody."""
        return self._away_since is not None

    def look(self, read: Callable[[], T]) -> T | None:
        """What ``read`` gives; None while the cluster is away; its error when that lasts, or comes first."""
        try:
            result = read()
        except (Unreachable, Busy) as error:
            if not self._answered:
                raise
            if self._away_since is None:
                self._away_since = monotonic()
                printing.tell(f"{error}; trying again for {BLIP:.0f} s")
            if monotonic() - self._away_since >= BLIP:
                raise
            return None
        self._answered, self._away_since = True, None
        return result
