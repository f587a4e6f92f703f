"""The demo's output: a live view on a terminal, plain lines elsewhere, a summary at the end.

It gets values of the model and the virtual time, and does not know the simulated cluster.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from autocanary.cli.event_log import EventLine, EventLog
from autocanary.cli.rollout_view import RolloutView, phase_style, rollout_panel
from autocanary.errors import InputError
from autocanary.model import value_wording
from autocanary.model.progress import Phase
from autocanary.views.service_history import restore_text

__all__ = ["DemoView", "ScenarioResult"]

_HEADS, _PANEL, _FEWEST_LINES = 4, 13, 3  # lines of the view: its heads, each rollout, the log at least
_SVG_WIDTH = 110
_LIVE_HERTZ = 12.0
_MISMATCH_STYLE = "bold reverse red"
_EVENT_STYLES = {
    "rollout_promoted": "green",
    "rollback_started": "red",
    "rollout_rolled_back": "red",
    "rollout_held": "yellow",
    "rollout_paused": "magenta",
}


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """How a scenario ended: its rollouts in the order of their start, and the phases in which they should end."""

    title: str
    expected: tuple[Phase, ...]
    shown: tuple[RolloutView, ...]

    @property
    def is_as_expected(self) -> bool:
        return tuple(each.rollout.progress.phase for each in self.shown) == self.expected


class DemoView:
    """Shows rollouts while they run. Use it as a context manager: a live view must be closed.

    ``live`` False prints a line per transition; None: a live view on a terminal.
    """

    def __init__(self, console: Console, *, live: bool | None = None) -> None:
        self._console = console
        self.is_live = console.is_terminal if live is None else live
        self._live = Live(console=console, refresh_per_second=_LIVE_HERTZ, transient=True) if self.is_live else None
        self._title, self._started_at = "", 0.0
        self._event_log, self._log = EventLog(), list[EventLine]()
        self._last: tuple[tuple[RolloutView, ...], float] | None = None
        self._listing: tuple[str, ...] = ()
        self._recorded: list[RenderableType] = []

    def __enter__(self) -> DemoView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, title: str, started_at: float) -> None:
        """Start a new scenario with its own virtual time; the previous one stays on the screen above it."""
        self._freeze_frame()
        self._title, self._started_at = title, started_at
        self._event_log, self._log, self._listing = EventLog(), [], ()
        if not self.is_live:
            self._print(Text(title, "bold"))

    def show(self, shown: Sequence[RolloutView], now: float, listing: Sequence[str] = ()) -> None:
        """Show the present state; transitions since the last call go into the log.

        ``listing`` is kubectl's output about the service: shown above, or whenever more than its age changed.
        """
        new_entries = self._event_log.new_lines(each.rollout for each in shown)
        self._log += new_entries
        self._last = (tuple(shown), now)
        before, self._listing = self._listing, tuple(listing)
        if self._live is not None:
            self._live.update(self._render(shown, now, log_lines=self._log_height(shown)))
            return
        for line in new_entries:
            self._print(Text(line.text(self._elapsed(line.at))))
        if _without_age(before) != _without_age(self._listing):
            for row in self._listing:
                self._print(Text(row, "dim"))

    def summary(self, results: Sequence[ScenarioResult]) -> bool:
        """Print the table at the end; return whether every scenario ended as expected."""
        self._freeze_frame()
        table = Table(box=box.SIMPLE_HEAD, title="What happened", title_justify="left", title_style="bold")
        for column in ("Scenario", "Ended", "Took", "Why"):
            table.add_column(column)
        for result in results:
            for expected, shown in zip_longest(result.expected, result.shown):
                _row(table, result.title, expected, shown)
        self._recorded.append(table)
        self._print(table)
        return all(result.is_as_expected for result in results)

    def export_svg(self, path: Path, title: str = "autocanary demo") -> None:
        """Write the last view of each scenario and the summary; InputError when the file cannot be written."""
        recorder = Console(
            record=True, width=_SVG_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
        )
        for each in self._recorded:
            recorder.print(each)
        try:
            path.write_text(recorder.export_svg(title=title, unique_id="autocanary"), "utf-8")
        except OSError as error:
            raise InputError(f"{path}: the image cannot be written: {error.strerror}") from error

    def _freeze_frame(self) -> None:
        """Leave the present view on the screen, whole, and continue below it."""
        if self._last is None:
            return
        frame = self._render(*self._last, log_lines=None)
        self._recorded.append(frame)
        if self._live is not None:
            self._live.update(Text(), refresh=True)
            self._live.console.print(frame)
        self._last = None

    def _render(self, shown: Sequence[RolloutView], now: float, log_lines: int | None) -> RenderableType:
        """``log_lines``: at most this many, one line each, so that all fits a screen; None: all, whole."""
        head = Text(f"{self._title}  ", "bold")
        head.append(f"{self._elapsed(now)} of virtual time", "dim")
        parts: list[RenderableType] = [head, *(Text(row, no_wrap=True) for row in self._listing)]
        parts += (rollout_panel(each, now) for each in shown)
        if self._log:
            log = self._log_table(log_lines)
            parts.append(Panel(log, title="Transitions", title_align="left", border_style="dim"))
        return Group(*parts)

    def _log_height(self, shown: Sequence[RolloutView]) -> int:
        used_height = _HEADS + len(self._listing) + _PANEL * len(shown)
        return max(_FEWEST_LINES, self._console.height - used_height)

    def _log_table(self, lines: int | None) -> Table:
        table = Table.grid(padding=(0, 1))
        for _ in range(3):
            table.add_column(no_wrap=True)
        table.add_column()  # gives way first, so that times and weights stay whole
        for line in self._log if lines is None else self._log[-lines:]:
            style = _EVENT_STYLES.get(line.event, "")
            table.add_row(
                Text(self._elapsed(line.at), "dim"),
                Text(line.where),
                Text(f"{line.weight} %"),
                Text(f"{line.reason}: {line.message}", style, no_wrap=lines is not None, overflow="ellipsis"),
            )
        return table

    def _elapsed(self, at: float) -> str:
        seconds = max(0, int(at - int(self._started_at)))
        return f"+{seconds // 60:02d}:{seconds % 60:02d}"

    def _print(self, what: Any) -> None:
        console = self._live.console if self._live is not None else self._console
        console.print(what, soft_wrap=not console.is_terminal and isinstance(what, Text))


def _without_age(listing: Sequence[str]) -> list[str]:
    """Each line without its last column."""
    return [line.rpartition(" ")[0] for line in listing]


def _row(table: Table, title: str, expected: Phase | None, shown: RolloutView | None) -> None:
    expected_text = expected.value if expected is not None else "no rollout"
    if shown is None:
        table.add_row(title, Text(f"no rollout (expected: {expected_text})", _MISMATCH_STYLE), "–", "–")
        return
    rollout, progress = shown.rollout, shown.rollout.progress
    ended_at = progress.finished_at if progress.finished_at is not None else progress.phase_since
    if progress.phase is expected:
        ended = Text(progress.phase.value, phase_style(progress.phase))
    else:
        ended = Text(f"{progress.phase.value} (expected: {expected_text})", _MISMATCH_STYLE)
    table.add_row(
        title,
        ended,
        value_wording.format_duration(ended_at - progress.started_at),
        ". ".join(filter(None, (progress.message or progress.reason.value, restore_text(rollout)))),
    )
