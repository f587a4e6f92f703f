"""Problems of a document by the path of the field, and the position of each value in its file.

With the positions a FieldProblem becomes a ``Problem`` of ``autocanary.errors``, with file, line and column.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autocanary.errors import Problem
from autocanary.policy_files.units import cut_text

__all__ = ["FieldPath", "FieldProblem", "Position", "SourcePositions", "format_path", "to_problem"]

FieldPath = tuple[str | int, ...]

Position = tuple[int, int]
"""Line and column, from 1."""

_MAX_PATH_PARTS = 12
_MAX_NAME_LENGTH = 80
_MAX_TEXT_LENGTH = 600


@dataclass
class SourcePositions:
    """The position of each value of a document, and of the name before it (``keys``)."""

    start: Position = (1, 1)
    values: dict[FieldPath, Position] = field(default_factory=dict)
    keys: dict[FieldPath, Position] = field(default_factory=dict)
    unquoted: dict[FieldPath, str] = field(default_factory=dict)
    """Text that was written without quotes."""

    def position(self, path: FieldPath, *, key: bool = False) -> Position:
        """The position of a value, or of its name; of the nearest part around it when it is not there."""
        while path:
            found = self.keys.get(path) if key else None
            found = found or self.values.get(path)
            if found:
                return found
            path, key = path[:-1], True
        return self.start


def format_path(path: FieldPath) -> str:
    """The path as users write it, on one line whatever its keys hold, and cut.

    >>> format_path(("spec", "steps", 0, "setWeight"))
    'spec.steps[0].setWeight'
    """
    text = ""
    for part in path[:_MAX_PATH_PARTS]:
        name = part if isinstance(part, int) else cut_text(part, _MAX_NAME_LENGTH)
        text += f"[{name}]" if isinstance(part, int) else f".{name}" if text else f"{name}"
    return text if len(path) <= _MAX_PATH_PARTS else f"{text}…"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """``at_key``: the name of the field is wrong, not its value.

    ``suggestion``: the path where the value was probably meant to be, or the word that was probably meant instead.
    """

    path: FieldPath
    message: str
    hint: str = ""
    at_key: bool = False
    severity: str = "error"
    suggestion: FieldPath | str = ""


def to_problem(field_problem: FieldProblem, source: str, positions: SourcePositions | None) -> Problem:
    """With the place in the file; a custom resource has none, so its problems only name the field."""
    line, column = positions.position(field_problem.path, key=field_problem.at_key) if positions is not None else (0, 0)
    name = format_path(field_problem.path)
    message = f"{name}: {field_problem.message}" if name else field_problem.message
    hint = cut_text(field_problem.hint, _MAX_TEXT_LENGTH)
    return Problem(source, line, column, cut_text(message, _MAX_TEXT_LENGTH), hint, field_problem.severity)
