"""What one look at all the metrics of a candidate amounts to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from autocanary.core.progress import MetricState
from autocanary.core.reason import Reason

__all__ = ["Outcome", "Verdict"]


class Outcome(str, Enum):
    """Only FAIL blames the candidate and only PASS lets it advance; the others wait, each in its own way."""

    FAIL = "fail"
    PASS = "pass"  # noqa: S105 - a verdict, not a password
    INCONCLUSIVE = "inconclusive"
    NO_DATA = "no-data"
    OUTAGE = "outage"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``metrics`` are the new states of all metrics, ``metric`` the one that decided, "" if none did."""

    outcome: Outcome
    reason: Reason
    message: str
    metrics: Mapping[str, MetricState]
    metric: str = ""
