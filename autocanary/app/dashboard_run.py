"""The dashboard: the page on this machine alone, with the kubeconfig's identity, over caches of its own."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence

from autocanary.app.page_access import KubeconfigAccess
from autocanary.app.page_data import ClusterPageSource
from autocanary.app.user_client import NeverLeader
from autocanary.errors import ClusterError
from autocanary.http_server.server import Server
from autocanary.kube.api_client import ApiClient
from autocanary.kube.inference_services import KubeCluster
from autocanary.kube.kubeconfig import find_credentials
from autocanary.kube.list_watch import is_forbidden
from autocanary.kube.resource import ROLLOUTS
from autocanary.kube.rollout_policies import KubePolicies
from autocanary.kube.rollout_store import KubeRolloutStore
from autocanary.page import PageOptions, WebPage
from autocanary.policy_files import ActivePolicies
from autocanary.settings import ClusterAccess

__all__ = ["Dashboard"]

_LOOPBACK = "127.0.0.1"
_FIRST_LIST_SECONDS = 10.0
_MAX_CONNECTIONS = 64


class Dashboard:
    """Served from its making until ``close``; ``address`` holds the token. ``namespace`` "": all; None: all that the
    identity may list, else the context's own. ClusterError when the rollouts cannot be read at all.
    """

    def __init__(self, access: ClusterAccess, namespace: str | None, port: int) -> None:
        self._client = ApiClient(find_credentials(access.kubeconfig, access.context))
        self._namespaces = self._find_namespaces(namespace)
        leadership = NeverLeader()
        self._store = KubeRolloutStore(self._client, leadership, namespaces=self._namespaces)
        self._cluster = KubeCluster(self._client, leadership, namespaces=self._namespaces)
        self._policies = ActivePolicies()
        self._policy_objects = KubePolicies(self._client, leadership, self._on_policy, namespaces=self._namespaces)
        self._access = KubeconfigAccess(self._client)
        source = ClusterPageSource(self._store, self._cluster, self._policies, missing=self._missing)
        self._token = secrets.token_urlsafe(24)
        self._page = WebPage(source, self._access, PageOptions(token=self._token))
        self._server = Server(_LOOPBACK, port, self._page.application, flag="--port PORT", connections=_MAX_CONNECTIONS)

        try:
            self.address = self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> str:
        self._client.list_page(ROLLOUTS, self._namespaces[0] if self._namespaces else "", limit=1)
        for part in (self._store, self._cluster, self._policy_objects):
            part.start()
        self._store.wait(_FIRST_LIST_SECONDS)
        self._cluster.wait(_FIRST_LIST_SECONDS / 5)
        self._server.start()
        port = self._server.port
        self._page.application.allow_hosts([f"{name}:{port}" for name in (_LOOPBACK, "localhost")])
        return f"http://{_LOOPBACK}:{port}/{self._token}/"

    @property
    def scope(self) -> str:
        """What is shown, in words."""
        if not self._namespaces:
            return "all namespaces"
        return f"namespace {self._namespaces[0]}"

    def close(self) -> None:
        self._page.close()
        self._server.stop()
        self._access.close()
        stops: Sequence[Callable[[], None]] = (self._store.stop, self._cluster.stop, self._policy_objects.stop)
        threads = [threading.Thread(target=stop, daemon=True) for stop in stops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2.0)
        self._client.close()

    def _find_namespaces(self, namespace: str | None) -> tuple[str, ...]:
        if namespace is not None:
            return (namespace,) if namespace else ()
        try:
            self._client.list_page(ROLLOUTS, "", limit=1)
        except ClusterError as error:
            if not is_forbidden(error):
                raise
            return (self._client.namespace or "default",)
        return ()

    def _on_policy(self, namespace: str, name: str, document: object) -> None:
        if document is None:
            self._policies.delete(namespace, name)
        elif isinstance(document, dict):
            self._policies.apply(document)

    def _missing(self) -> list[str]:
        found = []
        for kind, part in (
            ("rollouts", self._store),
            ("services", self._cluster),
            ("policies", self._policy_objects),
        ):
            fault = part.fault
            if fault is not None:
                found.append(f"The {kind} shown may be old or incomplete: {fault}")
        return found
