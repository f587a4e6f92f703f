#!/usr/bin/env python3
# ruff: noqa: T201 - what this script has to say, it prints
"""Record what a real model server exposes after requests that were counted by their client.

    python3 -m venv /tmp/mlserver && /tmp/mlserver/bin/pip install mlserver
    python3 tests/prometheus/recorded/record.py mlserver /tmp/mlserver/bin

    python3 -m venv /tmp/kserve && /tmp/kserve/bin/pip install kserve
    python3 tests/prometheus/recorded/record.py kserve /tmp/kserve/bin

The servers are not among the project's dependencies: each brings hundreds of megabytes. Written beside this file:
``<server>.json`` with the version, the pages of /metrics before and after the requests, and what the client counted.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_SECONDS = 90.0

MLSERVER_MODEL = """
import asyncio
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse


class Model(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        if payload.id == "raise":
            raise RuntimeError("as asked")
        if payload.id == "slow":
            await asyncio.sleep(3)
        return InferenceResponse(model_name=self.name, outputs=[])
"""
KSERVE_MODEL = """
import asyncio, sys
from kserve import Model, ModelServer


class Own(Model):
    def load(self):
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        first = payload["instances"][0]
        if first == "raise":
            raise RuntimeError("as asked")
        if first == "slow":
            await asyncio.sleep(3)
        return {"predictions": payload["instances"]}


model = Own("mnist")
model.load()
ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1).start([model])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Client:
    """Sends requests and counts how each ended."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.counts: Counter[str] = Counter()

    def send(self, what: str, path: str, body: object = None, *, seconds: float = 10.0) -> None:
        """One request, counted as "<what> <status>", or as "<what> gone" when the client gave up."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}{path}", data, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
                answer.read()
                self.counts[f"{what} {answer.status}"] += 1
        except urllib.error.HTTPError as error:
            self.counts[f"{what} {error.code}"] += 1
        except (TimeoutError, OSError):
            self.counts[f"{what} gone"] += 1


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
        text: str = answer.read().decode()
    return "".join(line for line in text.splitlines(keepends=True) if not re.search(r"python_|process_", line))


def wait_for(url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            page(url)
            return
        except OSError:
            if time.monotonic() > end:
                raise SystemExit(f"{url} does not answer") from None
            time.sleep(0.3)


def mlserver(programs: Path, folder: Path) -> dict[str, object]:
    """MLServer by REST: good calls, one with a batch, calls that raise, unknown models, probes, and one that was left."""
    port, metrics = free_port(), free_port()
    (folder / "own.py").write_text(MLSERVER_MODEL)
    (folder / "model-settings.json").write_text(json.dumps({"name": "mnist", "implementation": "own.Model"}))
    settings = {"http_port": port, "metrics_port": metrics, "grpc_port": free_port(), "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(settings))
    command = [str(programs / "mlserver"), "start", str(folder)]
    server = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)})
    try:
        wait_for(f"http://127.0.0.1:{port}/v2/health/ready")
        client = Client(port)

        def infer(what: str, name: str = "mnist", rows: int = 1, *, number: str = "", seconds: float = 10.0) -> None:
            values = {"name": "x", "shape": [rows], "datatype": "FP32", "data": [1.0] * rows}
            body = {"inputs": [values], **({"id": number} if number else {})}
            client.send(what, f"/v2/models/{name}/infer", body, seconds=seconds)

        infer("first")
        before = page(f"http://127.0.0.1:{metrics}/metrics")
        client.counts.clear()
        for _ in range(20):
            infer("good")
        infer("batch", rows=50)
        for _ in range(3):
            infer("raising", number="raise")
        infer("unknown model", "nobody")
        client.send("malformed", "/v2/models/mnist/infer", {"inputs": 5})
        for _ in range(7):
            client.send("probe", "/v2/health/ready")
        client.send("metadata", "/v2/models/mnist")
        infer("left", number="slow", seconds=0.5)
        time.sleep(5)
        after = page(f"http://127.0.0.1:{metrics}/metrics")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    return {"before": before, "after": after, "counts": dict(client.counts)}


def kserve(programs: Path, folder: Path) -> dict[str, object]:
    """KServe's own server by its V1 protocol: the same kinds of calls."""
    port = free_port()
    (folder / "own.py").write_text(KSERVE_MODEL)
    server = subprocess.Popen([str(programs / "python"), str(folder / "own.py"), str(port)], cwd=folder)
    try:
        wait_for(f"http://127.0.0.1:{port}/v2/health/ready")
        client = Client(port)
        path = "/v1/models/mnist:predict"
        client.send("first", path, {"instances": [1]})
        before = page(f"http://127.0.0.1:{port}/metrics")
        client.counts.clear()
        for _ in range(20):
            client.send("good", path, {"instances": [1]})
        client.send("batch", path, {"instances": [1] * 50})
        for _ in range(3):
            client.send("raising", path, {"instances": ["raise"]})
        client.send("unknown model", "/v1/models/nobody:predict", {"instances": [1]})
        client.send("malformed", path, {"instances": 5})
        for _ in range(7):
            client.send("probe", "/v2/health/ready")
        client.send("metadata", "/v1/models/mnist")
        client.send("left", path, {"instances": ["slow"]}, seconds=0.5)
        time.sleep(5)
        after = page(f"http://127.0.0.1:{port}/metrics")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    return {"before": before, "after": after, "counts": dict(client.counts)}


SERVERS = {"mlserver": mlserver, "kserve": kserve}


def main(name: str, programs: Path) -> None:
    """Record one server."""
    shown = subprocess.run([programs / "pip", "show", name], capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        recorded = SERVERS[name](programs, Path(folder))
    version = re.findall(r"^Version: (\S+)", shown, re.MULTILINE)[0]
    (HERE / f"{name}.json").write_text(json.dumps({"server": name, "version": version, **recorded}, indent=1) + "\n")
    print(name, version, recorded["counts"])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
