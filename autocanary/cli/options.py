"""Flags that several commands have; those of the cluster mean what they mean in kubectl."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from autocanary.cli.printing import Output
from autocanary.model.duration import parse_duration

__all__ = ["AllNamespaces", "Context", "Kubeconfig", "Namespace", "OutputFormat", "duration", "usual"]


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


def usual(value: str) -> str:
    """The end of a help text: what counts when an option is not given. docs/generate.py reads it."""
    return f" [dim](default: {value})[/dim]"


def duration(text: str | float) -> float:
    """For ``parser=`` of an option: seconds, or the sentence that says what was expected."""
    if isinstance(text, float):
        return text  # a default
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
