"""The result of a simulation as a table: one row per release, or one per policy of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from autocanary.model.measurement import Unit
from autocanary.model.value_wording import format_duration, format_value

if TYPE_CHECKING:
    from autocanary.app.simulation import SimulationSummary
    from autocanary.simulator.releases import SimulatedRelease

__all__ = ["document", "table"]

_EMPTY = "–"


def table(summaries: Sequence[SimulationSummary]) -> Table:
    """With a column for the policy where there are several."""
    several = len({each.policy for each in summaries}) > 1
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("RELEASE", no_wrap=True)
    made.add_column("REQUESTS", no_wrap=True)
    made.add_column("ERRORS, LATENCY")
    if several:
        made.add_column("POLICY", no_wrap=True)
    for column in (
        "ROLLED BACK\n(95 % interval)",
        "AFTER\nmedian, 90 %",
        "BAD REQUESTS\nmedian, 90 %",
        "PROMOTED",
        "AFTER\nmedian",
        "UNDECIDED",
    ):
        made.add_column(column, justify="right", no_wrap=True)
    before = ""
    for each in summaries:
        release = each.release
        first = release.name != before
        before = release.name
        row = [release.name, f"{release.rps:g}/s", describe_release(release)] if first else ["", "", ""]
        row += [each.policy] if several else []
        made.add_row(*row, *_cells(each))
    return made


def describe_release(release: SimulatedRelease) -> str:
    """``0.5 % → 1 %, 80 ms → 160 ms, after 5m, in bursts``."""
    parts = [_change(release.base_error, release.canary_error, Unit.PERCENT)]
    if release.base_latency != release.canary_latency:
        parts.append(_change(release.base_latency, release.canary_latency, Unit.SECONDS))
    if release.onset:
        parts.append(f"after {format_duration(release.onset)}")
    if release.bursts:
        parts.append("in bursts")
    return ", ".join(parts)


def document(summaries: Sequence[SimulationSummary]) -> dict[str, Any]:
    """For programs; of two policies each entry says whose it is."""
    several = len({each.policy for each in summaries}) > 1
    entries = [({"policy": each.policy} if several else {}) | each.to_dict() for each in summaries]
    return {"releases": entries}


def _cells(each: SimulationSummary) -> list[str]:
    share, low, high = each.rolled_back_share
    return [
        f"{_percent(share)} ({_percent(low)} to {_percent(high)})",
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
    percent = 100.0 * fraction
    shown = f"{percent:.1f}"
    if shown in ("0.0", "100.0") and percent not in (0.0, 100.0):
        return "<0.1 %" if percent < 1 else ">99.9 %"
    return f"{shown.removesuffix('.0') if percent in (0.0, 100.0) else shown} %"


def _time(seconds: float | None) -> str:
    return _EMPTY if seconds is None else format_duration(seconds)
