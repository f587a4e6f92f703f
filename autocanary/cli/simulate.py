"""``autocanary simulate``: what a policy does with good and bad releases, in virtual time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from autocanary.cli import backend, printing, simulation_view
from autocanary.cli.printing import Output, OutputFormat, default_text, duration_option
from autocanary.errors import InputError, PolicyError
from autocanary.model.policy import Policy

__all__ = ["simulate"]

_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%", re.ASCII)
_MAX_POLICIES = 2
_RUNS, _SEED, _HORIZON = 150, 1, 4 * 3600.0
_MIN_LATENCY = 0.0001
_WIDTH = 80


def _percent(text: str) -> float:
    found = _PERCENT.fullmatch(text.strip())
    percent = float(found.group(1)) if found else math.nan
    if not 0 <= percent <= 100:
        raise typer.BadParameter(f"{text!r} is not a percentage between 0% and 100%, such as 0.5%")
    return percent


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 1_000_000:
        raise typer.BadParameter(f"{text!r} is not a number of requests per second above 0, up to 1000000")
    return rate


def _latency(text: str) -> float:
    seconds = duration_option(text)
    if seconds < _MIN_LATENCY:
        raise typer.BadParameter(f"{text!r} is no latency: expected 0.1ms or more, such as 80ms")
    return seconds


def _positive_duration(text: str | float) -> float:
    seconds = duration_option(text)
    if seconds <= 0:
        raise typer.BadParameter(f"{text!r} is not a positive duration, such as 4h")
    return seconds


def simulate(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="POLICY [POLICY2]", help="A file with one policy; of two, both side by side."),
    ],
    rps: Annotated[
        float | None,
        typer.Option("--rps", metavar="N", parser=_rate, help=f"Requests per second.{default_text('20')}"),
    ] = None,
    base_error: Annotated[
        float | None,
        typer.Option(
            "--base-error",
            metavar="PERCENT",
            parser=_percent,
            help=f"Errors of stable.{default_text('0.5%')}",
        ),
    ] = None,
    canary_error: Annotated[
        float | None,
        typer.Option(
            "--canary-error",
            metavar="PERCENT",
            parser=_percent,
            help=f"Of the canary.{default_text('as stable')}",
        ),
    ] = None,
    base_latency: Annotated[
        float | None,
        typer.Option(
            "--base-latency",
            metavar="DURATION",
            parser=_latency,
            help=f"Median latency of stable.{default_text('80ms')}",
        ),
    ] = None,
    canary_latency: Annotated[
        float | None,
        typer.Option(
            "--canary-latency",
            metavar="DURATION",
            parser=_latency,
            help=f"Of the canary.{default_text('as stable')}",
        ),
    ] = None,
    onset: Annotated[
        float | None,
        typer.Option(
            "--onset",
            metavar="DURATION",
            parser=duration_option,
            help="How long the canary answers like stable.",
        ),
    ] = None,
    bursts: Annotated[
        bool, typer.Option("--bursts", help="Errors of both come and go together, minute by minute.")
    ] = False,
    runs: Annotated[
        int,
        typer.Option(
            "--runs",
            metavar="N",
            min=1,
            show_default=False,
            help=f"Rollouts of each release.{default_text('150')}",
        ),
    ] = _RUNS,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            show_default=False,
            help=f"The same seed gives the same figures.{default_text('1')}",
        ),
    ] = _SEED,
    horizon: Annotated[
        float,
        typer.Option(
            "--horizon",
            metavar="DURATION",
            parser=_positive_duration,
            show_default=False,
            help=f"A rollout that takes longer is undecided.{default_text('4h')}",
        ),
    ] = _HORIZON,
    output: OutputFormat = Output.TABLE,
) -> None:
    """See what a policy does with good and bad releases, before you use it.

    It prints how often the policy is wrong, how fast it is, and what that costs. The real rules and analysis
    decide over simulated requests, in virtual time. Unless flags describe a release, a standard set is simulated.

    Exit code 1 when a policy is invalid.
    """
    policies = _policies(paths)
    releases = backend.releases(
        rps=rps,
        base_error=base_error,
        canary_error=canary_error,
        base_latency=base_latency,
        canary_latency=canary_latency,
        onset=onset,
        bursts=bursts,
    )
    with _ProgressBar() as on_progress:
        summaries, notes = backend.simulate(
            policies, releases, runs=runs, seed=seed, horizon=horizon, on_progress=on_progress
        )
    for note in notes:
        printing.print_notice(note)
    if output in (Output.JSON, Output.YAML):
        printing.document(simulation_view.document(summaries), output)
        return
    console = printing.console()
    if not console.is_terminal or console.width < _WIDTH:
        console = printing.console(width=_WIDTH)  # a cut number would be wrong
    console.print(simulation_view.table(summaries))


def _policies(paths: list[Path]) -> list[tuple[str, Policy]]:
    from autocanary import policy_files

    if len(paths) > _MAX_POLICIES:
        raise typer.BadParameter(f"{len(paths)} policies: expected one or two", param_hint="'POLICY'")
    found: list[tuple[str, Policy]] = []
    for path in paths:
        loading = policy_files.load_paths([path])
        wrong = tuple(each for each in loading.all_problems if each.severity == "error")
        if wrong:
            raise PolicyError(wrong)
        if len(loading.policies) != 1:
            raise InputError(f"{path} holds {len(loading.policies)} policies; expected one, in a file of its own")
        found.append((loading.policies[0].name, loading.policies[0]))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        found = [(str(path), policy) for path, (_, policy) in zip(paths, found, strict=True)]
    if len(set(paths)) < len(paths):
        raise typer.BadParameter(f"{paths[0]} is given twice", param_hint="'POLICY'")
    return found


class _ProgressBar:
    """A progress bar on stderr, on a terminal."""

    def __init__(self) -> None:
        self._console = printing.errors()
        self._progress = Progress(
            TextColumn("simulating"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("runs,"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("simulating", total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        if not self._console.is_terminal:
            return lambda *_: None
        self._progress.start()
        return lambda done, total: self._progress.update(self._task, completed=done, total=total)

    def __exit__(self, *error: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()
