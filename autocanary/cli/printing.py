"""Results to stdout, words about them to stderr; tables for people, JSON and YAML for programs.

Exit codes: what a shell or a pipeline can tell apart.

Flags that several commands have; those of the cluster mean what they mean in kubectl.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, NoReturn, TextIO

import typer
import yaml
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
    "print_notice",
    "print_result",
    "silence_stdout",
]


class Output(str, Enum):
    """The values of ``-o``."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError  # rich would exit with 1, which means "no" here


def console(stream: TextIO | None = None, **options: Any) -> Console:
    """A console on stdout as it is now; without a terminal, lines are as long as they need to be."""
    file = stream or sys.stdout
    made = _Console(file=file, highlight=False, **options)
    if not made.is_terminal and "width" not in options:
        made.width = 10_000
    return made


def errors() -> Console:
    return console(sys.stderr)


def print_result(text: str) -> None:
    """A result, on stdout."""
    console().print(text, markup=False, soft_wrap=True)


def print_notice(text: str) -> None:
    """A word about the result, on stderr."""
    errors().print(text, markup=False, soft_wrap=True)


def document(value: Mapping[str, Any], output: Output) -> None:
    """A result for programs."""
    if output is Output.JSON:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    else:
        yaml.safe_dump(value, sys.stdout, sort_keys=False, allow_unicode=True)


def silence_stdout() -> None:
    """Nobody reads stdout any more: keep the interpreter from complaining of it at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


SUCCESS = 0
FAILURE = 1  # the answer is "no": invalid policy, rolled back, no such rollout, not in time
USAGE = 2
UNREACHABLE = 3  # no usable cluster or Prometheus: away, overloaded, without rights, without our definitions
INTERRUPTED = 130  # as shells say it: 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE


def exit_code_for(error: AutocanaryError) -> int:
    """A missing right is not a "no": a pipeline must not take it for a rolled-back release."""
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
    Output, typer.Option("--output", "-o", metavar="table|wide|json|yaml", help="How to print the result.")
]


def default_text(value: str) -> str:
    """The end of a help text: what counts when an option is not given. docs/generate.py reads it."""
    return f" [dim](default: {value})[/dim]"


def duration_option(text: str | float) -> float:
    """For ``parser=`` of an option: seconds, or the sentence that says what was expected."""
    if isinstance(text, float):
        return text  # a default
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
