"""A pod of the chart's Deployment, started as the kubelet would start it, but as a process of this machine.

Arguments, variables, ConfigMaps, Secrets and the service account's rights are those on the API server. Three
things differ, because no kubelet is here: paths below a mount lie in a folder of the test, the pod's own
address is one of the loopback's, and the account's token comes in a kubeconfig.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.testbed.servers import ApiServer
from tests.testbed.servers.http import fetch

__all__ = ["Pod"]

Document = dict[str, Any]


class Pod:
    """One replica. ``address`` is its own, so that several can listen on the same port; ``server`` stands
    between it and the API server, when given."""

    def __init__(
        self,
        api: ApiServer,
        deployment: Document,
        name: str,
        address: str,
        folder: Path,
        *,
        server: str | None = None,
    ) -> None:
        self._api, self._server = api, server
        self.name, self.address = name, address
        self.namespace: str = deployment["metadata"]["namespace"]
        self.spec: Document = deployment["spec"]["template"]["spec"]
        [self.container] = self.spec["containers"]
        self._folder = folder / name
        self._folder.mkdir()
        self.log = self._folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    # --- as the kubelet

    def start(self) -> Pod:
        """Put the volumes in place and start the container."""
        self.sync()
        command = [sys.executable, "-m", "autocanary", *map(self._moved, self.container["args"])]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment(), stdout=log, stderr=log)
        return self

    def sync(self) -> None:
        """Write the files of the volumes as the API server has them now."""
        for volume in self.spec["volumes"]:
            folder = self._folder / volume["name"]
            folder.mkdir(exist_ok=True)
            for name, content in self._content(volume).items():
                (folder / name).write_bytes(content)

    def is_ready(self) -> bool:
        """The readiness probe."""
        assert self.process.poll() is None, f"{self.name} has ended: {self.log.read_text()}"
        return self._get(self.container["readinessProbe"]["httpGet"]["path"])[0] == 200

    def is_alive(self) -> bool:
        """The liveness probe."""
        return self._get(self.container["livenessProbe"]["httpGet"]["path"])[0] == 200

    def terminate(self) -> int:
        """SIGTERM; its exit code, or a failure when it must be killed after the grace period."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(self.spec["terminationGracePeriodSeconds"])
        assert time.monotonic() - begin < self.spec["terminationGracePeriodSeconds"] / 2
        return code

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    # --- looking

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def leads(self) -> bool:
        """By its own metrics."""
        return "\nautocanary_leader 1.0\n" in self._get("/metrics")[1].decode()

    def events(self, *names: str) -> list[Document]:
        """The log's lines so far, of the events named (all without)."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if not names or line["event"] in names]

    # --- within

    def _environment(self) -> dict[str, str]:
        account = f"system:serviceaccount:{self.namespace}:{self.spec['serviceAccountName']}"
        found = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "KUBECONFIG": str(self._api.kubeconfig(account, server=self._server)),
        }
        for each in self.container["env"]:
            found[each["name"]] = self._moved(each["value"]) if "value" in each else self._field(each)
        port = self.container["ports"][0]["containerPort"]
        assert found["AUTOCANARY_LISTEN"] == f":{port}"
        return {**found, "AUTOCANARY_LISTEN": f"{self.address}:{port}"}

    def _field(self, variable: Document) -> str:
        assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
        return self.name

    def _moved(self, text: str) -> str:
        """A path of the container as a path of this machine."""
        for mount in self.container["volumeMounts"]:
            if text == mount["mountPath"] or text.startswith(mount["mountPath"] + "/"):
                return str(self._folder / mount["name"]) + text[len(mount["mountPath"]) :]
        return text

    def _content(self, volume: Document) -> dict[str, bytes]:
        if "configMap" in volume:
            data = self._object("configmap", volume["configMap"]["name"]).get("data") or {}
            return {name: text.encode() for name, text in data.items()}
        if "secret" in volume:
            data = self._object("secret", volume["secret"]["secretName"]).get("data") or {}
            return {name: base64.b64decode(text) for name, text in data.items()}
        assert volume.get("emptyDir") == {"sizeLimit": "64Mi"}, volume
        return {}

    def _object(self, kind: str, name: str) -> Document:
        found: Document = json.loads(self._api.kubectl("-n", self.namespace, "get", kind, name, "-o", "json"))
        return found

    def _get(self, path: str) -> tuple[int, bytes]:
        port = self.container["ports"][0]["containerPort"]
        try:
            return fetch(f"http://{self.address}:{port}{path}")
        except OSError:
            return 0, b""
