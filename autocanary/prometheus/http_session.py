"""HTTP with a deadline for the whole answer.

A read timeout counts from byte to byte, so a server that sends one byte a second is never late. Here every
read of the socket gets what is left of the request's own deadline, headers and body alike, and no thread
is needed to watch over it. (DNS has no timeout of its own in Python; the resolver's applies.)
"""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection

__all__ = ["DeadlineAdapter", "deadline"]

_current = threading.local()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What this thread reads from a ``DeadlineAdapter`` inside the block must arrive within ``seconds``."""
    _current.end = time.monotonic() + seconds
    try:
        yield
    finally:
        _current.end = None


def _left() -> float | None:
    end: float | None = getattr(_current, "end", None)
    return None if end is None else end - time.monotonic()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket's file with whatever time is left."""

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _left()
        if left is not None:
            if left <= 0:
                raise TimeoutError("the answer took too long")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_DeadlineReader(raw, sock))


class _Http(HTTPConnection):
    response_class = _DeadlineResponse


class _Https(HTTPSConnection):
    response_class = _DeadlineResponse


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class DeadlineAdapter(HTTPAdapter):
    """No retries, a pool of ``connections``, and ``deadline`` obeyed."""

    def __init__(self, connections: int) -> None:
        super().__init__(
            pool_connections=1, pool_maxsize=connections, max_retries=Retry(total=0, redirect=False)
        )

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
