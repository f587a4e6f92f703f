"""Where each value of a document stands: its path in the document, its line and column in the file."""

from __future__ import annotations

from dataclasses import dataclass, field

from autocanary.policy_files.units import one_line

__all__ = ["Path", "Place", "Spots", "field_name"]

Path = tuple[str | int, ...]

Place = tuple[int, int]
"""Line and column, from 1."""


@dataclass
class Spots:
    """Where each value of a document stands; ``key`` places are those of the names before the values."""

    start: Place = (1, 1)
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    bare: dict[Path, str] = field(default_factory=dict)
    """Text that was written without quotes."""

    def place(self, path: Path, *, key: bool = False) -> Place:
        """The place of a value, or of its name; of the nearest part around it when it is not there."""
        while path:
            found = self.keys.get(path) if key else None
            found = found or self.values.get(path)
            if found:
                return found
            path, key = path[:-1], True
        return self.start


def field_name(path: Path) -> str:
    """The path as people write it, on one line whatever its keys hold.

    >>> field_name(("spec", "steps", 0, "setWeight"))
    'spec.steps[0].setWeight'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return one_line(text)
