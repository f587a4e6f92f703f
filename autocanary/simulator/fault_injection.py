"""Planned errors: the next calls to a simulated port fail as planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from autocanary.errors import AutocanaryError

__all__ = ["FaultInjector", "FaultTiming"]

T = TypeVar("T")


class FaultTiming(str, Enum):
    """When the error comes: before anything has happened, or after it has (the answer was lost).

    ``BETWEEN`` is between the two requests of a call that makes two: an object created, its status not yet
    written.
    """

    BEFORE = "before"
    BETWEEN = "between"
    AFTER = "after"


@dataclass(slots=True)
class _ArmedFault:
    error: AutocanaryError
    timing: FaultTiming
    verb: str
    name: str
    times: int


class FaultInjector:
    """``next`` arms an error; ``run_with_faults`` makes a call with what is armed for it."""

    def __init__(self) -> None:
        self._armed: list[_ArmedFault] = []

    def next(
        self,
        error: AutocanaryError,
        *,
        timing: FaultTiming = FaultTiming.BEFORE,
        verb: str = "",
        name: str = "",
        times: int = 1,
    ) -> None:
        """The next ``times`` calls of this verb on this object (empty: any) raise ``error``."""
        self._armed.append(_ArmedFault(error, timing, verb, name, times))

    def clear(self) -> None:
        self._armed.clear()

    def run_with_faults(self, verb: str, name: str, first: Callable[[], None], second: Callable[[], T]) -> T:
        """``first`` then ``second``, with the error that is due before, between or after them."""
        fault = self._pop_armed(verb, name)
        if fault is not None and fault.timing is FaultTiming.BEFORE:
            raise fault.error
        first()
        if fault is not None and fault.timing is FaultTiming.BETWEEN:
            raise fault.error
        result = second()
        if fault is not None:
            raise fault.error
        return result

    def _pop_armed(self, verb: str, name: str) -> _ArmedFault | None:
        for fault in self._armed:
            if fault.verb in ("", verb) and fault.name in ("", name):
                fault.times -= 1
                if fault.times == 0:
                    self._armed.remove(fault)
                return fault
        return None
