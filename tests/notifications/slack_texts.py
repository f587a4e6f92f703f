"""The texts of a Slack payload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["texts_of"]


def texts_of(content: Any) -> Iterator[str]:
    """In the order in which they are shown."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "text" and isinstance(value, str):
                yield value
            else:
                yield from texts_of(value)
    elif isinstance(content, list):
        for each in content:
            yield from texts_of(each)
