"""``policies``: which policy governs which service, and what is wrong with the others."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from autocanary.cli import backend, follow, printing
from autocanary.cli.printing import AllNamespaces, Context, Kubeconfig, Namespace, Output, OutputFormat
from autocanary.model.value_wording import format_duration
from autocanary.views import Governance, govern_services

__all__ = ["policies", "policy_table", "service_table"]


def policies(
    paths: Annotated[
        list[Path] | None,
        typer.Option(
            "--policies", metavar="PATH", help="A file or folder with policies that the service reads; repeatable."
        ),
    ] = None,
    output: OutputFormat = Output.TABLE,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show which policy governs which service, ties, invalid policies, and services that no policy governs.

    Policies in files of the service are not in the cluster: name the same files with --policies.
    """
    with closing(backend.open_client(kubeconfig, context)) as client:
        scope = None if all_namespaces else namespace or client.namespace
        documents = client.policy_documents(scope)
        services = client.services(scope)
        used = {each.policy_name for each in client.rollouts(scope) if not each.is_final}
    active, problems = backend.active_policies(documents, paths or ())
    found = govern_services(services, active, problems, follow.now())
    unknown = sorted(used - {each.name for each in active})
    if unknown:
        printing.print_notice(
            f"running rollouts began with policies that are not here: {', '.join(unknown)}; policies in files of the "
            "service are shown with --policies PATH"
        )
    if output in (Output.JSON, Output.YAML):
        printing.document(
            {
                "policies": [{**asdict(each), "problems": list(each.problems)} for each in found.policies],
                "services": [{**asdict(each), "tied": list(each.tied)} for each in found.services],
            },
            output,
        )
        return
    if not found.policies and not found.services:
        printing.print_notice(f"there are no policies and no InferenceServices {follow.in_namespace(scope)}")
        return
    console = printing.console()
    console.print(policy_table(found, wide=output is Output.WIDE, width=printing.line_width()))
    for row in found.policies:
        for problem in row.problems:
            console.print(Text(f"  {row.name}: {problem}", "red"))
    console.print()
    console.print(service_table(found, namespaced=scope is None, width=printing.line_width()))


def policy_table(found: Governance, *, wide: bool, width: int | None) -> Table:
    """One line per policy; the steps are cut where the line ends."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="none", pad_edge=False)
    for column in ("POLICY", "VALID", "SERVICES", "WINDOW", *(("ORIGIN",) if wide else ()), "STEPS"):
        table.add_column(column, no_wrap=width is not None, overflow="ellipsis")
    for row in found.policies:
        valid = Text("yes", "green") if row.valid else Text("no, the last valid one" if row.in_force else "no", "red")
        if row.window_open is None:
            window = "–"
        elif row.window_open:
            window = "open"
        elif row.next_window is None:
            window = "closed"
        else:
            window = f"opens in {format_duration(row.next_window - follow.now())}"
        name = f"{row.namespace}/{row.name}" if row.namespace else row.name
        cells = [Text(name), valid, Text(str(row.services)), Text(window)]
        table.add_row(*cells, *([Text(row.origin)] if wide else []), Text(row.steps))
    return table


def service_table(found: Governance, *, namespaced: bool, width: int | None) -> Table:
    """One line per component of a service; those that no policy governs say why."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="none", pad_edge=False)
    for column in (("NAMESPACE",) if namespaced else ()) + ("SERVICE", "POLICY", "NOTE"):
        table.add_column(column, no_wrap=width is not None, overflow="ellipsis")
    for row in found.services:
        name = row.service if row.component == "predictor" else f"{row.service} ({row.component})"
        policy = Text(row.policy, "green") if row.policy else Text("tie" if row.tied else "none", "yellow")
        cells = [Text(name), policy, Text(row.problem)]
        table.add_row(*([Text(row.namespace)] if namespaced else []), *cells)
    return table
