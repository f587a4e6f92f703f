"""Runs ``autocanary`` with a profile of every thread: ``python -m benchmarks.profiled FILE run …``.

CPU time per thread, not wall time, so that waiting costs nothing; the profiler itself inflates small calls.
The profiles of all threads are added up and written to FILE, for ``python -m pstats``: at the end, or what
lies between two SIGUSR1. For CPython before 3.12, where each thread can have a profiler of its own.
"""

from __future__ import annotations

import cProfile
import pstats
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_profiles: list[cProfile.Profile] = []
_run = threading.Thread.run


def _profiled_run(thread: threading.Thread) -> None:
    profile = cProfile.Profile(time.thread_time)
    _profiles.append(profile)
    profile.enable()
    try:
        _run(thread)
    finally:
        profile.disable()


def _write(path: str) -> None:
    total: pstats.Stats | None = None
    for profile in _profiles:
        profile.snapshot_stats()
        if not profile.stats:
            continue
        if total is None:
            total = pstats.Stats(profile)
        else:
            total.add(profile)
    if total is not None:
        total.dump_stats(path)


def _signal_handler(path: str) -> Callable[[int, FrameType | None], None]:
    begun: list[bool] = []

    def marked(_signal: int, _frame: FrameType | None) -> None:
        if begun:
            _write(path)
            return
        begun.append(True)
        for profile in _profiles:
            profile.clear()

    return marked


def main() -> None:
    if sys.version_info >= (3, 12):
        raise SystemExit("profiling every thread needs CPython 3.10 or 3.11")
    path = sys.argv.pop(1)
    Path(path).unlink(missing_ok=True)
    signal.signal(signal.SIGUSR1, _signal_handler(path))
    patched: Any = _profiled_run
    threading.Thread.run = patched  # type: ignore[method-assign]
    from autocanary.__main__ import main as autocanary

    try:
        autocanary()
    finally:
        if not Path(path).exists():
            _write(path)


if __name__ == "__main__":
    main()
