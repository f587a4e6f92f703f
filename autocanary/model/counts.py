"""Requests counted on both revisions, so that a comparison can see what both went through.

Totals grow from where the account began; whoever compares keeps the totals it has used and takes the
difference. So an answer that is lost, or asked for twice, loses and repeats nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Counters", "Totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """One revision's requests since the account began, with resets and vanished pods already seen to.

    ``errors`` of ``requests`` failed; ``within[i]`` of them succeeded in at most ``bounds[i]`` seconds (of
    the Counters they belong to), so that a fast failure counts as slow.
    """

    requests: float = 0.0
    errors: float = 0.0
    within: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Counters:
    """Both revisions' totals at one time.

    ``epoch`` names the account: a difference between two accounts means nothing, the later one is only a
    new beginning. ``at`` is the oldest newest sample of the two revisions, in epoch seconds by Prometheus'
    clock: totals with the same ``at`` hold nothing new. ``bounds`` are the upper bounds of the latency
    histogram in seconds, ascending, without infinity; empty when latency was not asked for. ``exact`` is
    False when the totals rest on rate() or increase(): a threshold may use them, a comparison may not.
    """

    epoch: str
    at: float
    candidate: Totals
    stable: Totals
    bounds: tuple[float, ...] = ()
    exact: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        raw: dict[str, Any] = {
            "epoch": self.epoch,
            "at": self.at,
            "candidate": [self.candidate.requests, self.candidate.errors, *self.candidate.within],
            "stable": [self.stable.requests, self.stable.errors, *self.stable.within],
        }
        if self.bounds:
            raw["bounds"] = list(self.bounds)
        if not self.exact:
            raw["exact"] = False
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Counters:
        return cls(
            epoch=raw["epoch"],
            at=raw["at"],
            candidate=_totals(raw["candidate"]),
            stable=_totals(raw["stable"]),
            bounds=tuple(raw.get("bounds", ())),
            exact=raw.get("exact", True),
        )


def _totals(raw: list[float]) -> Totals:
    return Totals(raw[0], raw[1], tuple(raw[2:]))
