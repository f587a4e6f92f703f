"""The page's own threads, with caps: whatever visitors do, a tick waits for none of it for long.

Rendering has ``RENDER_THREADS`` threads and rests after each piece of work, so that it never takes more than half of a
core for long; requests to the API server have threads of their own. What cannot begin soon is refused.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["PageBusy", "PageWorkers"]

T = TypeVar("T")

RENDER_THREADS, ACCESS_THREADS = 2, 8
_MAX_WAITING = 32
_MAX_REST_SECONDS = 0.25


class PageBusy(Exception):
    """Too much is waiting already: answered with 503."""


class PageWorkers:
    """``render`` for work that takes the processor, ``access`` for what waits for the API server."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._rendering = ThreadPoolExecutor(RENDER_THREADS, "page-render")
        self._accessing = ThreadPoolExecutor(ACCESS_THREADS, "page-access")
        self._turn = threading.Lock()
        self._is_stopping = False
        self._waiting = {id(self._rendering): 0, id(self._accessing): 0}

    async def render(self, work: Callable[[], T]) -> T:
        """One piece of work at a time; PageBusy when too many wait."""
        return await self._run(self._rendering, lambda: self._with_rest(work))

    async def access(self, work: Callable[[], T]) -> T:
        """May block; PageBusy when too many wait."""
        return await self._run(self._accessing, work)

    def stop(self) -> None:
        """What has not begun is dropped; what runs ends when it ends."""
        self._is_stopping = True
        for pool in (self._rendering, self._accessing):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._is_stopping:
            raise PageBusy("autocanary is stopping")
        if self._waiting[id(pool)] >= _MAX_WAITING:
            raise PageBusy("the page answers too many requests already; try again in a moment")
        self._waiting[id(pool)] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise  # the browser has gone
            raise PageBusy("autocanary is stopping") from None
        finally:
            self._waiting[id(pool)] -= 1

    def _with_rest(self, work: Callable[[], T]) -> T:
        with self._turn:
            began = time.thread_time()
            try:
                return work()
            finally:
                used = time.thread_time() - began
                if self._waiting[id(self._rendering)] > 1:
                    self._sleep(min(used, _MAX_REST_SECONDS))
