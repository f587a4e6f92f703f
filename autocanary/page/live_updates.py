"""Server-sent events: what has changed on an open page, rendered once for all who see the same.

A round goes over the open pages, renders what is new, and puts it into every stream. Rounds are as far apart as keeps
them under ``CPU_SHARE`` of a core over time: more open pages mean rarer updates, never more work. One expensive round,
as when the interpreter collects garbage in it, is paid from ``_SAVED_SECONDS`` and delays nothing. Used in the event
loop's thread alone; only rendering is done elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autocanary import logs
from autocanary.page.page_workers import PageBusy

__all__ = ["CPU_SHARE", "CpuBudget", "Feed", "LiveStreams", "OpenStream", "TooManyStreams"]

CPU_SHARE = 0.012
_SHORTEST_ROUND, _LONGEST_ROUND = 1.0, 30.0
_COMMENT_SECONDS = 15.0
_RECHECK_SECONDS = 60.0
_MAX_STREAMS, _MAX_STREAMS_OF_VISITOR = 100, 20
_QUEUED = 16
_SEND_SECONDS = 100e-6
"""What one event costs in one stream, in CPU time."""
_SAVED_SECONDS = 0.6
"""CPU time that quiet rounds save for an expensive one, at most."""

_log = logs.logger("autocanary.page.live_updates")

Render = Callable[["Feed"], Mapping[str, Any] | None]
"""Runs in a worker. What is new for this feed since it was called last, as an update's data; None: nothing."""


class TooManyStreams(Exception):
    """Answered with 503."""


@dataclass(slots=True, eq=False)
class Feed:
    """One page that is open in one or more browsers. ``seen`` belongs to ``render``: what it has sent already.

    ``sends_everything`` asks for an empty ``seen`` at the next round: a page was opened, or what was sent is not known.
    """

    render: Render
    seen: dict[str, Any] = field(default_factory=dict)
    sends_everything: bool = True
    streams: set[asyncio.Queue[bytes | None]] = field(default_factory=set)


class CpuBudget:
    """How long the next round waits so that rounds take ``CPU_SHARE`` of a core over time.

    Time that passes earns CPU time, up to ``_SAVED_SECONDS``; a round spends it. A debt is at most what ``longest``
    earns, so that no round is later than that. All in seconds.
    """

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest, self._longest = shortest, longest
        self._saved = _SAVED_SECONDS

    def pause(self, used: float, passed: float) -> float:
        """From the beginning of a round that used so much CPU time to the next; ``passed`` since the round before."""
        earned = min(_SAVED_SECONDS, self._saved + passed * CPU_SHARE)
        self._saved = max(-self._longest * CPU_SHARE, earned - used)
        return max(self._shortest, -self._saved / CPU_SHARE)


class LiveStreams:
    """All open streams of a page. ``work`` runs a function in the workers' threads; ``cpu_clock`` is of a thread."""

    def __init__(
        self,
        work: Callable[[Callable[[], Any]], Awaitable[Any]],
        *,
        shortest_round: float = _SHORTEST_ROUND,
        comment_seconds: float = _COMMENT_SECONDS,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._work, self._cpu_clock = work, cpu_clock
        self._shortest_round, self._comment_seconds = shortest_round, comment_seconds
        self._budget = CpuBudget(shortest_round, max(shortest_round, _LONGEST_ROUND))
        self._feeds: dict[Hashable, Feed] = {}
        self._visitors: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def open_streams(self) -> int:
        return sum(self._visitors.values())

    def close(self) -> None:
        """End every stream, from any thread; none begins any more."""
        self._closed = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._end_all)

    def open(self, visitor: str, key: Hashable, render: Render, may_read: Callable[[], Awaitable[bool]]) -> OpenStream:
        """The stream's bytes. Pages with one ``key`` share a feed; ``may_read`` is asked again every minute.

        It takes one of the visitor's places until it is closed.
        """
        if self._closed or self.open_streams >= _MAX_STREAMS:
            raise TooManyStreams("there are as many live pages as may be; this one does not update")
        if self._visitors.get(visitor, 0) >= _MAX_STREAMS_OF_VISITOR:
            raise TooManyStreams(f"you have {_MAX_STREAMS_OF_VISITOR} live pages open; this one does not update")
        self._visitors[visitor] = self._visitors.get(visitor, 0) + 1
        return OpenStream(self._stream(key, render, may_read), lambda: self._leave(visitor))

    def _leave(self, visitor: str) -> None:
        self._visitors[visitor] -= 1
        if not self._visitors[visitor]:
            del self._visitors[visitor]

    async def _stream(
        self, key: Hashable, render: Render, may_read: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[bytes]:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUED)
        feed = self._feeds.setdefault(key, Feed(render))
        feed.streams.add(queue)
        feed.sends_everything = True  # a page that was rendered a moment ago may have missed something
        self._ensure_rounds()
        checked_at = time.monotonic()
        try:
            yield b"retry: 5000\n\n"
            while not self._closed:
                try:
                    data = await asyncio.wait_for(queue.get(), self._comment_seconds)
                except (TimeoutError, asyncio.TimeoutError):  # two classes until Python 3.11
                    data = b": still here\n\n"
                if data is None:
                    return
                if time.monotonic() - checked_at >= _RECHECK_SECONDS:
                    checked_at = time.monotonic()
                    if not await may_read():
                        return
                yield data
        finally:
            feed.streams.discard(queue)
            if not feed.streams and self._feeds.get(key) is feed:
                del self._feeds[key]

    def _ensure_rounds(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._rounds())

    async def _rounds(self) -> None:
        """Until no stream is open."""
        before = time.monotonic()
        while self._feeds and not self._closed:
            began = time.monotonic()
            used = 0.0
            for feed in list(self._feeds.values()):
                used += await self._update(feed)
            pause = self._budget.pause(used, began - before)
            before = began
            await asyncio.sleep(max(0.05, began + pause - time.monotonic()))

    async def _update(self, feed: Feed) -> float:
        """Seconds of CPU time that it took."""
        try:
            data, used = await self._work(lambda: self._render(feed))
        except PageBusy:
            return 0.0
        if data is None:
            return float(used)
        for queue in list(feed.streams):
            if queue.full():  # a browser that reads nothing; it connects again and gets everything
                feed.streams.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(data)
        return float(used) + _SEND_SECONDS * len(feed.streams)

    def _render(self, feed: Feed) -> tuple[bytes | None, float]:
        """The event, and what it took; runs in a worker."""
        began = self._cpu_clock()
        if feed.sends_everything:
            feed.sends_everything = False
            feed.seen.clear()
        try:
            data = feed.render(feed)
            event = None if data is None else f"event: update\ndata: {json.dumps(data)}\n\n".encode()
        except Exception as error:  # noqa: BLE001 - one page that cannot be rendered must not end all updates
            feed.sends_everything = True  # ``seen`` may hold what was never sent
            _log.warning("live_update_failed", exc_info=error)
            event = None
        return event, self._cpu_clock() - began

    def _end_all(self) -> None:
        for feed in self._feeds.values():
            for queue in feed.streams:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(None)
        if self._task is not None:
            self._task.cancel()


class OpenStream:
    """The bytes of one stream. Who opens it closes it, also where nothing was ever read."""

    def __init__(self, stream: AsyncGenerator[bytes], leave: Callable[[], None]) -> None:
        self._stream, self._leave = stream, leave
        self._is_open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream

    async def __anext__(self) -> bytes:
        return await anext(self._stream)

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._leave()
            await self._stream.aclose()
