"""Policies that compare, for the controller's tests: errors and latency against stable's, at the pace of the evidence."""

from __future__ import annotations

from typing import Any

from autocanary.model.policy import OnInconclusive, Policy, Step
from tests.controller.driver import policy
from tests.decide.comparison_builders import ERRORS, LATENCY

__all__ = ["ERRORS", "LATENCY", "comparison_policy"]


def comparison_policy(**changes: Any) -> Policy:
    """10, 50, 100 %, each at least two minutes and as long as the evidence takes."""
    defaults: dict[str, Any] = {
        "steps": (Step(10, 120.0), Step(50, 120.0), Step(100, 120.0)),
        "metrics": (ERRORS, LATENCY),
        "warmup": 30.0,
        "window": 60.0,
        "min_requests": 50.0,
        "bake": 120.0,
        "progress_deadline": 1800.0,
        "on_inconclusive": OnInconclusive.HOLD,
    }
    return policy(**{**defaults, **changes})
