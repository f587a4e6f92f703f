"""``autocanary run`` that is killed at its writes and started again each time, until it is left alone.

Every life is a process of its own, killed with SIGKILL. They are forked from a warm server: dozens of starts
would cost more in imports than in anything that is tested.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from enum import Enum
from multiprocessing.process import BaseProcess
from typing import Any

from tests.real.installation import Autocanary, Installation
from tests.testbed.servers import DropResponse, FaultProxy, ReceivedRequest, Reset, writes

__all__ = ["KillPoint", "KilledAtEachWrite"]

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["autocanary.cli.root", "autocanary.app.service", "tests.real.kill_at_each_write"])


class KillPoint(str, Enum):
    """Of a write: the server has not seen it, or has done it and the answer never arrives."""

    BEFORE = "before"
    AFTER = "after"


class KilledAtEachWrite:
    """Dies once at every different write that ``skips`` does not spare; ``kills`` counts them by kind."""

    def __init__(
        self,
        installation: Installation,
        kill_point: KillPoint,
        *flags: str,
        skips: Callable[[ReceivedRequest], bool] = lambda _: False,
    ) -> None:
        api = installation.api
        self.proxy = FaultProxy(api.url, ca=api.ca)
        self.kills: list[str] = []
        self._skips = skips
        self._killed_at: set[object] = set()
        self._subject = Autocanary(installation, *flags, server=self.proxy.url)
        self._subject.log.touch()
        self._process: BaseProcess | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mortal", daemon=True)
        fault = Reset(self._kill) if kill_point is KillPoint.BEFORE else DropResponse(self._kill)
        self.proxy.inject(fault, self._is_kill_point)

    def __enter__(self) -> KilledAtEachWrite:
        self.proxy.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stopping.set()
        self._kill()
        self._thread.join(10)
        self.proxy.__exit__(None, None, None)

    def events(self, *names: str) -> list[dict[str, Any]]:
        return self._subject.events(*names)

    def text(self) -> str:
        return self._subject.text()

    def _run(self) -> None:
        arguments, log = self._subject.arguments(), str(self._subject.log)
        while not self._stopping.is_set():
            environment = self._subject.environment()
            process = _FORKED.Process(target=_run_autocanary, args=(arguments, environment, log), daemon=True)
            process.start()
            self._process = process
            process.join()

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            process.kill()
            process.join(20)

    def _is_kill_point(self, received: ReceivedRequest) -> bool:
        if not writes(received) or self._skips(received):
            return False
        kind, identity = _write_identity(received)
        if identity in self._killed_at:
            return False
        self._killed_at.add(identity)
        self.kills.append(kind)
        return True


def _write_identity(received: ReceivedRequest) -> tuple[str, object]:
    """The kind of a write, and what distinguishes it from others even when it is decided again with other times."""
    path = received.path.partition("?")[0]
    body = json.loads(received.body or b"{}")
    if received.method == "PATCH":
        return "patch", (path, json.dumps(body.get("spec"), sort_keys=True))
    if path.endswith("/status"):
        status = body["status"]
        progress = status["progress"]
        pending = tuple(
            (each["event"], each["weight"], len(each["delivered_channels"]))
            for each in progress.get("pending_notifications", ())
        )
        verified = progress.get("verified_at") is not None
        state = (status["phase"], status["step"], status.get("weight"), verified)
        return "status", (path, *state, pending, len(status.get("notified", ())))
    kind = path.rpartition("/")[2] if received.method == "POST" else received.method.lower()
    return kind, (path, received.method, body.get("metadata", {}).get("name"))


def _run_autocanary(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """In the forked process: what ``autocanary`` does from its first line on."""
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["autocanary", *arguments]
    from autocanary.cli.root import main

    main()
