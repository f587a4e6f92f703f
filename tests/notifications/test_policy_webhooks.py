"""Tests of autocanary.notifications.policy_webhooks against receivers that answer as Flagger's gates and load tester do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from autocanary.model.policy import Webhook, WebhookType
from autocanary.notifications.policy_webhooks import HttpPolicyWebhooks, payload
from autocanary.outbound.http_client import HttpClient, HttpResponse
from autocanary.ports import PolicyWebhooks, WebhookCall, WebhookResult
from tests.notifications.http_receiver import Received, Receiver, Reply

T = TypeVar("T")


class AtOnce:
    """The simulated world's pool: runs work in the caller's thread."""

    def submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(work())
        return future


class Busy:
    """A pool whose threads are all taken: nothing begins."""

    def submit(self, work: Callable[[], T]) -> Future[T]:
        return Future()


class Threads:
    """A real pool."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor

    def submit(self, work: Callable[[], T]) -> Future[T]:
        return self._executor.submit(work)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as running:
        yield running


def call_of(url: str, **changes: Any) -> WebhookCall:
    values: dict[str, Any] = {
        "name": "approve",
        "type": WebhookType.CONFIRM_PROMOTION,
        "url": url,
        "timeout": 5.0,
    }
    return WebhookCall(Webhook(**{**values, **changes}), "models", "mnist", "Progressing", "6f1c")


def ask(call: WebhookCall, http: HttpClient, slept: list[float] | None = None) -> WebhookResult:
    pauses = slept if slept is not None else []
    return HttpPolicyWebhooks(AtOnce(), http, sleep=pauses.append).call([call])[call]


def test_implements_the_policy_webhooks_port(http: HttpClient) -> None:
    """It implements the controller's Protocol; no calls, no answers."""
    policy_webhooks: PolicyWebhooks = HttpPolicyWebhooks(AtOnce(), http)
    assert policy_webhooks.call([]) == {}


def test_payload_is_flaggers(receiver: Receiver, http: HttpClient) -> None:
    """Name, namespace, phase, checksum and metadata; the policy's own metadata wins over the call's facts."""
    call = call_of(receiver.url("/"), metadata=(("cmd", "hey -z 1m"), ("weight", "mine")))
    call = WebhookCall(
        call.webhook, call.namespace, call.name, call.phase, call.checksum, (("weight", "25"), ("x", "1"))
    )
    receiver.replies(Reply(202, b""))
    assert ask(call, http) == WebhookResult(True, "")
    [got] = receiver.received
    assert got.headers["Content-Type"] == "application/json"
    assert got.json == {
        "name": "mnist",
        "namespace": "models",
        "phase": "Progressing",
        "checksum": "6f1c",
        "metadata": {"cmd": "hey -z 1m", "weight": "mine", "x": "1"},
    }


def test_empty_members_are_left_out() -> None:
    """Flagger omits what is empty, and receivers may rely on it."""
    webhook = Webhook("n", WebhookType.ROLLOUT, "http://h/")
    assert payload(WebhookCall(webhook, "ns", "svc", "Staging", "")) == {
        "name": "svc",
        "namespace": "ns",
        "phase": "Staging",
    }


def flagger_gate() -> Callable[[Received], Reply]:
    """Flagger's load tester: /gate/check is closed until /gate/open is called for the canary."""
    opened: set[str] = set()

    def answer(got: Received) -> Reply:
        canary = f"{got.json['name']}.{got.json['namespace']}"
        if got.path == "/gate/open":
            opened.add(canary)
            return Reply(202, b"")
        if got.path == "/gate/check" and canary in opened:
            return Reply(200, b"Approved")
        if got.path == "/" and not got.json.get("metadata"):
            return Reply(400, b"metadata not found in payload")
        return Reply(403, b"Forbidden")

    return answer


def test_flaggers_gate_closed_then_open(receiver: Receiver, http: HttpClient) -> None:
    """403 is a no with its words, 200 a yes."""
    receiver.reply_with = flagger_gate()
    check = call_of(receiver.url("/gate/check"), retries=3)
    slept: list[float] = []
    assert ask(check, http, slept) == WebhookResult(False, f"http://127.0.0.1:{receiver.port} answered 403: Forbidden")
    assert slept == []
    assert ask(call_of(receiver.url("/gate/open")), http).ok is True
    assert ask(check, http) == WebhookResult(True, "Approved")


def test_flaggers_load_tester_without_a_command(receiver: Receiver, http: HttpClient) -> None:
    """The tester's own complaint reaches the user."""
    receiver.reply_with = flagger_gate()
    result = ask(call_of(receiver.url("/")), http)
    assert result.ok is False
    assert result.detail.endswith("answered 400: metadata not found in payload")


@pytest.mark.parametrize(
    ("status", "ok"),
    [
        (200, True),
        (204, True),
        (400, False),
        (404, False),
        (500, False),
        (429, None),
        (502, None),
        (503, None),
    ],
)
def test_result_by_status(receiver: Receiver, http: HttpClient, status: int, ok: bool | None) -> None:
    """A proxy's 502 to 504 and "too many" are not the receiver's no."""
    receiver.replies(Reply(status, b"" if status == 204 else b"words"))
    assert ask(call_of(receiver.url()), http).ok is ok


def test_redirect_to_a_login_page_is_unreachable(receiver: Receiver, http: HttpClient) -> None:
    """A sign-on proxy in front of a webhook has not said no."""
    receiver.replies(Reply(302, headers={"Location": "https://login.example/"}))
    result = ask(call_of(receiver.url()), http)
    assert result.ok is None
    assert "redirects to https://login.example" in result.detail


def test_retries_with_backoff(receiver: Receiver, http: HttpClient) -> None:
    """Faults are tried again as often as the policy says; the last answer counts."""
    receiver.replies(*[Reply(500, b"boom")] * 5, Reply(200, b"fine"))
    slept: list[float] = []
    assert ask(call_of(receiver.url(), retries=5), http, slept) == WebhookResult(True, "fine")
    assert slept == [1.0, 2.0, 4.0, 8.0, 10.0]


def test_stops_after_the_configured_retries(receiver: Receiver, http: HttpClient) -> None:
    """A test that fails each time is a no."""
    receiver.replies(Reply(500, b"tests failed"))
    slept: list[float] = []
    result = ask(call_of(receiver.url(), retries=1), http, slept)
    assert (result.ok, slept, len(receiver.received)) == (False, [1.0], 2)
    assert result.detail.endswith("answered 500: tests failed")


def test_unreachable_is_retried(receiver: Receiver, http: HttpClient) -> None:
    """A receiver that hangs up is not there; with luck it is at the next try."""
    receiver.replies(Reply(abrupt=True), Reply(200))
    slept: list[float] = []
    assert ask(call_of(receiver.url(), retries=1), http, slept).ok is True
    receiver.replies(Reply(abrupt=True))
    result = ask(call_of(receiver.url()), http)
    assert result.ok is None
    assert "cannot be reached" in result.detail


def test_timeout_is_the_policys(receiver: Receiver, http: HttpClient) -> None:
    """Each try waits as long as the policy says and no longer."""
    released = threading.Event()

    def slow(_: Received) -> Reply:
        released.wait(5)
        return Reply(200)

    receiver.reply_with = slow
    result = ask(call_of(receiver.url(), timeout=0.05), http)
    released.set()
    assert result.ok is None
    assert result.detail.endswith("did not answer within 0.05 s")


def test_invalid_url_is_not_retried(http: HttpClient) -> None:
    """What cannot be called is said once."""
    slept: list[float] = []
    result = ask(call_of("ftp://host/", retries=3), http, slept)
    assert result.ok is None
    assert slept == []


def test_runs_calls_in_parallel_and_deduplicates_them(
    receiver: Receiver, http: HttpClient, executor: ThreadPoolExecutor
) -> None:
    """Three receivers meet at a barrier: all calls are under way at the same time."""
    barrier = threading.Barrier(3)

    def meet(_: Received) -> Reply:
        barrier.wait(5)
        return Reply(200)

    receiver.reply_with = meet
    calls = [call_of(receiver.url(f"/{number}")) for number in range(3)]
    results = HttpPolicyWebhooks(Threads(executor), http).call([*calls, calls[0]])
    assert [results[call].ok for call in calls] == [True, True, True]
    assert len(receiver.received) == 3


class StuckClient(HttpClient):
    """Every call hangs until released; ``hosts`` names those that have been called."""

    def __init__(self, *answering: str) -> None:
        super().__init__()
        self.release, self.answering = threading.Event(), answering
        self.called: list[str] = []

    def post(self, url: str, *_: Any, **__: Any) -> HttpResponse:
        self.called.append(url)
        if url not in self.answering:
            self.release.wait(10)
        return HttpResponse(200, "")


class LateClient(HttpClient):
    """Its first answer, 200, comes when it is released; the later ones at once."""

    def __init__(self) -> None:
        super().__init__()
        self.release, self.answered = threading.Event(), threading.Event()
        self.status, self.calls = 200, 0

    def post(self, url: str, *_: Any, **__: Any) -> HttpResponse:
        self.calls += 1
        if self.calls == 1:
            self.release.wait(10)
            self.answered.set()
            return HttpResponse(200, "")
        return HttpResponse(self.status, "")


def test_hanging_call_times_out(executor: ThreadPoolExecutor) -> None:
    """A receiver that sends a byte now and then is left alone after its time."""
    call, stuck = call_of("http://u:p@host:1/secret", timeout=0.01), StuckClient()
    result = HttpPolicyWebhooks(Threads(executor), stuck, overhead_seconds=0.01).call([call])[call]
    stuck.release.set()
    assert result == WebhookResult(None, "http://host:1 did not answer within 0.01 s")


def test_a_late_answer_is_no_answer(executor: ThreadPoolExecutor) -> None:
    """A webhook that answers after its timeout has not answered: the next evaluation calls it again and takes that answer."""
    call, late = call_of("http://host/", timeout=0.01), LateClient()
    webhooks = HttpPolicyWebhooks(Threads(executor), late, overhead_seconds=0.01)
    assert webhooks.call([call])[call].ok is None
    late.release.set()
    assert late.answered.wait(10)
    late.status = 403
    again = HttpPolicyWebhooks(Threads(executor), late, overhead_seconds=10.0).call([call])[call]
    assert (again.ok, late.calls) == (False, 2)


def test_full_pool_is_reported_as_not_called(http: HttpClient) -> None:
    """A call that never began is taken back, and is no answer of the receiver."""
    call = call_of("http://host/", timeout=0.01)
    result = HttpPolicyWebhooks(Busy(), http, overhead_seconds=0.01).call([call])[call]
    assert result == WebhookResult(
        None, "http://host was not called: too many calls of its namespace are under way", called=False
    )


def in_namespace(namespace: str, url: str) -> WebhookCall:
    return WebhookCall(Webhook(url, WebhookType.CONFIRM_PROMOTION, url, 0.2), namespace, "mnist", "Progressing", "c")


def test_hanging_webhooks_of_a_namespace_leave_threads_to_the_others(executor: ThreadPoolExecutor) -> None:
    """19 webhooks hang; another namespace's webhook is called at once, in a pool of four threads."""
    stuck = StuckClient("http://victim/")
    webhooks = HttpPolicyWebhooks(Threads(executor), stuck, overhead_seconds=0.1, per_namespace=3)
    hostile = [in_namespace("hostile", f"http://h{number}/") for number in range(19)]
    results: list[Any] = []
    caller = threading.Thread(target=lambda: results.append(webhooks.call(hostile)))
    caller.start()
    victim = in_namespace("victim", "http://victim/")
    assert webhooks.call([victim])[victim].ok is True
    caller.join(5)
    answers = [results[0][call] for call in hostile]
    assert [(answer.ok, answer.called) for answer in answers] == [(None, True)] * 3 + [(None, False)] * 16
    assert len(stuck.called) == 4
    stuck.release.set()


def test_a_namespace_occupies_a_bounded_number_of_callers(executor: ThreadPoolExecutor) -> None:
    """The threads that wait for answers are shared, too: one caller too many gets its answer at once."""
    stuck = StuckClient("http://free/")
    webhooks = HttpPolicyWebhooks(Threads(executor), stuck, overhead_seconds=5.0, per_namespace=1)
    hanging = in_namespace("hostile", "http://h/")
    caller = threading.Thread(target=lambda: webhooks.call([hanging]))
    caller.start()
    while not stuck.called:
        time.sleep(0.001)
    refused = webhooks.call([hanging])[hanging]
    assert (refused.ok, refused.called) == (None, False)
    assert refused.detail == "http://h was not called: the rollouts of the namespace hostile wait for their webhooks"
    stuck.release.set()
    caller.join(5)
    free = in_namespace("hostile", "http://free/")
    assert webhooks.call([free])[free].ok is True


def test_queued_calls_of_a_namespace_run_when_others_end(
    receiver: Receiver, http: HttpClient, executor: ThreadPoolExecutor
) -> None:
    """A share delays calls and loses none."""
    webhooks = HttpPolicyWebhooks(Threads(executor), http, per_namespace=2)
    calls = [call_of(receiver.url(f"/{number}")) for number in range(9)]
    assert {result.ok for result in webhooks.call(calls).values()} == {True}
    assert len(receiver.received) == 9


def test_all_tries_together_end_after_five_minutes(receiver: Receiver, http: HttpClient) -> None:
    """A policy from before the limits cannot hold a thread for two hours."""
    reads: list[float] = []

    class Recording(HttpClient):
        def post(self, *_: Any, read: float | None = None, **__: Any) -> HttpResponse:
            reads.append(read or 0.0)
            return HttpResponse(503, "")

    call = call_of("http://h/", timeout=120.0, retries=10)
    assert ask(call, Recording()).ok is None
    assert reads == [120.0, 120.0, 57.0]


def test_pool_that_is_shut_down(http: HttpClient, executor: ThreadPoolExecutor) -> None:
    """While stopping, a call is not made, and nothing is raised."""
    executor.shutdown()
    call = call_of("http://host/")
    result = HttpPolicyWebhooks(Threads(executor), http).call([call])[call]
    assert (result.ok, result.called) == (None, False)
    assert "was not called: cannot schedule new futures" in result.detail


def test_webhooks_of_many_namespaces_leave_threads_to_one_more() -> None:
    """Four namespaces would take all threads: from eight callers on each namespace gets only its first."""
    stuck = StuckClient("http://victim/")
    with ThreadPoolExecutor(12) as calls, ThreadPoolExecutor(30) as callers:
        webhooks = HttpPolicyWebhooks(Threads(calls), stuck, overhead_seconds=5.0, per_namespace=5, together=8)
        hostile = [in_namespace(f"h{number % 4}", f"http://h{number}/") for number in range(20)]
        waiting = [callers.submit(webhooks.call, [call]) for call in hostile]
        while len(stuck.called) < 8 or sum(each.done() for each in waiting) < 12:
            time.sleep(0.001)
        victim = in_namespace("victim", "http://victim/")
        assert webhooks.call([victim])[victim].ok is True
        assert len(stuck.called) <= 8 + 4 + 1  # each namespace may have its first call beyond the eight
        stuck.release.set()
        results = [result for each in waiting for result in each.result(10).values()]
    assert sum(not result.called for result in results) >= 8
    free = in_namespace("h0", "http://victim/")
    with ThreadPoolExecutor(2) as calls:
        assert HttpPolicyWebhooks(Threads(calls), stuck).call([free])[free].ok is True
