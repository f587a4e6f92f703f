"""What has happened to rollouts: their recorded transitions, each told once, in the order of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autocanary.model.rollout import Rollout
from autocanary.model.time_format import epoch

__all__ = ["Line", "Trail"]


@dataclass(frozen=True, slots=True)
class Line:
    """One transition; ``at`` in epoch seconds, whole ones as the ledger keeps them."""

    at: float
    where: str
    event: str
    phase: str
    weight: int
    reason: str
    message: str

    def text(self, time: str) -> str:
        return f"{time}  {self.where}  {self.event}  {self.weight} %  {self.reason}: {self.message}"


class Trail:
    """Remembers what it has told; a ledger keeps only the last transitions of a rollout, so look often."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, Line]] = set()

    def news(self, rollouts: Iterable[Rollout]) -> list[Line]:
        """The transitions not told before."""
        fresh: list[Line] = []
        for rollout in rollouts:
            for raw in rollout.progress.decisions:
                line = Line(
                    at=epoch(str(raw.get("time") or "")) or 0.0,
                    where=f"{rollout.namespace}/{rollout.service}",
                    event=str(raw.get("event", "")),
                    phase=str(raw.get("phase", "")),
                    weight=int(raw.get("weight") or 0),
                    reason=str(raw.get("reason", "")),
                    message=str(raw.get("message", "")),
                )
                key = (rollout.namespace, rollout.name, line)
                if key not in self._told:
                    self._told.add(key)
                    fresh.append(line)
        return sorted(fresh, key=lambda line: line.at)  # stable: one rollout's order is kept
