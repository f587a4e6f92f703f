"""Output streams, exit codes and shared flags of the commands.

Results go to stdout as tables, JSON or YAML; notices go to stderr. The cluster's flags mean what they mean in kubectl.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, NoReturn, TextIO

import typer
from rich.console import Console

from autocanary.errors import (
    AutocanaryError,
    ClusterError,
    Conflict,
    InputError,
    MetricsUnreachable,
    PolicyError,
    Refused,
)
from autocanary.model.time_format import parse_duration

__all__ = [
    "BROKEN_PIPE",
    "FAILURE",
    "INTERRUPTED",
    "SUCCESS",
    "UNREACHABLE",
    "USAGE",
    "AllNamespaces",
    "Context",
    "Kubeconfig",
    "Namespace",
    "Output",
    "OutputFormat",
    "console",
    "default_text",
    "document",
    "duration_option",
    "errors",
    "exit_code_for",
    "line_width",
    "page",
    "print_notice",
    "print_result",
    "replace_unencodable",
    "silence_stdout",
]


class Output(str, Enum):
    """The values of ``-o``."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


def _output(text: str | Output) -> Output:
    try:
        return Output(text)
    except ValueError:
        expected = ", ".join(each.value for each in Output)
        raise typer.BadParameter(f"{str(text)!r} is not a format; expected one of {expected}") from None


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError  # rich would exit with 1, which has another meaning here


def console(stream: TextIO | None = None, **options: Any) -> Console:
    """A console on the present stdout; without a terminal, lines are never broken."""
    file = stream or sys.stdout
    made = _Console(file=file, highlight=False, **options)
    if not made.is_terminal and "width" not in options:
        made.width = 10_000
    return made


def line_width() -> int | None:
    """The width of the terminal, within which a line must fit; None where there is no terminal."""
    terminal = console()
    return terminal.width if terminal.is_terminal else None


_PAGE_WIDTH = 110


def page() -> Console:
    """A console for whole pages, which have a fixed width where there is no terminal."""
    made = console()
    return made if made.is_terminal else console(width=_PAGE_WIDTH)


def errors() -> Console:
    return console(sys.stderr)


def print_result(text: str) -> None:
    """A result, on stdout."""
    console().print(text, markup=False, soft_wrap=True)


def print_notice(text: str) -> None:
    """A notice about the result, on stderr."""
    errors().print(text, markup=False, soft_wrap=True)


def document(value: Mapping[str, Any], output: Output) -> None:
    """A result for programs."""
    if output is Output.JSON:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    else:
        import yaml  # a tenth of a second, which other output need not wait for

        yaml.safe_dump(value, sys.stdout, sort_keys=False, allow_unicode=True)


_REPLACEMENTS = {
    "█": "#", "▓": "#", "▒": "=", "░": "-", "…": "~", "–": "-", "—": "-", "→": "->", "·": "-", "≥": ">=", "≤": "<=",
    "“": '"', "”": '"', "’": "'", "✅": "", "❌": "", "⏳": "",
}  # fmt: skip


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_REPLACEMENTS.get(each, "?") for each in error.object[error.start : error.end]), error.end


def replace_unencodable() -> None:
    """Replace characters that the encoding of stdout and stderr does not have, such as a bar in Latin-1."""
    codecs.register_error("autocanary", _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="autocanary")


def silence_stdout() -> None:
    """Discard stdout after its reader has gone, so that the interpreter reports no error at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


SUCCESS = 0
FAILURE = 1  # the answer is "no": invalid policy, rolled back, no such rollout, not in time
USAGE = 2
UNREACHABLE = 3  # no usable cluster or Prometheus: unreachable, overloaded, no rights, no definitions
INTERRUPTED = 130  # as shells say it: 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE


def exit_code_for(error: AutocanaryError) -> int:
    """A missing right is not FAILURE: a pipeline must not treat it as a rolled-back release."""
    if isinstance(error, PolicyError | Conflict | Refused):
        return FAILURE
    if isinstance(error, InputError):
        return USAGE
    return UNREACHABLE if isinstance(error, ClusterError | MetricsUnreachable) else FAILURE


def _cluster(*names: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel="Cluster")


Namespace = Annotated[
    str | None, _cluster("--namespace", "-n", metavar="NS", help="The namespace; default: the context's.")
]
AllNamespaces = Annotated[bool, _cluster("--all-namespaces", "-A", help="In all namespaces.")]
Context = Annotated[str | None, _cluster("--context", metavar="NAME", help="The kubeconfig context.")]
Kubeconfig = Annotated[str | None, _cluster("--kubeconfig", metavar="FILE", help="The kubeconfig file.")]
OutputFormat = Annotated[
    Output,
    typer.Option("--output", "-o", metavar="table|wide|json|yaml", parser=_output, help="How to print the result."),
]


def default_text(value: str) -> str:
    """The end of a help text with the default of an option. docs/generate.py reads it."""
    return f" [dim](default: {value})[/dim]"


def duration_option(text: str | float) -> float:
    """For ``parser=`` of an option: seconds; an error that says what was expected."""
    if isinstance(text, float):
        return text  # a default
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
