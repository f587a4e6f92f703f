"""One whole installation on real servers: what the end-to-end tests act in and look at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from autocanary.kube.crds import definitions
from autocanary.kube.rbac import rbac_rules
from tests.real.manifests import Document, policy_document, service_document
from tests.real.traffic import RevisionTraffic
from tests.testbed.kserve_controller import KFServingControllerRunner, KServeControllerRunner
from tests.testbed.servers import (
    ApiServer,
    Prometheus,
    Scrape,
    SlackServer,
    free_port,
    install_inferenceservice_crd,
    install_kfserving_crd,
    wait_until,
)
from tests.testbed.servers.crds import wait_served
from tests.testbed.servers.http import fetch

SERVICE_ACCOUNT = "system:serviceaccount:autocanary:autocanary"
INSTANCES = tuple(f"{SERVICE_ACCOUNT}-{letter}" for letter in "abc")
"""The same rights under other names, so that the audit log distinguishes instances."""
PERSON = "kim"
"""A user without a right, until a test grants one."""


Self = TypeVar("Self", bound="Installation")


class Autocanary:
    """``autocanary run`` as a process of its own, under the rights of its service account.

    ``user`` is another name with these rights, ``server`` a proxy of the tests in front of the API server;
    ``environment`` adds variables.
    """

    def __init__(
        self,
        installation: Installation,
        *flags: str,
        user: str = SERVICE_ACCOUNT,
        server: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._installation, self._flags = installation, flags
        self.user, self._server, self._more = user, server, dict(environment or {})
        self.port = free_port()
        self.log = installation.folder / f"autocanary-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        slack = self._installation.folder / "slack-url"
        slack.write_text(self._installation.slack.url)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._installation.folder),
            "KUBECONFIG": str(self._installation.api.kubeconfig(self.user, server=self._server)),
            "AUTOCANARY_PROMETHEUS_URL": self._installation.prometheus.url,
            "AUTOCANARY_SLACK_WEBHOOK_URL_FILE": str(slack),
            "AUTOCANARY_LEASE_NAMESPACE": "autocanary",
            "AUTOCANARY_LISTEN": f"127.0.0.1:{self.port}",
            "AUTOCANARY_LOG_FORMAT": "json",
            "AUTOCANARY_TICK": "500ms",
            **self._more,
        }

    def arguments(self) -> list[str]:
        return ["run", "--policies", str(self._installation.policies), *self._flags]

    def start(self) -> Autocanary:
        command = [sys.executable, "-m", "autocanary", *self.arguments()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self.environment(), stdout=log, stderr=log)
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        assert self.process.poll() is None, f"autocanary has ended: {self.text()}"
        try:
            return fetch(f"http://127.0.0.1:{self.port}/readyz")[0] == 200
        except OSError:
            return False

    def audit_trail(self) -> list[str]:
        """The notified transitions, in order."""
        return [line["event"] for line in self.events() if line["logger"] == "autocanary.audit"]

    def kill(self) -> None:
        """kill -9: no goodbye."""
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> float:
        """SIGTERM; the seconds it took to leave."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)
        return time.monotonic() - begin

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def events(self, *names: str) -> list[Document]:
        """The log's lines so far, of the events named (all without)."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if not names or line["event"] in names]

    def text(self) -> str:
        return self.log.read_text()


class Installation:
    """The servers, the world's rules over them, and short ways to act and to look."""

    audit_admin = True

    def __init__(self, folder: Path, *, crd: str = "minimal", kfserving: bool = False) -> None:
        self.folder = folder
        self.policies = folder / "policies"
        self.policies.mkdir()
        self._crd, self._with_kfserving = crd, kfserving
        self.kfserving: KFServingControllerRunner | None = None
        self._stack = ExitStack()
        self._running: list[Autocanary] = []

    def __enter__(self: Self) -> Self:
        with self._stack as stack:
            self._open(stack.enter_context)
            self._stack = stack.pop_all()
        return self

    def _open(self, enter: Callable[[Any], Any]) -> None:
        users = [SERVICE_ACCOUNT, *INSTANCES, PERSON]
        self.api: ApiServer = enter(ApiServer(users=users, folder=self.folder / "api", audit_admin=self.audit_admin))
        self.install_kserve(enter)
        self.api.apply(*definitions())
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "autocanary"}})
        for name in ("canaryrollouts", "rolloutpolicies"):
            wait_served(self.api, "autocanary.dev", "v1alpha1", name)
        self.grant()
        if self._with_kfserving:
            install_kfserving_crd(self.api)
            self.kfserving = enter(KFServingControllerRunner(self.api.kubeconfig()))
        self.traffic: RevisionTraffic = enter(self.make_traffic())
        self.slack: SlackServer = enter(SlackServer())
        job = Scrape("revisions", self.traffic.exporter.target)
        self.prometheus: Prometheus = enter(Prometheus([job], interval=1.0, folder=self.folder / "prometheus"))

    def install_kserve(self, enter: Callable[[Any], Any]) -> None:
        """KServe's definition, and what simulates its controllers."""
        install_inferenceservice_crd(self.api, self._crd)  # type: ignore[arg-type]
        self.kserve: KServeControllerRunner = enter(KServeControllerRunner(self.api.kubeconfig()))

    def make_traffic(self) -> RevisionTraffic:
        """The counters of the revisions' pods, not yet started."""
        return RevisionTraffic(self.split)

    def __exit__(self, *error: object) -> None:
        self.end_all()
        self._stack.__exit__(None, None, None)

    def grant(self) -> None:
        """Give the service account the rights that the code lists, no more."""
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "autocanary"},
            "rules": rbac_rules(),
        }
        accounts = [user.rpartition(":")[2] for user in (SERVICE_ACCOUNT, *INSTANCES)]
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "autocanary"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "autocanary"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "autocanary", "name": name} for name in accounts],
        }
        self.api.apply(role, binding)

    # --- acting ------------------------------------------------------------------------------------------

    def run(
        self,
        *flags: str,
        user: str = SERVICE_ACCOUNT,
        server: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Autocanary:
        """Start autocanary and wait until it is ready; it is ended with the test."""
        process = Autocanary(self, *flags, user=user, server=server, environment=environment)
        self._running.append(process)
        process.start()
        wait_until(process.is_ready, seconds=30, what="autocanary to be ready")
        return process

    def end_all(self) -> None:
        """Kill whatever autocanary still runs, and take its policies away."""
        for each in self._running:
            each.stop()
        self._running.clear()
        for file in self.policies.iterdir():
            file.unlink()

    def policy(self, name: str = "quick", **spec: Any) -> None:
        """A policy file with short times; ``spec`` replaces parts of it."""
        (self.policies / f"{name}.yaml").write_text(yaml.safe_dump(policy_document(name, **spec)))

    def namespace(self, name: str) -> None:
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def released(self, namespace: str, name: str = "mnist") -> str:
        """A service whose first version is rolled out; its revisions' prefix."""
        self.serve(namespace, name, "v1")
        self.ready(namespace, name, f"{name}-predictor-00001")
        return f"{name}-predictor"

    def serve(self, namespace: str, name: str, version: str, weight: int | None = None) -> None:
        """Apply an InferenceService as its owner would; ``weight`` None leaves the field out."""
        document = service_document(namespace, name, version, weight)
        self.api.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def ready(self, namespace: str, name: str, revision: str) -> None:
        """Wait until a revision has been rolled out to all traffic."""
        wait_until(
            lambda: self.predictor(namespace, name).get("latestRolledoutRevision") == revision,
            seconds=30,
            what=f"{revision} to be rolled out",
        )

    # --- looking -----------------------------------------------------------------------------------------

    def isvc(self, namespace: str, name: str) -> Document:
        found: Document = json.loads(self.api.kubectl("-n", namespace, "get", "inferenceservice", name, "-o", "json"))
        return found

    def predictor(self, namespace: str, name: str) -> Document:
        """What the status says of the predictor; empty before KServe has said anything."""
        status = self.isvc(namespace, name).get("status") or {}
        found: Document = (status.get("components") or {}).get("predictor") or {}
        return found

    def columns(self, namespace: str, name: str) -> dict[str, str]:
        """One row of ``kubectl get inferenceservice``, by column (an empty cell is "")."""
        head, row, *_ = self.api.kubectl("-n", namespace, "get", "inferenceservice", name).splitlines()
        starts = [index for index in range(len(head)) if head[index] != " " and (index == 0 or head[index - 1] == " ")]
        ends = [*starts[1:], max(len(head), len(row))]
        return {head[start:end].strip(): row[start:end].strip() for start, end in zip(starts, ends, strict=True)}

    def rollouts(self, namespace: str) -> dict[str, Document]:
        items = json.loads(self.api.kubectl("-n", namespace, "get", "canaryrollouts", "-o", "json"))["items"]
        return {item["metadata"]["name"]: item for item in items}

    def phase(self, namespace: str, rollout: str) -> str:
        found = self.rollouts(namespace).get(rollout)
        return str((found or {}).get("status", {}).get("phase", ""))

    def wait_for_phase(self, namespace: str, rollout: str, *phases: str, seconds: float = 90) -> Document:
        wait_until(
            lambda: self.phase(namespace, rollout) in phases,
            seconds=seconds,
            what=f"{namespace}/{rollout} to be {' or '.join(phases)}",
            every=0.3,
        )
        return self.rollouts(namespace)[rollout]

    def wait_for_weight(self, namespace: str, name: str, weight: int, *, seconds: float = 60) -> None:
        wait_until(
            lambda: self.isvc(namespace, name)["spec"]["predictor"].get("canaryTrafficPercent") == weight,
            seconds=seconds,
            what=f"{namespace}/{name} at weight {weight}",
            every=0.2,
        )

    def weights_written(self, namespace: str, name: str) -> list[int | None]:
        """The weights that autocanary wrote, in order, from the audit log."""
        found: list[int | None] = []
        for event in self.api.audit(SERVICE_ACCOUNT):
            where = event.get("objectRef", {})
            mine = where.get("resource") == "inferenceservices" and where.get("name") == name
            if not mine or where.get("namespace") != namespace or event["verb"] not in ("patch", "update"):
                continue
            if event["responseStatus"]["code"] == 200:
                found.append(event["requestObject"]["spec"]["predictor"]["canaryTrafficPercent"])
        return found

    def intercept_delay(self, namespace: str, name: str) -> float:
        """Seconds from KServe's status with the new revision to our accepted patch, by the audit log."""
        created: float | None = None
        for event in self.api.audit():
            where = event.get("objectRef", {})
            if where.get("name") != name or where.get("namespace") != namespace or event["verb"] != "patch":
                continue
            at = datetime.fromisoformat(event["stageTimestamp"].replace("Z", "+00:00")).timestamp()
            body = event.get("requestObject") or {}
            if where.get("subresource") == "status":
                predictor = ((body.get("status") or {}).get("components") or {}).get("predictor") or {}
                if str(predictor.get("latestCreatedRevision", "")).endswith("-00002") and created is None:
                    created = at
            elif event["user"]["username"] == SERVICE_ACCOUNT and created is not None:
                return at - created
        raise AssertionError("no patch followed the new revision")

    def kube_events(self, namespace: str, kind: str = "InferenceService") -> list[Document]:
        items = json.loads(self.api.kubectl("-n", namespace, "get", "events", "-o", "json"))["items"]
        return [item for item in items if item["involvedObject"]["kind"] == kind]

    def messages(self, namespace: str) -> list[str]:
        """The texts of the Slack messages about a namespace's rollouts."""
        texts = [str(message["text"]) for message in self.slack.messages]
        return [text for text in texts if f" {namespace}/" in text]

    def split(self) -> Mapping[tuple[str, str], Mapping[str, int]]:
        """What the simulated Knative routes now, and the router above it where there is one."""
        sided = self.kfserving.split() if self.kfserving is not None else {}
        return {**self.kserve.split(), **sided}

    def eventually(self, check: Callable[[], bool], what: str, seconds: float = 30) -> None:
        wait_until(check, seconds=seconds, what=what, every=0.2)


class Sampler:
    """Notes each new value of something that changes, in a thread."""

    def __init__(self, look: Callable[[], Any], every: float = 0.15) -> None:
        self.seen: list[Any] = []
        self._look, self._every = look, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            value = self._look()
            if not self.seen or self.seen[-1] != value:
                self.seen.append(value)
