"""Results to stdout, words about them to stderr."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
import yaml

from autocanary.cli import printing
from autocanary.cli.printing import Output


def test_results_go_to_stdout_and_notices_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """So that a pipe gets only the result; long lines are not broken, and brackets are no markup."""
    long = "[bold]x[/bold] " + "y" * 300
    printing.print_result(long)
    printing.print_notice("a word [about it]")
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


def test_broken_pipe_does_not_exit_with_1() -> None:
    """rich would exit with 1, which means something else here."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        printing.console(Gone()).print("x")


def test_silence_stdout_without_a_file_descriptor(capsys: pytest.CaptureFixture[str]) -> None:
    """As in tests and under supervisors."""
    printing.silence_stdout()
    printing.print_result("still there")
    assert "still there" in capsys.readouterr().out


def test_an_encoding_without_a_character_gets_a_replacement() -> None:
    """A bar in Latin-1 is no traceback."""
    code = (
        "from autocanary.cli import printing; printing.replace_unencodable(); "
        "printing.print_result('stable ░░██ → 25 % … ✅ é 漢')"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.decode("latin-1"), done.stderr) == (0, "stable --## -> 25 % ~  é ?\n", b"")
