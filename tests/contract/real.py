"""A place on a real API server: the shipped adapters, under the rights that the chart gives the service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from autocanary.kube.api_client import ApiClient
from autocanary.kube.crds import definitions
from autocanary.kube.inference_services import KubeCluster
from autocanary.kube.kubeconfig import find_credentials
from autocanary.kube.rbac import rbac_rules as rights
from autocanary.kube.rollout_store import KubeRolloutStore
from autocanary.simulator.kserve_controller import KServeController
from tests.contract.backend import LAG, Backend, behaviour_of
from tests.contract.service_specs import FORMS, KSERVE
from tests.testbed.kserve_controller import (
    KFServingControllerRunner,
    KServeControllerRunner,
    KubeflowController,
)
from tests.testbed.servers import (
    ApiServer,
    install_inferenceservice_crd,
    install_kfserving_crd,
    install_kubeflow_crd,
)
from tests.testbed.servers.crds import wait_served

__all__ = ["ApiServerSite", "RealBackend"]

_SERVICE = "system:serviceaccount:autocanary:autocanary"
_KUBECTL = "kubectl-client-side-apply"
_SERVICES = "/apis/{version}/namespaces/{namespace}/inferenceservices"
_ROLLOUTS = "/apis/autocanary.dev/v1alpha1/namespaces/{namespace}/canaryrollouts"


class _Leader:
    """The only instance."""

    def is_leader(self) -> bool:
        return True


class ApiServerSite:
    """The API server with KServe's rules behind it: one for many places."""

    def __init__(self, folder: Path, crd: Literal["minimal", "full", "kubeflow", "kfserving"]) -> None:
        self._folder, self._crd = folder, crd
        self.manifest_format = FORMS.get(crd, KSERVE)
        self._stack = ExitStack()

    def __enter__(self) -> ApiServerSite:
        with self._stack as stack:
            self.api = stack.enter_context(ApiServer(users=[_SERVICE], folder=self._folder))
            rules: Any = KServeControllerRunner
            if self._crd == "kfserving":
                install_kfserving_crd(self.api)
                rules = KFServingControllerRunner
            elif self._crd == "kubeflow":
                install_kubeflow_crd(self.api)
                rules = KubeflowController
            else:
                install_inferenceservice_crd(self.api, self._crd)
            self.api.apply(*definitions())
            for name in ("canaryrollouts", "rolloutpolicies"):
                wait_served(self.api, "autocanary.dev", "v1alpha1", name)
            self.api.grant(_SERVICE, rights())
            self.kserve: KServeControllerRunner = stack.enter_context(
                rules(self.api.kubeconfig(), behaviour_of=behaviour_of, lag=LAG)
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(None, None, None)


class RealBackend(Backend):
    """Opened as a context manager; its watches end with it."""

    def __init__(self, site: ApiServerSite, namespace: str) -> None:
        self.namespace = namespace
        self.manifest_format = site.manifest_format
        self._site = site
        self._api = site.api
        self._stack = ExitStack()

    def __enter__(self) -> RealBackend:
        self._send("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        with self._stack as stack:
            client = self._client(stack, _SERVICE)
            cluster = KubeCluster(client, _Leader(), namespaces=[self.namespace])
            store = KubeRolloutStore(client, _Leader(), namespaces=[self.namespace])
            for port in (cluster, store):
                port.start()
                stack.callback(port.stop)
            assert cluster.wait(10)
            assert store.wait(10)
            self.cluster, self.store = cluster, store
            self.user_store = KubeRolloutStore(self._client(stack, "admin"), _Leader(), namespaces=[self.namespace])
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(None, None, None)

    def _client(self, stack: ExitStack, user: str) -> ApiClient:
        client = ApiClient(find_credentials(str(self._api.kubeconfig(user))))
        stack.callback(client.close)
        return client

    def apply(self, document: Mapping[str, Any]) -> None:
        # What kubectl sends, without kubectl: starting it takes longer than all the rest.
        path = self._services
        name = document["metadata"]["name"]
        if self._send("POST", path, document, _KUBECTL) == 409:
            assert self._send("PATCH", f"{path}/{name}", document, _KUBECTL) == 200

    def edit(self, name: str, spec: Mapping[str, Any], manager: str) -> None:
        assert self._send("PATCH", f"{self._services}/{name}", {"spec": spec}, manager) == 200

    def document(self, name: str) -> Mapping[str, Any] | None:
        status, body = self._api.request(f"{self._services}/{name}")
        found: dict[str, Any] = json.loads(body)
        return found if status == 200 else None

    @property
    def _services(self) -> str:
        return _SERVICES.format(version=self.manifest_format.api_version, namespace=self.namespace)

    def delete(self, name: str) -> None:
        assert self._send("DELETE", f"{self._services}/{name}", {}) == 200

    def delete_rollout(self, name: str) -> None:
        assert self._send("DELETE", f"{_ROLLOUTS.format(namespace=self.namespace)}/{name}", {}) == 200

    def _send(self, method: str, path: str, body: Mapping[str, Any], manager: str = _KUBECTL) -> int:
        kind = "merge-patch+json" if method == "PATCH" else "json"
        status, answer = self._api.request(
            f"{path}?fieldManager={manager}" if method != "DELETE" else path,
            method=method,
            body=body,
            content_type=f"application/{kind}",
        )
        assert status < 300 or status == 409, answer
        return status

    def refuse_revisions(self, name: str, reason: str) -> None:
        def act(rules: KServeController) -> None:
            for child in rules.children((self.namespace, name)).values():
                child.refusal = reason
                if not reason:
                    child.reconcile_soon()

        self._site.kserve.do(act)

    def eventually(self, true: Callable[[], bool], seconds: float = 20.0) -> bool:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def rest(self, seconds: float) -> None:
        time.sleep(seconds)

    def traffic_served(self, name: str = "mnist") -> Mapping[str, int]:
        shares = self._site.kserve.split()[self.namespace, name]
        return {revision: share for revision, share in shares.items() if share}
