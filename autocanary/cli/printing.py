"""Results to stdout, words about them to stderr; tables for people, JSON and YAML for programs."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Any, NoReturn, TextIO

import yaml
from rich.console import Console

__all__ = ["Output", "console", "document", "errors", "hush", "say", "tell"]


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


def say(text: str) -> None:
    """A result, on stdout."""
    console().print(text, markup=False, soft_wrap=True)


def tell(text: str) -> None:
    """A word about the result, on stderr."""
    errors().print(text, markup=False, soft_wrap=True)


def document(value: Mapping[str, Any], output: Output) -> None:
    """A result for programs."""
    if output is Output.JSON:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    else:
        yaml.safe_dump(value, sys.stdout, sort_keys=False, allow_unicode=True)


def hush() -> None:
    """Nobody reads stdout any more: keep the interpreter from complaining of it at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
