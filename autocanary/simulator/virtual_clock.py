"""Virtual time: a heap of timed calls, and a clock that moves only when it is advanced."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

__all__ = ["START", "VirtualClock"]

START = 1_767_225_600.0
"""2026-01-01 00:00 UTC: a Thursday, so that weekly windows of examples can be checked against a calendar."""


class VirtualClock:
    """The Clock port, and the only source of time of the simulated world.

    Actions of one instant run in the order in which they were asked for, so a run repeats exactly. Nothing
    is scanned while nothing is due.
    """

    def __init__(self, at: float = START) -> None:
        self._at = at
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def now(self) -> float:
        return self._at

    def call_at(self, when: float, action: Callable[[], None]) -> None:
        """Runs ``action`` when the clock reaches ``when``; an instant that has passed means the next move."""
        heapq.heappush(self._due, (when, next(self._order), action))

    def next_due(self) -> float | None:
        """When the next action is due, None when nothing is planned."""
        return self._due[0][0] if self._due else None

    def advance(self, seconds: float) -> None:
        """Lets ``seconds`` go by; what happens in between sees its own instant as now."""
        self.advance_to(self._at + seconds)

    def advance_to(self, moment: float) -> None:
        """Like ``advance``, up to an instant; one that has passed only runs what is overdue."""
        due = self._due
        moment = max(moment, self._at)
        while due and due[0][0] <= moment:
            when, _, action = heapq.heappop(due)
            self._at = max(self._at, when)
            action()
        self._at = moment
