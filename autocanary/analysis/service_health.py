"""Whether the service itself is in an outage: then both revisions fail, and nothing is shown by it.

While everything fails, the candidate fails no more often than stable: without this it would pass. The bar is
absolute: 20 % of failed requests, or ten times what stable usually does (at least 5 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autocanary.analysis.count_blocks import Counts
from autocanary.model.policy import FULL_WEIGHT
from autocanary.model.rate_intervals import wilson_interval

__all__ = ["ServiceHealth"]

_HIGHEST_BAR, _LOWEST_BAR, _TIMES_USUAL = 0.20, 0.05, 10.0


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """``usual`` are stable's requests and failures outside of outages; ``recent`` the candidate's, of which a
    half is forgotten with each block; ``stable`` is stable's last block. All as (requests, failures)."""

    usual: tuple[float, float] = (0.0, 0.0)
    recent: tuple[float, float] = (0.0, 0.0)
    stable: tuple[float, float] = (0.0, 0.0)
    stable_in_outage: bool = False

    @property
    def bar(self) -> float:
        """The fraction of failed requests from which on it is an outage."""
        requests, failed = self.usual
        highest_usual = wilson_interval(failed, requests)[1]
        return min(max(_TIMES_USUAL * highest_usual, _LOWEST_BAR), _HIGHEST_BAR)

    @property
    def candidate_in_outage(self) -> bool:
        return _is_above(self.recent, self.bar)

    def add(self, block: Counts, weight: int) -> ServiceHealth:
        """The state after one more block of failed requests.

        The flag rises with stable's failures of this block and depends on nothing else of it. So a block that
        is left out of a bet which stable's failures favour takes nothing from that bet's validity.
        """
        n_c, e_c, n_s, e_s = block.outcome(0)
        recent = self.recent
        if n_c > 0:
            recent = (0.5 * recent[0] + n_c, 0.5 * recent[1] + e_c)
        if weight >= FULL_WEIGHT or n_s <= 0:
            return ServiceHealth(self.usual, recent, (0.0, 0.0), False)
        stable = (float(n_s), float(e_s))
        if _is_above(stable, self.bar):
            return ServiceHealth(self.usual, recent, stable, True)
        return ServiceHealth((self.usual[0] + n_s, self.usual[1] + e_s), recent, stable, False)

    def to_list(self) -> list[float]:
        return [*self.usual, *self.recent, *self.stable, int(self.stable_in_outage)]

    @classmethod
    def from_list(cls, raw: Sequence[float]) -> ServiceHealth:
        return cls((raw[0], raw[1]), (raw[2], raw[3]), (raw[4], raw[5]), bool(raw[6]))


def _is_above(counts: tuple[float, float], bar: float) -> bool:
    requests, failed = counts
    return requests > 0.0 and wilson_interval(failed, requests)[0] > bar
