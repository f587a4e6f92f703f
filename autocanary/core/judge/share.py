"""Whether the candidate completes its share of the requests: one that hangs fails nothing and ends nothing.

The null hypothesis is that at least half of what its weight promises is completed. Requests that take
longer on the candidate are late only once; the block dropped after each change of split is for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log
from typing import Any

from autocanary.core.counts import Counters
from autocanary.core.judge.intake import Intake, Tally, take
from autocanary.core.judge.likelihood import below_share, log_add, log_mix, times
from autocanary.core.judge.terms import Terms

__all__ = ["Share", "watched"]

_PARTS = (0.001, 0.1, 0.3, 0.6)
_EQUAL = (1.0 / len(_PARTS),) * len(_PARTS)
_NOT_YET = Intake()
_NONE = Tally()


@dataclass(frozen=True, slots=True)
class Share:
    """The state of the test over a whole rollout; ``step`` is what was counted in this step."""

    intake: Intake = _NOT_YET
    logs: tuple[float, ...] = ()
    step: Tally = _NONE

    @property
    def evidence(self) -> float:
        """log E that the candidate completes less than half of its share."""
        return log_mix(self.logs, _EQUAL, self.intake.idle) if self.logs else 0.0

    @property
    def completed(self) -> float | None:
        """The fraction of this step's requests that the candidate completed."""
        both = self.step.candidate + self.step.stable
        return self.step.candidate / both if both else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        return {"intake": self.intake.to_list(), "logs": list(self.logs), "step": self.step.to_list()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Share:
        return cls(Intake.from_list(raw["intake"]), tuple(raw["logs"]), Tally.from_list(raw["step"]))


def watched(
    state: Share,
    terms: Terms,
    counters: Counters | None,
    *,
    step: int,
    steps: int,
    weight: int,
    warming: bool = False,
) -> Share:
    """The state after one look; arguments as for ``comparison.looked``."""
    intake, taken = take(
        state.intake, terms, counters, step=step, steps=steps, weight=weight, warming=warming or step < 0
    )
    logs = state.logs
    if taken.before is not None:
        logs = _times(logs, taken.before, taken.before_weight, terms)
    if not logs and intake.started:
        logs = (log(1.0 - intake.idle),) * len(_PARTS)
    elif logs and taken.begun > 0.0:
        logs = tuple(log_add(each, log(taken.begun)) for each in logs)
    seen = Tally() if step != state.intake.step else state.step
    if taken.look is not None:
        seen = seen + taken.look
    if taken.block is not None:
        logs = _times(logs, taken.block, weight, terms)
    return Share(intake, logs, seen)


def _times(logs: tuple[float, ...], block: Tally, weight: int, terms: Terms) -> tuple[float, ...]:
    if not 0 < weight < 100:
        return logs
    most = inf if terms.cap is None else log(terms.cap)
    more = below_share(block.candidate, block.stable, weight / 200.0, _PARTS)
    return times(logs, more, most)
