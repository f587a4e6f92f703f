"""A time of day that never jumps, and the age of the last tick for the liveness probe."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Heartbeat", "SteadyClock"]


class SteadyClock:
    """Seconds since the epoch: the wall clock read once, carried on by the monotonic one.

    A wall clock stepped by an operator, NTP or a resumed machine moves no deadline of this process. The
    next start reads the wall clock again; ``drift`` is how far the two are apart until then.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._offset = wall() - monotonic()

    def now(self) -> float:
        return self._monotonic() + self._offset

    def drift(self) -> float:
        """How many seconds the wall clock is ahead of this one; large after the wall clock was stepped."""
        return self._wall() - self.now()


class Heartbeat:
    """How long ago something last happened, on the monotonic clock.

    The tick touches it at its end. That the scheduler says it runs proves nothing: its thread can be dead,
    or asleep for an hour because the wall clock was set back.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._touched = monotonic()

    def touch(self) -> None:
        self._touched = self._monotonic()

    def age(self) -> float:
        """Seconds since the last touch; before the first, since it was made."""
        return self._monotonic() - self._touched
