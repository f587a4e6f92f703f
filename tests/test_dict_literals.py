"""Tests of the package's source: a dict literal has each key once."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import autocanary

PACKAGE = Path(autocanary.__file__).parent


def repeated_keys(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and key of each dict literal's repetitions; names and attributes count as keys by their text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            counts = Counter(ast.unparse(key) for key in node.keys if key is not None)
            yield from ((node.lineno, key) for key, count in counts.items() if count > 1)


def test_no_dict_literal_repeats_a_key() -> None:
    """Python keeps the last of two entries without a word, so the first one is dead text."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {key}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, key in repeated_keys(ast.parse(path.read_text("utf-8")))
    ]
    assert found == []


def test_a_repeated_attribute_is_found() -> None:
    """Linters see repeated constants and names only; the table of advice is keyed by attributes."""
    tree = ast.parse("TABLE = {\n    Reason.A.value: 1,\n    Reason.B.value: 2,\n    Reason.A.value: 3,\n}")
    assert list(repeated_keys(tree)) == [(1, "Reason.A.value")]
