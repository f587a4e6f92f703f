"""Policy webhooks, called as Flagger calls them, so that its load tester and confirmations work unchanged.

::

    POST <url>   {"name": "mnist", "namespace": "models", "phase": "Progressing",
                  "checksum": "6f1c...", "metadata": {"cmd": "hey ..."}}

``metadata`` is the policy's own, with the facts of the call (weight, candidate, ...) beside it where the
policy does not use the same key. What the answers mean:

====================================  ======================================================================
2xx                                   yes (Flagger's confirmation: 200, its load tester: 202 for a begun task)
502, 503, 504, 429, 408, a redirect   no answer: a proxy answered, or the receiver says "not now"
any other status                      no (Flagger's refused confirmation: 403, its failed test: 500)
no answer in time                     no answer
====================================  ======================================================================

A call without an answer and a 5xx are repeated as often as the policy says (``retries``), after 1, 2, 4 ... 10 s.
``timeout`` limits each try, and all of them together end after five minutes. A call that was not made
(``called`` False) says nothing about the candidate: it is neither a yes, nor a no, nor an outage.

Each namespace has a share of the threads, so webhooks that hang delay no webhook of another namespace.
The pool must not be the one whose threads call ``call``: they would wait for work that is queued behind them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from autocanary.errors import DeliveryError
from autocanary.model.policy import Webhook
from autocanary.outbound.http_client import HttpClient, HttpResponse, url_origin
from autocanary.ports import Pool, WebhookCall, WebhookResult

__all__ = ["HttpPolicyWebhooks", "payload"]

_UNREACHABLE_STATUSES = frozenset({408, 425, 429, 502, 503, 504})
_LONGEST_PAUSE = 10.0
_LONGEST_CALL = 300.0
_PER_NAMESPACE = 8
_TOGETHER = 24  # of 32 threads; the others are for namespaces of which no call is under way


@dataclass(slots=True)
class _NamespaceCalls:
    """The calls of one namespace: how many callers wait, how many calls run, and those behind them."""

    callers: int = 0
    running: int = 0
    queued: deque[tuple[Future[WebhookResult], WebhookCall]] = field(default_factory=deque)


class HttpPolicyWebhooks:
    """The PolicyWebhooks port; ``call`` returns when every call has an answer or has used up its time.

    ``overhead_seconds`` is what a call may take beyond its own timeouts: connecting, waiting for a thread of
    the pool. ``per_namespace`` limits the threads that run a namespace's calls, and the callers that wait for them.
    From ``together`` calls on, a namespace gets only its first one.
    """

    def __init__(
        self,
        pool: Pool,
        http: HttpClient,
        *,
        sleep: Callable[[float], None] = time.sleep,
        overhead_seconds: float = 2.0,
        per_namespace: int = _PER_NAMESPACE,
        together: int = _TOGETHER,
    ) -> None:
        self._pool, self._http, self._sleep, self._overhead_seconds = pool, http, sleep, overhead_seconds
        self._per_namespace, self._together = per_namespace, together
        self._lock = threading.Lock()
        self._namespaces: dict[str, _NamespaceCalls] = {}

    def call(self, calls: Sequence[WebhookCall]) -> Mapping[WebhookCall, WebhookResult]:
        distinct = tuple(dict.fromkeys(calls))
        if not distinct:
            return {}
        namespace = distinct[0].namespace
        if not self._enter(namespace):
            detail = f"the rollouts of the namespace {namespace} wait for their webhooks"
            return {call: _not_called(call, detail) for call in distinct}
        try:
            pending = {call: self._submit(call) for call in distinct}
            wait(
                pending.values(),
                timeout=self._overhead_seconds + max(_max_duration(call.webhook) for call in pending),
            )
            return {call: _result(call, future) for call, future in pending.items()}
        finally:
            self._leave(namespace)

    def _enter(self, namespace: str) -> bool:
        with self._lock:
            state = self._namespaces.setdefault(namespace, _NamespaceCalls())
            callers = sum(each.callers for each in self._namespaces.values())
            if state.callers >= self._per_namespace or (state.callers and callers >= self._together):
                return False
            state.callers += 1
            return True

    def _leave(self, namespace: str) -> None:
        with self._lock:
            state = self._namespaces[namespace]
            state.callers -= 1
            if not state.callers and not state.running:
                del self._namespaces[namespace]

    def _submit(self, call: WebhookCall) -> Future[WebhookResult]:
        result: Future[WebhookResult] = Future()
        with self._lock:
            self._namespaces[call.namespace].queued.append((result, call))
        self._start_queued(call.namespace)
        return result

    def _start_queued(self, namespace: str) -> None:
        """Give the pool the namespace's next calls, as many as its share allows."""
        while True:
            with self._lock:
                state = self._namespaces.get(namespace)
                if state is None or not state.queued or state.running >= self._per_namespace:
                    return
                if state.running and sum(each.running for each in self._namespaces.values()) >= self._together:
                    return  # the end of a call of its own starts the next
                result, call = state.queued.popleft()
                state.running += 1
            try:
                self._pool.submit(partial(self._run, result, call))
            except RuntimeError as error:  # the pool is shut down, or no thread could be started
                self._count_end(namespace)
                if result.set_running_or_notify_cancel():
                    result.set_result(_not_called(call, str(error)))

    def _run(self, result: Future[WebhookResult], call: WebhookCall) -> None:
        try:
            if result.set_running_or_notify_cancel():
                result.set_result(self._call_with_retries(call))
        except Exception as error:  # noqa: BLE001 - the port raises nothing
            result.set_result(WebhookResult(None, f"{url_origin(call.webhook.url)}: {type(error).__name__}: {error}"))
        finally:
            self._count_end(call.namespace)
            self._start_queued(call.namespace)

    def _count_end(self, namespace: str) -> None:
        with self._lock:
            state = self._namespaces[namespace]
            state.running -= 1
            if not state.callers and not state.running:
                del self._namespaces[namespace]

    def _call_with_retries(self, call: WebhookCall) -> WebhookResult:
        result, left = WebhookResult(None), _LONGEST_CALL
        for attempt in range(call.webhook.retries + 1):
            if attempt:
                self._sleep(_pause(attempt))
                left -= _pause(attempt)
            read = min(call.webhook.timeout, left)
            if read <= 0:
                break
            left -= call.webhook.timeout
            result, retry = self._call_once(call, read)
            if not retry:
                break
        return result

    def _call_once(self, call: WebhookCall, read: float) -> tuple[WebhookResult, bool]:
        webhook = call.webhook
        try:
            response = self._http.post(webhook.url, payload(call), read=read)
        except DeliveryError as error:
            return WebhookResult(None, str(error)), error.retry_after is None
        if response.ok:
            return WebhookResult(True, response.text), False
        unreachable = response.status in _UNREACHABLE_STATUSES or 300 <= response.status < 400
        return WebhookResult(
            None if unreachable else False, _response_text(webhook, response)
        ), unreachable or response.status >= 500


def payload(call: WebhookCall) -> dict[str, Any]:
    """Flagger's object; like Flagger's, without members that are empty."""
    metadata = {**dict(call.extra), **dict(call.webhook.metadata)}
    body: dict[str, Any] = {"name": call.name, "namespace": call.namespace, "phase": call.phase}
    if call.checksum:
        body["checksum"] = call.checksum
    if metadata:
        body["metadata"] = metadata
    return body


def _pause(attempt: int) -> float:
    return float(min(_LONGEST_PAUSE, 2.0 ** (attempt - 1)))


def _max_duration(webhook: Webhook) -> float:
    pauses = sum(_pause(attempt) for attempt in range(1, webhook.retries + 1))
    return min((webhook.retries + 1) * webhook.timeout + pauses, _LONGEST_CALL)


def _result(call: WebhookCall, future: Future[WebhookResult]) -> WebhookResult:
    if not future.done() and not future.cancel() and not future.done():
        where, longest = url_origin(call.webhook.url), _max_duration(call.webhook)
        return WebhookResult(None, f"{where} did not answer within {longest:g} s")
    if future.cancelled():
        return _not_called(call, "too many calls of its namespace are under way")
    return future.result()


def _not_called(call: WebhookCall, why: str) -> WebhookResult:
    return WebhookResult(None, f"{url_origin(call.webhook.url)} was not called: {why}", called=False)


def _response_text(webhook: Webhook, response: HttpResponse) -> str:
    text = f": {response.text}" if response.text else ""
    return f"{url_origin(webhook.url)} answered {response.status}{text}"
