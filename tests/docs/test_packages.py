"""Each package's docstring says what lives in it, by name, and what must never."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PACKAGES = tuple(sorted(path.parent for path in (ROOT / "autocanary").rglob("__init__.py")))

each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))


def _docstring(package: Path) -> str:
    text = (package / "__init__.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(text)) or ""


def _contents(package: Path) -> set[str]:
    """The modules and packages that lie directly in a package."""
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    return modules | {path.parent.name for path in package.glob("*/__init__.py")}


@each_package
def test_every_module_is_named_in_its_packages_docstring(package: Path) -> None:
    """Whoever looks for something finds the room by its docstring, and the file in it."""
    named = set(re.findall(r"``(\w+)/?``", _docstring(package)))
    assert sorted(_contents(package) - named) == []


@each_package
def test_every_package_says_what_must_never_be_there(package: Path) -> None:
    """The rule that keeps a room what it is."""
    assert re.search(r"\b[Mm]ust never\b", _docstring(package))


def test_the_packages_are_found() -> None:
    """The tests above would pass on none."""
    assert {ROOT / "autocanary", ROOT / "autocanary/core", ROOT / "autocanary/core/rules"} <= set(PACKAGES)
    assert {"planner", "rules", "judge"} <= _contents(ROOT / "autocanary/core")
