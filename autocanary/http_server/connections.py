"""Limits on connections, so that probes are answered under a flood of half-open requests.

A client has ``REQUEST_SECONDS`` to send a whole request. At most ``limit`` connections are open: a new one closes
the oldest that waits for its request, else the oldest. A connection for which there is no file descriptor is closed
at once, with a descriptor that is kept for this. Each kind of event is logged once a minute, with its number.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import time
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from autocanary import logs

__all__ = [
    "MAX_HEADER_BYTES",
    "REQUEST_SECONDS",
    "Connections",
    "LimitedProtocol",
    "Listener",
    "OncePerMinute",
    "connection_limit",
]

REQUEST_SECONDS = 5.0
MAX_HEADER_BYTES = 16 * 1024
_MOST_CONNECTIONS, _FEWEST_CONNECTIONS = 64, 8
_LOG_SECONDS = 60.0
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logs.logger("autocanary.http_server.connections")


def connection_limit() -> int:
    """An eighth of the file descriptors of this process, from 8 to 64."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, descriptors // 8))


class Connections:
    """The open connections, oldest first. Only for the event loop's thread."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._open: dict[LimitedProtocol, None] = {}
        self._closed: dict[str, int] = {}
        self._logged_at: dict[str, float] = {}

    def add(self, protocol: LimitedProtocol) -> None:
        self._open[protocol] = None

    def remove(self, protocol: LimitedProtocol) -> None:
        self._open.pop(protocol, None)

    def make_room(self) -> None:
        """Close one connection when there are as many as may be."""
        if len(self._open) < self._limit:
            return
        oldest = next((each for each in self._open if each.is_waiting), next(iter(self._open)))
        self.remove(oldest)
        oldest.transport.abort()
        self.count_closed("too many connections")

    def count_closed(self, why: str) -> None:
        """Note a connection that was closed from this side."""
        self._closed[why] = self._closed.get(why, 0) + 1
        now = self._clock()
        if now - self._logged_at.get(why, float("-inf")) >= _LOG_SECONDS:
            _log.warning("connections_closed", reason=why, number=self._closed.pop(why), limit=self._limit)
            self._logged_at[why] = now


class LimitedProtocol(H11Protocol):
    """One connection, which has so many seconds for each request."""

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._limits = connections
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether no request of it is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limits.add(self)
        self._start_deadline()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.is_waiting:
            self._start_deadline()
        else:
            self._cancel_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        self._limits.remove(self)
        super().connection_lost(exc)

    def _start_deadline(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self._limits.count_closed("no request in time")
        self.transport.abort()


class Listener(socket.socket):
    """A listening socket that accepts one connection each time the event loop asks, within the limit.

    asyncio accepts until it is refused, and writes a log line for each refusal where descriptors are missing.
    """

    connections: Connections | None = None

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self._accepted = False
        self._reserve = os.open(os.devnull, os.O_RDONLY)

    def accept(self) -> tuple[socket.socket, Any]:
        """BlockingIOError after each connection, which asyncio takes for an empty queue and asks again."""
        self._accepted = not self._accepted
        if not self._accepted or self.connections is None:
            raise BlockingIOError
        self.connections.make_room()
        try:
            return super().accept()
        except BlockingIOError:
            self._accepted = False
            raise
        except OSError as error:
            if error.errno not in _NO_DESCRIPTOR:
                raise
            self._refuse()
            self.connections.count_closed("no file descriptor")
            self._accepted = False
            raise BlockingIOError from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._reserve)
        self._reserve = -1
        super().close()

    def _refuse(self) -> None:
        """Take the connection with the kept descriptor and close it, so that the loop does not spin on it."""
        with contextlib.suppress(OSError):
            os.close(self._reserve)
        with contextlib.suppress(OSError):
            super().accept()[0].close()
        with contextlib.suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY)


class OncePerMinute(logging.Filter):
    """Lets each warning pass once a minute: clients decide how often uvicorn has one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        message, now = str(record.msg)[:200], self._clock()
        if now - self._passed_at.get(message, float("-inf")) < _LOG_SECONDS or len(self._passed_at) > 1000:
            return False
        self._passed_at[message] = now
        return True
