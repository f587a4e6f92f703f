"""The ground on real servers: its own namespace on one stage that all traps of a run share."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from autocanary.kserve import dialect_for
from autocanary.model.observation import Observation
from autocanary.model.policy import Component
from autocanary.simulator.kserve_controller import KServeController
from autocanary.simulator.pod_behaviour import storage_uri
from tests.real.installation import SERVICE_ACCOUNT, Autocanary, Installation
from tests.testbed.servers import KubectlError, free_port
from tests.testbed.servers.http import fetch
from tests.traps.simulator_rules import SimulatorRulesWorld
from tests.traps.world import BAD, SERVICE, SentNotification, TrapWorld, manifest, policy_document

__all__ = ["ApiServerTrapWorld", "RealTrapWorld", "SharedInstallation", "model_by_the_rules", "shared_installation"]

StorageUriOf = Callable[[str, str], str]
"""The place of the model of a (namespace, revision); "" where it is not known."""
_NO_WEBHOOK = "autocanary-tests/no-webhook"
_POLL_SECONDS = 0.2
_REPLACE_ATTEMPTS = 5
_GROUPS = {"inferenceservices": "serving.kserve.io/v1beta1", "canaryrollouts": "autocanary.dev/v1alpha1"}


class SharedInstallation:
    """One stage with one autocanary over it, and what all grounds on it share: the log, the audit, the splits."""

    def __init__(self, installation: Installation, process: Autocanary) -> None:
        self.installation, self.process = installation, process
        self.splits: dict[str, list[Mapping[str, int]]] = {}
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[int, list[dict[str, Any]]]] = {}

    def sample(self, stop: threading.Event) -> None:
        """Note what is routed, until it is stopped."""
        while not stop.wait(0.1):
            for (namespace, name), shares in self.installation.split().items():
                if name == SERVICE:
                    self.splits.setdefault(namespace, []).append(dict(shares))

    def lines(self, file: Path) -> list[dict[str, Any]]:
        """The JSON lines of a growing file; each is parsed once, whichever test asks."""
        with self._lock:
            position, known = self._read.get(file, (0, []))
            if file.exists():
                with file.open("rb") as stream:
                    stream.seek(position)
                    fresh = stream.read()
                whole, newline, _ = fresh.rpartition(b"\n")
                known = known + [json.loads(each) for each in whole.splitlines() if each.startswith(b"{")]
                self._read[file] = (position + len(whole) + len(newline), known)
            return known


@contextmanager
def shared_installation(installation: Installation, storage_uri_of: StorageUriOf) -> Iterator[SharedInstallation]:
    """The servers and the process, with bad versions answering badly."""

    def errors(namespace: str, revision: str) -> float:
        return BAD if "bad" in storage_uri_of(namespace, revision) else 0.0

    with installation:
        installation.api.apply(_missing_webhook())
        installation.traffic.quality_of = errors
        shared = SharedInstallation(installation, installation.run())
        stop = threading.Event()
        thread = threading.Thread(target=shared.sample, args=(stop,), daemon=True)
        thread.start()
        try:
            yield shared
            assert shared.process.process.poll() is None, shared.process.text()[-3000:]
            assert "Traceback" not in shared.process.text()
        finally:
            stop.set()
            thread.join(5)


def model_by_the_rules(installation: Installation) -> StorageUriOf:
    """Where the simulated controllers know the model of a revision to be."""

    def found(namespace: str, revision: str) -> str:
        child = installation.kserve.rules.children((namespace, SERVICE)).get(Component.PREDICTOR)
        known = child.revisions.get(revision) if child is not None else None
        return storage_uri(known.template[0]) if known is not None else ""

    return found


def _missing_webhook() -> dict[str, Any]:
    """A webhook of KServe's name that is down, for the namespaces with a label: a label takes effect at once."""
    rule = {
        "apiGroups": ["serving.kserve.io"],
        "apiVersions": ["v1beta1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["inferenceservices"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "away.serving.kserve.io"},
        "webhooks": [
            {
                "name": "inferenceservice.kserve-webhook-server.defaulter",
                "clientConfig": {"url": f"https://127.0.0.1:{free_port()}/mutate"},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "namespaceSelector": {"matchLabels": {_NO_WEBHOOK: "true"}},
                "rules": [rule],
            }
        ],
    }


class ApiServerTrapWorld(TrapWorld):
    """A ground behind a real API server, whatever runs the controllers."""

    rest_seconds = 22.0

    def __init__(self, shared: SharedInstallation, namespace: str) -> None:
        self._scene, self.namespace = shared, namespace
        self._api = shared.installation.api
        shared.installation.namespace(namespace)
        self.policy()

    # --- what happens ------------------------------------------------------------------------------------

    def policy(self, **changes: Any) -> None:
        document = policy_document(self.namespace, **changes)
        name = document["metadata"]["name"]
        half = self._scene.installation.folder / f"{name}.half"
        half.write_text(yaml.safe_dump(document))
        half.replace(self._scene.installation.policies / f"{name}.yaml")
        time.sleep(6)  # the files are read again every five seconds

    def apply(self, version: str, weight: int | None = None, **metadata: Any) -> None:
        document = manifest(self.namespace, version, weight, **metadata)
        self.apply_document(document)

    def apply_document(self, document: Mapping[str, Any]) -> None:
        """See `TrapWorld.apply_document`."""
        self._api.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def patch(self, body: Mapping[str, Any], by: str = "kubectl-edit") -> None:
        self._write("inferenceservices", SERVICE, body, by)

    def replace(self, version: str, weight: int | None = None) -> None:
        document = json.dumps(manifest(self.namespace, version, weight))
        for attempt in range(1, _REPLACE_ATTEMPTS + 1):
            try:
                self._api.kubectl("replace", "-f", "-", stdin=document)
            except KubectlError as error:  # kubectl reads the version first, and a controller may write in between
                if "the object has been modified" not in str(error) or attempt == _REPLACE_ATTEMPTS:
                    raise
            else:
                return

    def delete(self) -> None:
        self._api.kubectl("-n", self.namespace, "delete", "inferenceservice", SERVICE, "--wait=false")

    def take_webhook_away(self, away: bool = True) -> None:
        """See `TrapWorld.take_webhook_away`; the API server calls a webhook that nothing serves."""
        change = f"{_NO_WEBHOOK}=true" if away else f"{_NO_WEBHOOK}-"
        self._api.kubectl("label", "--overwrite", "namespace", self.namespace, change)

    def ask(self, number: int, verb: str) -> None:
        spec: dict[str, Any] = {"request": {"id": f"request-{time.time_ns()}", "verb": verb, "by": "ann"}}
        if verb in ("pause", "resume"):
            spec = {"paused": verb == "pause"}
        self._write("canaryrollouts", self._name(number), {"spec": spec}, "kubectl-patch")

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def until(self, condition: Callable[[], object], what: str, seconds: float = 150) -> None:
        deadline = time.monotonic() + seconds * 1.5  # a shared machine
        while not condition():
            late = time.monotonic() > deadline
            assert not late, f"waited for {what}: {self.rollouts()}, wrote {self.written_weights()}, {self.split()}"
            time.sleep(_POLL_SECONDS)

    # --- what is seen ------------------------------------------------------------------------------------

    def seen(self, component: Component = Component.PREDICTOR) -> Observation | None:
        document = self._read("inferenceservices", SERVICE)
        if document is None:
            return None
        parts = dialect_for(document["apiVersion"]).observe(document)
        return next((part for part in parts if part.key.component is component), None)

    def exists(self) -> bool:
        """See `TrapWorld.exists`."""
        return self._read("inferenceservices", SERVICE) is not None

    def document(self) -> Mapping[str, Any]:
        document = self._read("inferenceservices", SERVICE)
        assert document is not None, "there is no such service"
        return document

    def split(self) -> Mapping[str, int]:
        return dict(self._scene.installation.split().get((self.namespace, SERVICE), {}))

    def history(self) -> Sequence[Mapping[str, int]]:
        return list(self._scene.splits.get(self.namespace, ()))

    def written_weights(self) -> list[int | None]:
        found: list[int | None] = []
        for event in self._scene.lines(self._api.audit_log):
            where = event.get("objectRef", {})
            mine = (where.get("resource"), where.get("name"), where.get("namespace")) == (
                "inferenceservices",
                SERVICE,
                self.namespace,
            )
            ours = event["user"].get("username") == SERVICE_ACCOUNT and event["verb"] in ("patch", "update")
            if mine and ours and event["responseStatus"]["code"] == 200:
                parts = event["requestObject"]["spec"]
                found += [parts["predictor"].get("canaryTrafficPercent")] if "predictor" in parts else []
        return found

    def rollouts(self) -> Mapping[str, tuple[str, str, str]]:
        listed = self._read("canaryrollouts", "") or {}
        statuses = {item["metadata"]["name"]: item.get("status") or {} for item in listed.get("items", ())}
        return {
            name: (status.get("phase", ""), status.get("reason", ""), status.get("message", ""))
            for name, status in statuses.items()
        }

    def notifications(self, number: int | None = None) -> list[SentNotification]:
        wanted = None if number is None else self.revision(number)
        return [
            SentNotification(line["event"], line["reason"], line["message"])
            for line in self._scene.lines(self._scene.process.log)
            if line["logger"] == "autocanary.audit"
            and line["namespace"] == self.namespace
            and wanted in (None, line["candidate"])
        ]

    def rejections(self) -> list[str]:
        return [
            f"{line['reason']}: {line['message']}"
            for line in self._scene.lines(self._scene.process.log)
            if line["event"] == "rollout_refused" and line["namespace"] == self.namespace
        ]

    # --- the API server ----------------------------------------------------------------------------------

    def _path(self, plural: str, name: str) -> str:
        end = f"/{name}" if name else ""
        return f"/apis/{_GROUPS[plural]}/namespaces/{self.namespace}/{plural}{end}"

    def _read(self, plural: str, name: str) -> dict[str, Any] | None:
        status, body = self._api.request(self._path(plural, name), seconds=20)
        assert status in (200, 404), body
        found: dict[str, Any] = json.loads(body)
        return found if status == 200 else None

    def _write(self, plural: str, name: str, body: Mapping[str, Any], by: str) -> None:
        status, answer = fetch(
            f"{self._api.url}{self._path(plural, name)}?fieldManager={by}",
            method="PATCH",
            headers={
                "Authorization": f"Bearer {self._api.token('admin')}",
                "Content-Type": "application/merge-patch+json",
            },
            ca=self._api.ca,
            body=json.dumps(body).encode(),
            seconds=20,
        )
        assert status == 200, answer


class RealTrapWorld(SimulatorRulesWorld, ApiServerTrapWorld):
    kind = "real"

    def unready(self, number: int) -> None:
        super().unready(number)
        self._scene.installation.traffic.unanswered.add((self.namespace, self.revision(number)))

    def recover(self, number: int) -> None:
        super().recover(number)
        self._scene.installation.traffic.unanswered.discard((self.namespace, self.revision(number)))

    def run_in_cluster(self, action: Callable[[KServeController], None]) -> None:
        self._scene.installation.kserve.do(action)
