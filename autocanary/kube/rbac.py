"""Every right that autocanary needs on the API server, each with its reason; the one list of them.

The chart's roles, the tests' identity and the documentation are made from it, and a test on a real API
server checks that nothing more is used and nothing less is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from autocanary.kserve import DIALECTS

__all__ = ["RIGHTS", "Right", "Where", "rules"]


class Where(str, Enum):
    """In which namespaces a right is needed."""

    WATCHED = "watched"  # all, or those named: a ClusterRole, or a Role in each
    HOME = "home"  # only the service's own


@dataclass(frozen=True, slots=True)
class Right:
    """``verbs`` on one resource of one API group ("" is core)."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    where: Where
    why: str


_OURS = "autocanary.dev"
_FOLLOW = ("get", "list", "watch")

RIGHTS: tuple[Right, ...] = (
    *(
        Right(
            group,
            plural,
            (*_FOLLOW, "patch"),
            Where.WATCHED,
            "follow the services; write canaryTrafficPercent, or a spec that was recorded or judged",
        )
        for group, plural in dict.fromkeys((each.group, each.plural) for each in DIALECTS)
    ),
    Right(
        _OURS,
        "canaryrollouts",
        (*_FOLLOW, "create", "delete"),
        Where.WATCHED,
        "one object per attempt; the oldest of the history are deleted",
    ),
    Right(_OURS, "canaryrollouts/status", ("update",), Where.WATCHED, "record how far an attempt has come"),
    Right(_OURS, "rolloutpolicies", ("list", "watch"), Where.WATCHED, "read the policies"),
    Right(
        _OURS, "rolloutpolicies/status", ("patch",), Where.WATCHED, "tell authors whether a policy is valid"
    ),
    Right("", "events", ("create",), Where.WATCHED, "tell transitions where `kubectl describe` shows them"),
    Right(
        "coordination.k8s.io",
        "leases",
        ("get", "create", "update"),
        Where.HOME,
        "one of several replicas leads",
    ),
)


def rules(where: Where | None = None) -> list[dict[str, Any]]:
    """RBAC rules, as a Role or ClusterRole holds them; of one place, or all."""
    return [
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": list(right.verbs)}
        for right in RIGHTS
        if where is None or right.where is where
    ]
