"""Which keys are due when, and how keys of one interval are spread over it; the caller gives the time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["GROUP_SIZE", "DueQueue", "PhaseOffsets"]

K = TypeVar("K", bound=Hashable)

_MAX_STALE_ENTRIES = 64


class DueQueue(Generic[K]):
    """Keys with the time each is due at, each key at most once. For one thread.

    Moving or dropping a key leaves its old entry in the heap, where it is skipped when its time comes; the
    heap is rebuilt once such entries outnumber the current ones, so that memory stays proportional to the
    keys and every operation O(log n), amortised.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._entries: dict[K, tuple[float, int]] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    @property
    def heap_size(self) -> int:
        """Entries in memory, outdated ones included."""
        return len(self._heap)

    def set_due(self, key: K, when: float) -> None:
        """Makes ``key`` due at ``when``, whatever it was before."""
        if math.isnan(when):
            raise ValueError(f"{key}: due at no time at all")  # a NaN would break the heap's order
        self._sequence += 1
        self._entries[key] = (when, self._sequence)
        heapq.heappush(self._heap, (when, self._sequence, key))
        self._compact()

    def bring_forward(self, key: K, when: float) -> None:
        """Makes ``key`` due at ``when`` unless it is due earlier already."""
        entry = self._entries.get(key)
        if entry is None or when < entry[0]:
            self.set_due(key, when)

    def drop(self, key: K) -> None:
        """Forgets ``key``; one that is not there is no error."""
        if self._entries.pop(key, None) is not None:
            self._compact()

    def due(self, now: float) -> list[K]:
        """Takes out the keys due at or before ``now``, the longest waiting first."""
        keys: list[K] = []
        while self._heap and self._heap[0][0] <= now:
            when, sequence, key = heapq.heappop(self._heap)
            if self._entries.get(key) == (when, sequence):
                del self._entries[key]
                keys.append(key)
        return keys

    def next_due_at(self) -> float | None:
        """When the next key is due; None for an empty queue."""
        while self._heap:
            when, sequence, key = self._heap[0]
            if self._entries.get(key) == (when, sequence):
                return when
            heapq.heappop(self._heap)
        return None

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._entries) + _MAX_STALE_ENTRIES:
            self._heap = [(when, sequence, key) for key, (when, sequence) in self._entries.items()]
            heapq.heapify(self._heap)


GROUP_SIZE = 500
"""Evaluations in one tick: about as many revisions as one query covers, and a few tenths of a second of work."""


class PhaseOffsets(Generic[K]):
    """Spreads the keys of each interval over it, in groups of ``size``; the first group has offset 0.

    A key stays in its group while others come and go, so its evaluations keep their distance.
    """

    def __init__(self, size: int = GROUP_SIZE) -> None:
        self._size = size
        self._sizes: dict[float, list[int]] = {}
        self._assignments: dict[K, tuple[float, int]] = {}

    def assign(self, key: K, interval: float) -> float:
        """The seconds by which its evaluations are later: it joins the first group that is not full."""
        self.release(key)
        sizes = self._sizes.setdefault(interval, [])
        group = next((index for index, size in enumerate(sizes) if size < self._size), len(sizes))
        if group == len(sizes):
            sizes.append(0)
        sizes[group] += 1
        self._assignments[key] = interval, group
        return interval * _offset_fraction(group)

    def release(self, key: K) -> None:
        """Leaves its group; a key that is not there is no error."""
        assignment = self._assignments.pop(key, None)
        if assignment is not None:
            interval, group = assignment
            self._sizes[interval][group] -= 1


def _offset_fraction(group: int) -> float:
    """0, 1/2, 1/4, 3/4, 1/8 ...: however many there are, none is near another (van der Corput, 1935)."""
    share, part = 0.0, 0.5
    while group:
        share += part * (group & 1)
        group >>= 1
        part /= 2
    return share
