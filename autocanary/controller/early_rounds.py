"""Which rollouts are evaluated before their interval is over, because a new sample is expected, and how often.

The regular evaluations do not depend on this: whatever happens here, every rollout is evaluated once per interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from autocanary.controller.running_rollout import RunningRollout
from autocanary.model.rollout import RolloutId
from autocanary.scheduler.due_queue import GROUP_SIZE, DueQueue

__all__ = ["EarlyEvaluations", "Round"]

_LEAST_SECONDS, _MOST_SECONDS = 1.0, 30.0
_QUERIES_PER_SECOND = 2.0
"""With the regular evaluations (at 15 s half a query per second) at most 90 queries in 30 s."""
_EVALUATIONS_PER_SECOND = 250.0
_BUSY_PART = 1 / 2
"""The part of the time for which a server may be busy with these queries."""
_HANG_SECONDS = 60.0
_TICK_SLACK = 0.2
"""Seconds by which one tick may be nearer to the one before than the cadence says."""


@dataclass(slots=True)
class Round:
    """The rollouts of one Prometheus server that are queried together."""

    server: str
    rollouts: list[RunningRollout]
    began_at: float
    queries_before: int


@dataclass(slots=True)
class _Server:
    """How one Prometheus server is queried: ``seconds`` apart, one round after the other."""

    seconds: float = _LEAST_SECONDS
    next_at: float = 0.0
    round: Round | None = None

    def may_begin_at(self, now: float) -> float:
        """When the next round may begin; ``now`` where it may. While one is under way, that is tried again."""
        if self.round is not None and now - self.round.began_at <= _HANG_SECONDS:
            return now + _LEAST_SECONDS
        return self.next_at if now < self.next_at - _TICK_SLACK else now


class EarlyEvaluations:
    """A queue of rollouts by the time of their next sample. Not thread-safe: used on the tick's thread only.

    ``queries_sent`` says how many queries the server of that name has been sent by this process.
    """

    def __init__(self, find: Callable[[RolloutId], RunningRollout | None], queries_sent: Callable[[str], int]) -> None:
        self._find, self._queries_sent = find, queries_sent
        self._queue: DueQueue[RolloutId] = DueQueue()
        self._servers: dict[str, _Server] = {}

    def ensure_scheduled(self, running: RunningRollout, now: float) -> None:
        """The rollout may have begun to be evaluated."""
        if running.id not in self._queue:
            self.schedule(running, now)

    def schedule(self, running: RunningRollout, now: float) -> None:
        """Evaluate the rollout when its next sample is expected, unless its regular evaluation is due about then."""
        at = running.next_sample_at()
        if at is None or at >= running.next_due_at(now) - _LEAST_SECONDS:
            self._queue.drop(running.id)
        else:
            self._put(running, max(at, now))

    def _put(self, running: RunningRollout, at: float) -> None:
        """On a grid, so that rollouts share their queries."""
        seconds = self._server(running.server).seconds
        self._queue.set_due(running.id, math.ceil(at / seconds) * seconds)

    def take_due(self, now: float) -> list[Round]:
        """The rounds to begin now, at most one for each server; what does not fit in waits for the next one."""
        by_server: dict[str, list[RunningRollout]] = {}
        for id_ in self._queue.due(now):
            running = self._find(id_)
            if running is None or running.next_sample_at() is None:
                continue
            group = by_server.setdefault(running.server, [])
            may_begin_at = self._server(running.server).may_begin_at(now)
            if running.is_busy or len(group) >= GROUP_SIZE:
                may_begin_at = now + _LEAST_SECONDS
            if may_begin_at > now:
                self._queue.set_due(id_, may_begin_at)
            else:
                group.append(running)
        return [self._begin(name, group, now) for name, group in by_server.items() if group]

    def _begin(self, name: str, group: list[RunningRollout], now: float) -> Round:
        found = Round(name, group, now, self._queries_sent(name))
        self._server(name).round = found
        return found

    def finish(self, finished: Round, now: float) -> None:
        """The round has its answers: how long it took, and how much it asked for, says when the next one may begin."""
        server = self._server(finished.server)
        if server.round is not finished:
            return  # it hung, and another one has begun since
        took, queries = now - finished.began_at, self._queries_sent(finished.server) - finished.queries_before
        load = (
            took / _BUSY_PART,
            queries / _QUERIES_PER_SECOND,
            len(finished.rollouts) / _EVALUATIONS_PER_SECOND,
        )
        server.round, server.seconds = None, min(max(_LEAST_SECONDS, *load), _MOST_SECONDS)
        server.next_at = finished.began_at + server.seconds

    def next_due_at(self) -> float | None:
        return self._queue.next_due_at()

    def _server(self, name: str) -> _Server:
        return self._servers.setdefault(name, _Server())
