"""etcd: where the API server keeps its objects, so that they outlive a crash of the API server."""

from __future__ import annotations

import http.client
import platform
from pathlib import Path

from tests.testbed.servers.http import fetch
from tests.testbed.servers.process import ServerProcess, free_port, program


class Etcd(ServerProcess):
    """One etcd member on loopback that trades durability against power loss for speed."""

    name = "etcd"

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._peer_url = f"http://127.0.0.1:{free_port()}"

    def command(self) -> list[str]:
        """See `ServerProcess.command`."""
        # etcd 3.4 refuses arm64 unless the variable is set; 3.5 ignores the variable.
        arm = ["env", "ETCD_UNSUPPORTED_ARCH=arm64"] if platform.machine() in ("aarch64", "arm64") else []
        return [
            *arm,
            program("etcd"),
            f"--data-dir={self.folder / 'data'}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self._peer_url}",
            f"--initial-advertise-peer-urls={self._peer_url}",
            f"--initial-cluster=default={self._peer_url}",
            "--unsafe-no-fsync",
        ]

    def ready(self) -> bool:
        """Whether it has a leader and answers."""
        try:
            return fetch(f"{self.url}/health")[0] == 200
        except (OSError, http.client.HTTPException):
            return False
