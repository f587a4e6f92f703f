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
    DecisionListener,
    Leadership,
    Metrics,
    Notifier,
    Policies,
    PolicyWebhooks,
    Pool,
    RolloutStore,
    WritePool,
)

__all__ = ["MAX_RETRY_SECONDS", "Dependencies", "OnDone", "PendingCalls", "backoff_seconds", "log_failure"]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """``pool`` runs the writes, ``query_pool`` the questions to Prometheus and ``webhook_pool`` the policies' webhooks,
    so that none of them keeps another waiting.

    ``ready`` says whether the first pictures are whole; ``requeue`` asks for a tick soon;
    ``on_leadership_lost`` is called when another instance may lead; ``history_limit`` is how many finished
    rollouts of a service are kept.
    """

    cluster: Cluster
    store: RolloutStore
    metrics: Metrics
    policy_webhooks: PolicyWebhooks
    notifier: Notifier
    policies: Policies
    leadership: Leadership
    clock: Clock
    pool: WritePool
    query_pool: Pool
    webhook_pool: Pool
    listener: DecisionListener
    ready: Callable[[], bool]
    requeue: Callable[[], None]
    on_leadership_lost: Callable[[], None]
    history_limit: int


OnDone = Callable[[Any, BaseException | None], None]
"""Takes a call's result, or None and what it raised."""


class PendingCalls:
    """Results wait here until ``process_results``. Dropped with everything else when leadership is lost: what was
    begun before then concerns nobody.
    """

    def __init__(self, requeue: Callable[[], None]) -> None:
        self._requeue = requeue
        self._results: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def when_done(self, future: Future[Any], on_done: OnDone) -> None:
        """Hand a finished call's result to the tick's thread, and have it tick soon."""

        def on_future_done(finished: Future[Any]) -> None:
            error = finished.exception()
            result = None if error is not None else finished.result()
            self._results.put(lambda: on_done(result, error))
            self._requeue()

        future.add_done_callback(on_future_done)

    def process_results(self) -> None:
        """Do what was to be done with the results that have come."""
        while True:
            try:
                result = self._results.get_nowait()
            except queue.Empty:
                return
            result()


_FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 30.0

_log = logger("engine")


def log_failure(event: str, key: ServiceKey, error: BaseException | None, **fields: Any) -> None:
    """A warning; with a traceback if it is not an error of ours, and only news if we do not lead."""
    is_expected = isinstance(error, AutocanaryError) or error is None
    level = _log.info if isinstance(error, NotLeader) else (_log.warning if is_expected else _log.error)
    extra = {} if is_expected else {"exc_info": error}
    level(
        event,
        namespace=key.namespace,
        service=key.name,
        error=str(error) if error else "",
        **fields,
        **extra,
    )


def backoff_seconds(failures: int) -> float:
    """Seconds before the next try: 1, 2, 4 … 30."""
    return min(MAX_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10))
