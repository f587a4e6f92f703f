"""What a fault of the metrics moves in a rollout that compares: every fault, at every position; the default policies do.

Each cell is checked by ``test_comparison_faults``; ``python -m tests.matrices`` prints the table. The world is the
simulated one, in which each revision is scraped at a phase of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autocanary.model.measurement import MeasurementKind
from autocanary.model.reason import Reason

__all__ = ["FAULTS", "POSITIONS", "ComparisonFault", "rows", "title"]

title = "Metrics: faults under a policy that compares with stable"

POSITIONS = {"first step": 10, "second step": 50, "bake": 100}
"""The weight at which the fault begins."""


@dataclass(frozen=True)
class ComparisonFault:
    """``kind`` of all measurements, or ``lost``: the revisions (1 stable, 2 candidate) that are not scraped.

    ``reasons`` are what the rollout may be held for while it lasts; none where ``bake_goes_on`` in the bake.
    """

    name: str
    reasons: frozenset[Reason]
    kind: MeasurementKind | None = None
    lost: tuple[int, ...] = ()
    bake_goes_on: bool = False


_OUTAGE = frozenset({Reason.METRICS_OUTAGE})
_STALE = frozenset({Reason.METRICS_STALE})
_SILENT = frozenset({Reason.METRICS_STALE, Reason.NO_DATA})

FAULTS: Sequence[ComparisonFault] = (
    ComparisonFault("no answer", _OUTAGE, MeasurementKind.OUTAGE),
    ComparisonFault("the query is refused", _OUTAGE, MeasurementKind.REFUSED),
    ComparisonFault("a partial answer", frozenset({Reason.METRICS_PARTIAL}), MeasurementKind.PARTIAL),
    ComparisonFault("several series", _OUTAGE, MeasurementKind.AMBIGUOUS),
    ComparisonFault("not given by the source", _OUTAGE, MeasurementKind.UNSUPPORTED),
    ComparisonFault("old samples of both", _STALE, MeasurementKind.STALE),
    ComparisonFault("no series of both", _SILENT, MeasurementKind.NO_SERIES),
    ComparisonFault("the candidate is not scraped", _SILENT, lost=(2,)),
    ComparisonFault("stable is not scraped", _STALE, lost=(1,), bake_goes_on=True),
    ComparisonFault("neither is scraped", _SILENT, lost=(1, 2)),
)


def rows() -> list[tuple[str, ...]]:
    """The header, then one row per fault: what holds it, and what it moves at each position."""
    return [("Fault", "Held as", *POSITIONS), *(_row(fault) for fault in FAULTS)]


def _row(fault: ComparisonFault) -> tuple[str, ...]:
    held = "held; no rollback, no step; then goes on"
    bake = "goes on: stable needs no sample" if fault.bake_goes_on else held
    return fault.name, ", ".join(sorted(reason.value for reason in fault.reasons)), held, held, bake
