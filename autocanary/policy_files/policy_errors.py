"""What is wrong with a document, before it is known where the document stands.

A Fault names the field by its path; ``Problem`` (in ``autocanary.errors``) is what becomes of it once the
path has been turned into file, line and column.

Where each value of a document stands: its path in the document, its line and column in the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autocanary.errors import Problem
from autocanary.policy_files.units import one_line

__all__ = ["Fault", "Path", "Place", "Spots", "field_name", "to_problem"]

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


@dataclass(frozen=True, slots=True)
class Fault:
    """``at_key``: the name of the field is wrong, not its value.

    ``meant``: where the value was probably meant to stand, or the word that was probably meant instead.
    """

    path: Path
    message: str
    hint: str = ""
    at_key: bool = False
    severity: str = "error"
    meant: Path | str = ""


def to_problem(fault: Fault, source: str, spots: Spots | None) -> Problem:
    """With the place in the file; a custom resource has none, so its problems only name the field."""
    line, column = spots.place(fault.path, key=fault.at_key) if spots is not None else (0, 0)
    name = field_name(fault.path)
    message = f"{name}: {fault.message}" if name else fault.message
    return Problem(source, line, column, message, fault.hint, fault.severity)
