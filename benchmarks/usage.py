"""CPU and memory of a process, as Linux reports them in /proc."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cpu_seconds", "idle_seconds", "resident_megabytes"]

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of all its threads so far; the granularity is 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_megabytes(pid: int) -> float:
    """Memory in use now, in units of 1,000,000 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def idle_seconds() -> float:
    """Idle time of the whole machine so far, summed over its processors."""
    return int(Path("/proc/stat").read_text().splitlines()[0].split()[4]) / _TICKS
