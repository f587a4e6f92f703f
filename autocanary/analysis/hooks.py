"""The policy's `rollout` webhooks, judged like metrics: a repeated no counts as a failure."""

from __future__ import annotations

from autocanary.model.measurement import Unit
from autocanary.model.policy import Metric, Range

__all__ = ["HOOK", "HOOK_FAILURE_LIMIT", "hook_metric"]

HOOK = "webhook/"
"""How the names of these metrics begin."""

HOOK_FAILURE_LIMIT = 3
"""A webhook says no this many times in a row before it counts as a failure of the candidate."""


def hook_metric(name: str) -> Metric:
    """``name`` with ``HOOK`` before it; its value is 1 for a yes and 0 for a no."""
    return Metric(
        name, Range(min=1), Unit.NUMBER, failure_limit=HOOK_FAILURE_LIMIT, consecutive=True, min_requests=0
    )
