"""Every right that autocanary needs on the API server, each with its reason; the one list of them.

The chart's roles, the tests' identity and the documentation are made from it, and a test on a real API
server checks that nothing more is used and nothing less is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from autocanary.kserve import DIALECTS
from autocanary.model.rollout_json import API_GROUP

__all__ = ["FORWARDED_USER_RULES", "RBAC_RULES", "NamespaceScope", "RbacRule", "rbac_rules"]


class NamespaceScope(str, Enum):
    """In which namespaces a right is needed."""

    WATCHED = "watched"  # all, or those named: a ClusterRole, or a Role in each
    HOME = "home"  # only the service's own
    CLUSTER = "cluster"  # no namespace: a ClusterRole


@dataclass(frozen=True, slots=True)
class RbacRule:
    """``verbs`` on one resource of one API group ("" is core)."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    scope: NamespaceScope
    reason: str


_LIST_AND_WATCH = ("get", "list", "watch")

RBAC_RULES: tuple[RbacRule, ...] = (
    *(
        RbacRule(
            group,
            plural,
            (*_LIST_AND_WATCH, "patch"),
            NamespaceScope.WATCHED,
            "follow the services; write canaryTrafficPercent, or a spec that was recorded or analysed",
        )
        for group, plural in dict.fromkeys((each.group, each.plural) for each in DIALECTS)
    ),
    RbacRule(
        API_GROUP,
        "canaryrollouts",
        (*_LIST_AND_WATCH, "create", "delete"),
        NamespaceScope.WATCHED,
        "one object per attempt; the oldest of the history are deleted",
    ),
    RbacRule(
        API_GROUP,
        "canaryrollouts/status",
        ("update",),
        NamespaceScope.WATCHED,
        "record how far an attempt has come",
    ),
    RbacRule(API_GROUP, "rolloutpolicies", ("list", "watch"), NamespaceScope.WATCHED, "read the policies"),
    RbacRule(
        API_GROUP,
        "rolloutpolicies/status",
        ("patch",),
        NamespaceScope.WATCHED,
        "report to authors whether a policy is valid",
    ),
    RbacRule(
        "",
        "events",
        ("create",),
        NamespaceScope.WATCHED,
        "show transitions where `kubectl describe` shows them",
    ),
    RbacRule(
        "coordination.k8s.io",
        "leases",
        ("get", "create", "update"),
        NamespaceScope.HOME,
        "one of several replicas leads",
    ),
)


FORWARDED_USER_RULES: tuple[RbacRule, ...] = (
    RbacRule(
        "authorization.k8s.io",
        "subjectaccessreviews",
        ("create",),
        NamespaceScope.CLUSTER,
        "ask for the rights of the user that a proxy names",
    ),
    RbacRule(
        API_GROUP,
        "canaryrollouts",
        ("patch",),
        NamespaceScope.WATCHED,
        "write what that user requests on the page",
    ),
)
"""Needed only where a proxy names the users of the page in a header; with their own tokens nothing more is."""


def rbac_rules(scope: NamespaceScope | None = None) -> list[dict[str, Any]]:
    """RBAC rules, as a Role or ClusterRole holds them; of one place, or all."""
    return [
        {"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)}
        for rule in RBAC_RULES
        if scope is None or rule.scope is scope
    ]
