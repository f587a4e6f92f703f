"""How the candidate compares with stable on one metric: what users see of a comparison.

Numbers only, made by the analysis at each evaluation; the state that a comparison goes on from is not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.model.rate_intervals import anytime_difference, wilson_interval

__all__ = ["ComparisonSummary", "RateDifference", "RevisionCounts"]


@dataclass(frozen=True, slots=True)
class RevisionCounts:
    """One revision's requests: ``bad`` of ``requests`` failed, or were slower than the bound in question."""

    requests: float = 0.0
    bad: float = 0.0

    @property
    def percent(self) -> float | None:
        return 100.0 * self.bad / self.requests if self.requests > 0 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval for the rate, in percent, worked out when it is read."""
        if self.requests <= 0:
            return None
        low, high = wilson_interval(self.bad, self.requests)
        return round(100.0 * low, 4), round(100.0 * high, 4)

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
        if (interval := self.interval) is not None:
            raw["interval"] = list(interval)
        return raw

    def to_list(self) -> list[float]:
        return [self.requests, self.bad]

    @classmethod
    def from_list(cls, raw: Sequence[float | None]) -> RevisionCounts:
        return cls(raw[0] or 0.0, raw[1] or 0.0)  # earlier records hold the ends of an interval, too


@dataclass(frozen=True, slots=True)
class RateDifference:
    """The candidate's rate less stable's, in percentage points; above 0 the candidate is worse.

    ``low`` and ``high`` hold the true difference with this confidence (percent), at all evaluations together, as
    long as each revision's rate stays what it is.
    """

    points: float
    low: float
    high: float
    confidence: float

    def to_status(self) -> dict[str, Any]:
        return {"points": self.points, "interval": [self.low, self.high], "confidencePercent": self.confidence}


@dataclass(frozen=True, slots=True)
class ComparisonSummary:
    """``candidate`` and ``stable`` are counts of the whole rollout, ``recent_candidate`` and ``recent_stable`` those of
    the last ``recent_seconds``; ``step_requests`` is the candidate's requests in the present step.

    ``evidence_percent`` is the evidence against the candidate, in percent of what rolls it back;
    ``non_inferior_percent`` the evidence that it is not worse than the margin allows, in percent of what lets
    it pass the present step; ``contribution`` this metric's part of the evidence against it (0 to 1). ``seconds`` is
    how long was counted. ``slower_than`` is the bound in seconds that bad means for a latency, None for errors.
    ``not_compared_reason`` says why nothing is compared, "" when it is.

    ``needed_requests`` of the candidate, and ``needed_seconds``, are about what this metric still needs to pass the
    step if both revisions go on as so far; 0 when it passes now, None when that cannot be said: without traffic, or
    while the rates do not show that the candidate is no worse. ``limit_percent`` is what the candidate is compared
    with where stable has no traffic: the rate that stable would show. ``confidence`` is the policy's, in percent.
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
    recent_candidate: RevisionCounts = RevisionCounts()
    recent_stable: RevisionCounts = RevisionCounts()
    recent_seconds: float = 0.0
    needed_requests: float | None = None
    needed_seconds: float | None = None
    limit_percent: float | None = None
    confidence: float = 95.0

    @property
    def ratio(self) -> float | None:
        """How many times stable's rate the candidate's is, None without a rate to divide by."""
        return _ratio(self.candidate, self.stable)

    @property
    def difference(self) -> RateDifference | None:
        """Worked out when it is read; None where a side has no requests."""
        ours, theirs = self.candidate, self.stable
        if ours.percent is None or theirs.percent is None:
            return None
        low, high = anytime_difference(ours.bad, ours.requests, theirs.bad, theirs.requests, self.confidence / 100.0)
        points = round(ours.percent - theirs.percent, 4)
        return RateDifference(points, round(100.0 * low, 4), round(100.0 * high, 4), self.confidence)

    def __str__(self) -> str:
        """``canary 10/1000 = 1.00 %, stable 45/9000 = 0.50 %, 2.0x``."""
        return f"{self._bound_text}{_counts_text(self.candidate, self.stable)}"

    @property
    def recent_text(self) -> str:
        """Like ``str``, of the last ``recent_seconds``; "" where nothing was counted."""
        if self.recent_seconds <= 0 or self.recent_candidate.requests <= 0:
            return ""
        return f"{self._bound_text}{_counts_text(self.recent_candidate, self.recent_stable)}"

    @property
    def _bound_text(self) -> str:
        return f"slower than {_seconds(self.slower_than)}: " if self.slower_than is not None else ""

    def to_status(self) -> dict[str, Any]:
        """As users and programs read it in a rollout's status; percent and seconds."""
        raw: dict[str, Any] = {
            "summary": self.not_compared_reason or str(self),
            "candidate": self.candidate.to_status(),
            "stable": self.stable.to_status(),
            "stepRequests": self.step_requests,
            "evidencePercent": self.evidence_percent,
            "nonInferiorPercent": self.non_inferior_percent,
            "contributionPercent": round(100.0 * self.contribution, 1),
        }
        if self.ratio is not None:
            raw["ratio"] = round(self.ratio, 2)
        if (difference := self.difference) is not None:
            raw["difference"] = difference.to_status()
        if self.recent_seconds > 0:
            raw["recent"] = {
                "seconds": self.recent_seconds,
                "candidate": self.recent_candidate.to_status(),
                "stable": self.recent_stable.to_status(),
            }
        if self.needed_requests is not None and self.needed_seconds is not None:
            raw["needed"] = {"requests": self.needed_requests, "seconds": self.needed_seconds}
        if self.slower_than is not None:
            raw["slowerThanSeconds"] = self.slower_than
        if self.limit_percent is not None:
            raw["limitPercent"] = self.limit_percent
        return raw

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value. What has its default is left out."""
        raw: dict[str, Any] = {"candidate": self.candidate.to_list(), "stable": self.stable.to_list()}
        for name, default in _NUMBERS.items():
            value = getattr(self, name)
            if value != default:
                raw[name] = value
        for name in _RECENT_SIDES:
            side: RevisionCounts = getattr(self, name)
            if side != _NO_COUNTS:
                raw[name] = side.to_list()
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ComparisonSummary:
        values = {name: raw.get(name, default) for name, default in _NUMBERS.items()}
        values |= {name: RevisionCounts.from_list(raw[name]) for name in _RECENT_SIDES if name in raw}
        return cls(RevisionCounts.from_list(raw["candidate"]), RevisionCounts.from_list(raw["stable"]), **values)


_NO_COUNTS = RevisionCounts()
_RECENT_SIDES = ("recent_candidate", "recent_stable")
_NUMBERS: Mapping[str, Any] = {
    "step_requests": 0.0,
    "evidence_percent": 0.0,
    "non_inferior_percent": 0.0,
    "contribution": 0.0,
    "seconds": 0.0,
    "slower_than": None,
    "not_compared_reason": "",
    "recent_seconds": 0.0,
    "needed_requests": None,
    "needed_seconds": None,
    "limit_percent": None,
    "confidence": 95.0,
}


def _ratio(candidate: RevisionCounts, stable: RevisionCounts) -> float | None:
    ours, theirs = candidate.percent, stable.percent
    return ours / theirs if ours is not None and theirs else None


def _counts_text(candidate: RevisionCounts, stable: RevisionCounts) -> str:
    ratio = _ratio(candidate, stable)
    times = f", {ratio:.1f}x" if ratio is not None else ""
    return f"canary {candidate}, stable {stable}{times}"


def _seconds(value: float) -> str:
    return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"
