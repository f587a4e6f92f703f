"""``autocanary …`` as users and pipelines run it: a process with an exit code and two streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CommandOutput", "Log", "autocanary", "in_background"]


_COMMAND = (sys.executable, "-m", "autocanary")


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "USER": "kim", "LOGNAME": "kim"}


@dataclass(frozen=True)
class CommandOutput:
    """What became of one command."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line that it said, wherever that went."""
        [line] = (self.out + self.err).splitlines()
        return line


def autocanary(
    *arguments: str, home: Path, environment: Mapping[str, str] | None = None, seconds: float = 60.0
) -> CommandOutput:
    """Run a command to its end as the user kim; a traceback is never an answer."""
    done = subprocess.run(
        [*_COMMAND, *arguments],
        env={**_environment(home), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    said = CommandOutput(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in said.out + said.err, said
    return said


@dataclass(frozen=True)
class Log:
    """What a command that goes on has said so far."""

    file: Path

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.file.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]


@contextmanager
def in_background(*arguments: str, home: Path) -> Iterator[Log]:
    """A command that goes on on its own; it is ended with the block, and must not have ended before."""
    log = Log(home / "background.log")
    with log.file.open("ab") as stream:
        process = subprocess.Popen([*_COMMAND, *arguments], env=_environment(home), stdout=stream, stderr=stream)
    try:
        yield log
        assert process.poll() is None, log.file.read_text()
    finally:
        process.kill()
        process.wait(10)
    assert "Traceback" not in log.file.read_text()
