"""Which changes of a rollout's progress must be recorded at once."""

from __future__ import annotations

from operator import attrgetter

from autocanary.model.progress import Progress
from autocanary.model.progress_json import FIELD_PLACES

__all__ = ["must_record"]


_ROUTINE_FIELDS = frozenset(
    {
        "last_evaluation_at",
        "observed_weight",
        "message",
        "metrics",
        "reason",
        "evidence",
        "failed_requests",
        "inconclusive_since",
        "series",
    }
)


_material_fields = attrgetter(*(place for name, place in FIELD_PLACES.items() if name not in _ROUTINE_FIELDS))
"""What must be recorded when it differs; a reason that lasts has a phase of its own."""


def must_record(before: Progress | None, after: Progress) -> bool:
    """Whether ``after`` must be recorded now: anything but the latest numbers of an evaluation without effect.

    A violation counts towards a limit, so it is recorded at once; a pass does not.
    """
    if before is None:
        return True
    if before is after:
        return False
    if _failures_differ(before, after):
        return True
    return _material_fields(before) != _material_fields(after)


def _failures_differ(before: Progress, after: Progress) -> bool:
    """Whether the number of violations changed and must be recorded; zero violations need no record."""
    if before.analysis.metrics is after.analysis.metrics:
        return False
    earlier = {name: state.violations for name, state in before.analysis.metrics.items()}
    later = {name: state.violations for name, state in after.analysis.metrics.items()}
    return earlier != later and (bool(earlier) or any(later.values()))
