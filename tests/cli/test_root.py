"""The program as a whole: names, help, and every way in which a command can end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest
import typer
from typer.testing import CliRunner

import autocanary
from autocanary.__main__ import main
from autocanary.cli import printing, root
from autocanary.cli.root import app, program
from autocanary.errors import AutocanaryError, Forbidden, NotFound, SettingsError, Unreachable
from tests.cli.conftest import Invoke
from tests.cli.fake_client import FakeRolloutClient

VERBS = ["promote", "pause", "resume", "abort", "retry"]
COMMANDS = ["run", "demo", "status", *VERBS, "validate", "simulate", "crds", "version"]


def test_help_names_every_command(invoke: Invoke) -> None:
    """Without arguments, with -h and with --help alike; nothing that is not built is listed."""
    for arguments in ((), ("-h",), ("--help",)):
        result = invoke(*arguments)
        assert result.exit_code == 0
        for command in COMMANDS:
            assert f" {command} " in result.stdout
        assert "backtest" not in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(invoke: Invoke, command: str) -> None:
    """Its first line says what it does."""
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"Usage: autocanary {command}" in result.stdout


def test_help_shows_the_name_it_was_called_by() -> None:
    """Users who type `kubectl autocanary` are shown that."""
    assert program("/usr/local/bin/kubectl-autocanary") == "kubectl autocanary"
    assert program("/usr/local/bin/autocanary") == "autocanary"
    assert program("/x/autocanary/__main__.py") == "autocanary"
    result = CliRunner().invoke(app, ["status", "--help"], prog_name="kubectl autocanary")
    assert "Usage: kubectl autocanary status" in result.stdout


def test_the_version_is_the_package_s(invoke: Invoke) -> None:
    """As a command, and as the flag that users try."""
    for argument in ("version", "--version"):
        result = invoke(argument)
        assert (result.stdout, result.exit_code) == (f"{autocanary.__version__}\n", 0)


def test_an_unknown_command_is_wrong_usage(invoke: Invoke) -> None:
    """With the nearest one, on stderr, in one line."""
    result = invoke("stauts")
    assert result.exit_code == 2
    assert result.stderr == "autocanary: No such command 'stauts'. Did you mean 'status'? See autocanary --help.\n"
    assert result.stdout == ""


def test_an_unknown_flag_and_a_missing_argument_are_wrong_usage(invoke: Invoke) -> None:
    """Both name the command whose help to read."""
    result = invoke("status", "--wath")
    assert result.exit_code == 2
    assert "See autocanary status --help." in result.stderr
    result = invoke("promote")
    assert result.exit_code == 2
    assert "Missing argument 'NAME...'" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("https://10.0.0.1:6443 does not answer: connection refused"), 3),
        (
            NotFound("CanaryRollouts are not known: run `autocanary crds | kubectl apply -f -`", status=404),
            3,
        ),
        (Forbidden("user dev may not list canaryrollouts in namespace models", status=403), 3),
        (SettingsError("kubeconfig /x has no context 'prod'"), 2),
    ],
)
@pytest.mark.parametrize("command", ["status", *VERBS])
def test_every_error_is_one_sentence_on_stderr(
    invoke: Invoke,
    cluster: Callable[[AutocanaryError], None],
    command: str,
    error: AutocanaryError,
    code: int,
) -> None:
    """An unreachable cluster, missing definitions, missing rights, a wrong context: never a traceback."""
    cluster(error)
    result = invoke(command, "mnist")
    assert result.exit_code == code
    assert result.stderr == f"autocanary {command}: {error}\n"
    assert result.stdout == ""


def test_error_during_a_read_is_one_sentence_too(invoke: Invoke, cluster: Callable[[FakeRolloutClient], None]) -> None:
    """Not only opening can fail; the rollout store is closed all the same."""
    client = FakeRolloutClient()
    client.script.append(Forbidden("dev may not list canaryrollouts", status=403))
    cluster(client)
    result = invoke("status")
    assert (result.exit_code, result.stderr) == (
        3,
        "autocanary status: dev may not list canaryrollouts\n",
    )
    assert client.closed


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(text: str) -> NoReturn:
        raise error

    monkeypatch.setattr(printing, "print_result", fail)


def test_ctrl_c_is_quiet_and_130(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell expects of an interrupted program."""
    raising(monkeypatch, KeyboardInterrupt())
    result = invoke("version")
    assert (result.exit_code, result.output) == (130, "")


def test_an_abort_of_a_prompt_is_130_too(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """typer's own word for it."""
    raising(monkeypatch, typer.Abort())
    assert invoke("version").exit_code == 130


def test_a_broken_pipe_is_quiet(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """`autocanary status | head -1` is no error to talk about."""
    raising(monkeypatch, BrokenPipeError())
    result = invoke("version")
    assert (result.exit_code, result.output) == (141, "")


def test_unexpected_exception_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug shows its traceback: hiding it would not help."""
    raising(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(app, ["version"], catch_exceptions=False)


def test_the_entry_point_ends_with_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both installed commands call it."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl-autocanary", "promote"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert main is root.main


def test_a_real_broken_pipe_leaves_no_trace() -> None:
    """Through a real pipe without a reader: no message at the interpreter's exit either."""
    measurement, writing = os.pipe()
    os.close(measurement)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "autocanary", "crds"],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_help_imports_nothing_heavy() -> None:
    """Help and completion answer at once: no kubernetes, no pydantic, no requests."""
    heavy = "kubernetes pydantic pydantic_settings requests prometheus_api_client uvicorn apscheduler"
    code = f"import sys, autocanary.cli.root; print([m for m in {heavy.split()!r} if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "[]\n"


def test_completion_scripts_are_made(invoke: Invoke) -> None:
    """For shells that typer knows."""
    ended = subprocess.run(
        [sys.executable, "-m", "autocanary"],
        env={**os.environ, "_AUTOCANARY_COMPLETE": "source_bash"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "_AUTOCANARY_COMPLETE=complete_bash" in ended.stdout


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("", "autocanary [OPTIONS] COMMAND [ARGS]..."),
        ("validate", "autocanary validate [OPTIONS] PATH..."),
        ("promote", "autocanary promote [OPTIONS] NAME..."),
        ("status", "autocanary status [OPTIONS] [NAME...]"),
        ("version", "autocanary version [OPTIONS]"),
    ],
)
def test_usage_lines_are_for_users(invoke: Invoke, command: str, usage: str) -> None:
    """Arguments by their names, once, and without the types of this program."""
    text = invoke(*command.split(), "-h").stdout
    assert f"Usage: {usage} " in text
    for noise in ("list[Path]", "<bool>", "<str>", "{", "30.0"):
        assert noise not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_breaks_lines_only_where_they_end(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Paragraphs are not broken where the source happens to be."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 1000)
    text = invoke(command, "-h").stdout
    prose = [line.strip() for line in text.split("╭")[0].splitlines() if line.strip()]
    assert [line for line in prose[1:] if line[-1] not in ".-`"] == []


def test_defaults_are_shown_as_they_are_written(invoke: Invoke) -> None:
    """A duration with its unit."""
    assert "(default: 30s)" in invoke("abort", "-h").stdout
    assert "(default: 1s)" in invoke("run", "-h").stdout
    assert "(default: 30)" in invoke("demo", "-h").stdout


def complete(shell: str, line: str, word: int) -> list[str]:
    """What a shell receives when a line is completed at one of its words."""
    ended = subprocess.run(
        [sys.executable, "-m", "autocanary"],
        env={
            **os.environ,
            "_AUTOCANARY_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": line,
            "COMP_CWORD": str(word),
            "_TYPER_COMPLETE_ARGS": line,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    return ended.stdout.splitlines()


def test_the_shell_completes_commands_and_flags() -> None:
    """In bash; the other shells ask the same question."""
    assert complete("bash", "autocanary pro", 1) == ["promote"]
    assert complete("bash", "autocanary status --time", 2) == ["--timeout"]
    assert complete("bash", "kubectl-autocanary abo", 1) == ["abort"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_can_be_shown(shell: str) -> None:
    """For each shell, whichever one the test runs in."""
    ended = subprocess.run(
        [sys.executable, "-m", "autocanary"],
        env={**os.environ, "_AUTOCANARY_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"_AUTOCANARY_COMPLETE=complete_{shell}" in ended.stdout


def test_the_program_prints_to_a_latin_1_terminal() -> None:
    """Help with a character that the encoding does not have."""
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "autocanary", "demo", "--list"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
