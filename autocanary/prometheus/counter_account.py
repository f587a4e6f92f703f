"""The account of raw counters: a tally per revision, and what is said of two of them.

Pure bookkeeping: looks come in as values, no query is made here.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from autocanary.model.measurement import Counters
from autocanary.prometheus.counter_tracking import Look, Tally

__all__ = ["Account"]

_FORGET_AFTER = 3600.0
_TIDY_EVERY = 60.0
_LINGERING = 90.0
"""A revision whose newest sample is older is not waited for: at 100 % stable is silent for good."""

Subject = TypeVar("Subject", bound=Hashable)
"""A revision as one family of counters shows it."""


@dataclass(slots=True)
class _Entry:
    tally: Tally
    used: float


@dataclass(slots=True)
class _Pair:
    """What was last said of two revisions."""

    candidate: Tally
    stable: Tally
    said: Counters
    used: float


class Account(Generic[Subject]):
    """Thread-safe; forgets what nobody has asked for within an hour, and the oldest beyond ``most``.

    An answer that was lost, partial or late is simply not brought to it: nothing is added, nothing lost.
    """

    def __init__(self, now: Callable[[], float], *, most: int = 20_000) -> None:
        self._now = now
        self._most = most
        self._name = uuid.uuid4().hex[:12]
        self._serial = 0
        self._entries: dict[Subject, _Entry] = {}
        self._pairs: dict[tuple[Subject, Subject], _Pair] = {}
        self._tidied = now()
        self._lock = threading.Lock()

    def unknown(self, subjects: Iterable[Subject]) -> list[Subject]:
        """Those whose tally a look would begin; the others count as asked for."""
        with self._lock:
            now = self._now()
            self._tidy(now)
            found = []
            for subject in subjects:
                entry = self._entries.get(subject)
                if entry is None:
                    found.append(subject)
                else:
                    entry.used = now
            return found

    def begin(self, looks: Mapping[Subject, Look]) -> None:
        """Begin the tallies of revisions; where one exists already, it only goes on."""
        with self._lock:
            now = self._now()
            for subject, look in looks.items():
                entry = self._entries.get(subject)
                if entry is None:
                    self._entries[subject] = _Entry(Tally(look), now)
                else:
                    entry.tally.see(look)
            if len(self._entries) > self._most:
                self._drop_oldest(now)

    def look(self, looks: Mapping[Subject, Look]) -> None:
        """Go on with the tallies that exist."""
        with self._lock:
            for subject, look in looks.items():
                entry = self._entries.get(subject)
                if entry is not None:
                    entry.tally.see(look)

    def counters(self, candidate: Subject, stable: Subject, *, latency: bool = False) -> Counters | None:
        """Both revisions' totals; None before both have a tally, and before any bound is known.

        What was said last is said again until the older of the two newest samples is a new one: what the
        other revision did meanwhile waits. So the totals are at most one scrape interval apart, and as they
        only grow, the next difference makes up for it.
        """
        with self._lock:
            one, other = self._entries.get(candidate), self._entries.get(stable)
            if one is None or other is None:
                return None
            bounds = _common_bounds(one.tally, other.tally) if latency else ()
            if latency and not bounds:
                return None
            pair = self._pairs.get((candidate, stable))
            if pair is None or pair.candidate is not one.tally or pair.stable is not other.tally:
                pair = self._pair(one.tally, other.tally, bounds)
                self._pairs[candidate, stable] = pair
                return pair.said
            pair.used = self._now()
            at = _common_time(one.tally, other.tally)
            if at is not None and at > pair.said.at:
                epoch = pair.said.epoch if pair.said.bounds == bounds else self._next_epoch()
                pair.said = _said(epoch, at, one.tally, other.tally, bounds)
            return pair.said

    def _pair(self, one: Tally, other: Tally, bounds: tuple[float, ...]) -> _Pair:
        at = _common_time(one, other)
        at = min(one.looked, other.looked) if at is None else at
        return _Pair(one, other, _said(self._next_epoch(), at, one, other, bounds), self._now())

    def _next_epoch(self) -> str:
        self._serial += 1
        return f"{self._name}-{self._serial}"

    def _tidy(self, now: float) -> None:
        if now - self._tidied < _TIDY_EVERY:
            return
        self._tidied = now
        entries = self._entries.items()
        self._entries = {subject: entry for subject, entry in entries if now - entry.used < _FORGET_AFTER}
        self._forget_pairs(now)

    def _drop_oldest(self, now: float) -> None:
        by_use = sorted(self._entries, key=lambda subject: self._entries[subject].used)
        for subject in by_use[: len(by_use) - self._most]:
            del self._entries[subject]
        self._forget_pairs(now)

    def _forget_pairs(self, now: float) -> None:
        def lives(subject: Subject, tally: Tally) -> bool:
            entry = self._entries.get(subject)
            return entry is not None and entry.tally is tally

        self._pairs = {
            (candidate, stable): pair
            for (candidate, stable), pair in self._pairs.items()
            if now - pair.used < _FORGET_AFTER
            and lives(candidate, pair.candidate)
            and lives(stable, pair.stable)
        }


def _common_bounds(one: Tally, other: Tally) -> tuple[float, ...]:
    if one.bounds is None or other.bounds is None:
        return tuple(sorted(one.bounds or other.bounds or ()))
    return tuple(sorted(one.bounds & other.bounds))


def _common_time(one: Tally, other: Tally) -> float | None:
    """The older of the newest samples. A revision that has long had none holds nothing up."""
    times = [
        tally.newest
        for tally in (one, other)
        if tally.newest is not None and tally.looked - tally.newest <= _LINGERING
    ]
    return min(times) if times else None


def _said(epoch: str, at: float, one: Tally, other: Tally, bounds: tuple[float, ...]) -> Counters:
    return Counters(epoch, at, one.totals(bounds), other.totals(bounds), bounds)
