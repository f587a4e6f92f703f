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
from autocanary.notifications.http_client import Answer, Http, place
from autocanary.ports import Call, CallResult, Pool

__all__ = ["WebhookGates", "payload"]

_NOBODY = frozenset({408, 425, 429, 502, 503, 504})
_LONGEST_PAUSE = 10.0


class WebhookGates:
    """The Gates port; ``call`` returns when every call has an answer or has used up its time.

    ``grace`` is what a call may take beyond its own timeouts: connecting, waiting for a thread of the pool.
    """

    def __init__(
        self, pool: Pool, http: Http, *, sleep: Callable[[float], None] = time.sleep, grace: float = 2.0
    ) -> None:
        self._pool, self._http, self._sleep, self._grace = pool, http, sleep, grace

    def call(self, calls: Sequence[Call]) -> Mapping[Call, CallResult]:
        asked = {call: self._submit(call) for call in dict.fromkeys(calls)}
        if asked:
            wait(asked.values(), timeout=self._grace + max(_longest(call.webhook) for call in asked))
        return {call: _result(call, future) for call, future in asked.items()}

    def _submit(self, call: Call) -> Future[CallResult]:
        try:
            return self._pool.submit(lambda: self._ask(call))
        except RuntimeError as error:  # the pool is shut down: autocanary is stopping
            refused: Future[CallResult] = Future()
            refused.set_result(CallResult(None, f"{place(call.webhook.url)} was not called: {error}"))
            return refused

    def _ask(self, call: Call) -> CallResult:
        result = CallResult(None)
        for attempt in range(call.webhook.retries + 1):
            if attempt:
                self._sleep(_pause(attempt))
            result, again = self._once(call)
            if not again:
                break
        return result

    def _once(self, call: Call) -> tuple[CallResult, bool]:
        webhook = call.webhook
        try:
            answer = self._http.post(webhook.url, payload(call), read=webhook.timeout)
        except DeliveryError as error:
            return CallResult(None, str(error)), error.retry_after is None
        if answer.ok:
            return CallResult(True, answer.text), False
        nobody = answer.status in _NOBODY or 300 <= answer.status < 400
        return CallResult(None if nobody else False, _said(webhook, answer)), nobody or answer.status >= 500


def payload(call: Call) -> dict[str, Any]:
    """Flagger's object; like Flagger's, without members that are empty."""
    metadata = {**dict(call.extra), **dict(call.webhook.metadata)}
    made: dict[str, Any] = {"name": call.name, "namespace": call.namespace, "phase": call.phase}
    if call.checksum:
        made["checksum"] = call.checksum
    if metadata:
        made["metadata"] = metadata
    return made


def _pause(attempt: int) -> float:
    return float(min(_LONGEST_PAUSE, 2.0 ** (attempt - 1)))


def _longest(webhook: Webhook) -> float:
    pauses = sum(_pause(attempt) for attempt in range(1, webhook.retries + 1))
    return (webhook.retries + 1) * webhook.timeout + pauses


def _result(call: Call, future: Future[CallResult]) -> CallResult:
    where = place(call.webhook.url)
    if not future.done() and not future.cancel() and not future.done():
        return CallResult(None, f"{where} did not answer within {call.webhook.timeout:g} s")
    if future.cancelled():
        return CallResult(None, f"{where} was not called: too many calls are under way")
    return future.result()


def _said(webhook: Webhook, answer: Answer) -> str:
    text = f": {answer.text}" if answer.text else ""
    return f"{place(webhook.url)} answered {answer.status}{text}"
