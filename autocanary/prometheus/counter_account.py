"""The store of raw counters: a tracker per revision, and the totals of two of them.

Updates come in as values; no query is made here.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from autocanary.model.measurement import FailureCounts, RequestCounters
from autocanary.prometheus.counter_tracking import CounterTracker, CounterUpdate

__all__ = ["CounterStore"]

_EXPIRE_AFTER = 3600.0
_EXPIRE_INTERVAL = 60.0
_SILENT_AFTER = 90.0
"""A revision whose newest sample is older is not current and not waited for: at 100 % stable has none."""

Subject = TypeVar("Subject", bound=Hashable)
"""A revision as one family of counters shows it."""


@dataclass(slots=True)
class _TrackedRevision:
    tracker: CounterTracker
    last_used_at: float
    account_id: str


@dataclass(slots=True)
class _ComparedPair:
    """The last result for two revisions."""

    candidate: CounterTracker
    stable: CounterTracker
    last_result: RequestCounters
    last_used_at: float
    newest_samples: tuple[float | None, float | None]


class CounterStore(Generic[Subject]):
    """Thread-safe; forgets what was not used within an hour, and the oldest beyond ``max_entries``.

    An answer that was lost, partial or late is simply not brought to it: nothing is added, nothing lost.
    """

    def __init__(self, now: Callable[[], float], *, max_entries: int = 20_000) -> None:
        self._now = now
        self._max_entries = max_entries
        self._store_id = uuid.uuid4().hex[:12]
        self._serial = 0
        self._entries: dict[Subject, _TrackedRevision] = {}
        self._pairs: dict[tuple[Subject, Subject], _ComparedPair] = {}
        self._last_expiry = now()
        self._lock = threading.Lock()

    def untracked(self, revision_keys: Iterable[Subject]) -> list[Subject]:
        """Those that are not tracked yet; the others count as used."""
        with self._lock:
            now = self._now()
            self._expire(now)
            found = []
            for revision_key in revision_keys:
                entry = self._entries.get(revision_key)
                if entry is None:
                    found.append(revision_key)
                else:
                    entry.last_used_at = now
            return found

    def start_tracking(self, updates: Mapping[Subject, CounterUpdate]) -> None:
        """Begin to track revisions; those that are tracked already are updated."""
        with self._lock:
            now = self._now()
            for revision_key, update in updates.items():
                entry = self._entries.get(revision_key)
                if entry is None:
                    self._entries[revision_key] = _TrackedRevision(CounterTracker(update), now, self._next_epoch())
                else:
                    entry.tracker.add(update)
            if len(self._entries) > self._max_entries:
                self._evict_oldest(now)

    def update(self, updates: Mapping[Subject, CounterUpdate]) -> None:
        """Update the revisions that are tracked."""
        with self._lock:
            for revision_key, update in updates.items():
                entry = self._entries.get(revision_key)
                if entry is not None:
                    entry.tracker.add(update)

    def counters(self, candidate: Subject, stable: Subject, *, latency: bool = False) -> RequestCounters | None:
        """Both revisions' totals; None before both are tracked, and before any bound is known.

        The last result is repeated until both revisions have a new sample (one without a current sample is not
        waited for). So the totals are at most one scrape interval apart, and as they only grow, the next
        difference makes up for it.
        """
        with self._lock:
            one, other = self._entries.get(candidate), self._entries.get(stable)
            if one is None or other is None:
                return None
            bounds = _common_bounds(one.tracker, other.tracker) if latency else ()
            if latency and not bounds:
                return None
            pair = self._pairs.get((candidate, stable))
            if pair is None or pair.candidate is not one.tracker or pair.stable is not other.tracker:
                pair = self._new_pair(one.tracker, other.tracker, bounds)
                self._pairs[candidate, stable] = pair
                return pair.last_result
            pair.last_used_at = self._now()
            at = _common_time(one.tracker, other.tracker)
            newest = _newest_samples(one.tracker, other.tracker)
            if at is not None and at > pair.last_result.at and _all_newer(newest, pair.newest_samples):
                pair.newest_samples = newest
                account_id = pair.last_result.account_id if pair.last_result.bounds == bounds else self._next_epoch()
                pair.last_result = _counters_at(account_id, at, one.tracker, other.tracker, bounds)
            current = _is_current(one.tracker), _is_current(other.tracker)
            if current != (pair.last_result.candidate_current, pair.last_result.stable_current):
                pair.last_result = replace(pair.last_result, candidate_current=current[0], stable_current=current[1])
            return pair.last_result

    def failures(self, revision: Subject) -> FailureCounts | None:
        """What a revision has failed; None before it is tracked."""
        with self._lock:
            entry = self._entries.get(revision)
            if entry is None:
                return None
            tracker = entry.tracker
            return FailureCounts(entry.account_id, tracker.totals(()).errors, tracker.failed_by_process())

    def _new_pair(self, one: CounterTracker, other: CounterTracker, bounds: tuple[float, ...]) -> _ComparedPair:
        at = _common_time(one, other)
        at = min(one.updated_at, other.updated_at) if at is None else at
        result = _counters_at(self._next_epoch(), at, one, other, bounds)
        return _ComparedPair(one, other, result, self._now(), _newest_samples(one, other))

    def _next_epoch(self) -> str:
        self._serial += 1
        return f"{self._store_id}-{self._serial}"

    def _expire(self, now: float) -> None:
        if now - self._last_expiry < _EXPIRE_INTERVAL:
            return
        self._last_expiry = now
        entries = self._entries.items()
        self._entries = {
            revision_key: entry for revision_key, entry in entries if now - entry.last_used_at < _EXPIRE_AFTER
        }
        self._evict_pairs(now)

    def _evict_oldest(self, now: float) -> None:
        by_use = sorted(self._entries, key=lambda revision_key: self._entries[revision_key].last_used_at)
        for revision_key in by_use[: len(by_use) - self._max_entries]:
            del self._entries[revision_key]
        self._evict_pairs(now)

    def _evict_pairs(self, now: float) -> None:
        def is_tracked(revision_key: Subject, tracker: CounterTracker) -> bool:
            entry = self._entries.get(revision_key)
            return entry is not None and entry.tracker is tracker

        self._pairs = {
            (candidate, stable): pair
            for (candidate, stable), pair in self._pairs.items()
            if now - pair.last_used_at < _EXPIRE_AFTER
            and is_tracked(candidate, pair.candidate)
            and is_tracked(stable, pair.stable)
        }


def _common_bounds(one: CounterTracker, other: CounterTracker) -> tuple[float, ...]:
    if one.bounds is None or other.bounds is None:
        return tuple(sorted(one.bounds or other.bounds or ()))
    return tuple(sorted(one.bounds & other.bounds))


def _common_time(one: CounterTracker, other: CounterTracker) -> float | None:
    """The older of the newest samples. A revision that has long had none holds nothing up."""
    times = [
        tracker.newest_sample_at
        for tracker in (one, other)
        if tracker.newest_sample_at is not None and _is_current(tracker)
    ]
    return min(times) if times else None


def _newest_samples(one: CounterTracker, other: CounterTracker) -> tuple[float | None, float | None]:
    """None for a revision without a current sample."""
    newest = [each.newest_sample_at if _is_current(each) else None for each in (one, other)]
    return newest[0], newest[1]


def _all_newer(newest: tuple[float | None, float | None], before: tuple[float | None, float | None]) -> bool:
    """Whether each revision that has a current sample has a newer one than before."""
    return all(now is None or then is None or now > then for now, then in zip(newest, before, strict=True))


def _is_current(tracker: CounterTracker) -> bool:
    newest = tracker.newest_sample_at
    return newest is not None and tracker.updated_at - newest <= _SILENT_AFTER


def _counters_at(
    account_id: str, at: float, one: CounterTracker, other: CounterTracker, bounds: tuple[float, ...]
) -> RequestCounters:
    return RequestCounters(
        account_id,
        at,
        one.totals(bounds),
        other.totals(bounds),
        bounds,
        candidate_current=_is_current(one),
        stable_current=_is_current(other),
    )
