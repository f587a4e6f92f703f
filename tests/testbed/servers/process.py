"""One server program in a folder of its own, which can be stopped, killed, frozen and started again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.testbed import setup

Self = TypeVar("Self", bound="ServerProcess")

# Below every system's range for outgoing connections: a client that retries a stopped server's port can
# otherwise be given that very port, connect to itself, and keep the server from coming back on it.
LOWEST_PORT, HIGHEST_PORT = 20_000, 32_000


class ServerError(Exception):
    """A server did not become ready; the text ends with what it wrote last."""


def free_port() -> int:
    """A loopback port that nothing listens on, drawn at random so that runs side by side do not meet."""
    while True:
        port = random.randrange(LOWEST_PORT, HIGHEST_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def program(name: str) -> str:
    """The path of a server's program, or an error that names the command which gets it."""
    found = setup.find(name)
    if found is None:
        raise ServerError(f"{name} is missing: run `{setup.SETUP_COMMAND}`")
    return str(found)


def wait_until(true: Callable[[], bool], *, seconds: float, what: str, every: float = 0.05) -> None:
    """Poll until something holds; after the given seconds raise TimeoutError naming what never came."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


class ServerProcess(ABC):
    """The life of one server; a subclass says which command runs and how to see that it is ready.

    The folder holds its configuration, data and log. It is removed at the end unless the caller gave it,
    or the `with` block ended in an error, so that what the server wrote can be read after a failure.
    """

    name = "server"
    ready_seconds = 60.0

    def __init__(self, folder: Path | None = None) -> None:
        self._owns_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"autocanary-{self.name}-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command line, the same at every start."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether the server answers as it should; False, and no error, while it comes up."""

    def environment(self) -> Mapping[str, str] | None:
        """The variables of the process, instead of those of this one; None for the same."""
        return None

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait, for a bounded time, until it is ready."""
        if self.running:
            raise ServerError(f"{self.name} is running already")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        # When this process dies, however it dies, the pipe closes and its guard ends the server.
        guard = ["/bin/sh", "-c", 'read -r _; kill -KILL "$0"', str(self._process.pid)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._await_ready(self._process)

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + self.ready_seconds
        while not self.ready():
            if process.poll() is not None:
                self.kill()
                raise self._failed(f"ended with exit code {process.returncode}")
            if time.monotonic() > end:
                self.kill()
                raise self._failed(f"was not ready within {self.ready_seconds:g} s")
            time.sleep(0.05)

    def _failed(self, what: str) -> ServerError:
        self._owns_folder = False
        return ServerError(f"{self.name} {what}. The end of {self.log}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, seconds: float = 10.0) -> None:
        """End it politely (SIGTERM), or for good when it takes longer than the given seconds."""
        self._end(signal.SIGTERM, seconds)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would: clients see a refused connection."""
        self._end(signal.SIGKILL, 10.0)

    def _end(self, how: signal.Signals, seconds: float) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections are accepted by the kernel and nothing ever answers."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(self._is_stopped, seconds=10, what="every thread to stop", every=0.01)

    def _is_stopped(self) -> bool:
        """Whether no thread runs any more: on a busy machine one may still answer after the signal was sent."""
        try:
            tasks = [each.read_text() for each in Path(f"/proc/{self.pid}/task").glob("*/stat")]
        except (FileNotFoundError, ProcessLookupError):
            return False  # a thread has just ended
        return all(each.rpartition(")")[2].split()[0] in "TtZX" for each in tasks)

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Start again on the same data and the same port, after a stop or a kill, or by stopping first."""
        self.stop()
        self.start()

    def __enter__(self: Self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if self._owns_folder and kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
