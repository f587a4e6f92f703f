"""Calls under way: their results come back to the one thread that ticks."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["Calls", "Then"]

Then = Callable[[Any, BaseException | None], None]
"""Takes a call's result, or None and what it raised."""


class Calls:
    """Results wait here until ``take_up``. Dropped with everything else when leadership is lost: what was
    begun before then concerns nobody.
    """

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        self._results: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def when_done(self, future: Future[Any], then: Then) -> None:
        """Hand a finished call's result to the tick's thread, and have it tick soon."""

        def done(finished: Future[Any]) -> None:
            error = finished.exception()
            result = None if error is not None else finished.result()
            self._results.put(lambda: then(result, error))
            self._hurry()

        future.add_done_callback(done)

    def take_up(self) -> None:
        """Do what was to be done with the results that have come."""
        while True:
            try:
                result = self._results.get_nowait()
            except queue.Empty:
                return
            result()
