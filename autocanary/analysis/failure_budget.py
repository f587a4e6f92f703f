"""The budget of harm: how many requests the candidate has failed in a rollout, each counted exactly once.

Within one account of the adapter the difference of its totals is added. Another account has begun with nothing, after a
restart for example. Then the raw counters of the candidate's processes say what each has failed since it was last
recorded: a process that is new counts from 0, and so does one whose counter was reset. A process that is gone keeps
what it had.

Where this errs it counts too little: what a process failed between the last record and its end or its reset, while
autocanary did not run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autocanary.model.measurement import FailureCounts

__all__ = ["FailureBudget"]

_MAX_PROCESSES = 16
_VERSION = 1


@dataclass(frozen=True, slots=True)
class FailureBudget:
    """The state over a whole rollout.

    ``failed`` requests were counted, the last of them when the account ``account_id`` stood at ``account_total`` and
    the processes at ``by_process``; "" before the first. ``complete`` is False when there were more processes than are
    kept: then an unknown one counts from where it is first seen.
    """

    failed: int = 0
    account_id: str = ""
    account_total: float = 0.0
    by_process: Mapping[str, float] = field(default_factory=dict)
    complete: bool = True

    def add(self, counts: FailureCounts | None, *, count_from_zero: bool) -> FailureBudget:
        """The state after one evaluation; None is no answer and changes nothing.

        ``count_from_zero``: what the candidate had failed when it was first seen belongs to the rollout. It does not
        where the same revision was rolled out before.
        """
        if counts is None or not _is_finite(counts):
            return self
        if counts.account_id == self.account_id:
            increase = max(counts.total - self.account_total, 0.0)
        elif not self.account_id:
            increase = sum(counts.by_process.values()) if count_from_zero else 0.0
        else:
            increase = self._increase_since_record(counts)
        known = {**self.by_process, **{name: value for name, value in counts.by_process.items() if value > 0.0}}
        complete = self.complete and len(known) <= _MAX_PROCESSES
        if len(known) > _MAX_PROCESSES:
            present = [name for name in known if name in counts.by_process]
            gone = [name for name in known if name not in counts.by_process]
            known = {name: known[name] for name in [*gone, *present][-_MAX_PROCESSES:]}
        total = max(counts.total, self.account_total) if counts.account_id == self.account_id else counts.total
        return FailureBudget(self.failed + round(increase), counts.account_id, total, known, complete)

    def _increase_since_record(self, counts: FailureCounts) -> float:
        increase = 0.0
        for name, value in counts.by_process.items():
            before = self.by_process.get(name)
            if before is None:
                increase += value if self.complete else 0.0
            else:
                increase += value - before if value >= before else value
        return increase

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        raw: dict[str, Any] = {
            "version": _VERSION,
            "failed": self.failed,
            "account": self.account_id,
            "total": self.account_total,
            "processes": " ".join(f"{name}:{value:.17g}" for name, value in self.by_process.items()),
        }
        return raw if self.complete else raw | {"complete": False}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> FailureBudget:
        """The stored state. One that is not readable keeps its number, and counts on from what comes."""
        failed = raw.get("failed")
        kept = failed if isinstance(failed, int) and not isinstance(failed, bool) and failed >= 0 else 0
        if raw.get("version") != _VERSION:
            return cls(kept, "unreadable" if raw else "", complete=not raw)
        try:
            pairs = [each.rpartition(":") for each in raw["processes"].split()]
            by_process = {name: float(value) for name, _, value in pairs}
            state = cls(kept, str(raw["account"]), float(raw["total"]), by_process, raw.get("complete", True) is True)
        except (AttributeError, KeyError, TypeError, ValueError):
            return cls(kept, "unreadable", complete=False)
        return state


def _is_finite(counts: FailureCounts) -> bool:
    return math.isfinite(counts.total) and all(map(math.isfinite, counts.by_process.values()))
