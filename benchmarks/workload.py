"""What both benchmarks roll out: many services with one policy each attempt, which holds 10 % for hours."""

from __future__ import annotations

from typing import Any

from benchmarks.answering import CUSTOM_QUERIES

__all__ = ["METRICS", "NAMESPACE", "WEIGHT", "candidate", "policy_document", "service"]

NAMESPACE = "bench"
WEIGHT = 10

_SUCCESS = {"name": "request-success-rate", "thresholdRange": {"min": 99}}
_DURATION = {"name": "request-duration", "quantile": 0.99, "thresholdRange": {"max": "500ms"}}

METRICS: dict[str, list[dict[str, Any]]] = {
    "presets": [
        _SUCCESS,
        _DURATION,
        {"name": "error-rate", "thresholdRange": {"max": "1%"}},
        {"name": "request-count", "thresholdRange": {"min": 100}},
    ],
    "mixed": [
        _SUCCESS,
        _DURATION,
        *({"name": name, "thresholdRange": {"max": 0.01}, "query": query} for name, query in CUSTOM_QUERIES.items()),
    ],
}
"""Four metrics each: presets alone, or two presets and two queries of the user's own, as for the peers."""


def policy_document(metrics: str, interval: float) -> dict[str, Any]:
    return {
        "apiVersion": "autocanary.dev/v1alpha1",
        "kind": "RolloutPolicy",
        "metadata": {"name": "bench"},
        "spec": {
            "selector": {},
            "stepWeights": [WEIGHT, 100],
            "stepDuration": "10h",
            "progressDeadline": "20h",
            "analysis": {
                "interval": f"{interval:g}s",
                "warmup": "0s",
                "window": "1m",
                "minRequests": 50,
                "metrics": METRICS[metrics],
            },
        },
    }


def service(number: int) -> str:
    return f"model-{number:05d}"


def candidate(number: int) -> str:
    """The revision that is rolled out: each service's second."""
    return f"{service(number)}-predictor-00002"
