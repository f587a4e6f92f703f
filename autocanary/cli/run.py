"""``autocanary run``: the service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocanary.cli import seams
from autocanary.cli.options import Context, Kubeconfig

if TYPE_CHECKING:
    from autocanary.settings import Settings

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
        typer.Option("--listen", metavar="HOST:PORT", help="Metrics and probes. [dim]0.0.0.0:8080[/dim]"),
    ] = None,
    tick: Annotated[
        str | None, typer.Option("--tick", metavar="DURATION", help="How often to look. [dim]1s[/dim]")
    ] = None,
    leader_election: Annotated[
        bool | None,
        typer.Option("--leader-election/--no-leader-election", help="Whether replicas choose one that acts."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide and tell, but write nothing to the cluster.")
    ] = False,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="json|console", help="json unless on a terminal.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A YAML file with settings.")
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run the service.

    Each flag has a variable, AUTOCANARY_ and its name; flags win over variables, variables over the file.
    """
    from autocanary.settings import load

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
    _start_logging(settings)
    raise typer.Exit(seams.run_service(settings, kubeconfig, context))


def _start_logging(settings: Settings) -> None:
    from autocanary import logs
    from autocanary.settings import unknown_variables

    on_terminal = "console" if sys.stderr.isatty() else "json"
    logs.configure(settings.log_format or on_terminal, settings.log_level)
    log = logs.logger("cli.run")
    for sentence in unknown_variables(os.environ):
        log.warning("unknown_setting", message=sentence)
