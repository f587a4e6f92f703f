"""``autocanary status``: one line per rollout, one rollout as a panel, or one rollout followed to its end.

With ``-o wide`` also Knative's routes, in the columns of ``kn route list``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocanary.cli import backend, follow, printing
from autocanary.cli.event_log import EventLog
from autocanary.cli.follow import in_namespace, render_rollout
from autocanary.cli.object_names import ObjectName, parse_names
from autocanary.cli.printing import AllNamespaces, Context, Kubeconfig, Namespace, Output, OutputFormat, duration_option
from autocanary.cli.status_tables import rollout_table, route_table, service_title
from autocanary.model import value_wording
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import format_time

if TYPE_CHECKING:
    pass

__all__ = ["running_first", "status"]


def status(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="InferenceServices or CanaryRollouts: mnist, isvc/mnist, models/mnist."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it; NAME to its end.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            parser=duration_option,
            help="With NAME: wait at most this long for its end.",
        ),
    ] = None,
    output: OutputFormat = Output.TABLE,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show rollouts: their phase, weight and reason, and what they wait for.

    Without NAME: one line per service, running rollouts first. With one NAME: everything about its rollout; with
    several: a line for each.

    With NAME and --watch or --timeout it follows the rollout of the applied spec, and waits for it to
    start. The exit code is then that of the outcome: 0 promoted, 1 any other end or not in time, 3 the
    cluster cannot be reached.

    -o wide adds columns with whole sentences, the series by which each metric is measured, and the Knative routes
    with their revisions and percentages.

    -o json and -o yaml print the CanaryRollout of NAME, or a List of one for each service, as kubectl does.
    """
    follows = watch or timeout is not None
    wanted = parse_names(names or (), namespace)
    _check(wanted, timeout, output, follows=follows, all_namespaces=all_namespaces)
    with closing(backend.open_client(kubeconfig, context)) as client:
        scope = None if all_namespaces else namespace or client.namespace
        if not follows:
            code = _print_once(client, scope, wanted, output)
        elif not wanted:
            code = _watch_all(client, scope, output)
        else:
            (name,) = wanted
            code = follow.follow(client, name.namespace or namespace or client.namespace, name, timeout)
    raise typer.Exit(code)


def _check(
    wanted: Sequence[ObjectName], timeout: float | None, output: Output, *, follows: bool, all_namespaces: bool
) -> None:
    if wanted and all_namespaces:
        sentence = "NAME is searched in one namespace; leave out one of the two"
        raise typer.BadParameter(sentence, param_hint="'-A'")
    if len(wanted) > 1 and follows:
        sentence = "one NAME is followed at a time; without --watch and --timeout each has a line"
        raise typer.BadParameter(sentence, param_hint="'NAME'")
    if not wanted and timeout is not None:
        sentence = "it needs the NAME of the service to wait for"
        raise typer.BadParameter(sentence, param_hint="'--timeout'")
    if follows and output in (Output.JSON, Output.YAML):
        sentence = f"{output.value} is printed once; leave out --watch and --timeout"
        raise typer.BadParameter(sentence, param_hint="'-o'")


def _print_once(client: backend.RolloutClient, scope: str | None, wanted: Sequence[ObjectName], output: Output) -> int:
    if len(wanted) > 1:
        return _print_several(client, scope, wanted, output)
    where = wanted[0].namespace or scope if wanted else scope
    rollouts = client.rollouts(where)
    if not wanted:
        rollouts_shown = running_first(follow.latest_by_service(rollouts))
        _print_list(rollouts_shown, scope, output)
        _print_series(rollouts_shown, output, namespaced=scope is None)
        _print_routes(client, rollouts_shown, output, namespaced=scope is None)
        return printing.SUCCESS
    rollout = follow.find_rollout(wanted[0].matching(rollouts), wanted[0].name)
    if rollout is None:
        _print_missing(wanted[0], where)
        return printing.FAILURE
    if output in (Output.JSON, Output.YAML):
        printing.document(_document(rollout), output)
    else:
        printing.page().print(_render_one(rollout))
        _print_series([rollout], output, namespaced=False)
        _print_routes(client, [rollout], output, namespaced=False)
    return printing.SUCCESS


def _print_several(
    client: backend.RolloutClient, scope: str | None, wanted: Sequence[ObjectName], output: Output
) -> int:
    """The rollout of each name in the given order; FAILURE when one has none."""
    found = []
    for name in wanted:
        where = name.namespace or scope
        rollout = follow.find_rollout(name.matching(client.rollouts(where)), name.name)
        if rollout is None:
            _print_missing(name, where)
        else:
            found.append(rollout)
    several = len({each.namespace for each in found}) > 1
    if found:
        _print_list(found, None if several else found[0].namespace, output)
    return printing.SUCCESS if len(found) == len(wanted) else printing.FAILURE


def _print_missing(name: ObjectName, where: str | None) -> None:
    printing.print_notice(
        f"there is no rollout of {name.name} {in_namespace(where)}: is the name right, does a policy select the "
        "service (`autocanary policies`), and was a new version applied since autocanary runs?"
    )


def _print_list(rollouts: Sequence[Rollout], scope: str | None, output: Output) -> None:
    if output in (Output.JSON, Output.YAML):
        items = [_document(each) for each in rollouts]
        printing.document({"apiVersion": "v1", "kind": "List", "items": items}, output)
    elif not rollouts:
        printing.print_notice(f"there are no rollouts {in_namespace(scope)}")
    else:
        printing.console().print(rollout_table(rollouts, scope, output, printing.line_width()))


def _print_routes(
    client: backend.RolloutClient, rollouts: Sequence[Rollout], output: Output, *, namespaced: bool
) -> None:
    """With -o wide: the routes by which Knative sends the requests, below the rollouts."""
    routes = client.routes(rollouts) if output is Output.WIDE and rollouts else ()
    if routes:
        printing.print_result("")
        printing.console().print(route_table(routes, namespaced=namespaced))


def _print_series(rollouts: Sequence[Rollout], output: Output, *, namespaced: bool) -> None:
    """With -o wide: the series by which each metric of a running rollout was measured last."""
    rows = [
        (rollout.namespace, service_title(rollout), name, state.last)
        for rollout in rollouts
        if output is Output.WIDE and not rollout.is_final
        for name, state in rollout.progress.analysis.metrics.items()
        if state.last is not None and state.last.exporter
    ]
    if not rows:
        return
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="none")
    for column in (("NAMESPACE",) if namespaced else ()) + (
        "SERVICE",
        "METRIC",
        "SOURCE",
        "SERIES",
        "WINDOW",
        "SCRAPES",
    ):
        table.add_column(column, no_wrap=True)
    for namespace, service, name, last in rows:
        cells = [
            *((namespace,) if namespaced else ()),
            service,
            name,
            last.source.value if last.source is not None else "",
            last.exporter,
            value_wording.format_duration(last.window) if last.window is not None else "",
            f"every {value_wording.format_duration(round(last.scrape_interval) or 1)}" if last.scrape_interval else "",
        ]
        table.add_row(*map(Text, cells))
    printing.print_result("")
    printing.console().print(table)


def _document(rollout: Rollout) -> dict[str, Any]:
    """The object, with the forecast of its comparison where it has one."""
    from autocanary.analysis.forecast import forecast_text
    from autocanary.model.rollout_json import to_document

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


def running_first(rollouts: Sequence[Rollout]) -> Sequence[Rollout]:
    """Running rollouts before those that have ended, otherwise in the given order."""
    return sorted(rollouts, key=lambda each: each.is_final)


_LINES_AROUND_ROWS = 3
"""Of a watched table: the header, the line about what does not fit, and the cursor's."""


def _screen_lines() -> int:
    console = printing.console()
    return console.height if console.is_terminal else 10_000


def _watch_all(client: backend.RolloutClient, scope: str | None, output: Output) -> int:
    """Until Ctrl-C."""
    tolerance = follow.OutageTolerance()

    def draw(rollouts: Sequence[Rollout]) -> RenderableType:
        if not rollouts:
            return Text(f"there are no rollouts {in_namespace(scope)} yet")
        fits = max(1, _screen_lines() - _LINES_AROUND_ROWS)
        shown = rollouts if len(rollouts) <= fits + 1 else rollouts[:fits]
        table = rollout_table(shown, scope, output, printing.line_width())
        left = len(rollouts) - len(shown)
        if not left:
            return table
        return Group(table, Text(f"and {left} more; `autocanary status` lists all of them", "dim"))

    with follow.Screen() as screen:
        for _ in follow.poll(follow.POLL_SECONDS, None):
            rollouts = tolerance.attempt(lambda: running_first(follow.latest_by_service(client.rollouts(scope))))
            if rollouts is not None:
                screen.show(rollouts, partial(draw, rollouts))
    return printing.SUCCESS
