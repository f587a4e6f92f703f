"""What was counted lately: harm that begins late hardly shows in the totals of a whole rollout.

Shown to users only; nothing is decided from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.analysis.count_blocks import Counts

__all__ = ["RecentCounts"]

_PART_SECONDS = 300.0
_NO_COUNTS = Counts()


@dataclass(frozen=True, slots=True)
class RecentCounts:
    """The sums of the last blocks in two parts of five minutes: together the last five to ten minutes."""

    present: Counts = _NO_COUNTS
    present_seconds: float = 0.0
    previous: Counts = _NO_COUNTS
    previous_seconds: float = 0.0

    @property
    def counts(self) -> Counts:
        return self.present + self.previous

    @property
    def seconds(self) -> float:
        return self.present_seconds + self.previous_seconds

    def add(self, block: Counts, seconds: float) -> RecentCounts:
        if self.present_seconds >= _PART_SECONDS:
            return RecentCounts(block, seconds, self.present, self.present_seconds)
        return RecentCounts(self.present + block, self.present_seconds + seconds, self.previous, self.previous_seconds)

    def to_list(self) -> list[Any]:
        return [self.present.pack(), self.present_seconds, self.previous.pack(), self.previous_seconds]

    @classmethod
    def from_list(cls, raw: Sequence[Any]) -> RecentCounts:
        return cls(Counts.unpack(raw[0]), raw[1], Counts.unpack(raw[2]), raw[3])
