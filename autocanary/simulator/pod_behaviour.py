"""How the pods of a revision behave: when they become ready, how they fail, when they crash and recover."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "CRASHES",
    "HEALTHY",
    "NEVER_READY",
    "UNSCHEDULABLE",
    "Behaviour",
    "BehaviourOf",
    "behaviour_from_uri",
    "by_uri",
    "ready_after_seconds",
    "storage_uri",
]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """All times in seconds.

    ``ready_after`` counts from the creation of the pods; None: they never become ready. ``fails_after`` is
    when Knative notices that they cannot become ready; None: only at its progress deadline, which is what
    happens to a container that runs but is never ready. ``crashes_after`` counts from readiness: then all
    pods crash, and recover ``recovers_after`` later (None: never). ``model_state`` is what KServe's
    modelStatus says meanwhile ("Pending", "FailedToLoad"; "" leaves it alone).
    """

    ready_after: float | None = 1.0
    fails_after: float | None = None
    failure: str = ""
    model_state: str = "Pending"
    crashes_after: float | None = None
    recovers_after: float | None = None


HEALTHY = Behaviour()
NEVER_READY = Behaviour(ready_after=None)
CRASHES = Behaviour(
    ready_after=None,
    fails_after=0.3,
    failure="Container failed with: model failed to load.",
    model_state="FailedToLoad",
)
UNSCHEDULABLE = Behaviour(
    ready_after=None,
    fails_after=2.0,
    failure="0/1 nodes are available: insufficient nvidia.com/gpu.",
    model_state="",
)
_INIT_FAILS = Behaviour(ready_after=None, failure=".", model_state="FailedToLoad")

BehaviourOf = Callable[[Mapping[str, Any]], Behaviour]
"""The behaviour of the revision made from a component's spec."""


def ready_after_seconds(seconds: float) -> Behaviour:
    """Healthy, with a start-up time."""
    return Behaviour(ready_after=seconds)


def storage_uri(spec: Mapping[str, Any]) -> str:
    """Where a component's model lies; the image of its first container for components without a model."""
    model = spec.get("model")
    if isinstance(model, Mapping) and model.get("storageUri"):
        return str(model["storageUri"])
    if spec.get("storageUri"):
        return str(spec["storageUri"])
    for framework in spec.values():  # KFServing: tensorflow, sklearn, pytorch …
        if isinstance(framework, Mapping) and framework.get("storageUri"):
            return str(framework["storageUri"])
    containers: Sequence[Mapping[str, Any]] = spec.get("containers") or ({},)
    return str(containers[0].get("image", ""))


def by_uri(behaviours: Mapping[str, Behaviour], otherwise: Behaviour = HEALTHY) -> BehaviourOf:
    """Finds the behaviour by the model's place; the mapping may grow while the world runs."""
    return lambda spec: behaviours.get(storage_uri(spec), otherwise)


_BEHAVIOUR_WORDS = (
    ("crash", CRASHES),
    ("initfail", _INIT_FAILS),
    ("initloop", _INIT_FAILS),
    ("never", NEVER_READY),
    ("pending", UNSCHEDULABLE),
    ("registry.invalid", Behaviour(None, 0.1, "Unable to fetch image.", "FailedToLoad")),
)


def behaviour_from_uri(spec: Mapping[str, Any]) -> Behaviour:
    """Reads the behaviour from the name of model and images: ``v3-slow8`` starts in 8 s, ``crash2`` crashes.

    For tests over a real API server, where no test can reach into the world.
    """
    model = spec.get("model")
    containers = [model, *(spec.get("containers") or ())]
    images = [str(each.get("image", "")) for each in containers if isinstance(each, Mapping)]
    uri = " ".join([storage_uri(spec), *images])
    slow = re.search(r"-slow(\d+)", uri)
    if slow:
        return ready_after_seconds(float(slow.group(1)))
    return next((behaviour for word, behaviour in _BEHAVIOUR_WORDS if word in uri), HEALTHY)
