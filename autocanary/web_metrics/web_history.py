"""Counts that only grow, as they stood at earlier answers: from them come the counts of a window.

Kept in memory alone. After a restart the window begins at the first answer, and is whole after its length.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["LONGEST_GAP_IN_WINDOWS", "WebHistory", "WindowCounts"]

LONGEST_GAP_IN_WINDOWS = 2.0
"""Two answers that are farther apart say nothing of the window."""

_MAX_SUBJECTS = 10_000
_SAMPLES_IN_WINDOW = 120
_FORGET_AFTER = 3600.0
_EXPIRE_INTERVAL = 60.0


class _Counted(NamedTuple):
    at: float
    bad: int
    total: int


class WindowCounts(NamedTuple):
    """What was counted in the last ``seconds``: about the window, less before answers cover it, more after a gap."""

    bad: int
    total: int
    seconds: float


@dataclass(slots=True)
class _Subject:
    used_at: float
    window: float
    samples: deque[_Counted] = field(default_factory=deque)
    after_gap: bool = False


class WebHistory:
    """By what was asked; thread-safe. Forgets what was not used for an hour and its window."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._expired_at = now()
        self._subjects: dict[tuple[Hashable, float], _Subject] = {}
        self._lock = threading.Lock()

    def add(self, asked: Hashable, window: float, at: float, bad: int, total: int) -> WindowCounts | None:
        """The counts of the window (seconds) that ends at ``at``.

        None after the first answer, after the first one that comes long after the others, and where the counts fell.
        An answer that is no newer than the last one adds nothing: it repeats it.
        """
        with self._lock:
            now = self._now()
            self._expire(now)
            subject = self._subjects.setdefault((asked, window), _Subject(now, window))
            samples = subject.samples
            after_gap = now - subject.used_at > LONGEST_GAP_IN_WINDOWS * window
            if after_gap and not subject.after_gap:
                samples.clear()  # not asked, or not answered, for a time; where that is usual, the gap is returned
            subject.used_at, subject.after_gap = now, after_gap
            if samples and (bad < samples[-1].bad or total - bad < samples[-1].total - samples[-1].bad):
                samples.clear()  # counted from zero again, or corrected: what it was before is no baseline
            if not samples or at >= samples[-1].at:
                _append(samples, _Counted(at, bad, total), window / _SAMPLES_IN_WINDOW)
            while len(samples) > 2 and samples[1].at <= samples[-1].at - window:
                samples.popleft()
            first, last = samples[0], samples[-1]
            if len(samples) < 2 or last.at <= first.at:
                return None
            return WindowCounts(last.bad - first.bad, last.total - first.total, last.at - first.at)

    def _expire(self, now: float) -> None:
        if len(self._subjects) < _MAX_SUBJECTS:
            if now - self._expired_at < _EXPIRE_INTERVAL:
                return
            self._expired_at = now
            stale = [key for key, each in self._subjects.items() if now - each.used_at > _FORGET_AFTER + each.window]
        else:
            stale = sorted(self._subjects, key=lambda key: self._subjects[key].used_at)[: _MAX_SUBJECTS // 10]
        for key in stale:
            del self._subjects[key]


def _append(samples: deque[_Counted], sample: _Counted, spacing: float) -> None:
    """The newest sample is always kept; of the others some that are ``spacing`` seconds apart."""
    if len(samples) > 2 and samples[-1].at - samples[-2].at < spacing:
        samples.pop()
    samples.append(sample)
