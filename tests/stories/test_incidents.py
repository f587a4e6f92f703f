"""Ten incidents as the one on call sees them, against the files of ``golden/``."""

from __future__ import annotations

import re

import pytest

from tests.stories.incidents import FOLDER, INCIDENTS

AGAIN = "python -m tests.stories.incidents writes the files again; read what changed, as if woken by it"


@pytest.mark.parametrize("name", list(INCIDENTS))
def test_what_the_one_on_call_reads(name: str) -> None:
    """The text is reviewed as text."""
    assert INCIDENTS[name]() == (FOLDER / f"{name}.txt").read_text("utf-8"), AGAIN


def test_every_file_has_its_incident() -> None:
    """No file stays behind when an incident goes."""
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(INCIDENTS)


@pytest.mark.parametrize("name", list(INCIDENTS))
def test_a_user_is_called_once_for_each_need(name: str) -> None:
    """At the beginning of a rollback, or where only a user goes on; never twice for the same."""
    text = (FOLDER / f"{name}.txt").read_text("utf-8")
    calls = re.findall(r"----- Slack \(mentions you\)\n(.*)\n", text)
    assert len(calls) == len(set(calls))
    assert len(calls) <= 1


@pytest.mark.parametrize("name", list(INCIDENTS))
def test_no_line_is_wider_than_the_terminal_and_no_sentence_ends_twice(name: str) -> None:
    """80 columns; Slack breaks its own lines."""
    text = (FOLDER / f"{name}.txt").read_text("utf-8")
    for screen in re.findall(r"^\$ autocanary .*?(?=^----- Slack|^\$ |\Z)", text, re.DOTALL | re.MULTILINE):
        assert max(map(len, screen.splitlines())) <= 80
    assert not re.search(r"\.\.(?!\.)|\.;|; \.|: :", text)
