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

from tests.real.stage import Autocanary, Stage
from tests.testbed.servers import FaultProxy, LoseAnswer, Received, Reset, writes

__all__ = ["Moment", "Mortal"]

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["autocanary.cli.root", "autocanary.app.service", "tests.real.mortal"])


class Moment(str, Enum):
    """Of a write: the server has not seen it, or has done it and the answer never arrives."""

    BEFORE = "before"
    AFTER = "after"


class Mortal:
    """Dies once at every different write that ``spares`` does not spare; ``deaths`` counts them by kind."""

    def __init__(
        self,
        stage: Stage,
        moment: Moment,
        *flags: str,
        spares: Callable[[Received], bool] = lambda _: False,
    ) -> None:
        api = stage.api
        self.proxy = FaultProxy(api.url, ca=api.ca)
        self.deaths: list[str] = []
        self._spares = spares
        self._died_at: set[object] = set()
        self._subject = Autocanary(stage, *flags, server=self.proxy.url)
        self._subject.log.touch()
        self._process: BaseProcess | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mortal", daemon=True)
        fault = Reset(self._die) if moment is Moment.BEFORE else LoseAnswer(self._die)
        self.proxy.inject(fault, self._fatal)

    def __enter__(self) -> Mortal:
        self.proxy.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stopping.set()
        self._die()
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
            process = _FORKED.Process(target=_live, args=(arguments, environment, log), daemon=True)
            process.start()
            self._process = process
            process.join()

    def _die(self) -> None:
        process = self._process
        if process is not None:
            process.kill()
            process.join(20)

    def _fatal(self, received: Received) -> bool:
        if not writes(received) or self._spares(received):
            return False
        kind, mark = _mark(received)
        if mark in self._died_at:
            return False
        self._died_at.add(mark)
        self.deaths.append(kind)
        return True


def _mark(received: Received) -> tuple[str, object]:
    """The kind of a write, and what tells it from others even when it is decided anew with other times."""
    path = received.path.partition("?")[0]
    body = json.loads(received.body or b"{}")
    if received.method == "PATCH":
        return "patch", (path, json.dumps(body.get("spec"), sort_keys=True))
    if path.endswith("/status"):
        status = body["status"]
        progress = status["progress"]
        untold = tuple(
            (each["event"], each["weight"], len(each["done"])) for each in progress.get("untold", ())
        )
        verified = progress.get("verified_at") is not None
        state = (status["phase"], status["step"], status.get("weight"), verified)
        return "status", (path, *state, untold, len(status.get("notified", ())))
    kind = path.rpartition("/")[2] if received.method == "POST" else received.method.lower()
    return kind, (path, received.method, body.get("metadata", {}).get("name"))


def _live(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """In the forked process: what ``autocanary`` does from its first line on."""
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["autocanary", *arguments]
    from autocanary.cli.root import main

    main()
