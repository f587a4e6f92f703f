"""The pool: bounded, refusing after the stop, and never in the way of the process' end."""

from __future__ import annotations

import contextvars
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from autocanary.scheduler.thread_pool import PoolStoppedError, ThreadPool

PATIENCE = 5.0


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    made = ThreadPool(2, "test")
    yield made
    made.stop(wait=PATIENCE)


def test_the_result_is_what_the_work_returned(pool: ThreadPool) -> None:
    """Arguments reach the work."""
    assert pool.submit(lambda: 42).result(PATIENCE) == 42
    assert pool.submit(pow, 2, exp=5).result(PATIENCE) == 32


def test_submit_first_runs_before_queue() -> None:
    """Ahead of what has not begun, whatever came before; the rest stays in its order."""
    pool, go, done = ThreadPool(1, "test"), threading.Event(), list[str]()
    pool.submit(go.wait, PATIENCE)
    ordinary = [pool.submit(done.append, name) for name in ("a", "b")]
    urgent = pool.submit_urgent(lambda: done.append("rollback"))
    go.set()
    for future in (urgent, *ordinary):
        future.result(PATIENCE)
    assert done == ["rollback", "a", "b"]
    assert pool.stop(wait=PATIENCE)
    with pytest.raises(PoolStoppedError):
        pool.submit_urgent(lambda: None)


def test_an_exception_goes_to_the_caller(pool: ThreadPool) -> None:
    """It kills no worker: the next work is done."""

    def fail() -> None:
        raise KeyError("gone")

    futures = [pool.submit(fail) for _ in range(5)]
    for future in futures:
        with pytest.raises(KeyError, match="gone"):
            future.result(PATIENCE)
    assert pool.submit(lambda: "alive").result(PATIENCE) == "alive"


def test_no_more_than_its_workers_run_at_once(pool: ThreadPool) -> None:
    """The rest waits in order, and all of it is done."""
    lock, running, most = threading.Lock(), [0], [0]
    both_there, order = threading.Barrier(2), []

    def work(number: int) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            order.append(number)
        both_there.wait(PATIENCE)
        with lock:
            running[0] -= 1

    futures = [pool.submit(work, number) for number in range(8)]
    for future in futures:
        future.result(PATIENCE)
    assert most == [2]
    assert len(order) == 8


def test_threads_are_started_only_when_needed(pool: ThreadPool) -> None:
    """One call after the other needs one thread."""
    for _ in range(5):
        pool.submit(lambda: None).result(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while pool.idle_threads == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
    assert pool.threads == 1


def test_the_context_follows_the_work(pool: ThreadPool) -> None:
    """What a log line is bound to in the submitter is bound in the worker, and not changed by it."""
    name = contextvars.ContextVar("name", default="nobody")
    name.set("mnist")

    def work() -> str:
        seen = name.get()
        name.set("changed")
        return seen

    assert pool.submit(work).result(PATIENCE) == "mnist"
    assert name.get() == "mnist"


def test_work_after_the_stop_is_refused(pool: ThreadPool) -> None:
    """Loudly, at the place where it was submitted."""
    assert pool.stop(wait=PATIENCE) is True
    with pytest.raises(PoolStoppedError, match="'test' has been stopped"):
        pool.submit(lambda: None)


def test_stop_cancels_what_has_not_begun_and_leaves_what_is_stuck() -> None:
    """No caller waits for ever on a future of a stopped pool."""
    pool, begun, release = ThreadPool(1), threading.Event(), threading.Event()

    def stuck() -> str:
        begun.set()
        release.wait(PATIENCE)
        return "late"

    running, waiting = pool.submit(stuck), pool.submit(lambda: "never")
    assert begun.wait(PATIENCE)
    assert pool.stop(wait=0.01) is False
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE)
    release.set()
    assert running.result(PATIENCE) == "late"
    assert pool.stop(wait=PATIENCE) is True


def test_a_cancelled_future_is_not_run() -> None:
    """Cancelling before it begins costs no worker."""
    pool, release = ThreadPool(1), threading.Event()
    blocking = pool.submit(release.wait, PATIENCE)
    ran: list[str] = []
    future = pool.submit(ran.append, "ran")
    assert future.cancel()
    release.set()
    assert blocking.result(PATIENCE) is True
    assert pool.submit(lambda: "next").result(PATIENCE) == "next"
    assert ran == []
    assert pool.stop(wait=PATIENCE) is True


def test_it_can_be_stopped_from_its_own_thread(pool: ThreadPool) -> None:
    """A worker does not wait for itself."""
    assert pool.submit(pool.stop, PATIENCE).result(PATIENCE) is False


def test_it_is_an_executor() -> None:
    """``with`` and ``shutdown`` mean what they mean elsewhere."""
    with ThreadPool(1) as pool:
        future = pool.submit(lambda: 1)
        assert future.result(PATIENCE) == 1
    with pytest.raises(PoolStoppedError):
        pool.submit(lambda: 1)


def test_a_pool_without_workers_is_refused() -> None:
    """It would never do anything."""
    with pytest.raises(ValueError, match="at least one worker"):
        ThreadPool(0)


STUCK = """
import signal, sys, threading, time
from autocanary.scheduler.thread_pool import ThreadPool
pool, over, begun = ThreadPool(2), threading.Event(), threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
pool.submit(lambda: (begun.set(), time.sleep(600)))
begun.wait()
print("ready", flush=True)
over.wait()
print("ended" if pool.stop(wait=0.1) else "left behind", flush=True)
sys.exit(7)
"""


def test_a_stuck_worker_does_not_keep_the_process_alive() -> None:
    """SIGTERM ends a process whose worker hangs in a call, with the exit code it chose."""
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        try:
            rest, _ = process.communicate(timeout=9)
        finally:
            process.kill()
    assert rest == "left behind\n"
    assert process.returncode == 7


def fail_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)


def test_work_is_refused_when_no_thread_can_start(pool: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not kept to be run later: the caller has been given the error."""
    ran: list[str] = []
    with monkeypatch.context() as patch:
        fail_to_start(patch)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(ran.append, "refused")
    assert pool.threads == 0
    pool.submit(ran.append, "accepted").result(PATIENCE)
    assert ran == ["accepted"]


def test_running_threads_do_the_work_when_no_other_can_start(pool: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work waits for a thread that is busy."""
    release = threading.Event()
    first = pool.submit(release.wait, PATIENCE)
    with monkeypatch.context() as patch:
        fail_to_start(patch)
        second = pool.submit(lambda: "done")
    assert not second.done()
    release.set()
    assert second.result(PATIENCE) == "done"
    assert first.result(PATIENCE)
    assert pool.threads == 1


def test_calls_that_hang_are_replaced_once_each() -> None:
    """After the limit a new call gets a thread of its own; of those there are as many as workers, and no more."""
    now, release, begun = [0.0], threading.Event(), threading.Semaphore(0)
    pool = ThreadPool(2, "hang", hang_seconds=60.0, clock=lambda: now[0])

    def hang() -> bool:
        begun.release()
        return release.wait(30)

    hanging = [pool.submit(hang) for _ in range(2)]
    assert begun.acquire(timeout=5)
    assert begun.acquire(timeout=5)
    late = pool.submit(lambda: "late")
    assert pool.threads == 2
    now[0] = 61.0
    assert pool.submit(lambda: "new").result(5) == "new"
    assert late.result(5) == "late"
    hanging += [pool.submit(hang) for _ in range(2)]
    assert begun.acquire(timeout=5)
    assert begun.acquire(timeout=5)
    now[0] = 200.0
    behind = pool.submit(lambda: "behind")
    assert pool.threads == 4
    release.set()
    assert behind.result(5) == "behind"
    assert all(each.result(5) for each in hanging)
    assert pool.stop(5)
