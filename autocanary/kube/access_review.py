"""Who a user is and what the user may do, as the API server says it; and a client that acts with a user's own token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kubernetes.client import Configuration

from autocanary.errors import Forbidden, NotFound
from autocanary.kube.api_client import ApiClient
from autocanary.kube.kubeconfig import ClusterCredentials
from autocanary.kube.resource import Resource

__all__ = ["credentials_with_token", "own_identity", "own_right", "right_of_user"]

_SELF_REVIEWS = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")
_OWN_RIGHTS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
_RIGHTS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview")
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{1,16000}=*")
"""RFC 6750, section 2.1."""


def own_identity(client: ApiClient) -> tuple[str, tuple[str, ...]]:
    """The user and groups that the API server takes this client's login for; ("", ()) before Kubernetes 1.28."""
    try:
        answer = client.create(_SELF_REVIEWS, "", _review(_SELF_REVIEWS, {}))
    except NotFound:
        return "", ()
    info = (answer.get("status") or {}).get("userInfo") or {}
    return str(info.get("username") or ""), tuple(str(each) for each in info.get("groups") or ())


def own_right(client: ApiClient, verb: str, resource: Resource, namespace: str) -> bool:
    """Whether this client's user may do it; ``namespace`` empty: in every namespace."""
    spec = {"resourceAttributes": _attributes(verb, resource, namespace)}
    return _is_allowed(client.create(_OWN_RIGHTS, "", _review(_OWN_RIGHTS, spec)))


def right_of_user(
    client: ApiClient, user: str, groups: Sequence[str], verb: str, resource: Resource, namespace: str
) -> bool:
    """The same of another user; takes the right to create subjectaccessreviews."""
    spec = {"user": user, "groups": list(groups), "resourceAttributes": _attributes(verb, resource, namespace)}
    return _is_allowed(client.create(_RIGHTS, "", _review(_RIGHTS, spec)))


def credentials_with_token(cluster: ClusterCredentials, token: str) -> ClusterCredentials:
    """The same API server with this bearer token and nothing else of the login; Forbidden for what is no token."""
    if not _TOKEN.fullmatch(token):
        raise Forbidden("the Authorization header holds no bearer token", status=401)

    def load() -> Configuration:
        configuration = cluster.load()
        configuration.cert_file = configuration.key_file = None
        configuration.username = configuration.password = None
        configuration.refresh_api_key_hook = None
        configuration.api_key_prefix = {}
        configuration.api_key = {"BearerToken": f"Bearer {token}"}
        return configuration

    return replace(cluster, source="the visitor's bearer token", load=load, headers=())


def _attributes(verb: str, resource: Resource, namespace: str) -> dict[str, str]:
    return {"verb": verb, "group": resource.group, "resource": resource.plural, "namespace": namespace}


def _review(resource: Resource, spec: dict[str, Any]) -> dict[str, Any]:
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": ""}}
    return {**body, "spec": spec} if spec else body


def _is_allowed(answer: dict[str, Any]) -> bool:
    return (answer.get("status") or {}).get("allowed") is True
