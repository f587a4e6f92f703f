"""``autocanary report``: one HTML file with everything of one rollout."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from autocanary.cli import backend, follow, printing
from autocanary.cli.printing import Context, Kubeconfig, Namespace
from autocanary.errors import InputError
from autocanary.model.rollout import Rollout

__all__ = ["report"]


def report(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An InferenceService or a CanaryRollout.")],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write it there instead of to stdout.")
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Write everything about one rollout into one HTML file: weight, evidence, decisions and plots.

    The file is made from the rollout's record alone, so it can be made long after Prometheus has dropped the series.
    It names no other file and needs no network: attach it to a ticket.
    """
    with closing(backend.open_client(kubeconfig, context)) as client:
        where = namespace or client.namespace
        rollout = follow.find_rollout(client.rollouts(where), name)
    if rollout is None:
        printing.print_notice(
            f"there is no rollout of {name} in namespace {where}; `autocanary status -A` lists all rollouts"
        )
        raise typer.Exit(printing.FAILURE)
    text = backend.report_of(rollout)
    if output is None:
        sys.stdout.write(text)
    else:
        _write(output, text, rollout)


def _write(path: Path, text: str, rollout: Rollout) -> None:
    """As a whole or not at all: a report that was cut short could be taken for the story."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).chmod(0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path}: the report cannot be written: {error.strerror or error}") from error
    printing.print_notice(f"{path}: the report of {rollout.namespace}/{rollout.name}, {len(text.encode()):,} bytes")
