"""How the candidate compares with stable on one metric: what users see of a comparison.

Numbers only, made by the analysis at each evaluation; the state that a comparison goes on from is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ComparisonSummary", "RevisionCounts"]


@dataclass(frozen=True, slots=True)
class RevisionCounts:
    """One revision's requests: ``bad`` of ``requests`` failed, or were slower than the bound in question.

    ``low`` and ``high`` are the ends of an interval for the rate, in percent.
    """

    requests: float = 0.0
    bad: float = 0.0
    low: float | None = None
    high: float | None = None

    @property
    def percent(self) -> float | None:
        return 100.0 * self.bad / self.requests if self.requests > 0 else None

    def __str__(self) -> str:
        """``10/1000 = 1.00 %``."""
        percent = self.percent
        rate = f" = {percent:.2f} %" if percent is not None else ""
        return f"{self.bad:.0f}/{self.requests:.0f}{rate}"

    def to_status(self) -> dict[str, Any]:
        """As users and programs read it in a rollout's status; an interval is Wilson's, at 95 %."""
        raw: dict[str, Any] = {"requests": self.requests, "bad": self.bad}
        if self.percent is not None:
            raw["percent"] = round(self.percent, 4)
        if self.low is not None and self.high is not None:
            raw["interval"] = [self.low, self.high]
        return raw

    def to_list(self) -> list[float | None]:
        return [self.requests, self.bad, self.low, self.high]

    @classmethod
    def from_list(cls, raw: list[float | None]) -> RevisionCounts:
        requests, bad, low, high = raw
        return cls(requests or 0.0, bad or 0.0, low, high)


@dataclass(frozen=True, slots=True)
class ComparisonSummary:
    """Counts are of the whole rollout, ``step_requests`` is the candidate's requests in the present step.

    ``evidence_percent`` is the evidence against the candidate, in percent of what rolls it back;
    ``non_inferior_percent`` the evidence that it is not worse than the margin allows, in percent of what lets
    it pass; ``contribution`` this metric's part of the evidence against it (0 to 1). ``seconds`` is how long
    was counted. ``slower_than`` is the bound in seconds that bad means for a latency, None for errors.
    ``not_compared_reason`` says why nothing is compared, "" when it is.
    """

    candidate: RevisionCounts = RevisionCounts()
    stable: RevisionCounts = RevisionCounts()
    step_requests: float = 0.0
    evidence_percent: float = 0.0
    non_inferior_percent: float = 0.0
    contribution: float = 0.0
    seconds: float = 0.0
    slower_than: float | None = None
    not_compared_reason: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times stable's rate the candidate's is, None without a rate to divide by."""
        ours, theirs = self.candidate.percent, self.stable.percent
        return ours / theirs if ours is not None and theirs else None

    def __str__(self) -> str:
        """``canary 10/1000 = 1.00 %, stable 45/9000 = 0.50 %, 2.0x``."""
        ratio = f", {self.ratio:.1f}x" if self.ratio is not None else ""
        slow = f"slower than {_seconds(self.slower_than)}: " if self.slower_than is not None else ""
        return f"{slow}canary {self.candidate}, stable {self.stable}{ratio}"

    def to_status(self) -> dict[str, Any]:
        """As users and programs read it in a rollout's status; percent and seconds."""
        raw: dict[str, Any] = {
            "summary": self.not_compared_reason or str(self),
            "candidate": self.candidate.to_status(),
            "stable": self.stable.to_status(),
            "evidencePercent": self.evidence_percent,
            "nonInferiorPercent": self.non_inferior_percent,
            "contributionPercent": round(100.0 * self.contribution, 1),
        }
        if self.ratio is not None:
            raw["ratio"] = round(self.ratio, 2)
        if self.slower_than is not None:
            raw["slowerThanSeconds"] = self.slower_than
        return raw

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value. What has its default is left out."""
        raw: dict[str, Any] = {"candidate": self.candidate.to_list(), "stable": self.stable.to_list()}
        for name, default in _NUMBERS.items():
            value = getattr(self, name)
            if value != default:
                raw[name] = value
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ComparisonSummary:
        numbers = {name: raw.get(name, default) for name, default in _NUMBERS.items()}
        return cls(RevisionCounts.from_list(raw["candidate"]), RevisionCounts.from_list(raw["stable"]), **numbers)


_NUMBERS: Mapping[str, Any] = {
    "step_requests": 0.0,
    "evidence_percent": 0.0,
    "non_inferior_percent": 0.0,
    "contribution": 0.0,
    "seconds": 0.0,
    "slower_than": None,
    "not_compared_reason": "",
}


def _seconds(value: float) -> str:
    return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"
