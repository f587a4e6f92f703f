"""Results to stdout, words about them to stderr."""

from __future__ import annotations

import io
import json

import pytest
import yaml

from autocanary.cli import printing
from autocanary.cli.printing import Output


def test_results_and_words_go_to_different_places(capsys: pytest.CaptureFixture[str]) -> None:
    """So that a pipe gets only the result; long lines are not broken, and brackets are no markup."""
    long = "[bold]x[/bold] " + "y" * 300
    printing.say(long)
    printing.tell("a word [about it]")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (f"{long}\n", "a word [about it]\n")


def test_a_document_is_json_or_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of its fields, with the letters as they are."""
    value = {"name": "모델", "a": [1, None]}
    printing.document(value, Output.JSON)
    text = capsys.readouterr().out
    assert (json.loads(text), "모델" in text) == (value, True)
    printing.document(value, Output.YAML)
    text = capsys.readouterr().out
    assert (yaml.safe_load(text), text.startswith("name: 모델\n")) == (value, True)


def test_a_reader_that_has_gone_is_no_exit_of_rich_s() -> None:
    """rich would exit with 1, which means something else here."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        printing.console(Gone()).print("x")


def test_hush_survives_a_stdout_that_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    """As in tests and under supervisors."""
    printing.hush()
    printing.say("still there")
    assert "still there" in capsys.readouterr().out
