"""The files of docs/ that are generated from the program are up to date."""

from __future__ import annotations

import pytest

from autocanary.settings import Settings
from docs.generate import PAGES
from tests.docs.pages import ROOT, text_of


@pytest.mark.parametrize("page", PAGES)
def test_generated_page_is_up_to_date(page: str) -> None:
    """After a change of a command, setting, metric or policy field, `python docs/generate.py` writes the pages."""
    assert text_of(f"docs/{page}") == PAGES[page](), "run `python docs/generate.py`"


def test_every_setting_has_a_row_with_its_variable() -> None:
    """A setting that exists can be found."""
    page = text_of("docs/settings.md")
    assert [name for name in Settings.model_fields if f"| `AUTOCANARY_{name.upper()}` |" not in page] == []


def test_hidden_flags_stay_hidden() -> None:
    """What `--help` does not show, the page does not either."""
    assert "--svg" not in text_of("docs/cli.md")


def test_no_module_of_the_package_is_a_script_that_its_package_imports() -> None:
    """`python -m` on a module that the package's __init__ imports runs it twice and warns."""
    scripts = [path for path in (ROOT / "autocanary").rglob("*.py") if "if __name__" in path.read_text("utf-8")]
    assert [path.name for path in scripts if path.name != "__main__.py"] == []
