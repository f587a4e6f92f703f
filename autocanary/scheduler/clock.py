"""The time of day that never jumps."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["SteadyClock"]


class SteadyClock:
    """Seconds since the epoch: the wall clock read once, carried on by the monotonic one.

    A wall clock stepped by an operator, NTP or a resumed machine moves no deadline of this process. The
    next start reads the wall clock anew; ``drift`` tells how far the two are apart until then.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._offset = wall() - monotonic()

    def now(self) -> float:
        return self._monotonic() + self._offset

    def drift(self) -> float:
        """How many seconds the wall clock is ahead of this one; large after the wall clock was stepped."""
        return self._wall() - self.now()
