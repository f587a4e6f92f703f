"""``python -m tests.matrices``: every matrix of this package as a Markdown table.

A module is a matrix when it has a ``title`` and ``rows()``, whose first row is the head.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType

import tests.matrices


def matrices() -> list[ModuleType]:
    """The modules that are matrices, by name."""
    names = sorted(each.name for each in pkgutil.iter_modules(tests.matrices.__path__) if each.name[0] != "_")
    modules = [importlib.import_module(f"tests.matrices.{name}") for name in names]
    return [each for each in modules if hasattr(each, "title") and hasattr(each, "rows")]


def markdown(matrix: ModuleType) -> str:
    """One matrix as a section with a table."""
    head, *rows = matrix.rows()
    lines = [head, tuple("---" for _ in head), *rows]
    return f"## {matrix.title}\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def main() -> None:
    sys.stdout.write("\n".join(markdown(each) for each in matrices()))


if __name__ == "__main__":
    main()
