"""Server-sent events: what has changed on an open page, rendered once for all who see the same.

A round goes over the open pages, renders what is new, and puts it into every stream. Rounds are as far apart as keeps
them under ``CPU_SHARE`` of a core: more open pages mean rarer updates, never more work. Used in the event loop's
thread alone; only rendering is done elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autocanary import logs
from autocanary.page.page_workers import PageBusy

__all__ = ["CPU_SHARE", "Feed", "LiveStreams", "TooManyStreams"]

CPU_SHARE = 0.012
_SHORTEST_ROUND, _LONGEST_ROUND = 1.0, 30.0
_COMMENT_SECONDS = 15.0
_RECHECK_SECONDS = 60.0
_MAX_STREAMS, _MAX_STREAMS_OF_VISITOR = 100, 20
_QUEUED = 16
_SEND_SECONDS = 100e-6
"""What one event costs in one stream, in CPU time."""

_log = logs.logger("autocanary.page.live_updates")

Render = Callable[["Feed"], Mapping[str, Any] | None]
"""Runs in a worker. What is new for this feed since it was called last, as an event's data; None: nothing."""


class TooManyStreams(Exception):
    """Answered with 503."""


@dataclass(slots=True, eq=False)
class Feed:
    """One page that is open in one or more browsers. ``seen`` belongs to ``render``: what it has sent already."""

    render: Render
    seen: dict[str, Any] = field(default_factory=dict)
    streams: set[asyncio.Queue[bytes | None]] = field(default_factory=set)


class LiveStreams:
    """All open streams of a page. ``work`` runs a function in the workers' threads."""

    def __init__(
        self,
        work: Callable[[Callable[[], Any]], Awaitable[Any]],
        *,
        shortest_round: float = _SHORTEST_ROUND,
        comment_seconds: float = _COMMENT_SECONDS,
    ) -> None:
        self._work = work
        self._shortest_round, self._comment_seconds = shortest_round, comment_seconds
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

    def open(
        self, visitor: str, key: Hashable, render: Render, may_read: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        """The stream's bytes. Pages with one ``key`` share a feed; ``may_read`` is asked again every minute."""
        if self._closed or self.open_streams >= _MAX_STREAMS:
            raise TooManyStreams("there are as many live pages as may be; this one does not update")
        if self._visitors.get(visitor, 0) >= _MAX_STREAMS_OF_VISITOR:
            raise TooManyStreams(f"you have {_MAX_STREAMS_OF_VISITOR} live pages open; this one does not update")
        self._visitors[visitor] = self._visitors.get(visitor, 0) + 1
        return self._stream(visitor, key, render, may_read)

    async def _stream(
        self, visitor: str, key: Hashable, render: Render, may_read: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUED)
        feed = self._feeds.setdefault(key, Feed(render))
        feed.streams.add(queue)
        feed.seen.clear()  # a page that was rendered a moment ago may have missed something
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
            self._visitors[visitor] -= 1
            if not self._visitors[visitor]:
                del self._visitors[visitor]

    def _ensure_rounds(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._rounds())

    async def _rounds(self) -> None:
        """Until no stream is open."""
        while self._feeds and not self._closed:
            began = time.monotonic()
            used = 0.0
            for feed in list(self._feeds.values()):
                used += await self._update(feed)
            pause = max(self._shortest_round, min(_LONGEST_ROUND, used / CPU_SHARE))
            await asyncio.sleep(max(0.05, began + pause - time.monotonic()))

    async def _update(self, feed: Feed) -> float:
        """Seconds of CPU time that it took."""
        try:
            data, used = await self._work(lambda: _timed(feed))
        except PageBusy:
            return 0.0
        except Exception as error:  # noqa: BLE001 - one page that cannot be rendered must not end all updates
            _log.warning("live_update_failed", exc_info=error)
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

    def _end_all(self) -> None:
        for feed in self._feeds.values():
            for queue in feed.streams:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(None)
        if self._task is not None:
            self._task.cancel()


def _timed(feed: Feed) -> tuple[bytes | None, float]:
    began = time.thread_time()
    data = feed.render(feed)
    event = None
    if data is not None:
        name = "reload" if data.get("reload") else "update"
        event = f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
    return event, time.thread_time() - began
