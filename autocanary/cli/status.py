"""``autocanary status``: rollouts, and what they wait for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autocanary.cli import exits, finding, patience, printing, seams
from autocanary.cli.options import AllNamespaces, Context, Kubeconfig, Namespace, OutputFormat, duration
from autocanary.cli.printing import Output
from autocanary.cli.rollout_view import Shown, panel, share_of, style_of
from autocanary.cli.trail import Trail
from autocanary.core import story
from autocanary.core.progress import Phase
from autocanary.core.rollout import Rollout, iso, to_document

__all__ = ["status"]

_EVERY = 2.0

now = time.time


def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="An InferenceService or a CanaryRollout.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it; NAME to its end.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            parser=duration,
            help="With NAME: wait so long for its end.",
        ),
    ] = None,
    output: OutputFormat = Output.TABLE,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show rollouts and what they wait for.

    With NAME and --watch or --timeout, the exit code is that of the outcome: 0 promoted, 1 any other end or
    not in time, 3 the cluster cannot be reached.
    """
    following = watch or timeout is not None
    _check(name, timeout, output, following=following, all_namespaces=all_namespaces)
    with closing(seams.open_ledger(kubeconfig, context)) as ledger:
        where = None if all_namespaces else namespace or ledger.namespace
        if not following:
            code = _once(ledger, where, name, output)
        elif name is None:
            code = _watch_all(ledger, where, output)
        else:
            code = _follow(ledger, namespace or ledger.namespace, name, timeout)
    raise typer.Exit(code)


def _check(
    name: str | None, timeout: float | None, output: Output, *, following: bool, all_namespaces: bool
) -> None:
    if name is not None and all_namespaces:
        sentence = "NAME is looked for in one namespace; leave out one of the two"
        raise typer.BadParameter(sentence, param_hint="'-A'")
    if name is None and timeout is not None:
        sentence = "which rollout is waited for? Give a NAME as well"
        raise typer.BadParameter(sentence, param_hint="'--timeout'")
    if following and output in (Output.JSON, Output.YAML):
        sentence = f"{output.value} is printed once; leave out --watch and --timeout"
        raise typer.BadParameter(sentence, param_hint="'-o'")


def _once(ledger: seams.OpenLedger, where: str | None, name: str | None, output: Output) -> int:
    rollouts = ledger.rollouts(where)
    if name is None:
        _print_list(finding.current(rollouts), where, output)
        return exits.DONE
    rollout = finding.find(rollouts, name)
    if rollout is None:
        printing.tell(
            f"there is no rollout of {name} {_in(where)}: is the name right, does a policy select the "
            "service, and has it changed since autocanary began to watch it?"
        )
        return exits.NO
    if output in (Output.JSON, Output.YAML):
        printing.document(to_document(rollout), output)
    else:
        _paper().print(_one(rollout))
    return exits.DONE


def _in(where: str | None) -> str:
    return "in any namespace" if where is None else f"in namespace {where}"


def _paper() -> Console:
    """A frame as wide as everything would be unreadable in a file."""
    console = printing.console()
    return console if console.is_terminal else printing.console(width=110)


def _print_list(rollouts: Sequence[Rollout], where: str | None, output: Output) -> None:
    if output in (Output.JSON, Output.YAML):
        items = [to_document(each) for each in rollouts]
        printing.document({"apiVersion": "v1", "kind": "List", "items": items}, output)
    elif not rollouts:
        printing.tell(f"there are no rollouts {_in(where)}")
    else:
        printing.console().print(_table(rollouts, where, output))


def _shown(rollout: Rollout) -> Shown:
    return Shown(rollout, seams.policy_of(rollout))


def _one(rollout: Rollout) -> RenderableType:
    parts: list[RenderableType] = [_picture(rollout)]
    history = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("TIME", "WEIGHT", "WHAT HAPPENED"):
        history.add_column(column)
    for line in Trail().news([rollout]):
        history.add_row(iso(line.at) or "", f"{line.weight} %", Text(f"{line.reason}: {line.message}"))
    if history.row_count:
        parts.append(history)
    return Group(*parts)


def _table(rollouts: Sequence[Rollout], where: str | None, output: Output) -> Table:
    """Without borders, as kubectl's, so that it can be cut by columns."""
    wide, table = output is Output.WIDE, Table(box=None, padding=(0, 3, 0, 0), header_style="none")
    names = ["SERVICE", "PHASE", "STEP", "WEIGHT", "CANDIDATE", "AGE", "WAITS FOR"]
    if wide:
        names[6:6] = ["STABLE", "ROLLOUT", "POLICY", "REASON"]
    if where is None:
        names.insert(0, "NAMESPACE")
    for each in names:
        table.add_column(each, no_wrap=each not in ("WAITS FOR", "REASON"))
    for rollout in rollouts:
        table.add_row(*_row(_shown(rollout), wide=wide, namespaced=where is None))
    return table


def _row(shown: Shown, *, wide: bool, namespaced: bool) -> list[Text]:
    rollout, progress, policy = shown.rollout, shown.rollout.progress, shown.policy
    of = f"/{len(policy.steps)}" if policy is not None else ""
    cells = [
        Text(rollout.service),
        Text(progress.phase.value, style_of(progress.phase)),
        Text(f"{progress.step + 1}{of}"),
        Text(f"{share_of(shown)}%"),
        Text(rollout.candidate),
        Text(story.duration(now() - progress.started_at)),
    ]
    if wide:
        more = (rollout.stable, rollout.name, rollout.policy_name, progress.reason.value)
        cells += [Text(each) for each in more]
    waits = story.waits_for(rollout, policy, now())
    cells.append(Text(waits or f"– ({progress.message or progress.reason.value})"))
    return [Text(rollout.namespace), *cells] if namespaced else cells


class _Screen:
    """A live picture on a terminal; elsewhere, a line per transition."""

    def __init__(self) -> None:
        console = printing.console()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._trail = Trail()

    def __enter__(self) -> _Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, rollouts: Sequence[Rollout], picture: Callable[[], RenderableType]) -> None:
        if self._live is not None:
            self._live.update(picture(), refresh=True)
            return
        for line in self._trail.news(rollouts):
            printing.say(line.text(iso(line.at) or ""))
        sys.stdout.flush()


def _watch_all(ledger: seams.OpenLedger, where: str | None, output: Output) -> int:
    """Until Ctrl-C: there is no end that all rollouts of a cluster could have."""
    tolerance = patience.Tolerance()

    def picture(rollouts: Sequence[Rollout]) -> RenderableType:
        return (
            _table(rollouts, where, output) if rollouts else Text(f"there are no rollouts {_in(where)} yet")
        )

    with _Screen() as screen:
        for _ in patience.looks(_EVERY, None):
            rollouts = tolerance.look(lambda: finding.current(ledger.rollouts(where)))
            if rollouts is not None:
                screen.show(rollouts, partial(picture, rollouts))
    return exits.DONE


def _follow(ledger: seams.OpenLedger, where: str, name: str, timeout: float | None) -> int:
    """One rollout to its end. It may not be there yet: a pipeline asks right after `kubectl apply`."""
    tolerance = patience.Tolerance()
    rollout: Rollout | None = None
    with _Screen() as screen:
        for look in patience.looks(_EVERY, timeout):
            found = tolerance.look(partial(_look, ledger, where, name, rollout))
            if tolerance.away:
                continue
            if found is None and rollout is not None:
                printing.tell(f"{story.headline(rollout)}: the rollout was deleted meanwhile")
                return exits.NO
            rollout = found
            if rollout is not None:
                screen.show([rollout], partial(_picture, rollout))
                if rollout.is_final:
                    break
            elif look == 1:
                printing.tell(f"waiting for a rollout of {name} {_in(where)}")
    if rollout is not None and rollout.is_final:
        return _outcome(rollout)
    _tell_late(rollout, name, timeout or 0.0)
    return exits.NO


def _picture(rollout: Rollout) -> RenderableType:
    return panel(_shown(rollout), now())


def _look(ledger: seams.OpenLedger, where: str, name: str, before: Rollout | None) -> Rollout | None:
    """Once it is found it stays the one that is followed, whatever begins after it."""
    if before is not None:
        return ledger.read(before.namespace, before.name)
    return finding.find(ledger.rollouts(where), name)


def _outcome(rollout: Rollout) -> int:
    progress = rollout.progress
    why = progress.message or progress.reason.value
    printing.tell(f"{story.headline(rollout)}: {progress.phase.value}: {why}")
    return exits.DONE if progress.phase is Phase.PROMOTED else exits.NO


def _tell_late(rollout: Rollout | None, name: str, timeout: float) -> None:
    within = story.duration(timeout)
    if rollout is None:
        printing.tell(f"no rollout of {name} has begun within {within}; does a policy select the service?")
        return
    phase, waits = rollout.progress.phase, story.waits_for(rollout, seams.policy_of(rollout), now())
    printing.tell(f"{story.headline(rollout)}: not ended within {within}: {phase.value}, waits for {waits}")
