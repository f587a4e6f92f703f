"""The list of rights."""

from __future__ import annotations

from autocanary.kserve import DIALECTS
from autocanary.kube.rbac import RBAC_RULES, NamespaceScope, rbac_rules


def test_rules_are_what_a_role_holds() -> None:
    """Each right is one rule; the two places together are all."""
    assert rbac_rules() == rbac_rules(NamespaceScope.WATCHED) + rbac_rules(NamespaceScope.HOME)
    assert rbac_rules(NamespaceScope.HOME) == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
    ]


def test_nothing_is_granted_by_a_wildcard() -> None:
    """Least privilege: every group, resource and verb is named, with a reason."""
    for right in RBAC_RULES:
        assert right.reason
        assert "*" not in (right.group, right.resource, *right.verbs)


def test_services_can_be_followed_and_patched_and_no_more() -> None:
    """Never created, replaced or deleted; in every API generation that is spoken."""
    granted = {right.group: right.verbs for right in RBAC_RULES if right.resource == "inferenceservices"}
    assert granted == {dialect.group: ("get", "list", "watch", "patch") for dialect in DIALECTS}


def test_no_secret_can_be_read() -> None:
    """Credentials come as mounted files."""
    assert {right.resource for right in RBAC_RULES}.isdisjoint({"secrets", "configmaps", "pods"})
