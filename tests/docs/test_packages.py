"""Each package's docstring says what lives in it, and what must never."""

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


@each_package
def test_every_package_says_what_lives_there_in_a_few_sentences(package: Path) -> None:
    """A docstring that lists files goes stale; two to six sentences say what belongs here."""
    text = _docstring(package).split("::")[0]
    sentences = re.findall(r"[.:?](?:\s|$)", text)
    assert 1 <= len(sentences) <= 12


@each_package
def test_every_package_says_what_must_never_be_there(package: Path) -> None:
    """Each docstring says what must not live in the package."""
    assert re.search(r"\b[Mm]ust never\b", _docstring(package))


def test_the_packages_are_found() -> None:
    """The tests above would pass on none."""
    assert {ROOT / "autocanary", ROOT / "autocanary/model", ROOT / "autocanary/decide/rules"} <= set(PACKAGES)
