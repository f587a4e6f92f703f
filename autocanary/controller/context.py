"""The ports that the engine works through, in one value: what its parts are given instead of twelve.

Calls under way: their results come back to the one thread that ticks.

What is said of a failure, and how long to wait after one.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from autocanary.errors import AutocanaryError, NotLeader
from autocanary.logs import logger
from autocanary.model.observation import ServiceKey
from autocanary.ports import (
    Clock,
    Cluster,
    Gates,
    Leadership,
    Ledger,
    Listener,
    Metrics,
    Notifier,
    Policies,
    Pool,
    WritePool,
)

__all__ = ["RETRY_LAST", "Calls", "Surroundings", "Then", "log_failure", "pause"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``pool`` runs the writes, ``askers`` the questions to Prometheus and ``hooks`` the policies' webhooks,
    so that none of them keeps another waiting.

    ``ready`` says whether the first pictures are whole; ``hurry`` asks for a tick soon; ``lost`` is
    called when another instance may lead; ``history_limit`` is how many finished rollouts of a service are
    kept.
    """

    cluster: Cluster
    ledger: Ledger
    metrics: Metrics
    gates: Gates
    notifier: Notifier
    policies: Policies
    leadership: Leadership
    clock: Clock
    pool: WritePool
    askers: Pool
    hooks: Pool
    listener: Listener
    ready: Callable[[], bool]
    hurry: Callable[[], None]
    lost: Callable[[], None]
    history_limit: int


Then = Callable[[Any, BaseException | None], None]
"""Takes a call's result, or None and what it raised."""


class Calls:
    """Results wait here until ``take_up``. Dropped with everything else when leadership is lost: what was
    begun before then concerns nobody.
    """

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        self._results: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def when_done(self, future: Future[Any], then: Then) -> None:
        """Hand a finished call's result to the tick's thread, and have it tick soon."""

        def done(finished: Future[Any]) -> None:
            error = finished.exception()
            result = None if error is not None else finished.result()
            self._results.put(lambda: then(result, error))
            self._hurry()

        future.add_done_callback(done)

    def take_up(self) -> None:
        """Do what was to be done with the results that have come."""
        while True:
            try:
                result = self._results.get_nowait()
            except queue.Empty:
                return
            result()


_RETRY_FIRST, RETRY_LAST = 1.0, 30.0

_log = logger("engine")


def log_failure(event: str, key: ServiceKey, error: BaseException | None, **more: Any) -> None:
    """A warning; with a traceback if it is not an error of ours, and only news if we do not lead."""
    known = isinstance(error, AutocanaryError) or error is None
    level = _log.info if isinstance(error, NotLeader) else (_log.warning if known else _log.error)
    extra = {} if known else {"exc_info": error}
    level(
        event,
        namespace=key.namespace,
        service=key.name,
        error=str(error) if error else "",
        **more,
        **extra,
    )


def pause(failures: int) -> float:
    """Seconds before the next try: 1, 2, 4 … 30."""
    return min(RETRY_LAST, _RETRY_FIRST * 2.0 ** min(failures - 1, 10))
