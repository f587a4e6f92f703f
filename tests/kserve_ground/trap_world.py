"""The ground of the real controllers: what happens within the cluster, done to real objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.kserve_ground.installation import KServeInstallation
from tests.traps.real_world import ApiServerTrapWorld, SharedInstallation
from tests.traps.world import SERVICE

__all__ = ["REFUSALS", "KServeTrapWorld"]

_NO_REVISIONS = "autocanary-tests/no-revisions"
_NO_STATUS = "autocanary-tests/no-status"


def _refusal(name: str, label: str, group: str, version: str, resource: str, operation: str) -> list[dict[str, Any]]:
    """An admission policy that refuses something in the namespaces with a label."""
    group_version = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [group], "apiVersions": [version], "operations": [operation], "resources": [resource]}
    namespaces = {"matchLabels": {label: "true"}}
    return [
        {
            "apiVersion": group_version,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": "false", "message": "quota exceeded"}],
            },
        },
        {
            "apiVersion": group_version,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": namespaces},
            },
        },
    ]


REFUSALS = [
    *_refusal("no-revisions", _NO_REVISIONS, "serving.knative.dev", "v1", "revisions", "CREATE"),
    *_refusal("no-status", _NO_STATUS, "serving.kserve.io", "v1beta1", "inferenceservices/status", "UPDATE"),
]
"""Applied once, before any trap: a policy takes effect seconds after it is made, a label at once."""


class KServeTrapWorld(ApiServerTrapWorld):
    kind = "kserve"

    def __init__(self, shared: SharedInstallation, namespace: str) -> None:
        assert isinstance(shared.installation, KServeInstallation)
        self._cluster = shared.installation.cluster
        super().__init__(shared, namespace)

    def crash(self, number: int) -> None:
        """See `TrapWorld.crash`."""
        self._cluster.nodes.crash(self.namespace, self.revision(number))

    def unready(self, number: int) -> None:
        """See `TrapWorld.unready`."""
        self._cluster.nodes.unready(self.namespace, self.revision(number))

    def recover(self, number: int) -> None:
        """See `TrapWorld.recover`."""
        self._cluster.nodes.recover(self.namespace, self.revision(number))

    def delete_revision(self, number: int) -> None:
        """See `TrapWorld.delete_revision`."""
        self._kubectl("delete", "revisions.serving.knative.dev", self.revision(number), "--wait=false")

    def refuse_revisions(self, refused: bool = True) -> None:
        """See `TrapWorld.refuse_revisions`."""
        self._label(_NO_REVISIONS, refused)

    def hold_ingress(self, held: bool = True) -> None:
        """See `TrapWorld.hold_ingress`."""
        self._cluster.ingress.hold(self.namespace, held)

    def freeze(self, frozen: bool = True) -> None:
        """KServe's writes of the status are refused; it tries them again and again."""
        self._label(_NO_STATUS, frozen)

    def delete_knative_service(self) -> None:
        """See `TrapWorld.delete_knative_service`."""
        self._kubectl("delete", "services.serving.knative.dev", f"{SERVICE}-predictor", "--wait=false")

    def edit_knative_traffic(self, percent: int, number: int) -> None:
        """See `TrapWorld.edit_knative_traffic`."""
        traffic = [
            {"latestRevision": True, "percent": 100 - percent},
            {"revisionName": self.revision(number), "percent": percent, "tag": "prev"},
        ]
        patch = json.dumps({"spec": {"traffic": traffic}})
        service = f"services.serving.knative.dev/{SERVICE}-predictor"
        self._kubectl("patch", service, "--type=merge", "--patch", patch)

    def lose_rolled_out(self) -> None:
        """See `TrapWorld.lose_rolled_out`."""
        components: Mapping[str, Any] = {"predictor": {"latestRolledoutRevision": None}}
        patch = json.dumps({"status": {"components": components}})
        service = f"inferenceservices/{SERVICE}"
        self._kubectl("patch", service, "--type=merge", "--subresource=status", "--patch", patch)

    def _label(self, label: str, there: bool) -> None:
        change = f"{label}=true" if there else f"{label}-"
        self._api.kubectl("label", "--overwrite", "namespace", self.namespace, change)

    def _kubectl(self, *arguments: str) -> None:
        self._api.kubectl("-n", self.namespace, *arguments)
