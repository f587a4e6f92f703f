"""``autocanary run``: the service."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from autocanary.cli import backend
from autocanary.cli.printing import Context, Kubeconfig, default_text
from autocanary.errors import AutocanaryError, InputError

__all__ = ["run"]


def run(
    policies: Annotated[
        list[Path] | None,
        typer.Option("--policies", metavar="PATH", help="A file or folder with policies; repeatable."),
    ] = None,
    prometheus_url: Annotated[
        str | None, typer.Option("--prometheus-url", metavar="URL", help="Where Prometheus answers.")
    ] = None,
    namespaces: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", metavar="NS", help="Watch only this namespace; repeatable."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="HOST:PORT", help=f"Metrics and probes.{default_text('0.0.0.0:8080')}"),
    ] = None,
    tick: Annotated[
        str | None,
        typer.Option("--tick", metavar="DURATION", help=f"How often to evaluate what is due.{default_text('1s')}"),
    ] = None,
    leader_election: Annotated[
        bool | None,
        typer.Option("--leader-election/--no-leader-election", help="Whether replicas elect a leader."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide and log, but write nothing to the cluster.")
    ] = False,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="json|console", help="json unless on a terminal.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A YAML file with settings.")] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run the service, until SIGTERM or Ctrl-C.

    Each flag has a variable, AUTOCANARY_ and its name; flags win over variables, variables over the file.

    Exit code 0 after SIGTERM or Ctrl-C, 2 for an invalid setting, 3 when the cluster cannot be reached or used
    at the start. The service waits for a Prometheus that is unreachable.
    """
    from autocanary import logs
    from autocanary.settings import load

    form = "console" if sys.stderr.isatty() else "json"
    logs.configure(form)
    try:
        settings = load(
            {
                "policies": policies or None,
                "prometheus_url": prometheus_url,
                "namespaces": namespaces or None,
                "listen": listen,
                "tick": tick,
                "leader_election": leader_election,
                "dry_run": dry_run or None,
                "log_format": log_format,
                "log_level": log_level,
                "config": config,
            }
        )
        form = settings.log_format or form
        logs.configure(form, settings.log_level)
        _check_policies(settings.policies)
        _warn_of_unknown_variables()
        code = backend.run_service(settings, kubeconfig, context)
    except AutocanaryError as error:
        if form == "json":  # for log collectors; a terminal gets the sentence that follows
            logs.logger("cli.run").error("not_started", error=str(error))
        raise
    raise typer.Exit(code)


def _check_policies(paths: Sequence[Path]) -> None:
    """A misspelt path at the start is an error: the service would run without any policy."""
    missing = [str(each) for each in paths if not each.exists()]
    if missing:
        raise InputError(f"--policies: there is no file or folder {', '.join(missing)}; correct the path")


def _warn_of_unknown_variables() -> None:
    from autocanary import logs
    from autocanary.settings import unknown_variables

    for sentence in unknown_variables(os.environ):
        logs.logger("cli.run").warning("unknown_setting", message=sentence)
