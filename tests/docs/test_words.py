"""User-visible texts use the field's words: the project's private words of earlier versions do not come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.wording_rules import RULES, Rule, Text, texts_of_page, texts_of_python, violations

NOT_YET_CLEAN: frozenset[str] = frozenset(
    {
        "analysis",
        "app",
        "controller",
        "decide",
        "kserve",
        "kube",
        "model",
        "notifications",
        "policy_files",
        "prometheus",
        "scheduler",
        "simulator",
        "SECURITY.md",
        "charts/autocanary/README.md",
        "charts/autocanary/templates/NOTES.txt",
        "charts/autocanary/values.yaml",
        "docs/guarantees.md",
        "docs/how-it-decides.md",
        "docs/judge-benchmark.md",
        "docs/metrics-recipes.md",
        "docs/notifications.md",
        "docs/security.md",
        "docs/troubleshooting.md",
    }
)
"""Packages and pages whose texts are being rewritten. Remove a name to see what its texts still say."""

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
            CHART / "values.yaml",
            CHART / "README.md",
            CHART / "templates/NOTES.txt",
        ]
    )
)


def _texts(package: str) -> Iterator[Text]:
    folder = ROOT / "autocanary" / package
    files: list[Path] = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    for file in files:
        yield from texts_of_python(file)


@pytest.mark.parametrize("package", [each for each in PACKAGES if each not in NOT_YET_CLEAN])
def test_messages_and_docstrings_use_the_glossarys_words(package: str) -> None:
    """Every string and docstring of the package."""
    assert [each for text in _texts(package) for each in violations(text)] == []


@pytest.mark.parametrize("page", [each for each in PAGES if each not in NOT_YET_CLEAN])
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


def test_the_list_of_texts_being_rewritten_names_what_exists() -> None:
    """A renamed package would stay unchecked."""
    assert NOT_YET_CLEAN - {*PACKAGES, *PAGES} == frozenset()


def test_the_texts_are_found(tmp_path: Path) -> None:
    """Docstrings, messages and the parts of f-strings."""
    assert {"cli", "decide", "errors", "kube"} <= set(PACKAGES)
    assert {"README.md", "docs/concepts.md", "policies/first.yaml", "charts/autocanary/values.yaml"} <= set(PAGES)
    found = [text.text for text in texts_of_python(ROOT / "autocanary/errors.py")]
    assert len(found) > 10
