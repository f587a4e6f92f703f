"""Errors waiting to happen: the next calls to a simulated port fail as they were told to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from autocanary.errors import AutocanaryError

__all__ = ["Faults", "Strike"]

T = TypeVar("T")


class Strike(str, Enum):
    """When the error comes: before anything has happened, or after it has (the answer was lost).

    ``BETWEEN`` is between the two requests of a call that makes two: an object created, its status not yet
    written.
    """

    BEFORE = "before"
    BETWEEN = "between"
    AFTER = "after"


@dataclass(slots=True)
class _Waiting:
    error: AutocanaryError
    strike: Strike
    verb: str
    name: str
    times: int


class Faults:
    """``next`` arms an error; ``around`` makes a call with what is armed for it."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []

    def next(
        self,
        error: AutocanaryError,
        *,
        strike: Strike = Strike.BEFORE,
        verb: str = "",
        name: str = "",
        times: int = 1,
    ) -> None:
        """The next ``times`` calls of this verb on this object (empty: any) raise ``error``."""
        self._waiting.append(_Waiting(error, strike, verb, name, times))

    def clear(self) -> None:
        self._waiting.clear()

    def around(self, verb: str, name: str, first: Callable[[], None], second: Callable[[], T]) -> T:
        """``first`` then ``second``, with the error that is due before, between or after them."""
        fault = self._take(verb, name)
        if fault is not None and fault.strike is Strike.BEFORE:
            raise fault.error
        first()
        if fault is not None and fault.strike is Strike.BETWEEN:
            raise fault.error
        result = second()
        if fault is not None:
            raise fault.error
        return result

    def _take(self, verb: str, name: str) -> _Waiting | None:
        for fault in self._waiting:
            if fault.verb in ("", verb) and fault.name in ("", name):
                fault.times -= 1
                if fault.times == 0:
                    self._waiting.remove(fault)
                return fault
        return None
