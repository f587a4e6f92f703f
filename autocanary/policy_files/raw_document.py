"""Parts of a document as it was written, for checks that go on although another part is wrong."""

from __future__ import annotations

from typing import Any

__all__ = ["RawMapping", "get_list", "get_mapping", "get_value"]

RawMapping = dict[str, Any]


def get_mapping(value: Any, name: str) -> RawMapping | None:
    """The mapping under a name; None where there is no such."""
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else None


def get_value(value: Any, name: str) -> Any:
    """What is under a name; None where nothing is."""
    return value.get(name) if isinstance(value, dict) else None


def get_list(value: Any, name: str) -> list[Any]:
    """The entries of the list under a name; none where there is no such list."""
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, list) else []
