"""The recorded transitions of rollouts, each returned once, in the order of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autocanary.model.rollout import Rollout
from autocanary.model.time_format import parse_time

__all__ = ["EventLine", "EventLog"]


@dataclass(frozen=True, slots=True)
class EventLine:
    """One transition; ``at`` in whole epoch seconds, as the CanaryRollout stores them."""

    at: float
    where: str
    event: str
    phase: str
    weight: int
    reason: str
    message: str

    def text(self, time: str) -> str:
        return f"{time}  {self.where}  {self.event}  {self.weight} %  {self.reason}: {self.message}"


class EventLog:
    """Remembers the transitions that it returned. A CanaryRollout keeps only its last ones, so read it often."""

    def __init__(self) -> None:
        self._returned: set[tuple[str, str, EventLine]] = set()

    def new_lines(self, rollouts: Iterable[Rollout]) -> list[EventLine]:
        """The transitions that were not returned before."""
        added: list[EventLine] = []
        for rollout in rollouts:
            for raw in rollout.progress.decisions:
                line = EventLine(
                    at=parse_time(str(raw.get("time") or "")) or 0.0,
                    where=f"{rollout.namespace}/{rollout.service}",
                    event=str(raw.get("event", "")),
                    phase=str(raw.get("phase", "")),
                    weight=int(raw.get("weight") or 0),
                    reason=str(raw.get("reason", "")),
                    message=str(raw.get("message", "")),
                )
                key = (rollout.namespace, rollout.name, line)
                if key not in self._returned:
                    self._returned.add(key)
                    added.append(line)
        return sorted(added, key=lambda line: line.at)  # stable: one rollout's order is kept
