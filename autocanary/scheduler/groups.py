"""Who is looked at together: enough to share their questions, and not so many that one tick takes seconds."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["SIZE", "Groups"]

K = TypeVar("K", bound=Hashable)

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
