"""``autocanary status``: rollouts, and what they wait for.

Routes with their revisions and percentages, in the columns of ``kn route list``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocanary.analysis.forecast import forecast_text
from autocanary.cli import backend, follow, printing
from autocanary.cli.comparison_view import evidence_meter
from autocanary.cli.follow import in_namespace, render_rollout, view_of
from autocanary.cli.printing import (
    AllNamespaces,
    Context,
    Kubeconfig,
    Namespace,
    Output,
    OutputFormat,
    duration_option,
)
from autocanary.cli.rollout_view import RolloutView, candidate_share, phase_style
from autocanary.cli.trail import EventLog
from autocanary.kserve.knative_routes import Route
from autocanary.model import value_wording
from autocanary.model.observation import ConditionStatus
from autocanary.model.policy import Component
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_json import to_document
from autocanary.model.time_format import format_time

__all__ = ["route_table", "status"]

_STYLES = {ConditionStatus.TRUE: "green", ConditionStatus.FALSE: "red", ConditionStatus.UNKNOWN: "yellow"}


def route_table(routes: Sequence[tuple[str, Route]], *, namespaced: bool) -> Table:
    """Without borders, so that it can be cut by columns; ``namespaced`` adds the namespaces."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="none")
    for column in (("NAMESPACE",) if namespaced else ()) + ("ROUTE", "URL", "READY", "TRAFFIC"):
        table.add_column(column, no_wrap=True)
    for namespace, route in routes:
        cells = [
            Text(route.name),
            Text(route.url or "–"),
            Text(route.ready.value, _STYLES[route.ready]),
            Text(", ".join(f"{percent}% -> {revision}" for revision, percent in route.traffic) or "–"),
        ]
        table.add_row(*([Text(namespace), *cells] if namespaced else cells))
    return table


def status(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="An InferenceService or a CanaryRollout.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it; NAME to its end.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            parser=duration_option,
            help="With NAME: wait at most so long for its end.",
        ),
    ] = None,
    output: OutputFormat = Output.TABLE,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show rollouts and what they wait for.

    With NAME and --watch or --timeout it follows the rollout of what is applied now, and waits for it to
    begin. The exit code is then that of the outcome: 0 promoted, 1 any other end or not in time, 3 the
    cluster cannot be reached.

    -o wide adds columns, and the Knative routes with their revisions and percentages.

    -o json and -o yaml print the CanaryRollout of NAME, or a List of one for each service, as kubectl does.
    """
    follows = watch or timeout is not None
    _check(name, timeout, output, follows=follows, all_namespaces=all_namespaces)
    with closing(backend.open_client(kubeconfig, context)) as client:
        scope = None if all_namespaces else namespace or client.namespace
        if not follows:
            code = _print_once(client, scope, name, output)
        elif name is None:
            code = _watch_all(client, scope, output)
        else:
            code = follow.follow(client, namespace or client.namespace, name, timeout)
    raise typer.Exit(code)


def _check(name: str | None, timeout: float | None, output: Output, *, follows: bool, all_namespaces: bool) -> None:
    if name is not None and all_namespaces:
        sentence = "NAME is looked for in one namespace; leave out one of the two"
        raise typer.BadParameter(sentence, param_hint="'-A'")
    if name is None and timeout is not None:
        sentence = "which rollout is waited for? Give a NAME as well"
        raise typer.BadParameter(sentence, param_hint="'--timeout'")
    if follows and output in (Output.JSON, Output.YAML):
        sentence = f"{output.value} is printed once; leave out --watch and --timeout"
        raise typer.BadParameter(sentence, param_hint="'-o'")


def _print_once(client: backend.RolloutClient, scope: str | None, name: str | None, output: Output) -> int:
    rollouts = client.rollouts(scope)
    if name is None:
        rollouts_shown = follow.latest_by_service(rollouts)
        _print_list(rollouts_shown, scope, output)
        _print_routes(client, rollouts_shown, output, namespaced=scope is None)
        return printing.SUCCESS
    rollout = follow.find_rollout(rollouts, name)
    if rollout is None:
        printing.print_notice(
            f"there is no rollout of {name} {in_namespace(scope)}: is the name right, does a policy select the "
            "service, and has it changed since autocanary began to watch it?"
        )
        return printing.FAILURE
    if output in (Output.JSON, Output.YAML):
        printing.document(_document(rollout), output)
    else:
        _console().print(_render_one(rollout))
        _print_routes(client, [rollout], output, namespaced=False)
    return printing.SUCCESS


def _console() -> Console:
    """A frame as wide as everything would be unreadable in a file."""
    console = printing.console()
    return console if console.is_terminal else printing.console(width=110)


def _print_list(rollouts: Sequence[Rollout], scope: str | None, output: Output) -> None:
    if output in (Output.JSON, Output.YAML):
        items = [_document(each) for each in rollouts]
        printing.document({"apiVersion": "v1", "kind": "List", "items": items}, output)
    elif not rollouts:
        printing.print_notice(f"there are no rollouts {in_namespace(scope)}")
    else:
        printing.console().print(_table(rollouts, scope, output))


def _print_routes(
    client: backend.RolloutClient, rollouts: Sequence[Rollout], output: Output, *, namespaced: bool
) -> None:
    """With -o wide: where Knative really sends the requests, below the rollouts."""
    routes = client.routes(rollouts) if output is Output.WIDE and rollouts else ()
    if routes:
        printing.print_result("")
        printing.console().print(route_table(routes, namespaced=namespaced))


def _document(rollout: Rollout) -> dict[str, Any]:
    """The object, with what its comparison can be expected to see where that is known."""
    document = to_document(rollout)
    expected = forecast_text(backend.policy_of(rollout), rollout.progress)
    if expected:
        document["status"]["forecast"] = expected
    return document


def _render_one(rollout: Rollout) -> RenderableType:
    parts: list[RenderableType] = [render_rollout(rollout)]
    history = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("TIME", "WEIGHT", "WHAT HAPPENED"):
        history.add_column(column)
    for line in EventLog().new_lines([rollout]):
        history.add_row(format_time(line.at) or "", f"{line.weight} %", Text(f"{line.reason}: {line.message}"))
    if history.row_count:
        parts.append(history)
    return Group(*parts)


def _table(rollouts: Sequence[Rollout], scope: str | None, output: Output) -> Table:
    """Without borders, as kubectl's, so that it can be cut by columns."""
    wide, table = output is Output.WIDE, Table(box=None, padding=(0, 3, 0, 0), header_style="none")
    names = ["SERVICE", "PHASE", "STEP", "WEIGHT", "CANDIDATE", "AGE", "WAITS FOR"]
    if wide:
        names[6:6] = ["STABLE", "ROLLOUT", "POLICY", "EVIDENCE", "REASON"]
    if scope is None:
        names.insert(0, "NAMESPACE")
    for each in names:
        table.add_column(each, no_wrap=each not in ("WAITS FOR", "REASON"))
    for rollout in rollouts:
        table.add_row(*_row(view_of(rollout), wide=wide, namespaced=scope is None))
    return table


def _row(row: RolloutView, *, wide: bool, namespaced: bool) -> list[Text]:
    rollout, progress, policy = row.rollout, row.rollout.progress, row.policy
    of = f"/{len(policy.steps)}" if policy is not None else ""
    cells = [
        Text(_service(rollout)),
        Text(progress.phase.value, phase_style(progress.phase)),
        Text(f"{progress.step + 1}{of}"),
        Text(f"{candidate_share(row)}%"),
        Text(rollout.candidate),
        Text(value_wording.format_duration(follow.now() - progress.started_at)),
    ]
    if wide:
        more = (
            rollout.stable,
            rollout.name,
            rollout.policy_name,
            evidence_meter(rollout),
            progress.reason.value,
        )
        cells += [Text(each) for each in more]
    waits = value_wording.describe_wait(rollout, policy, follow.now())
    cells.append(Text(waits or f"– ({progress.message or progress.reason.value})"))
    return [Text(rollout.namespace), *cells] if namespaced else cells


def _service(rollout: Rollout) -> str:
    """With the component where it is not the one that every service has."""
    if rollout.component is Component.PREDICTOR:
        return rollout.service
    return f"{rollout.service} ({rollout.component.value})"


def _watch_all(client: backend.RolloutClient, scope: str | None, output: Output) -> int:
    """Until Ctrl-C: there is no end that all rollouts of a cluster could have."""
    tolerance = follow.OutageTolerance()

    def draw(rollouts: Sequence[Rollout]) -> RenderableType:
        return _table(rollouts, scope, output) if rollouts else Text(f"there are no rollouts {in_namespace(scope)} yet")

    with follow.Screen() as screen:
        for _ in follow.poll(follow.POLL_SECONDS, None):
            rollouts = tolerance.attempt(lambda: follow.latest_by_service(client.rollouts(scope)))
            if rollouts is not None:
                screen.show(rollouts, partial(draw, rollouts))
    return printing.SUCCESS
