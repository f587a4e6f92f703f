"""Policy webhooks, called as Flagger calls them, so that its load tester and gates work unchanged.

::

    POST <url>   {"name": "mnist", "namespace": "models", "phase": "Progressing",
                  "checksum": "6f1c...", "metadata": {"cmd": "hey ..."}}

``metadata`` is the policy's own, with the facts of the call (weight, candidate, ...) beside it where the
policy does not use the same key. What the answers mean:

====================================  ======================================================================
2xx                                   yes (Flagger's gate: 200, its load tester: 202 for a task it has begun)
502, 503, 504, 429, 408, a redirect   nobody was there: a proxy answered, or the receiver says "not now"
any other status                      no (Flagger's closed gate: 403, its failed test: 500); the body says why
no answer in time                     nobody was there
====================================  ======================================================================

"Nobody was there" and 5xx are tried again as often as the policy says (``retries``), after 1, 2, 4 ... 10 s.
``timeout`` limits each try; the whole call is limited by what all tries and pauses may take, so that a
receiver that sends one byte at a time cannot hold up anybody: then the answer is "nobody was there".

The pool must not be the one whose threads call ``call``: they would wait for work that is queued behind them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any

from autocanary.errors import DeliveryError
from autocanary.model.policy import Webhook
from autocanary.notifications.http_client import HttpClient, HttpResponse, url_origin
from autocanary.ports import Pool, WebhookCall, WebhookResult

__all__ = ["HttpPolicyWebhooks", "payload"]

_UNREACHABLE_STATUSES = frozenset({408, 425, 429, 502, 503, 504})
_LONGEST_PAUSE = 10.0


class HttpPolicyWebhooks:
    """The Gates port; ``call`` returns when every call has an answer or has used up its time.

    ``overhead_seconds`` is what a call may take beyond its own timeouts: connecting, waiting for a thread of
    the pool.
    """

    def __init__(
        self,
        pool: Pool,
        http: HttpClient,
        *,
        sleep: Callable[[float], None] = time.sleep,
        overhead_seconds: float = 2.0,
    ) -> None:
        self._pool, self._http, self._sleep, self._overhead_seconds = pool, http, sleep, overhead_seconds

    def call(self, calls: Sequence[WebhookCall]) -> Mapping[WebhookCall, WebhookResult]:
        pending = {call: self._submit(call) for call in dict.fromkeys(calls)}
        if pending:
            wait(
                pending.values(),
                timeout=self._overhead_seconds + max(_max_duration(call.webhook) for call in pending),
            )
        return {call: _result(call, future) for call, future in pending.items()}

    def _submit(self, call: WebhookCall) -> Future[WebhookResult]:
        try:
            return self._pool.submit(lambda: self._call_with_retries(call))
        except RuntimeError as error:  # the pool is shut down: autocanary is stopping
            refused: Future[WebhookResult] = Future()
            refused.set_result(WebhookResult(None, f"{url_origin(call.webhook.url)} was not called: {error}"))
            return refused

    def _call_with_retries(self, call: WebhookCall) -> WebhookResult:
        result = WebhookResult(None)
        for attempt in range(call.webhook.retries + 1):
            if attempt:
                self._sleep(_pause(attempt))
            result, retry = self._call_once(call)
            if not retry:
                break
        return result

    def _call_once(self, call: WebhookCall) -> tuple[WebhookResult, bool]:
        webhook = call.webhook
        try:
            response = self._http.post(webhook.url, payload(call), read=webhook.timeout)
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
    return (webhook.retries + 1) * webhook.timeout + pauses


def _result(call: WebhookCall, future: Future[WebhookResult]) -> WebhookResult:
    where = url_origin(call.webhook.url)
    if not future.done() and not future.cancel() and not future.done():
        return WebhookResult(None, f"{where} did not answer within {call.webhook.timeout:g} s")
    if future.cancelled():
        return WebhookResult(None, f"{where} was not called: too many calls are under way")
    return future.result()


def _response_text(webhook: Webhook, response: HttpResponse) -> str:
    text = f": {response.text}" if response.text else ""
    return f"{url_origin(webhook.url)} answered {response.status}{text}"
