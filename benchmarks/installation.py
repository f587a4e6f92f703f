"""Real servers with ``autocanary run`` beside them: what ``fleet`` measures, started and cleaned up here."""

from __future__ import annotations

import http.client
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from autocanary.kserve import DIALECTS
from autocanary.kube.api_client import ApiClient
from autocanary.kube.crds import definitions
from autocanary.kube.kubeconfig import find_credentials
from autocanary.kube.rbac import rbac_rules
from autocanary.kube.resource import ROLLOUTS, Resource, inference_services_of
from benchmarks.standin import PrometheusStandIn
from benchmarks.workload import NAMESPACE, policy_document, service
from tests.testbed.kserve_controller import KServeControllerRunner
from tests.testbed.servers import ApiServer, ServerError, free_port, install_inferenceservice_crd, wait_until
from tests.testbed.servers.http import fetch
from tests.testbed.servers.process import ServerProcess

__all__ = ["ACCOUNT", "Installation"]

ACCOUNT = "system:serviceaccount:autocanary:autocanary"
_SERVICES = inference_services_of(DIALECTS[0])
_LEAVE_SECONDS = 15.0

Document = dict[str, Any]


class Installation:
    """kube-apiserver, etcd, KServe's rules over them and the Prometheus stand-in, in a folder of its own."""

    def __init__(self, folder: Path, *, latency: float, scrape: float = 1.0, profile: Path | None = None) -> None:
        self.folder = folder
        self._latency, self._scrape, self._profile = latency, scrape, profile
        self._stack = ExitStack()
        self._service: Autocanary | None = None

    def __enter__(self) -> Installation:
        try:
            self._enter()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _enter(self) -> None:
        enter = self._stack.enter_context
        self.api = enter(ApiServer(users=[ACCOUNT], folder=self.folder / "api"))
        install_inferenceservice_crd(self.api, "minimal")
        self.api.apply(*definitions(), _namespace("autocanary"), _namespace(NAMESPACE))
        for name in ("canaryrollouts", "rolloutpolicies"):
            self.api.kubectl("wait", "--for=condition=Established", f"crd/{name}.autocanary.dev", "--timeout=30s")
        self.api.apply(*_rights())
        self._client = ApiClient(find_credentials(str(self.api.kubeconfig())), timeout=(5.0, 30.0))
        self._stack.callback(self._client.close)
        self._workers = enter(ThreadPoolExecutor(8))
        enter(KServeControllerRunner(self.api.kubeconfig()))
        self.prometheus = enter(PrometheusStandIn(self._latency, self._scrape))

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    # --- the services ------------------------------------------------------------------------------------

    def deploy(self, count: int, seconds: float) -> None:
        """So many services, each with one revision that has all the traffic, and a second one staged at 0."""

        def first(number: int) -> None:
            self._client.create(_SERVICES, NAMESPACE, _manifest(number))

        def second(number: int) -> None:
            model = {"storageUri": f"gs://models/{service(number)}/v2"}
            change = {"spec": {"predictor": {"model": model, "canaryTrafficPercent": 0}}}
            self._client.patch(_SERVICES, NAMESPACE, service(number), change, manager="owner")

        self._all(first, count)
        self._await(_is_served, count, seconds, "served by their first revision")
        self._all(second, count)
        self._await(_is_staged, count, seconds, "staged")

    def _all(self, action: Callable[[int], None], count: int) -> None:
        for _ in self._workers.map(action, range(count)):
            pass

    def _await(self, holds: Callable[[Document], bool], count: int, seconds: float, what: str) -> None:
        wait_until(
            lambda: sum(map(holds, self._listed(_SERVICES))) == count,
            seconds=seconds,
            what=f"{count} services to be {what}",
            every=1.0,
        )

    def phases(self) -> dict[str, str]:
        """The phase of every rollout, by the candidate's name."""
        found = self._listed(ROLLOUTS)
        return {each["spec"]["candidate"]: each.get("status", {}).get("phase", "") for each in found}

    def _listed(self, resource: Resource) -> Iterable[Document]:
        return self._client.list_all(resource, NAMESPACE)

    # --- autocanary --------------------------------------------------------------------------------------

    def start(self, metrics: str, interval: float) -> int:
        """``autocanary run`` under its own rights; its process id."""
        policies = self.folder / "policies"
        policies.mkdir()
        (policies / "bench.yaml").write_text(yaml.safe_dump(policy_document(metrics, interval)))
        settings = {
            "KUBECONFIG": str(self.api.kubeconfig(ACCOUNT)),
            "AUTOCANARY_POLICIES": str(policies),
            "AUTOCANARY_PROMETHEUS_URL": self.prometheus.url,
            "AUTOCANARY_LEASE_NAMESPACE": "autocanary",
            "AUTOCANARY_LOG_FORMAT": "json",
        }
        self._service = Autocanary(self.folder / "autocanary", settings, self._profile)
        self._stack.callback(self._service.stop, _LEAVE_SECONDS)
        self._service.start()
        return self._service.pid

    def mark(self) -> None:
        """Begin or end what the profile is about, if there is one."""
        if self._profile is not None and self._service is not None:
            os.kill(self._service.pid, signal.SIGUSR1)

    def check(self) -> None:
        """ServerError when autocanary has ended on its own."""
        if self._service is not None and not self._service.running:
            raise ServerError(f"autocanary has ended; it said last:\n{self._service.tail()}")

    def wait(self, true: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Until it holds; TimeoutError after so many seconds, ServerError when autocanary ends meanwhile."""

        def holds() -> bool:
            self.check()
            return true()

        wait_until(holds, seconds=seconds, what=what, every=1.0)


class Autocanary(ServerProcess):
    """``autocanary run`` with these settings in its environment and nothing else of ours."""

    name = "autocanary"

    def __init__(self, folder: Path, settings: Mapping[str, str], profile: Path | None) -> None:
        super().__init__(folder)
        self._port = free_port()
        self._settings = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "AUTOCANARY_LISTEN": f"127.0.0.1:{self._port}",
            **settings,
        }
        self._module = ["autocanary"] if profile is None else ["benchmarks.profiled", str(profile.resolve())]

    def command(self) -> list[str]:
        """See `ServerProcess.command`."""
        environment = [f"{name}={value}" for name, value in self._settings.items()]
        return ["env", "-i", *environment, sys.executable, "-m", *self._module, "run"]

    def ready(self) -> bool:
        """Whether it serves its pages."""
        try:
            return fetch(f"http://127.0.0.1:{self._port}/healthz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False


def _manifest(number: int) -> Document:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": f"gs://models/{service(number)}/v1"}
    return {
        "apiVersion": DIALECTS[0].api_version,
        "kind": "InferenceService",
        "metadata": {"name": service(number), "namespace": NAMESPACE},
        "spec": {"predictor": {"minReplicas": 1, "model": model}},
    }


def _state(document: Document) -> Document:
    state: Document = ((document.get("status") or {}).get("components") or {}).get("predictor") or {}
    return state


def _is_served(document: Document) -> bool:
    return bool(_state(document).get("latestRolledoutRevision"))


def _is_staged(document: Document) -> bool:
    return str(_state(document).get("latestReadyRevision", "")).endswith("-00002")


def _namespace(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _rights() -> tuple[Document, Document]:
    group = "rbac.authorization.k8s.io"
    role = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "autocanary"},
        "rules": rbac_rules(),
    }
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "autocanary"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "autocanary"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "autocanary", "name": "autocanary"}],
    }
    return role, binding
