"""Who is due when, in a time that the caller gives: the same code runs in real and in virtual time.

Who is looked at together: enough to share their questions, and not so many that one tick takes seconds.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["SIZE", "Agenda", "Groups"]

K = TypeVar("K", bound=Hashable)

_ROOM_FOR_THE_DEAD = 64


class Agenda(Generic[K]):
    """Keys with the time each is due at, each key at most once. For one thread.

    Moving or dropping a key leaves its old entry in the heap, where it is skipped when its time comes; the
    heap is built anew once such entries outnumber the living, so that memory stays proportional to the
    keys and every operation O(log n), amortised.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._living: dict[K, tuple[float, int]] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._living)

    def __contains__(self, key: object) -> bool:
        return key in self._living

    def at(self, key: K, when: float) -> None:
        """Makes ``key`` due at ``when``, whatever it was before."""
        if math.isnan(when):
            raise ValueError(f"{key}: due at no time at all")  # a NaN would break the heap's order
        self._serial += 1
        self._living[key] = (when, self._serial)
        heapq.heappush(self._heap, (when, self._serial, key))
        self._bury()

    def bring_forward(self, key: K, when: float) -> None:
        """Makes ``key`` due at ``when`` unless it is due earlier already."""
        present = self._living.get(key)
        if present is None or when < present[0]:
            self.at(key, when)

    def drop(self, key: K) -> None:
        """Forgets ``key``; one that is not there is no error."""
        if self._living.pop(key, None) is not None:
            self._bury()

    def due(self, now: float) -> list[K]:
        """Takes out the keys due at or before ``now``, the longest waiting first."""
        keys: list[K] = []
        while self._heap and self._heap[0][0] <= now:
            when, serial, key = heapq.heappop(self._heap)
            if self._living.get(key) == (when, serial):
                del self._living[key]
                keys.append(key)
        return keys

    def next_at(self) -> float | None:
        """When the next key is due; None for an empty agenda."""
        while self._heap:
            when, serial, key = self._heap[0]
            if self._living.get(key) == (when, serial):
                return when
            heapq.heappop(self._heap)
        return None

    def _bury(self) -> None:
        if len(self._heap) > 2 * len(self._living) + _ROOM_FOR_THE_DEAD:
            self._heap = [(when, serial, key) for key, (when, serial) in self._living.items()]
            heapq.heapify(self._heap)


SIZE = 500
"""Looks in one tick: about as many revisions as one query asks for, and a few tenths of a second of work."""


class Groups(Generic[K]):
    """Spreads the keys of each interval over it, in groups of ``size``; the first group is on the beat.

    A key stays in its group while others come and go, so its looks keep their distance.
    """

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._sizes: dict[float, list[int]] = {}
        self._places: dict[K, tuple[float, int]] = {}

    def join(self, key: K, interval: float) -> float:
        """The seconds by which its looks come after the beat: it joins the first group that has room."""
        self.leave(key)
        sizes = self._sizes.setdefault(interval, [])
        group = next((index for index, size in enumerate(sizes) if size < self._size), len(sizes))
        if group == len(sizes):
            sizes.append(0)
        sizes[group] += 1
        self._places[key] = interval, group
        return interval * _share(group)

    def leave(self, key: K) -> None:
        """Makes room; a key that is not there is no error."""
        place = self._places.pop(key, None)
        if place is not None:
            interval, group = place
            self._sizes[interval][group] -= 1


def _share(group: int) -> float:
    """0, 1/2, 1/4, 3/4, 1/8 ...: however many there are, none is near another (van der Corput, 1935)."""
    share, part = 0.0, 0.5
    while group:
        share += part * (group & 1)
        group >>= 1
        part /= 2
    return share
