"""What stable did lately: the limit for a candidate that has all the traffic.

Block by block, older ones weigh less (a half after half an hour). The limit follows the mean and its spread:
a service whose failure rate swings from block to block may swing in the bake too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from autocanary.analysis.count_blocks import Counts
from autocanary.model.rate_intervals import wilson_interval

__all__ = ["StableHistory"]

_HALF_LIFE = 1800.0
_ONE_SIDED_95 = 1.6449
_TWO_SIDED = 0.90


@dataclass(frozen=True, slots=True)
class StableHistory:
    """Weighted sums over stable's blocks: their number, requests, requests squared; and for each outcome the
    bad requests and the sum of bad * bad / requests."""

    blocks: float = 0.0
    requests: float = 0.0
    squares: float = 0.0
    bad: tuple[tuple[float, float], ...] = ()

    def add(self, block: Counts, seconds: float) -> StableHistory:
        n = block.stable
        if n <= 0:
            return self
        kept = 0.5 ** (seconds / _HALF_LIFE)
        before = self.bad or ((0.0, 0.0),) * len(block.bad)
        return StableHistory(
            kept * self.blocks + 1.0,
            kept * self.requests + n,
            kept * self.squares + n * n,
            tuple(
                [
                    (kept * bad + e, kept * square + e * e / n)
                    for (bad, square), (_, e) in zip(before, block.bad, strict=True)
                ]
            ),
        )

    def upper_rate(self, outcome: int) -> float:
        """The largest rate that stable would show: Wilson's upper 95 % end, and 1.64 times the spread of blocks.

        The spread is what exceeds binomial counts by more than one standard deviation (DerSimonian & Laird
        1986). 1 where nothing is known.
        """
        if self.requests <= 0.0 or not self.bad:
            return 1.0
        bad, square = self.bad[outcome]
        rate = bad / self.requests
        high = wilson_interval(bad, self.requests, _TWO_SIDED)[1]
        variance, free = rate * (1.0 - rate), self.blocks - 1.0
        weight = self.requests - self.squares / self.requests
        if variance <= 0.0 or free < 1.0 or weight <= 0.0:
            return high
        excess = (square - bad * bad / self.requests) - variance * (free + sqrt(2.0 * free))
        return min(high + _ONE_SIDED_95 * sqrt(max(excess, 0.0) / weight), 1.0)

    def to_list(self) -> list[float]:
        return [self.blocks, self.requests, self.squares, *(each for pair in self.bad for each in pair)]

    @classmethod
    def from_list(cls, raw: Sequence[float]) -> StableHistory:
        return cls(raw[0], raw[1], raw[2], tuple(zip(raw[3::2], raw[4::2], strict=True)))
