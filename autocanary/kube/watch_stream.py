"""A watch's answer, line by line, which another thread can end.

A line longer than ``MAX_LINE_BYTES`` is cut there, so that no object decides how much memory is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from autocanary.kube.api_errors import NETWORK_ERRORS, connection_error

__all__ = ["MAX_LINE_BYTES", "Stream"]

_BLOCK = 65536
MAX_LINE_BYTES = 4 * 1024 * 1024 + _BLOCK


class Stream:
    """The lines of a watch, as they come. ``stop`` may be called from another thread."""

    def __init__(self, response: Any, server: str) -> None:
        self._response = response
        self._server = server

    def lines(self) -> Iterator[bytes]:
        """Each line once; ends when the server ends it, Unreachable when it is cut or silent."""
        line = _Line()
        try:
            while block := self._response.read1(_BLOCK):
                first, *others = block.split(b"\n")
                line.add(first)
                for each in others:
                    yield from line.take()
                    line.add(each)
            yield from line.take()
        except NETWORK_ERRORS as error:
            raise connection_error(error, server=self._server) from error

    def stop(self) -> None:
        """Make ``lines`` end now, even while it waits for the next byte."""
        with contextlib.suppress(Exception):
            self._response.shutdown()

    def close(self) -> None:
        """Give the connection up; only for the thread that reads."""
        with contextlib.suppress(Exception):
            self._response.close()


class _Line:
    """The pieces of one line, up to ``MAX_LINE_BYTES`` of them."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0

    def add(self, piece: bytes) -> None:
        kept = piece[: MAX_LINE_BYTES - self._length]
        self._pieces.append(kept)
        self._length += len(kept)

    def take(self) -> Iterator[bytes]:
        """The line, unless it is blank; the next one begins empty."""
        line = b"".join(self._pieces)
        self._pieces, self._length = [], 0
        if line.strip():
            yield line
