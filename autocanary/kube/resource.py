"""The kinds of objects that autocanary reads or writes, and their paths on the API server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from autocanary.kserve import Dialect
from autocanary.model.rollout_json import API_GROUP

__all__ = ["EVENTS", "KNATIVE_ROUTES", "LEASES", "POLICIES", "ROLLOUTS", "Resource", "inference_services_of"]


@dataclass(frozen=True, slots=True)
class Resource:
    """One namespaced kind. ``group`` is empty for core/v1."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        """As kubectl and RBAC messages write it: ``canaryrollouts.autocanary.dev``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_path(self) -> str:
        """The URL path of its API group's version, under which discovery lists the kinds that are served."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path; no namespace means the collection over all namespaces."""
        path = self.api_path
        if namespace:
            path += f"/namespaces/{quote(namespace, safe='')}"
        path += f"/{self.plural}"
        if name:
            path += f"/{quote(name, safe='')}"
        return f"{path}/{subresource}" if subresource else path


ROLLOUTS = Resource(API_GROUP, "v1alpha1", "canaryrollouts", "CanaryRollout")
POLICIES = Resource(API_GROUP, "v1alpha1", "rolloutpolicies", "RolloutPolicy")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("", "v1", "events", "Event")
KNATIVE_ROUTES = Resource("serving.knative.dev", "v1", "routes", "Route")
"""Only commands read these, with the rights of their user."""


def inference_services_of(dialect: Dialect) -> Resource:
    """The InferenceServices of one API generation."""
    return Resource(dialect.group, dialect.version, dialect.plural, "InferenceService")
