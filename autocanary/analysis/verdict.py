"""What one evaluation of all the metrics of a candidate amounts to, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from autocanary.model.measurement import Measurement
from autocanary.model.progress import MetricState
from autocanary.model.reason import Reason

__all__ = ["AnalysisInput", "Evaluation", "Outcome", "Verdict"]


class Outcome(str, Enum):
    """Only FAIL blames the candidate and only PASS lets it advance; the others wait, each in its own way."""

    FAIL = "fail"
    PASS = "pass"  # noqa: S105 - a verdict, not a password
    SUSPICIOUS = "suspicious"  # seems bad, without enough evidence: nothing advances
    INCONCLUSIVE = "inconclusive"
    NO_DATA = "no-data"
    OUTAGE = "outage"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The circumstances of an evaluation: the present step of how many, and the candidate's share in effect (percent).

    While ``warming`` the counts belong to the split before, and nothing is judged. ``early``: a new sample came before
    the interval was over.
    """

    now: float = 0.0
    step: int = 0
    steps: int = 1
    weight: int = 0
    warming: bool = False
    early: bool = False

    def to_dict(self) -> dict[str, Any]:
        raw = {"now": self.now, "step": self.step, "steps": self.steps, "weight": self.weight}
        return raw | ({"warming": True} if self.warming else {}) | ({"early": True} if self.early else {})

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Evaluation:
        warming, early = raw.get("warming", False), raw.get("early", False)
        return cls(raw["now"], raw["step"], raw["steps"], raw["weight"], warming, early)


@dataclass(frozen=True, slots=True)
class AnalysisInput:
    """All that a verdict is made from, besides the policy: the same basis gives the same verdict.

    ``states``, ``evidence`` and ``failed_requests`` are what was known before the evaluation. ``retried``: the same
    revision was rolled out before, so what it had failed then does not count.
    """

    evaluation: Evaluation
    measurements: Mapping[str, Measurement]
    states: Mapping[str, MetricState] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    failed_requests: Mapping[str, Any] = field(default_factory=dict)
    retried: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        raw: dict[str, Any] = {
            "evaluation": self.evaluation.to_dict(),
            "measurements": {name: measurement.to_dict() for name, measurement in self.measurements.items()},
        }
        if self.states:
            raw["states"] = {name: state.to_dict() for name, state in self.states.items()}
        if self.evidence:
            raw["evidence"] = dict(self.evidence)
        if self.failed_requests:
            raw["failedRequests"] = dict(self.failed_requests)
        if self.retried:
            raw["retried"] = True
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> AnalysisInput:
        """Also of a record of a development version, which names two keys otherwise."""
        measurements = raw["measurements"] if "measurements" in raw else raw["readings"]
        return cls(
            evaluation=Evaluation.from_dict(raw["evaluation"] if "evaluation" in raw else raw["look"]),
            measurements={name: Measurement.from_dict(each) for name, each in measurements.items()},
            states={name: MetricState.from_dict(each) for name, each in raw.get("states", {}).items()},
            evidence=raw.get("evidence", {}),
            failed_requests=raw.get("failedRequests", {}),
            retried=raw.get("retried", False),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """``metrics`` are the new states of all metrics, ``metric`` the one that decided, "" if none did.

    ``evidence`` is what comparisons go on from after this evaluation, None where nothing is compared, and
    ``failed_requests`` what the budget does, None where there is none.
    """

    outcome: Outcome
    reason: Reason
    message: str
    metrics: Mapping[str, MetricState]
    metric: str = ""
    evidence: Mapping[str, Any] | None = None
    analysis_input: AnalysisInput | None = None
    failed_requests: Mapping[str, Any] | None = None
