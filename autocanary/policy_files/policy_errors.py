"""What is wrong with a document, before it is known where the document stands.

A Fault names the field by its path; ``Problem`` (in ``autocanary.errors``) is what becomes of it once the
path has been turned into file, line and column.
"""

from __future__ import annotations

from dataclasses import dataclass

from autocanary.errors import Problem
from autocanary.policy_files.spots import Path, Spots, field_name

__all__ = ["Fault", "to_problem"]


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
