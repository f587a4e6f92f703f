"""``autocanary …`` as people and pipelines run it: a process with an exit code and two streams."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Said", "autocanary"]


@dataclass(frozen=True)
class Said:
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
) -> Said:
    """Run a command to its end as the user kim; a traceback is never an answer."""
    command = [sys.executable, "-m", "autocanary", *arguments]
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(home), "USER": "kim", "LOGNAME": "kim"}
    done = subprocess.run(
        command,
        env={**surroundings, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    said = Said(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in said.out + said.err, said
    return said
