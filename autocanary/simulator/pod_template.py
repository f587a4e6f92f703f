"""What KServe makes a revision of: the pod template, and which edits leave it unchanged.

Measured on KServe 0.20: any annotation or label of the InferenceService that is not exempt ends up in the
template, so writing one starts a new revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.kserve.v1beta1 import WEIGHT

__all__ = ["Template", "template_of"]

Template = tuple[Mapping[str, Any], Mapping[str, str], Mapping[str, str], str]
"""A component's spec, its annotations, its labels and the runtime's image: equal means the same revision."""

_EXEMPT_ANNOTATIONS = frozenset(
    {
        "autoscaling.knative.dev/max-scale",
        "autoscaling.knative.dev/min-scale",
        "internal.serving.kserve.io/storage-initializer-sourceuri",
        "kubectl.kubernetes.io/last-applied-configuration",
        "modelFormat",
        "serving.knative.dev/rollout-duration",
    }
)
_EXEMPT_LABELS = frozenset({"networking.knative.dev/visibility"})
_DEFAULT_PROTOCOL = "v1"


def template_of(document: Mapping[str, Any], spec: Mapping[str, Any], runtime: str) -> Template:
    """The template of one component; ``runtime`` is the image of the ServingRuntime it uses."""
    metadata = document["metadata"]
    return (
        _pod_spec(spec),
        _without(metadata.get("annotations"), _EXEMPT_ANNOTATIONS),
        _without(metadata.get("labels"), _EXEMPT_LABELS),
        runtime if isinstance(spec.get("model"), Mapping) else "",
    )


def _pod_spec(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = {name: value for name, value in spec.items() if name != WEIGHT}
    model = kept.get("model")
    if isinstance(model, Mapping) and model.get("protocolVersion") == _DEFAULT_PROTOCOL:
        kept["model"] = {name: value for name, value in model.items() if name != "protocolVersion"}
    return kept


def _without(names: Mapping[str, str] | None, exempt: frozenset[str]) -> Mapping[str, str]:
    return {name: value for name, value in (names or {}).items() if name not in exempt}
