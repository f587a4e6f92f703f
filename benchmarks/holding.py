"""How much memory some objects hold, with everything that hangs on them and on nothing that is left out."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

__all__ = ["megabytes_held"]

_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, CodeType)
"""Code is there once, however many rollouts there are; and everything hangs on it in some way."""


def megabytes_held(roots: Iterable[object], without: Iterable[object] = ()) -> float:
    """In units of 1,000,000 bytes, each object counted once.

    As Python reports the sizes: without the memory that the allocator keeps free, and what C code has allocated.
    """
    left_out = list(without)  # held, so that no id is given away meanwhile
    seen = {id(each) for each in left_out}
    waiting = list(roots)
    size = 0
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, _SHARED):
            continue
        seen.add(id(each))
        size += sys.getsizeof(each)
        waiting.extend(gc.get_referents(each))
    return size / 1e6
