"""``history``: the rollouts of a service, newest first, each with its end, who released it, and the models."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocanary.cli import backend, follow, printing
from autocanary.cli.object_names import parse_names
from autocanary.cli.printing import Context, Kubeconfig, Namespace, Output, OutputFormat
from autocanary.cli.requests import Names, find_named
from autocanary.cli.rollout_view import phase_style
from autocanary.model.progress import Phase
from autocanary.model.time_format import format_time
from autocanary.model.value_wording import format_duration
from autocanary.views import PastRollout, service_history

__all__ = ["history", "render_history"]


def history(
    names: Names,
    output: OutputFormat = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show the rollouts of a service: how each ended, who released it, how long it took, and which model it changed.

    The number of a rollout is what `undo --to` takes. What autocanary itself put back is shown in the rollout that made
    it necessary. -o wide adds the messages.
    """
    wanted = parse_names(names, namespace)
    code = printing.SUCCESS
    found: dict[str, Sequence[PastRollout]] = {}
    with closing(backend.open_client(kubeconfig, context)) as client:
        for name in wanted:
            where, rollouts = find_named(client, name, namespace)
            if not rollouts:
                printing.print_notice(f"there is no rollout of {name.name} in namespace {where}")
                code = printing.FAILURE
                continue
            keys = {each.key for each in rollouts}
            everything = client.rollouts(where)
            for key in sorted(keys):
                title = f"{key.namespace}/{key.name}" + (f" ({key.component.value})" if len(keys) > 1 else "")
                found[title] = service_history([each for each in everything if each.key == key], follow.now())
    if output in (Output.JSON, Output.YAML):
        items = [{"service": title, **asdict(each)} for title, past in found.items() for each in past]
        printing.document({"items": _lists(items)}, output)
    else:
        for index, (title, past) in enumerate(found.items()):
            printing.page().print(Group(*([Text()] if index else []), render_history(title, past, output)))
    raise typer.Exit(code)


def _lists(items: object) -> object:
    if isinstance(items, dict):
        return {key: _lists(each) for key, each in items.items()}
    return [_lists(each) for each in items] if isinstance(items, list | tuple) else items


def render_history(title: str, past: Sequence[PastRollout], output: Output) -> RenderableType:
    """A line per rollout, and below it what was put back, the acts of users, and with ``wide`` the message."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="none", pad_edge=False)
    for column in ("#", "STARTED (UTC)", "OUTCOME", "TOOK", "MODEL"):
        table.add_column(column, no_wrap=column != "MODEL", overflow="fold")
    for each in past:
        began = (format_time(each.started_at) or "").replace("T", " ").removesuffix("Z")
        took = format_duration(each.seconds)
        table.add_row(
            Text(str(each.number)),
            Text(began),
            Text(each.outcome, phase_style(Phase(each.outcome))),
            Text(took if each.is_final else f"{took}…"),
            Text("\n".join(_details(each, output))),
        )
    return Group(Text(title, "bold"), table)


def _details(each: PastRollout, output: Output) -> list[str]:
    lines = [each.models.text or f"{each.stable} → {each.candidate}"]
    by = f"released by {each.released_by}" if each.released_by else ""
    reason = each.reason if each.reason != each.outcome else ""
    lines += [text for text in (reason, by) if text]
    for act in each.acts:
        who, why = (f" by {act.by}" if act.by else "", f": {act.reason}" if act.reason else "")
        lines.append(f"{act.verb}{who}{why}")
    if each.restore is not None:
        lines.append(each.restore.text)
    if output is Output.WIDE:
        lines.append(f"{each.rollout}, policy {each.policy}: {each.message}")
    return lines
