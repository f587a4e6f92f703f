"""Where the CPU of a tick goes: every call of a port is timed, what is left is the controller's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

__all__ = ["CpuTimes", "TimedPort"]


class CpuTimes:
    """CPU seconds of this thread, and calls, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}

    def charge(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.calls[name] = self.calls.get(name, 0) + 1

    def reset(self) -> None:
        self.seconds.clear()
        self.calls.clear()


class TimedPort:
    """Stands for a port and charges what its methods cost; ports do not call each other."""

    def __init__(self, port: object, name: str, account: CpuTimes) -> None:
        self._port, self._name, self._account = port, name, account

    def __getattr__(self, attribute: str) -> Callable[..., Any]:
        method = getattr(self._port, attribute)
        name, account = self._name, self._account

        def timed(*arguments: Any, **named: Any) -> Any:
            begin = time.thread_time()
            try:
                return method(*arguments, **named)
            finally:
                account.charge(name, time.thread_time() - begin)

        self.__dict__[attribute] = timed  # found at once the next time
        return timed
