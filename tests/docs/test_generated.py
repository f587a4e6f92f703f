"""The pages that are made from the program are up to date."""

from __future__ import annotations

import pytest

from autocanary.settings import Settings
from docs.generate import PAGES
from tests.docs.pages import text_of


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_what_the_program_says_now(page: str) -> None:
    """After a change of a command or setting, `python docs/generate.py` writes the pages anew."""
    assert text_of(f"docs/{page}") == PAGES[page](), "run `python docs/generate.py`"


def test_every_setting_has_a_row_with_its_variable() -> None:
    """A setting that exists can be found."""
    page = text_of("docs/settings.md")
    assert [name for name in Settings.model_fields if f"| `AUTOCANARY_{name.upper()}` |" not in page] == []


def test_hidden_flags_stay_hidden() -> None:
    """What `--help` does not show, the page does not either."""
    assert "--svg" not in text_of("docs/cli.md")
