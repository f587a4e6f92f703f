"""The result of a simulation in 80 columns: a line for each release, and under it the figures of each policy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocanary.model.measurement import Unit
from autocanary.model.value_wording import format_duration, format_value

if TYPE_CHECKING:
    from autocanary.app.simulation import SimulationSummary
    from autocanary.simulator.releases import SimulatedRelease

__all__ = ["document", "table"]

_EMPTY = "–"


_WIDTHS = (22, 14, 13, 8, 8, 9)
"""Of the columns; with the spaces between them a row has 80 characters at most."""
_COLUMNS = (
    ("ROLLED BACK", "(95 % interval)"),
    ("AFTER", "median, 90 %"),
    ("BAD REQUESTS", "median, 90 %"),
    ("PROMOTED", ""),
    ("AFTER", "median"),
    ("UNDECIDED", ""),
)


def table(summaries: Sequence[SimulationSummary]) -> Group:
    """For each release a line that describes it, and under it its figures; of several policies a row for each."""
    several = len({each.policy for each in summaries}) > 1
    parts: list[RenderableType] = [_rows([[first for first, _ in _COLUMNS], [second for _, second in _COLUMNS]], "dim")]
    for _, group in groupby(summaries, key=lambda each: each.release.name):
        members = list(group)
        release = members[0].release
        heading = Text.assemble("\n", (release.name, "bold"), f"  {release.rps:g}/s, {describe_release(release)}")
        parts.append(heading)
        for each in members:
            if several:
                parts.append(Text(f"policy {each.policy}", "dim"))
            parts.append(_rows([_cells(each)]))
    return Group(*parts)


def _rows(rows: Sequence[Sequence[str]], style: str = "") -> Table:
    made = Table.grid(padding=(0, 1, 0, 0))
    for width in _WIDTHS:
        made.add_column(justify="right", no_wrap=True, min_width=width, style=style)
    for row in rows:
        made.add_row(*row)
    return made


def describe_release(release: SimulatedRelease) -> str:
    """``0.5 % → 5 %, 80 ms → 160 ms, after 15m, in bursts``."""
    parts = [_change(release.base_error, release.canary_error, Unit.PERCENT)]
    if release.base_latency != release.canary_latency:
        parts.append(_change(release.base_latency, release.canary_latency, Unit.SECONDS))
    if release.in_bake:
        parts.append(f"{format_duration(release.onset)} after 100 %")
    elif release.onset:
        parts.append(f"after {format_duration(release.onset)}")
    if release.bursts:
        parts.append("in bursts")
    if release.missed:
        parts.append(f"{release.missed:g} % of scrapes fail")
    if release.silent and release.silent_seconds:
        parts.append(f"{release.silent} not scraped for {format_duration(release.silent_seconds)}")
    if release.outage_seconds:
        parts.append(f"both fail for {format_duration(release.outage_seconds)}")
    if release.cold_seconds:
        cold = format_value(release.cold_latency, Unit.SECONDS)
        parts.append(f"{cold} for the first {format_duration(release.cold_seconds)}")
    return ", ".join(parts)


def document(summaries: Sequence[SimulationSummary]) -> dict[str, Any]:
    """For programs; of two policies each entry says whose it is."""
    several = len({each.policy for each in summaries}) > 1
    entries = [({"policy": each.policy} if several else {}) | each.to_dict() for each in summaries]
    return {"releases": entries}


def _cells(each: SimulationSummary) -> list[str]:
    share, low, high = each.rolled_back_share
    return [
        f"{_percent(share)} ({_number(low)} to {_number(high)})",
        f"{_time(each.rollback_quantile(0.5))}, {_time(each.rollback_quantile(0.9))}" if share else _EMPTY,
        f"{each.failed_requests_quantile(0.5):g}, {each.failed_requests_quantile(0.9):g}",
        _percent(each.promoted_share),
        _time(each.promotion_quantile(0.5)),
        _percent(each.undecided_share),
    ]


def _change(before: float, after: float, unit: Unit) -> str:
    if before == after:
        return format_value(before, unit)
    return f"{format_value(before, unit)} → {format_value(after, unit)}"


def _percent(fraction: float) -> str:
    """One decimal, but never 0 or 100 for what is not."""
    return f"{_number(fraction)} %"


def _number(fraction: float) -> str:
    percent = 100.0 * fraction
    shown = f"{percent:.1f}"
    if shown in ("0.0", "100.0") and percent not in (0.0, 100.0):
        return "<0.1" if percent < 1 else ">99.9"
    return shown.removesuffix(".0") if percent in (0.0, 100.0) else shown


def _time(seconds: float | None) -> str:
    return _EMPTY if seconds is None else format_duration(seconds)
