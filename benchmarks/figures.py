"""The figures of one run, how they are printed, and those of the peers to print beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["PEERS", "BenchmarkRun", "RollbackDelays", "SteadyLoad", "markdown", "quantile", "table"]


@dataclass(frozen=True, slots=True)
class SteadyLoad:
    """A steady window. Gaps in seconds, memory in MB, requests per 30 s; None where it was not measured."""

    ticks: int
    due: int
    gap_p50: float
    gap_p99: float
    gap_max: float
    cores: float
    cpu_ms_per_tick: float
    rss_mean: float
    rss_max: float
    queries: float
    queries_per_tick: float
    api: float
    api_per_tick: float
    reads: float
    writes: float
    idle_percent: float
    api_by_kind: dict[str, int] = field(default_factory=dict)
    status_writes_per_rollout: float | None = None
    queries_at_once: int | None = None


@dataclass(frozen=True, slots=True)
class RollbackDelays:
    """Seconds from a violation to the accepted write that takes the candidate's traffic.

    ``from_sample``: the p50, p99 and longest time from the first scrape that shows it instead; None where there are no
    scrapes.
    """

    count: int
    done: int
    p50: float
    p99: float
    max: float
    from_sample: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """One row. ``note`` says under which conditions it was taken."""

    name: str
    rollouts: int
    interval: float
    load: SteadyLoad | None = None
    violation: RollbackDelays | None = None
    note: str = ""


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank); NaN of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


PEERS: tuple[BenchmarkRun, ...] = (
    BenchmarkRun(
        "Flagger",
        50,
        10,
        SteadyLoad(604, 600, 9.96, 11.33, 11.57, 0.071, 14.06, 67, 68, 603, 3.99, 2100, 13.91, 1650, 450, 62.9),
        RollbackDelays(20, 20, 15.05, 18.9, 18.9),
    ),
    BenchmarkRun(
        "Flagger",
        200,
        10,
        SteadyLoad(1079, 2400, 21.95, 29.37, 30.43, 0.141, 15.63, 81, 83, 1068, 3.96, 3774, 13.99, 3000, 774, 9.8),
        RollbackDelays(20, 20, 30.8, 34.77, 34.77),
    ),
    BenchmarkRun(
        "Flagger",
        500,
        10,
        SteadyLoad(1153, 6000, 54.96, 55.79, 56.06, 0.168, 17.48, 100, 102, 1122, 3.89, 3808, 13.21, 2995, 814, 39.0),
        RollbackDelays(20, 20, 75.3, 80.53, 80.53),
    ),
    BenchmarkRun(
        "Argo Rollouts",
        50,
        10,
        SteadyLoad(600, 600, 10.0, 10.09, 10.13, 0.047, 9.32, 98, 100, 600, 4.0, 150, 1.0, 0, 150, 63.3),
        RollbackDelays(20, 20, 5.89, 9.77, 9.77),
    ),
    BenchmarkRun(
        "Argo Rollouts",
        200,
        10,
        SteadyLoad(2400, 2400, 10.0, 10.07, 10.12, 0.167, 8.33, 172, 181, 2400, 4.0, 612, 1.02, 0, 612, 63.5),
        RollbackDelays(20, 20, 6.3, 11.77, 11.77),
        "after its start-up",
    ),
    BenchmarkRun(
        "Argo Rollouts",
        500,
        10,
        SteadyLoad(3811, 6000, 14.92, 19.84, 20.13, 0.797, 25.11, 323, 371, 3811, 4.0, 1530, 1.61, 217, 1313, 0.2),
        RollbackDelays(20, 20, 68.44, 74.22, 74.22),
        "start-up work still going on",
    ),
)
"""Flagger 1.44.0 (threshold 1; its weight moves at each tick) and Argo Rollouts 1.9.1 (failureLimit 0)."""

_LOAD_COLUMNS = (
    "Run (N / interval)",
    "ticks got / due",
    "gap p50 / p99 / max s",
    "cores",
    "CPU ms per tick",
    "RSS mean / max MB",
    "Prometheus queries per 30 s (per tick)",
    "API requests per 30 s (per tick)",
    "of these: reads / writes",
    "idle %",
)
_VIOLATION_COLUMNS = (
    "Run (N / interval)",
    "n",
    "p50 s",
    "p99 s",
    "max s",
    "from the sample: p50 / p99 / max s",
    "done",
)


def markdown(runs: Iterable[BenchmarkRun]) -> str:
    """Two tables: the load of a steady window, and the time from violation to rollback."""
    known = list(runs)
    loads = [(run, run.load) for run in known if run.load is not None]
    violations = [(run, run.violation) for run in known if run.violation is not None]
    parts = []
    if loads:
        parts.append(table(_LOAD_COLUMNS, [_load_row(run, load) for run, load in loads]))
    if violations:
        parts.append(table(_VIOLATION_COLUMNS, [_violation_row(run, violation) for run, violation in violations]))
    return "\n\n".join(parts)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _title(run: BenchmarkRun) -> str:
    return f"{run.name} {run.rollouts:,} / {run.interval:g} s" + (f", {run.note}" if run.note else "")


def _load_row(run: BenchmarkRun, load: SteadyLoad) -> Sequence[str]:
    return (
        _title(run),
        f"{load.ticks} / {load.due} ({load.ticks / load.due:.2f})",
        f"{load.gap_p50:.2f} / {load.gap_p99:.2f} / {load.gap_max:.2f}",
        f"{load.cores:.3f}",
        f"{load.cpu_ms_per_tick:.2f}",
        f"{load.rss_mean:.0f} / {load.rss_max:.0f}",
        f"{load.queries:.0f} ({load.queries_per_tick:.2f})",
        f"{load.api:.0f} ({load.api_per_tick:.2f})",
        f"{load.reads:.0f} / {load.writes:.0f}",
        f"{load.idle_percent:.0f}",
    )


def _violation_row(run: BenchmarkRun, violation: RollbackDelays) -> Sequence[str]:
    return (
        _title(run),
        str(violation.count),
        f"{violation.p50:.2f}",
        f"{violation.p99:.2f}",
        f"{violation.max:.2f}",
        " / ".join(f"{each:.2f}" for each in violation.from_sample) if violation.from_sample is not None else "",
        f"{violation.done}/{violation.count}",
    )
