"""User-visible texts use the field's words: the project's private words of earlier versions do not come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.wording_rules import RULES, Rule, Text, texts_of_page, texts_of_python, violations

PACKAGES = tuple(
    sorted({path.relative_to(ROOT).parts[1].removesuffix(".py") for path in (ROOT / "autocanary").rglob("*.py")})
)
CHART = ROOT / "charts/autocanary"
PAGES = tuple(
    str(path.relative_to(ROOT))
    for path in sorted(
        [
            *(each for each in (ROOT / "docs").rglob("*.md") if "decisions" not in each.parts),
            *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
            *(ROOT / "policies").glob("*.yaml"),
            *(CHART / "crds").glob("*.yaml"),
            *(CHART / "files").rglob("*.json"),
            CHART / "files/alerts.yaml",
            *(CHART / "templates").glob("*.*"),
            CHART / "values.yaml",
            CHART / "README.md",
        ]
    )
)


def _texts(package: str) -> Iterator[Text]:
    folder = ROOT / "autocanary" / package
    files: list[Path] = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    for file in files:
        yield from texts_of_python(file)


@pytest.mark.parametrize("package", PACKAGES)
def test_messages_and_docstrings_use_the_glossarys_words(package: str) -> None:
    """Every string and docstring of the package."""
    assert [each for text in _texts(package) for each in violations(text)] == []


@pytest.mark.parametrize("page", PAGES)
def test_pages_use_the_glossarys_words(page: str) -> None:
    """Documentation, example policies and the chart's texts."""
    assert [each for text in texts_of_page(ROOT / page) for each in violations(text)] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.example)
def test_each_rule_finds_its_word(rule: Rule) -> None:
    """A rule that matches nothing would pass everywhere."""
    [first, *_] = violations(Text("page", 1, f"Line one.\n{rule.example}."), (rule,))
    assert first.startswith("page:2: ")
    assert first.endswith(f"use {rule.instead}")


def test_the_rules_accept_plain_sentences() -> None:
    """Words that contain an excluded word are not meant."""
    text = (
        "The standby replica recommends an amendment; none of the readiness probes looks up a name. No one-way street."
    )
    assert violations(Text("page", 1, text)) == []


def test_the_texts_are_found(tmp_path: Path) -> None:
    """Docstrings, messages and the parts of f-strings."""
    assert {"cli", "decide", "errors", "kube"} <= set(PACKAGES)
    assert {"README.md", "docs/concepts.md", "policies/first.yaml", "charts/autocanary/values.yaml"} <= set(PAGES)
    found = [text.text for text in texts_of_python(ROOT / "autocanary/errors.py")]
    assert len(found) > 10
