"""What the controller's passes share: the ports, the calls under way, and how a failure is logged and retried."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

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

__all__ = ["MAX_RETRY_SECONDS", "Dependencies", "PendingCalls", "backoff_seconds", "isolated", "log_failure"]

T = TypeVar("T")

_FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 30.0

_log = logger("autocanary.controller")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The ports and settings of the controller.

    ``pool`` runs the writes, ``query_pool`` the metric queries (``server_pools`` those to the Prometheus of that name),
    ``own_query_pool`` those of policies with queries of their own, ``web_query_pool`` those of policies with web
    metrics, and ``webhook_pool`` the policies' webhooks, so that none delays another.
    ``ready`` is True once the first caches are whole; ``requeue`` asks for a tick soon;
    ``on_leadership_lost`` is called when another instance may lead; ``history_limit`` is how many finished rollouts
    of a service are kept; ``external_url`` and ``runbook_url`` are what the links of messages are made of;
    ``dry_run`` makes messages conditional: the ports write nothing. ``queries_sent`` says how many queries the
    Prometheus of that name ("" is the main one) has been sent by this process.
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
    server_pools: Mapping[str, Pool]
    own_query_pool: Pool
    web_query_pool: Pool
    webhook_pool: Pool
    listener: DecisionListener
    ready: Callable[[], bool]
    requeue: Callable[[], None]
    on_leadership_lost: Callable[[], None]
    history_limit: int
    external_url: str = ""
    runbook_url: str = ""
    dry_run: bool = False
    queries_sent: Callable[[str], int] = lambda _server: 0


class PendingCalls:
    """Calls that workers make for the controller; their results wait for ``process_results``.

    Thread-safe: workers add results, the tick's thread takes them. It is dropped with the controller's state when
    leadership is lost, and with it the results of calls that began before.
    """

    def __init__(self, requeue: Callable[[], None]) -> None:
        self._requeue = requeue
        self._results: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(
        self,
        submit: Callable[[Callable[[], T]], Future[T]],
        work: Callable[[], T],
        on_done: Callable[[T | None, BaseException | None], None],
    ) -> None:
        """Run ``work`` on a worker; a later ``process_results`` calls ``on_done`` once, with the result or the error.

        A pool that takes no work (no thread can be started, it was stopped) counts as work that failed, so what
        ``on_done`` resets does not stay busy.
        """
        try:
            future = submit(work)
        except Exception as error:  # noqa: BLE001 - the caller is called back with it
            refusal = error
            self._results.put(lambda: on_done(None, refusal))
            return

        def on_future_done(finished: Future[T]) -> None:
            error = CancelledError("the pool was stopped") if finished.cancelled() else finished.exception()
            result = None if error is not None else finished.result()
            self._results.put(lambda: on_done(result, error))
            self._requeue()

        future.add_done_callback(on_future_done)

    def process_results(self) -> None:
        """Call ``on_done`` of the calls that have ended; what one of them raises is logged and stops no other."""
        while True:
            try:
                on_done = self._results.get_nowait()
            except queue.Empty:
                return
            with isolated("result_not_processed"):
                on_done()


@contextmanager
def isolated(event: str, **fields: str) -> Iterator[None]:
    """What is raised within, while one object is processed, is logged and stops nothing else.

    Every loop over objects of different namespaces has it around its body. ``fields`` name the object.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - one object's failure must not touch another's
        _log.error(event, **fields, error=str(error), exc_info=error)


def log_failure(event: str, key: ServiceKey, error: BaseException | None, **fields: Any) -> None:
    """A warning; with a traceback if the error is unexpected, and at info level if this instance does not lead."""
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
