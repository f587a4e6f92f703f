"""Runs ``autocanary`` with a profile of every thread: ``python -m benchmarks.profiled FILE run …``.

CPU time per thread, not wall time, so that waiting costs nothing; the profiler itself inflates small calls.
The profiles of all threads are added up and written to FILE, for ``python -m pstats``.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import threading
import time
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


def _written(path: str) -> None:
    total: pstats.Stats | None = None
    for profile in _profiles:
        profile.create_stats()
        if not profile.stats:
            continue
        if total is None:
            total = pstats.Stats(profile)
        else:
            total.add(profile)
    if total is not None:
        total.dump_stats(path)


def main() -> None:
    path = sys.argv.pop(1)
    patched: Any = _profiled_run
    threading.Thread.run = patched  # type: ignore[method-assign]
    from autocanary.__main__ import main as autocanary

    try:
        autocanary()
    finally:
        _written(path)


if __name__ == "__main__":
    main()
