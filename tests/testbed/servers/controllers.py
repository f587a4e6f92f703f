"""The real controllers over an API server: Kubernetes' own, Knative Serving's and KServe's, each a process.

The Knative controller serves its probes on a port that cannot be set, so one machine runs one set at a time:
a second set waits for the first.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from tests.testbed import setup
from tests.testbed.servers.apiserver import ApiServer
from tests.testbed.servers.http import fetch
from tests.testbed.servers.process import ServerError, ServerProcess, free_port, program

__all__ = ["KServeManager", "KnativeController", "KnativeWebhook", "KubeControllerManager", "OneSetPerMachine"]

KNATIVE_NAMESPACE = "knative-serving"
KSERVE_NAMESPACE = "kserve"
_KNATIVE_PROBES = "http://127.0.0.1:8080/readiness"


class OneSetPerMachine:
    """A lock that only one set of controllers has at a time."""

    def __init__(self, seconds: float = 1800.0) -> None:
        self._seconds = seconds
        self._file: IO[str] | None = None

    def __enter__(self) -> OneSetPerMachine:
        setup.base_folder().mkdir(parents=True, exist_ok=True)
        self._file = open(setup.base_folder() / ".controllers", "w")
        end = time.monotonic() + self._seconds
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except OSError:
                if time.monotonic() > end:
                    raise ServerError("another set of controllers runs on this machine and does not end") from None
                time.sleep(0.5)

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()


class _Controller(ServerProcess):
    """One controller process with the rights of the admin."""

    ready_seconds = 120.0

    def __init__(self, api: ApiServer, folder: Path) -> None:
        super().__init__(folder)
        self._api = api

    def environment(self) -> Mapping[str, str]:
        """See `ServerProcess.environment`."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "KUBECONFIG": str(self._api.kubeconfig()),
        }

    def _answers(self, url: str, ca: Path | None = None) -> bool:
        try:
            return fetch(url, ca=ca)[0] == 200
        except (OSError, http.client.HTTPException):
            return False


class KubeControllerManager(_Controller):
    """Kubernetes' controllers that a Knative revision needs: Deployments, ReplicaSets, garbage collection."""

    name = "kube-controller-manager"

    def __init__(self, api: ApiServer, folder: Path) -> None:
        super().__init__(api, folder)
        self._port = free_port()

    def command(self) -> list[str]:
        """See `ServerProcess.command`."""
        controllers = (
            "deployment-controller",
            "replicaset-controller",
            "garbage-collector-controller",
            "namespace-controller",
            "serviceaccount-controller",
            "endpointslice-controller",
            "endpoints-controller",
        )
        return [
            program(self.name),
            f"--kubeconfig={self._api.kubeconfig()}",
            f"--controllers={','.join(controllers)}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def ready(self) -> bool:
        """Whether its health is reported as good."""
        certificate = self.folder / "certificates" / "kube-controller-manager.crt"
        return certificate.exists() and self._answers(f"https://127.0.0.1:{self._port}/healthz", certificate)


class _KnativeProcess(_Controller):
    def environment(self) -> Mapping[str, str]:
        """See `ServerProcess.environment`."""
        return {
            **super().environment(),
            "POD_NAME": self.name,
            "SYSTEM_NAMESPACE": KNATIVE_NAMESPACE,
            "CONFIG_LOGGING_NAME": "config-logging",
            "CONFIG_OBSERVABILITY_NAME": "config-observability",
            "KUBERNETES_MIN_VERSION": "v1.30.0",
        }

    def command(self) -> list[str]:
        """See `ServerProcess.command`."""
        return [program(self.name)]


class KnativeWebhook(_KnativeProcess):
    """Knative Serving's admission; it makes its own certificates and writes them into its configurations."""

    name = "knative-webhook"

    def __init__(self, api: ApiServer, folder: Path) -> None:
        super().__init__(api, folder)
        self.port = free_port()

    def environment(self) -> Mapping[str, str]:
        """See `ServerProcess.environment`."""
        return {**super().environment(), "WEBHOOK_NAME": "webhook", "WEBHOOK_PORT": str(self.port)}

    def ready(self) -> bool:
        """Whether each of its configurations has the certificate that the API server needs to call it."""
        places = (
            ("mutatingwebhookconfigurations", "webhook.serving.knative.dev"),
            ("validatingwebhookconfigurations", "validation.webhook.serving.knative.dev"),
            ("validatingwebhookconfigurations", "config.webhook.serving.knative.dev"),
        )
        paths = [f"/apis/admissionregistration.k8s.io/v1/{kind}/{name}" for kind, name in places]
        try:
            return all(b'"caBundle":"' in self._api.request(path)[1] for path in paths)
        except (OSError, http.client.HTTPException):
            return False


class KnativeController(_KnativeProcess):
    """Knative Serving's controller: services, configurations, revisions, routes."""

    name = "knative-controller"

    def start(self) -> None:
        """Refuse to start beside another process on the port of the probes, which the answers would come from."""
        if self._answers(_KNATIVE_PROBES):
            raise ServerError("port 8080 is taken: the Knative controller serves its probes there, and nowhere else")
        super().start()

    def ready(self) -> bool:
        """Whether its readiness probe passes."""
        return self._answers(_KNATIVE_PROBES)


class KServeManager(_Controller):
    """KServe's controller manager with its webhooks, which use the API server's own certificate."""

    name = "kserve-manager"

    def __init__(self, api: ApiServer, folder: Path) -> None:
        super().__init__(api, folder)
        self.port, self._probes, self._metrics = free_port(), free_port(), free_port()
        certificates = self.folder / "k8s-webhook-server" / "serving-certs"
        certificates.mkdir(parents=True, exist_ok=True)
        for kind in ("crt", "key"):
            (certificates / f"tls.{kind}").write_bytes((api.certificates / f"apiserver.{kind}").read_bytes())

    def environment(self) -> Mapping[str, str]:
        """See `ServerProcess.environment`."""
        return {
            **super().environment(),
            "POD_NAMESPACE": KSERVE_NAMESPACE,
            "KNATIVE_CONFIG_AUTOSCALER_NAMESPACE": KNATIVE_NAMESPACE,
        }

    def command(self) -> list[str]:
        """See `ServerProcess.command`."""
        return [
            program(self.name),
            f"--webhook-port={self.port}",
            f"--health-probe-addr=127.0.0.1:{self._probes}",
            f"--metrics-addr=127.0.0.1:{self._metrics}",
        ]

    def ready(self) -> bool:
        """Whether its webhooks answer."""
        return self._answers(f"http://127.0.0.1:{self._probes}/readyz")
