"""A frozen value with some of its fields replaced, at less than half the cost of ``dataclasses.replace``.

For the values of which every look at every rollout makes several: wide ones with slots and without a
``__post_init__``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

__all__ = ["changed"]

Value = TypeVar("Value")
_Slot = tuple[Callable[[Any], Any], Callable[[Any, Any], None]]


def changed(value: Value, changes: Mapping[str, Any]) -> Value:
    """KeyError for a change of a field that there is not."""
    kind: Any = type(value)
    slots = _slots(kind)
    new: Value = object.__new__(kind)
    for read, write in slots.values():
        write(new, read(value))
    for name, each in changes.items():
        slots[name][1](new, each)
    return new


@cache
def _slots(kind: type) -> Mapping[str, _Slot]:
    return {
        each.name: (getattr(kind, each.name).__get__, getattr(kind, each.name).__set__)
        for each in fields(kind)
    }
