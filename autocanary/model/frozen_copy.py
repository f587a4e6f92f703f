"""A frozen value with some of its fields replaced, at a fraction of the cost of ``dataclasses.replace``.

For the values of which every evaluation makes several. To a type checker it is ``dataclasses.replace``, so that every
field and its type are checked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

__all__ = ["replace"]

if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(value: Any, /, **changes: Any) -> Any:
        """TypeError for a change of a field that there is not, as ``dataclasses.replace`` has it."""
        slots = _slots(type(value))
        if slots is None:
            return dataclasses.replace(value, **changes)
        new = object.__new__(type(value))
        for name, (read, write) in slots.items():
            write(new, changes.pop(name) if name in changes else read(value))
        if changes:
            raise TypeError(f"{type(value).__name__} has no field {', '.join(changes)}")
        return new


_Slot = tuple[Callable[[Any], Any], Callable[[Any, Any], None]]


@cache
def _slots(kind: type) -> Mapping[str, _Slot] | None:
    """How each field is read and written; None where a copy of the fields is not the whole value."""
    if not dataclasses.is_dataclass(kind) or hasattr(kind, "__post_init__"):
        return None
    fields = dataclasses.fields(kind)
    descriptors = {each.name: kind.__dict__.get(each.name) for each in fields}
    if any(not hasattr(each, "__set__") for each in descriptors.values()) or not all(each.init for each in fields):
        return None
    return {name: (each.__get__, each.__set__) for name, each in descriptors.items() if each is not None}
