"""Texts and code use the field's words: the project's private words of earlier versions do not come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.wording_rules import RULES, Rule, Text, texts_of_code, texts_of_page, texts_of_python, violations

PACKAGES = tuple(
    sorted({path.relative_to(ROOT).parts[1].removesuffix(".py") for path in (ROOT / "autocanary").rglob("*.py")})
)
CODE = tuple(
    sorted(
        {
            path.relative_to(ROOT).parts[:2]
            for folder in ("autocanary", "benchmarks", "tests")
            for path in (ROOT / folder).rglob("*.py")
        }
    )
)
"""The folders and files right below the package, the benchmarks and the tests."""
CHART = ROOT / "charts/autocanary"
PAGES = tuple(
    str(path.relative_to(ROOT))
    for path in sorted(
        [
            *(each for each in (ROOT / "docs").rglob("*.md") if "decisions" not in each.parts),
            *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")),
            *(each for each in (ROOT / ".github").rglob("*.*") if each.suffix in (".md", ".yaml", ".yml")),
            *(ROOT / "tests").rglob("README.md"),
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


@pytest.mark.parametrize("place", CODE, ids="/".join)
def test_names_docstrings_and_comments_use_the_glossarys_words(place: tuple[str, ...]) -> None:
    """Of the package, the tests and the benchmarks."""
    folder = ROOT.joinpath(*place)
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]
    assert [each for file in files for text in texts_of_code(file) for each in violations(text)] == []


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


def test_the_texts_of_code_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docstrings, comments and names, each with its line; strings that are only passed on are not."""
    monkeypatch.setattr("tests.docs.wording_rules.ROOT", tmp_path)
    file = tmp_path / "test_x.py"
    file.write_text(
        '"""Made anew."""\n'
        "def test_it_is_told(wish):\n"
        "    last_look = 1  # nobody\n"
        "class TheLedger: pass\n"
        "send('gate')\n"
    )
    found = sorted(each.split(": ")[0] for text in texts_of_code(file) for each in violations(text))
    assert found == [f"test_x.py:{line}" for line in (1, 2, 2, 3, 3, 4)]


def test_the_texts_are_found(tmp_path: Path) -> None:
    """Docstrings, messages and the parts of f-strings."""
    assert {"cli", "decide", "errors", "kube"} <= set(PACKAGES)
    assert {"README.md", "docs/concepts.md", "policies/first.yaml", "charts/autocanary/values.yaml"} <= set(PAGES)
    found = [text.text for text in texts_of_python(ROOT / "autocanary/errors.py")]
    assert len(found) > 10
