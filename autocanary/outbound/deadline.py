"""A deadline for a whole answer, headers and body alike.

A read timeout counts from byte to byte, so a server that sends one byte a second is never late. Here every
read of the socket gets what is left of the request's own deadline, and no thread is needed to watch over it. (DNS
has no timeout of its own in Python; the resolver's applies.)
"""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["DeadlineResponse", "deadline"]

_thread_deadline = threading.local()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What this thread reads from a ``DeadlineResponse`` inside the block must arrive within ``seconds``."""
    _thread_deadline.end = time.monotonic() + seconds
    try:
        yield
    finally:
        _thread_deadline.end = None


def _remaining_seconds() -> float | None:
    end: float | None = getattr(_thread_deadline, "end", None)
    return None if end is None else end - time.monotonic()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket's file with whatever time is left."""

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = _remaining_seconds()
        if remaining is not None:
            if remaining <= 0:
                raise TimeoutError("the answer took too long")
            self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class DeadlineResponse(http.client.HTTPResponse):
    """``http.client``'s response; every read of its socket gets what is left of ``deadline``."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_DeadlineReader(raw, sock))
