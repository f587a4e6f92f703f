"""What a tenant can send to the API server, byte by byte: also what no library would encode."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from tests.real.manifests import Document, analysis, policy_document, service_document
from tests.testbed.servers import ApiServer
from tests.testbed.servers.http import fetch

__all__ = ["Tenant", "nested", "with_raw"]

_GROUPS = {
    "inferenceservices": "/apis/serving.kserve.io/v1beta1",
    "canaryrollouts": "/apis/autocanary.dev/v1alpha1",
    "rolloutpolicies": "/apis/autocanary.dev/v1alpha1",
    "events": "/api/v1",
}
_MARK = "__raw__"


def nested(levels: int, shape: str = '{"a":') -> str:
    """JSON text that is nested so deeply; ``shape`` is what one level begins with."""
    return shape * levels + "1" + ("}" if shape.startswith("{") else "]") * levels


def with_raw(document: Mapping[str, Any], raw: str) -> bytes:
    """The document as JSON, with ``raw`` where it holds the text ``__raw__``."""
    return json.dumps(document).replace(f'"{_MARK}"', raw).encode()


class Tenant:
    """Writes as the admin, because the tests have no tenant's rights to spare; the objects are a tenant's.

    ``statuses`` counts the answers of the API server, by HTTP status.
    """

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self.statuses: dict[int, int] = {}

    def send(self, method: str, path: str, body: bytes, content_type: str = "application/json") -> tuple[int, bytes]:
        """Status and answer of one request; a connection that the server cuts is status 0."""
        headers = {"Authorization": f"Bearer {self._api.token()}", "Content-Type": content_type}
        try:
            status, answer = fetch(
                self._api.url + path, method=method, headers=headers, ca=self._api.ca, body=body, seconds=60
            )
        except (OSError, http.client.HTTPException) as error:  # a hundred warnings are too many headers for it
            status, answer = 0, str(error).encode()
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return status, answer

    def create(self, plural: str, namespace: str, body: bytes) -> tuple[int, bytes]:
        return self.send("POST", self.path(plural, namespace), body)

    def patch(self, plural: str, namespace: str, name: str, change: object, *, subresource: str = "") -> int:
        """A merge patch; the HTTP status."""
        body = change if isinstance(change, bytes) else json.dumps(change).encode()
        path = self.path(plural, namespace, name) + (f"/{subresource}" if subresource else "")
        return self.send("PATCH", path, body, "application/merge-patch+json")[0]

    def delete(self, plural: str, namespace: str, name: str) -> int:
        return self.send("DELETE", self.path(plural, namespace, name), b"{}")[0]

    def read(self, plural: str, namespace: str, name: str = "") -> Document:
        """The object or the list; empty where there is none, or it is too deep for Python."""
        status, answer = self._api.request(self.path(plural, namespace, name), seconds=30)
        try:
            found: Document = json.loads(answer) if status == 200 else {}
        except RecursionError:
            return {}
        return found

    def path(self, plural: str, namespace: str, name: str = "") -> str:
        place = f"{_GROUPS[plural]}/namespaces/{namespace}/{plural}" if namespace else f"{_GROUPS[plural]}/{plural}"
        return f"{place}/{name}" if name else place

    # --- objects -----------------------------------------------------------------------------------------

    def namespace(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.send("POST", "/api/v1/namespaces", json.dumps(body).encode())

    def policy(self, namespace: str, name: str, *, names: list[str], **spec: Any) -> None:
        """A policy for services of these names that stays at 10 % for an hour."""
        defaults: dict[str, Any] = {
            "selector": {"names": names},
            "stepWeights": [10, 100],
            "stepDuration": "1h",
            "progressDeadline": "2h",
            "analysis": {**analysis(warmup="1s"), "interval": "5s"},
        }
        document = policy_document(name, namespace=namespace, **{**defaults, **spec})
        status, answer = self.create("rolloutpolicies", namespace, json.dumps(document).encode())
        assert status in (201, 409), answer

    def service(self, namespace: str, name: str) -> None:
        """The first version."""
        body = json.dumps(service_document(namespace, name, "v1")).encode()
        status, answer = self.create("inferenceservices", namespace, body)
        assert status in (201, 409), answer

    def release(self, namespace: str, name: str) -> None:
        """The second version at 0 %."""
        predictor = {"canaryTrafficPercent": 0, "model": {"storageUri": f"gs://models/{name}/v2"}}
        assert self.patch("inferenceservices", namespace, name, {"spec": {"predictor": predictor}}) == 200
