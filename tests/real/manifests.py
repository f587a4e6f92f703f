"""A policy and a service as their owners write them, for the tests of whole rollouts: seconds, not hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Document", "analysis", "policy_document", "service_document"]

Document = dict[str, Any]

_SUCCESS: Document = {
    "name": "request-success-rate",
    "thresholdRange": {"min": 99},
    "failureLimit": 2,
}
_DURATION: Document = {
    "name": "request-duration",
    "quantile": 0.99,
    "thresholdRange": {"max": "500ms"},
    "failureLimit": 2,
}


def analysis(*, warmup: str = "2s", metrics: Sequence[Mapping[str, Any]] = (_SUCCESS,)) -> Document:
    """An evaluation a second over what five seconds brought."""
    return {
        "interval": "1s",
        "warmup": warmup,
        "window": "5s",
        "minRequests": 5,
        "source": "knative",
        "metrics": [dict(metric) for metric in metrics],
    }


def policy_document(name: str, *, namespace: str = "", **spec: Any) -> Document:
    """A policy whose whole rollout takes some twenty seconds; ``spec`` replaces parts of it."""
    metadata: Document = {"name": name} | ({"namespace": namespace} if namespace else {})
    defaults: Document = {
        "selector": {},
        "stepWeights": [10, 25, 50, 100],
        "stepDuration": "4s",
        "bake": "4s",
        "progressDeadline": "3m",
        "analysis": analysis(metrics=(_SUCCESS, _DURATION)),
    }
    return {
        "apiVersion": "autocanary.dev/v1alpha1",
        "kind": "RolloutPolicy",
        "metadata": metadata,
        "spec": {**defaults, **spec},
    }


def service_document(namespace: str, name: str, version: str, weight: int | None = None, **metadata: Any) -> Document:
    """An InferenceService with this model; ``weight`` None leaves the field out."""
    predictor: Document = {
        "minReplicas": 1,
        "model": {"modelFormat": {"name": "sklearn"}, "storageUri": f"gs://models/{name}/{version}"},
    }
    if weight is not None:
        predictor["canaryTrafficPercent"] = weight
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"predictor": predictor},
    }
