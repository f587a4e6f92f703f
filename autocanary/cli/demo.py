"""``autocanary demo``: the controller on a simulated cluster, in compressed time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autocanary.cli import backend, follow, printing
from autocanary.cli.demo_view import DemoView, ScenarioResult
from autocanary.cli.printing import default_text
from autocanary.cli.rollout_view import RolloutView

__all__ = ["demo"]

_FRAMES_PER_SECOND = 10.0
_SPEED = 30.0
"""Virtual seconds per real second on a terminal; elsewhere the demo does not wait."""
_STEP_SECONDS = 1.0
"""Virtual seconds between two updates without a terminal."""
_FILE_WIDTH = 120
_FINAL_FRAME_SECONDS = 1.0
"""Real seconds for which the end of a scenario is shown before the next one starts."""


def _parse_speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 1 <= speed < math.inf:
        raise typer.BadParameter(f"{text!r} is not a number of virtual seconds, 1 or more")
    return speed


def demo(
    scenario: Annotated[
        str | None, typer.Option("--scenario", metavar="NAME", help="Only this one; see --list.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed",
            metavar="N",
            parser=_parse_speed,
            help=f"How many virtual seconds pass in a real one, 1 or more.{default_text('30')}",
        ),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Also serve the web page and /metrics.")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="PATH", hidden=True)] = None,
) -> None:
    """Watch a promotion with an approval, a rollback, and a crash after which stable is restored, without a cluster.

    Without a terminal and without --speed it runs as fast as it can, and prints a line for each transition.

    With --serve the web page stays on a terminal until Ctrl-C.

    Exit code 1 when a rollout does not end as its scenario expects.
    """
    known = backend.scenarios()
    if listing:
        width = max(len(name) for name in known)
        for name, text in known.items():
            printing.print_result(f"{name:<{width}}  {text}")
        return
    if scenario is not None and scenario not in known:
        raise typer.BadParameter(f"{scenario!r} is not one of {', '.join(known)}", param_hint="'--scenario'")
    names = (scenario,) if scenario is not None else backend.default_scenarios()
    raise typer.Exit(_run(names, speed, serve=serve, svg=svg))


def _run(names: Sequence[str], speed: float | None, *, serve: bool, svg: Path | None) -> int:
    with ExitStack() as stack:
        page = stack.enter_context(closing(backend.demo_page())) if serve else None
        if page is not None:
            printing.print_notice(f"the web page: {page.address}")
        with DemoView(_console()) as view:
            pace = speed if speed is not None else (_SPEED if view.is_live else None)
            results = [_run_scenario(view, name, pace, page) for name in names]
            as_expected = view.summary(results)
            if svg is not None:
                view.export_svg(svg)
        if page is not None and view.is_live:
            _wait_for_interrupt(page.address)
    return printing.SUCCESS if as_expected else printing.FAILURE


def _wait_for_interrupt(address: str) -> None:
    printing.print_notice(f"the web page stays at {address} until Ctrl-C")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            follow.sleep(3600.0)


def _console() -> Console:
    """Without a terminal, tables have a fixed width."""
    console = printing.console()
    return console if console.is_terminal else printing.console(width=_FILE_WIDTH)


def _run_scenario(view: DemoView, name: str, pace: float | None, page: backend.DemoPageServer | None) -> ScenarioResult:
    with closing(backend.demo_run(name, serve=page is not None, page=page)) as demo_run:
        if demo_run.address:
            printing.print_notice(f"serving {demo_run.address}")
        view.begin(demo_run.title, demo_run.now())
        until = demo_run.now() + demo_run.horizon
        step_seconds = _STEP_SECONDS if pace is None else pace / _FRAMES_PER_SECOND
        while demo_run.now() < until and not _is_finished(demo_run):
            demo_run.advance(step_seconds)
            view.show(_shown(demo_run), demo_run.now(), demo_run.listing())
            if pace is not None:
                follow.sleep(1 / _FRAMES_PER_SECOND)
        if view.is_live:
            follow.sleep(_FINAL_FRAME_SECONDS)
        return ScenarioResult(name, demo_run.expected, _shown(demo_run))


def _is_finished(demo_run: backend.DemoRun) -> bool:
    shown = _shown(demo_run)
    return len(shown) >= len(demo_run.expected) and all(each.rollout.is_final for each in shown)


def _shown(demo_run: backend.DemoRun) -> tuple[RolloutView, ...]:
    ordered = sorted(demo_run.shown(), key=lambda each: (each[0].progress.started_at, each[0].name))
    return tuple(RolloutView(*each) for each in ordered)
