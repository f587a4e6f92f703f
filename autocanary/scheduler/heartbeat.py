"""Proof that the beat is alive, for the liveness probe."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Heartbeat"]


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
