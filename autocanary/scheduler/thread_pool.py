"""Threads for blocking calls, which never keep the process from ending.

``concurrent.futures.ThreadPoolExecutor`` is not used because the interpreter joins its threads at exit: one
call stuck in a socket would outlive ``terminationGracePeriodSeconds``. The threads here are daemons.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

__all__ = ["PoolStoppedError", "ThreadPool"]

P = ParamSpec("P")
T = TypeVar("T")

_Task = tuple[Future[Any], Callable[[], Any]]


class PoolStoppedError(RuntimeError):
    """Work was given to a pool that has been stopped."""


class ThreadPool(Executor):
    """At most ``workers`` calls at a time, the rest waits in order; implements the ``WritePool`` port.

    A call that runs for more than ``hang_seconds`` no longer counts, so that calls that hang do not keep the others
    from running; at most ``workers`` threads are started in place of such threads.
    Threads are started as they are needed. Every call runs in a copy of its submitter's context, so that
    what a log line is bound to follows the work.
    """

    def __init__(
        self,
        workers: int,
        name: str = "pool",
        *,
        hang_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if workers < 1:
            raise ValueError(f"a pool needs at least one worker, not {workers}")
        self._workers, self._name = workers, name
        self._hang_seconds, self._clock = hang_seconds, clock
        self._began: dict[int, float] = {}  # when each busy thread began its call
        self._condition = threading.Condition()
        self._queue: deque[_Task] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._stopped = False

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs ``work`` on a thread.

        Raises PoolStoppedError after ``stop``, and RuntimeError or MemoryError when not even one thread can be started;
        ``work`` is not run then.
        """
        return self._submit(self._queue.append, partial(work, *args, **kwargs))

    def submit_urgent(self, work: Callable[[], T]) -> Future[T]:
        """As ``submit``, ahead of all that has not begun."""
        return self._submit(self._queue.appendleft, work)

    def _submit(self, put: Callable[[_Task], None], work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        context = contextvars.copy_context()
        with self._condition:
            if self._stopped:
                raise PoolStoppedError(f"the pool {self._name!r} has been stopped and takes no more work")
            task = (future, partial(context.run, work))
            put(task)
            if self._idle < len(self._queue) and len(self._threads) < self._workers + self._hanging():
                self._try_to_start_thread(task)
            self._condition.notify()
        return future

    def _hanging(self) -> int:
        """How many threads may be replaced; the caller holds the lock."""
        now = self._clock()
        hanging = sum(now - began > self._hang_seconds for began in self._began.values())
        return min(hanging, self._workers)

    @property
    def threads(self) -> int:
        """How many threads have been started."""
        with self._condition:
            return len(self._threads)

    @property
    def idle_threads(self) -> int:
        """How many threads wait for work."""
        with self._condition:
            return self._idle

    def stop(self, wait: float = 0.0) -> bool:
        """Refuses new work, cancels what has not begun, and waits up to ``wait`` seconds for the rest.

        Returns whether all calls have ended. Those that have not are left behind: they end with the
        process. Safe to call again.
        """
        with self._condition:
            self._stopped = True
            cancelled = [future for future, _ in self._queue]
            self._queue.clear()
            self._condition.notify_all()
            threads = list(self._threads)
        for future in cancelled:
            future.cancel()
        deadline = time.monotonic() + wait
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:  # noqa: ARG002  # Executor's
        """``Executor``'s way to say ``stop``; what has not begun is always cancelled."""
        self.stop(wait=5.0 if wait else 0.0)

    def _try_to_start_thread(self, task: _Task) -> None:
        """Without memory or pids for another thread the running ones do the work; with none it is refused."""
        thread = threading.Thread(target=self._work_loop, name=f"{self._name}-{len(self._threads) + 1}", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            if not self._threads:
                self._queue.remove(task)
                raise
        else:
            self._threads.append(thread)

    def _work_loop(self) -> None:
        while (task := self._next_task()) is not None:
            _run(*task)
            del task  # an idle thread must not keep the last result alive
            with self._condition:
                self._began.pop(threading.get_ident(), None)

    def _next_task(self) -> _Task | None:
        with self._condition:
            self._idle += 1
            while not self._queue and not self._stopped:
                self._condition.wait()
            self._idle -= 1
            if not self._queue:
                return None
            self._began[threading.get_ident()] = self._clock()
            return self._queue.popleft()


def _run(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001  # the caller gets it from the future
        future.set_exception(error)
    else:
        future.set_result(result)
